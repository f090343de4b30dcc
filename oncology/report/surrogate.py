"""The report's part on a surrogate: what it was trained on, what it found, and what the correction step made of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from oncology.results.schema import Estimate
from oncology.text import number

__all__ = ["SurrogateRow", "surrogate_rows"]

_PLAIN = (("diffusion_white", "mm²/day"), ("diffusion_grey", "mm²/day"), ("proliferation", "1/day"))
_SIMILARITY = {
    "ln_length": ("infiltration length √(D/ρ)", "mm"),
    "ln_diffusion_ratio": ("diffusion ratio D_g/D_w", ""),
    "seed_x": ("seed x", "mm"),
    "seed_y": ("seed y", "mm"),
    "seed_z": ("seed z", "mm"),
    "seed_radius": ("radius of the seed", "mm"),
    "reach": ("way of a free front 2√(Dρ)·t", "mm"),
}


@dataclass(frozen=True)
class SurrogateRow:
    """A line of the section's tables, written out: a parameter with both estimates, or a variable with its range."""

    name: str
    unit: str
    first: str
    second: str


def surrogate_rows(estimate: Estimate) -> dict[str, Any]:
    """Return what the section shows; empty for a fit without a surrogate.

    Returns:
        `estimates` and `ranges`, lists of `SurrogateRow`, and the entry `surrogate` of `estimate.json` itself.
    """
    entry = estimate.surrogate
    if not entry:
        return {}
    return {**entry, "estimates": list(_estimates(estimate)), "ranges": list(_ranges(entry["trained_on"]["range"]))}


def _estimates(estimate: Estimate) -> Iterator[SurrogateRow]:
    before = estimate.surrogate["estimate"]
    for name, unit in _PLAIN:
        after = estimate.parameters[name].value
        yield SurrogateRow(name.replace("_", " "), unit, number(before[name]), _written(after))
    yield SurrogateRow("seed", "mm", _written(before["seed"]), _written(estimate.parameters["seed"].value))
    yield SurrogateRow("onset", "day", number(before["onset"]), _written(estimate.parameters["onset"].value))


def _ranges(ranges: dict[str, list[float]]) -> Iterator[SurrogateRow]:
    for name, (low, high) in ranges.items():
        words, unit = _SIMILARITY[name]
        change = math.exp if name.startswith("ln_") else float
        yield SurrogateRow(words, unit, number(change(low)), number(change(high)))


def _written(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else ", ".join(f"{entry:.1f}" for entry in value)
