"""Initial density as a field: conjugate gradients against Landweber in the reference experiment, in 2-D and 3-D.

    python benchmarks/field.py [2] [3]          (dimensions; both if omitted; ten minutes)

The data come from finite volumes with cells of half the size (`tests/inverse/field_experiment.py`). A run is one
forward, adjoint or tangent solve. Nothing is asserted.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # the experiment is shared with the tests

from oncology.fem.engine import ModelEngine
from oncology.fem.runtime import world
from oncology.inverse.misfit import MaskObservation, Observation
from oncology.inverse.rates import LogPrior
from oncology.inverse.reconstruct import FieldEstimate, FieldSettings, reconstruct_initial
from oncology.model.timegrid import TimeGrid
from oncology.model.tumour import Tumour
from oncology.optimise import ConjugateGradient, Fixed, zero
from tests.inverse.field_experiment import TUMOUR, Experiment, Noisy, noisy

PLANE = Experiment(step=10.0)
SPACE = Experiment(
    brain=(60.0, 52.0, 48.0),
    inner=(44.0, 36.0, 32.0),
    box=128.0,
    tumour=(78.0, 56.0, 66.0),
    size=4.0,
    step=10.0,
)
FRACTIONS = (0.10, 0.05, 0.01)  # of noise
FREE = FieldSettings(bounds=None)
OMEGA = Fixed(math.exp(-2.0 * 0.012 * 180.0))
METHODS = {
    "NCG L2": FREE,
    "NCG H1 6 mm": replace(FREE, smoothing=6.0),
    "Landweber": replace(FREE, direction=ConjugateGradient(zero), step=OMEGA, max_iterations=1000),
    "NCG L2, 0..1": FieldSettings(),
    "NCG H1 6 mm, 0..1": FieldSettings(smoothing=6.0),
}
COLUMNS = "noise% method iterations runs error centre/mm peak/mm mass% highest residual/delta status".split()


def reconstructed(
    experiment: Experiment,
    engine: ModelEngine,
    grid: TimeGrid,
    data: Sequence[Observation],
    level: float | None,
    settings: FieldSettings,
    start: np.ndarray | None = None,
    tumour: Tumour = TUMOUR,
) -> FieldEstimate:
    return reconstruct_initial(engine, tumour, experiment.days, data, level, settings, start, plan=grid)


def row(
    label: str, method: str, experiment: Experiment, engine: ModelEngine, case: Noisy, found: FieldEstimate
) -> None:
    d = engine.discretisation
    error = math.sqrt(d.integrate((found.initial - case.truth) ** 2) / d.integrate(case.truth**2))
    mass = 100.0 * d.integrate(found.initial) / d.integrate(case.truth)
    place, counts = found.localisation, found.counts
    centre, peak = (float(np.linalg.norm(at - np.array(experiment.tumour))) for at in (place.centre, place.peak))
    print(
        f"{label:>7} {method:<18} {found.iterations:>5} {counts.forward + counts.gradient + counts.tangent:>5} "
        f"{error:6.3f} {centre:6.2f} {peak:6.2f} {mass:6.1f} {place.highest:5.2f} {found.residual / case.level:6.2f} "
        f"{found.status}",
        flush=True,
    )


def table(experiment: Experiment) -> None:
    engine, grid = experiment.engine(world())
    size = f"{experiment.dimension}-D, {experiment.size:g} mm, {engine.discretisation.vertex_count} vertices"
    for fraction in FRACTIONS:
        case = noisy(experiment, engine, grid, fraction)
        print(f"-- {size}, {grid.steps} steps, mismatch of the discretisations {100.0 * case.mismatch:.2f} %")
        print(" ".join(COLUMNS))
        for method, settings in METHODS.items():
            found = reconstructed(experiment, engine, grid, case.data, case.level, settings)
            row(f"{100.0 * fraction:g}", method, experiment, engine, case, found)


def seeds(experiment: Experiment, count: int = 10) -> None:
    """Print how far localisation depends on the noise."""
    engine, grid = experiment.engine(world())
    for fraction in FRACTIONS:
        errors = []
        for seed in range(count):
            case = noisy(experiment, engine, grid, fraction, seed)
            place = reconstructed(experiment, engine, grid, case.data, case.level, FREE).localisation
            errors.append([np.linalg.norm(at - np.array(experiment.tumour)) for at in (place.centre, place.peak)])
        centre, peak = np.max(errors, axis=0)
        print(f"{100.0 * fraction:g} % noise, worst of {count} seeds: centre {centre:.2f} mm, peak {peak:.2f} mm")


def finer(experiment: Experiment) -> None:
    """Print whether the H1 gradient sees the mesh."""
    experiment = replace(experiment, size=0.5 * experiment.size)
    engine, grid = experiment.engine(world())
    for fraction in FRACTIONS[:2]:
        case = noisy(experiment, engine, grid, fraction)
        found = reconstructed(experiment, engine, grid, case.data, case.level, METHODS["NCG H1 6 mm"])
        row(f"{100.0 * fraction:g}", f"H1 at {experiment.size:g} mm", experiment, engine, case, found)


def landweber_within_bounds(experiment: Experiment) -> None:
    engine, grid = experiment.engine(world())
    case = noisy(experiment, engine, grid, FRACTIONS[0])
    settings = replace(METHODS["Landweber"], bounds=(0.0, 1.0))
    found = reconstructed(experiment, engine, grid, case.data, case.level, settings)
    row(f"{100.0 * FRACTIONS[0]:g}", "Landweber, 0..1", experiment, engine, case, found)


def unknown_rates(experiment: Experiment) -> None:
    """Two densities, rates known wrongly: field alone, and field with rates."""
    experiment = replace(experiment, days=(120.0, 180.0))
    engine, grid = experiment.engine(world())
    wrong = replace(TUMOUR, diffusion_white=0.45, diffusion_grey=0.20, proliferation=0.009)
    priors = tuple(
        LogPrior(name, value, 0.4)
        for name, value in (("diffusion_white", 0.45), ("diffusion_grey", 0.20), ("proliferation", 0.009))
    )
    print(f"-- two densities, days {experiment.days}, start from D_w, D_g, rho {wrong.values[:3]}")
    for fraction in FRACTIONS:
        case = noisy(experiment, engine, grid, fraction)
        noise = case.level**2 / engine.discretisation.vertex_count
        for method, settings in {
            "field alone": FREE,
            "field and rates": replace(FREE, priors=priors, noise=noise, max_iterations=400),
        }.items():
            found = reconstructed(experiment, engine, grid, case.data, case.level, settings, tumour=wrong)
            row(f"{100.0 * fraction:g}", method, experiment, engine, case, found)
            print(f"        D_w, D_g, rho: {found.tumour.values[:3].round(4)}")


def masks(experiment: Experiment) -> None:
    """Noise-free masks of one day instead of a density, by continuation in sharpness."""
    engine, grid = experiment.engine(world())
    case = noisy(experiment, engine, grid, 0.0)
    print("-- masks")
    for levels in ((0.16, 0.35), (0.16,)):
        found = from_masks(experiment, engine, grid, case, levels)
        # no noise, so no noise level: the residual stands alone
        row("masks", f"thresholds {levels}", experiment, engine, replace(case, level=math.nan), found)


def from_masks(
    experiment: Experiment, engine: ModelEngine, grid: TimeGrid, case: Noisy, levels: tuple[float, ...]
) -> FieldEstimate:
    density, start = case.data[0].values, None
    data = [MaskObservation(str(level), 0, level, (density > level).mean(axis=1)) for level in levels]
    for sharpness in (10.0, 25.0, 50.0):
        settings = FieldSettings(max_iterations=60, sharpness=sharpness)
        found = reconstructed(experiment, engine, grid, data, None, settings, start)
        start = found.initial
    return found


def main(dimensions: list[int]) -> None:
    if 2 in dimensions:
        table(PLANE)
        landweber_within_bounds(PLANE)
        finer(PLANE)
        seeds(PLANE)
        unknown_rates(PLANE)
        masks(PLANE)
    if 3 in dimensions:
        table(SPACE)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [2, 3])
