"""Statistics of the coverage benchmark: are errors as large as the posterior says, and no larger?

For each quantity z = (estimate - truth)/sd, of logarithms where the posterior is log-normal. If intervals are
calibrated, z is standard normal and Phi(z) uniform. A fit that failed is a miss in every interval; what is not
identified counts for coverage (its interval is that of prior and data together) but not for the moments of z.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Quantity", "Row", "bands", "joint_distance", "markdown", "pit_plot", "quantities", "row"]

type Vector = NDArray[np.float64]

LEVELS = (0.50, 0.80, 0.95)
WORDS = {
    "diffusion_white": "ln D_w",
    "diffusion_grey": "ln D_g",
    "proliferation": "ln rho",
    "front_speed": "ln speed",
    "infiltration_length": "ln length",
    "seed_x": "seed x, mm",
    "seed_y": "seed y, mm",
    "seed_z": "seed z, mm",
    "seed_radius": "ln seed radius",
    "onset": "ln duration",
}


@dataclass(frozen=True)
class Quantity:
    """Error of one estimated number, a logarithm or mm.

    Attributes:
        error: estimate minus truth.
        sd: posterior standard deviation.
        identified: whether the fit says that the data determine it.
    """

    error: float
    sd: float
    identified: bool

    @property
    def z(self) -> float:
        """Error in posterior standard deviations."""
        return self.error / self.sd


@dataclass(frozen=True)
class Row:
    """One quantity over all patients.

    Attributes:
        n: patients, failed fits included.
        identified: of how many it is identified.
        covered: number of central 50, 80 and 95 % intervals that hold the truth, of n.
        rms: root mean square of z, identified ones.
        mean: mean of z, identified ones.
        error: median absolute error, identified ones.
        sd: median posterior standard deviation, identified ones.
        score: mean log density of the posterior at the truth, identified ones.
        wrong: number of identified logarithms that are off by more than a factor of 2.
    """

    n: int
    identified: int
    covered: tuple[int, int, int]
    rms: float
    mean: float
    error: float
    sd: float
    score: float
    wrong: int


def quantities(truth: Mapping[str, Any], estimate: Mapping[str, Any]) -> dict[str, Quantity]:
    """Return the errors of an `estimate.json` against a `truth.json`."""
    white, rho = truth["diffusion_white"], truth["proliferation"]
    true = {
        **truth,
        "front_speed": 2.0 * math.sqrt(white * rho),
        "infiltration_length": math.sqrt(white / rho),
    }
    found: dict[str, Quantity] = {}
    parameters = estimate["parameters"]
    for name in ("diffusion_white", "diffusion_grey", "proliferation", "seed_radius"):
        if (entry := parameters.get(name)) is not None and entry.get("sd_log"):
            error = math.log(entry["value"] / true[name])
            found[name] = Quantity(error, entry["sd_log"], entry["identified"])
    for entry in estimate["combinations"]:
        name = "_".join(entry["name"].split()[:2])
        if name in ("front_speed", "infiltration_length"):
            error = math.log(entry["value"] / true[name])
            found[name] = Quantity(error, entry["sd_log"], entry["identified"])
    seed = parameters["seed"]
    for axis, value, sd, place in zip("xyz", seed["value"], seed["sd"], truth["seed"], strict=True):
        found[f"seed_{axis}"] = Quantity(value - place, sd, seed["identified"])
    onset = parameters["onset"]
    duration = estimate["posterior"]["first_day"] - onset["value"]
    found["onset"] = Quantity(math.log(duration / truth["duration"]), onset["sd"] / duration, onset["identified"])
    return found


def joint_distance(truth: Mapping[str, Any], estimate: Mapping[str, Any]) -> tuple[float, int]:
    """Return e' C^-1 e of all parameters together and their number, C the posterior covariance."""
    posterior, parameters = estimate["posterior"], estimate["parameters"]
    scale = posterior["seed_scale_mm"]
    found = quantities(truth, estimate)
    errors = {
        "ln_diffusion_white": found["diffusion_white"].error,
        "ln_diffusion_ratio": found["diffusion_grey"].error - found["diffusion_white"].error,
        "ln_proliferation": found["proliferation"].error,
        "ln_duration": found["onset"].error,
        **{f"seed_{axis}": found[f"seed_{axis}"].error / scale for axis in "xyz"},
    }
    if "seed_radius" in parameters and "seed_radius" in found:
        errors["ln_seed_radius"] = found["seed_radius"].error
    used = [k for k, name in enumerate(posterior["names"]) if name in errors]
    e = np.array([errors[posterior["names"][k]] for k in used])
    covariance = np.array(posterior["covariance"])[np.ix_(used, used)]
    return float(e @ np.linalg.solve(covariance, e)), len(used)


def row(found: Sequence[Quantity | None]) -> Row:
    """Summarise one quantity over patients; None: the fit failed."""
    given = [q for q in found if q is not None]
    known = [q for q in given if q.identified]
    z = np.array([q.z for q in known])
    sd = np.array([q.sd for q in known])
    error = np.array([q.error for q in known])
    limits = [stats.norm.ppf(0.5 + 0.5 * level) for level in LEVELS]
    one, two, three = (sum(abs(q.z) <= limit for q in given) for limit in limits)

    def of(values: Vector) -> float:
        return float(values) if known else math.nan

    return Row(
        n=len(found),
        identified=len(known),
        covered=(one, two, three),
        rms=of(np.sqrt(np.mean(z**2))) if known else math.nan,
        mean=of(np.mean(z)) if known else math.nan,
        error=of(np.median(np.abs(error))) if known else math.nan,
        sd=of(np.median(sd)) if known else math.nan,
        score=of(np.mean(stats.norm.logpdf(z) - np.log(sd))) if known else math.nan,
        wrong=int(np.sum(np.abs(error) > math.log(2.0))),
    )


def bands(n: int, probability: float = 0.99) -> tuple[tuple[int, int], ...]:
    """Return how many of n calibrated intervals of each level hold the truth, with the given probability."""
    ends = (stats.binom.interval(probability, n, level) for level in LEVELS)
    return tuple((int(low), int(high)) for low, high in ends)


def rms_band(n: int, probability: float = 0.99) -> tuple[float, float]:
    """Return the band of the root mean square of n standard normal numbers."""
    low, high = stats.chi2.interval(probability, n)
    return math.sqrt(low / n), math.sqrt(high / n)


def markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables, one for each stratum, and what they say together."""
    parts = []
    for strata in ("A", "B", "AB"):
        chosen = [result for result in results if result["stratum"] in strata]
        if chosen and (len(strata) == 1 or len({result["stratum"] for result in chosen}) == 2):
            parts.append(_table(" and ".join(strata), chosen))
    return "\n\n".join(parts) + "\n"


def _table(stratum: str, results: Sequence[Mapping[str, Any]]) -> str:
    errors = [_quantities(result) for result in results]
    names = [name for name in WORDS if any(name in found for found in errors)]
    n = len(results)
    low, high = rms_band(n)
    half, most, all_ = (f"{a} to {b}" for a, b in bands(n))
    failed = [result["id"] for result in results if "error" in result]
    lines = [
        f"Stratum {stratum}: {n} patients, {len(failed)} failed fits{': ' + ', '.join(failed) if failed else ''}.",
        "",
        "| quantity | identified | 50 % | 80 % | 95 % | RMS of z | mean of z | median error | median sd | log score |",
        "|---|---|---|---|---|---|---|---|---|---|",
        f"| calibrated, 99 % | | {half} | {most} | {all_} | {low:.2f} to {high:.2f} "
        f"| ± {stats.norm.ppf(0.995) / math.sqrt(n):.2f} | | | |",
    ]
    wrong = 0
    for name in names:
        r = row([found.get(name) for found in errors])
        wrong += r.wrong if WORDS[name].startswith("ln") else 0
        counts = " | ".join(map(str, r.covered))
        lines.append(
            f"| {WORDS[name]} | {r.identified} | {counts} | {r.rms:.2f} | {r.mean:+.2f} "
            f"| {r.error:.3f} | {r.sd:.3f} | {r.score:+.2f} |"
        )
    together = [joint_distance(result["truth"], result["estimate"]) for result in results if "error" not in result]
    if together:
        p = stats.kstest([stats.chi2.cdf(d, k) for d, k in together], "uniform").pvalue
        inside = sum(d <= stats.chi2.ppf(0.95, k) for d, k in together)
        lines += [
            "",
            f"All parameters together: {inside} of {n} 95 % regions hold the truth; Kolmogorov-Smirnov p {p:.2g}.",
        ]
    lines.append(f"Called identified but off by more than a factor of 2: {wrong}.")
    return "\n".join(lines)


def _quantities(result: Mapping[str, Any]) -> dict[str, Quantity]:
    return {} if "error" in result else quantities(result["truth"], result["estimate"])


def pit_plot(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw Phi(z) of each quantity against its rank, minus what is expected, with its 95 % band."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    found = [(result["stratum"], _quantities(result)) for result in results]
    names = [name for name in WORDS if any(name in errors for _, errors in found)]
    columns = math.ceil(len(names) / 2)
    figure, axes = pyplot.subplots(
        2, columns, figsize=(2.2 * columns, 4.6), sharex=True, sharey=True, layout="constrained"
    )
    for place, name in zip(axes.flat, names, strict=False):
        for stratum, colour in (("A", "C0"), ("B", "C1")):
            z = [errors[name].z for s, errors in found if s == stratum and name in errors and errors[name].identified]
            if z:
                ranks = np.arange(1, len(z) + 1)
                p = np.sort(stats.norm.cdf(z))
                low, high = stats.beta.interval(0.95, ranks, len(z) + 1 - ranks)
                expected = ranks / (len(z) + 1)
                if stratum == "A":
                    place.fill_between(expected, low - expected, high - expected, color="0.92")
                place.plot(expected, p - expected, color=colour, label=f"stratum {stratum}")
        place.axhline(0.0, color="0.6", linewidth=0.8)
        place.set_title(WORDS[name], fontsize=9)
    for place in axes.flat[len(names) :]:
        place.set_axis_off()
    axes[0, 0].legend(fontsize=7, frameon=False)
    figure.supxlabel("expected probability integral transform", fontsize=9)
    figure.supylabel("observed - expected", fontsize=9)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
