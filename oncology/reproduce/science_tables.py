"""All tables of the science-activated and convolutional NODE: `oncology reproduce science` writes them.

Rows come one at a time, so that whoever asks can show progress; nothing here prints or reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from oncology.reproduce import digit_images
from oncology.reproduce.science_direct import DIRECT
from oncology.reproduce.science_fields import field_row
from oncology.reproduce.science_forms import closure_row, gain_row
from oncology.reproduce.science_inverse import INVERSE, NOISE
from oncology.reproduce.science_pinn import compare
from oncology.reproduce.science_recovery import FIELDS, recover
from oncology.reproduce.science_shapes import (
    DIRECT_SHAPES,
    INVERSE_SHAPES,
    brachistochrone_errors,
    crack_energies,
)
from oncology.reproduce.science_symmetries import SYMMETRIES, front_directions
from oncology.reproduce.trials import Row, Section

__all__ = ["FULL", "QUICK", "ScienceEffort", "sections"]


@dataclass(frozen=True)
class ScienceEffort:
    """How much is run.

    Attributes:
        noise: norms of the noise over that of the data; the first is 0.
        closure: iterations that teach form C.
        budgets: of physics-informed networks, in multiples of the time of the science-activated NODE.
        convolution: training and measures of the digits.
    """

    noise: tuple[float, ...] = NOISE
    closure: int = 200
    budgets: tuple[float, ...] = (1.0, 100.0)
    convolution: digit_images.ImageEffort = digit_images.FULL


FULL = ScienceEffort()
QUICK = ScienceEffort(noise=(0.0, 0.05), closure=20, budgets=(1.0,), convolution=digit_images.QUICK)


def _direct() -> Iterator[Row]:
    for case in (*DIRECT, *DIRECT_SHAPES):
        row = case.row()
        yield {
            "id": case.id,
            "problem": case.title,
            "coarse error": row.errors[0],
            "middle error": row.errors[1],
            "fine error": row.errors[2],
            "order": row.orders[-1],
            "expected order": case.order,
        }


def _coefficients(noise: tuple[float, ...]) -> Iterator[Row]:
    for case in (*INVERSE, *INVERSE_SHAPES):
        for row in case.rows(noise):
            for name, true in zip(case.coefficients, case.truth, strict=True):
                yield {
                    "id": case.id,
                    "problem": case.title,
                    "noise": row.level,
                    "coefficient": name,
                    "truth": true,
                    "estimate": row.fit.values[name],
                    "sd of ln": row.fit.sd[name],
                    "error of ln": row.errors[name],
                    "error less bias, in sd": row.deviations[name],
                    "recovered": "yes" if row.recovered else "no",
                    "condition": row.fit.before.condition,
                    "iterations": row.fit.result.iterations,
                }


def _fields(noise: tuple[float, ...]) -> Iterator[Row]:
    for sought in ("source", "initial"):
        for level in noise:
            row = field_row(sought, level)
            yield {
                "sought": sought,
                "noise": level,
                "iterations": row.result.iterations,
                "stopped by": str(row.result.status),
                "relative error": row.error,
                "best truncated expansion": row.best,
                "largest error of a mode over its bound": float((row.modes / row.bounds).max()),
            }


def _recovery(noise: tuple[float, ...]) -> Iterator[Row]:
    for field in FIELDS:
        for level in noise:
            row = recover(field, level)
            yield {
                "id": field.id,
                "sought": field.title,
                "noise": level,
                "iterations": row.result.iterations,
                "stopped by": str(row.result.status),
                "error over that of the guess": row.error,
                "best truncated expansion": row.best,
                "directions above the noise": row.above,
            }


def _symmetries() -> Iterator[Row]:
    for name, make in SYMMETRIES.items():
        report = make()
        yield {
            "problem": name,
            "unknowns": len(report.names),
            "rank": report.rank,
            "smallest singular value over largest": float(report.singular[-1] / report.singular[0]),
            "unseen": "; ".join(report.words()),
        }


def _fronts() -> Iterator[Row]:
    for days in (75.0, 150.0):
        for what, gradient, limit in zip(
            ("ln speed, one level at two times", "ln width, two levels at one time"),
            front_directions(days),
            ((0.5, 0.5), (0.5, -0.5)),
            strict=True,
        ):
            yield {
                "observed": what,
                "days": days,
                "by ln D": float(gradient[0]),
                "by ln rho": float(gradient[1]),
                "limit by ln D": limit[0],
                "limit by ln rho": limit[1],
                "distance": float(np.linalg.norm(gradient - np.array(limit))),
            }


def _forms(effort: ScienceEffort) -> Iterator[Row]:
    for level in effort.noise:
        gain = gain_row(level)
        yield {
            "form": "B: gain w(t)",
            "noise": level,
            "iterations": gain.result.iterations,
            "relative error": gain.error,
            "of": "w in L2(0, T)",
        }
    closure = closure_row(iterations=effort.closure)
    for what, error in (
        ("unseen waves, physics alone", closure.physics),
        ("unseen waves, with the closure", closure.unseen),
        ("waves of the training", closure.trained),
    ):
        yield {
            "form": "C: closure of growth",
            "noise": 0.0,
            "iterations": closure.iterations,
            "relative error": error,
            "of": what,
        }


def _descent() -> Iterator[Row]:
    for cells, time, angle in brachistochrone_errors():
        yield {"cells": cells, "error of the time, s": time, "largest error of the angle, rad": angle}


def _cracks() -> Iterator[Row]:
    for width, share, whole, split in crack_energies():
        yield {
            "width": width,
            "gamma over threshold": share,
            "energy without crack": whole,
            "energy with crack": split,
            "cheaper": "crack" if split < whole else "no crack",
        }


def _comparison(processor_time: Callable[[], float], budgets: tuple[float, ...]) -> Iterator[Row]:
    for row in compare(processor_time, factors=budgets):
        yield {
            "equation": row.title,
            "problem": row.problem,
            "method": row.method,
            "processor seconds": row.seconds,
            "state error": row.state_error,
            "coefficient error": row.coefficient_error,
        }


def sections(processor_time: Callable[[], float], effort: ScienceEffort = FULL) -> tuple[Section, ...]:
    """All tables.

    Args:
        processor_time: clock for the budgets of the comparison with physics-informed networks, s.
        effort: how much is run.
    """
    noise = effort.noise
    return (
        Section("direct", "Direct problems against exact solutions: relative errors and orders", _direct),
        Section("inverse", "Coefficients from noisy data", lambda: _coefficients(noise)),
        Section("fields", "Source and initial state of the heat equation from its final state", lambda: _fields(noise)),
        Section("recovery", "Initial states, a conductivity and a control from noisy data", lambda: _recovery(noise)),
        Section("symmetries", "What the data cannot see, from singular values before any fit", _symmetries),
        Section("fronts", "What a front tells of diffusion and proliferation", _fronts),
        Section("forms", "Learned gains and closures around known physics", lambda: _forms(effort)),
        Section("brachistochrone", "Fastest descent: weights linear in depth", _descent),
        Section("cracks", "Ambrosio-Tortorelli: a crack is optimal below the threshold only", _cracks),
        Section(
            "convolution",
            "Convolutional NODE and small convolutional network on the digits, on equal terms",
            lambda: iter(digit_images.table_of(digit_images.compare_on_digits(effort.convolution))),
        ),
        Section(
            "pinn",
            "Physics in the core and physics in the loss",
            lambda: _comparison(processor_time, effort.budgets),
        ),
    )
