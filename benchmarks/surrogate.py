"""A surrogate against the finite-element solver: speed, error of densities and of sensitivities at unseen parameters.

    python benchmarks/surrogate.py [CASE FOLDER [FIGURE]]   (case, what `oncology train surrogate` wrote, a PNG to draw)

Without a case it trains one of 64 runs for the example first.
Both give the densities of the case's days at the vertices of the surrogate's mesh, in turns. Parameters are drawn anew
in the range of training. Nothing is asserted.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import qmc

from oncology.api.surrogates import Training, train_surrogate
from oncology.fem.engine import FiniteElements
from oncology.imaging import Case
from oncology.model.seed import Seed
from oncology.model.tumour import PARAMETERS, Tumour
from oncology.surrogate.coordinates import similarity, similarity_slopes
from oncology.surrogate.store import load_surrogate
from oncology.verify.seeded import SeededGrowth

EXAMPLE = Path(__file__).parents[1] / "data" / "sub-example01"
COUNT = 12
SEED = 20261125
SHOWN = ("D_w", "D_g", "rho", "seed x", "seed y", "seed z", "onset", "seed radius")


def main(case: Case, folder: Path, figure: Path | None) -> None:
    surrogate = load_surrogate(folder)
    engine, days = FiniteElements(surrogate.mesh, case), case.days
    space = engine.core.discretisation
    mass = space.lumped_mass
    around = space.from_cells(np.ones_like(space.cells, dtype=float))  # cells at each vertex
    slow, fast, linear, errors, tangents = [], [], [], [], []
    for parameters in drawn(surrogate.domain, days):
        white, grey, growing, *seed, onset, radius = map(float, parameters)
        tumour = Tumour(white, grey, growing, tuple(seed), onset, Seed(radius=radius))
        growth = SeededGrowth(engine, engine.plan(tumour, days))
        taken, truth = timed(lambda growth=growth, p=parameters: growth.solve(p, linearise=False))
        slow.append(taken)
        variables = np.array([similarity(parameters, day) for day in days])
        taken, response = min((timed(lambda v=variables: surrogate.respond(v)) for _ in range(5)), key=lambda t: t[0])
        fast.append(min(timed(lambda v=variables: surrogate.respond(v).densities)[0] for _ in range(5)))
        linearised = growth.solve(parameters)
        solved = [space.scatter(day) for day in response.densities]
        whole = [space.from_cells(day) / around for day in truth.densities]
        errors.append(relative(solved, whole, mass))
        slopes = np.array([similarity_slopes(parameters, day) for day in days])
        row = []
        for number, _ in enumerate(PARAMETERS):
            direction = np.eye(8)[number]
            taken, change = timed(lambda s=slopes, d=direction, r=response: r.tangent(s @ d))
            linear.append(taken)
            theirs = [space.from_cells(day) / around for day in linearised.tangent(direction)]
            row.append(relative([space.scatter(day) for day in change], theirs, mass))
        tangents.append(row)
    ratio = np.median(slow) / np.median(fast)
    print(f"{case.id}, {surrogate.mesh.size:g} mm, {len(surrogate.mesh.points)} vertices, {COUNT} unseen parameters")
    print(f"  solver {np.median(slow):.2f} s, surrogate {1e3 * np.median(fast):.2f} ms: {ratio:.0f} times (aim 100)")
    print(f"  a tangent of the surrogate takes {1e3 * np.median(linear):.2f} ms")
    text = ", ".join(f"{np.quantile(errors, q):.2%} {name}" for name, q in (("median", 0.5), ("worst", 1.0)))
    print(f"  relative L2 error of the densities: {text} (aim 3 %)")
    for name, column in zip(SHOWN, np.array(tangents).T, strict=True):
        errors_of = f"{np.median(column):.1%} median, {column.max():.1%} worst"
        print(f"  relative L2 error of the sensitivity to {name:11} {errors_of}")
    if figure is not None:
        draw(figure, np.array(errors), np.array(tangents))


def drawn(domain, days: tuple[float, ...]) -> list[np.ndarray]:
    """Return parameter vectors whose variables lie in the range on every day."""
    found: list[np.ndarray] = []
    for point in qmc.Sobol(8, seed=SEED).random_base2(10):
        length, ratio, *seed, radius, reach = domain.lower + point[:7] * (domain.upper - domain.lower)
        growth = 0.005 * 10.0 ** point[7]
        white = np.exp(2.0 * length) * growth
        onset = days[0] - reach / (2.0 * np.sqrt(white * growth))
        parameters = np.array([white, white * np.exp(ratio), growth, *seed, onset, radius])
        if all(not domain.beyond(similarity(parameters, day)) for day in days):
            found.append(parameters)
        if len(found) == COUNT:
            return found
    return found


def timed(work):
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def relative(mine, theirs, mass: np.ndarray) -> float:
    """Return the relative difference in L2 of the brain, over all days."""
    squares = [mass @ (a - b) ** 2 for a, b in zip(mine, theirs, strict=True)]
    return float(np.sqrt(sum(squares) / sum(mass @ b**2 for b in theirs)))


def draw(path: Path, errors: np.ndarray, tangents: np.ndarray) -> None:
    """Draw the errors of densities and sensitivities, one point for each set of parameters."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.0, 3.2), layout="constrained")
    for place, column in enumerate((errors, *tangents.T)):
        axes.plot(np.full(len(column), place), 100.0 * column, "o", color="0.6", markersize=4)
        axes.plot(place, 100.0 * np.median(column), "_", color="black", markersize=24)
    axes.set_yscale("log")
    axes.set_xticks(range(8), ["density", *(f"d/d {name}" for name in SHOWN)], rotation=20)
    axes.set_ylabel("relative L2 error, %")
    axes.grid(axis="y", color="0.9", which="both")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) > 1:
        main(Case.read(words[0]), Path(words[1]), Path(words[2]) if len(words) > 2 else None)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            train_surrogate(Case.read(EXAMPLE), Training(runs=64, unseen=8), Path(scratch))
            main(Case.read(EXAMPLE), Path(scratch), None)
