"""The schema of what `oncology fit`, `predict` and `simulate` leave behind, checked with pydantic in both directions.

Keys that this version does not know are kept and written again. What a reader wants of an estimate is given by name:
`estimate.proliferation.value`, `.interval`, `.identified`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oncology.errors import InputError
from oncology.inverse.estimate import NORMAL_95

__all__ = [
    "PACE",
    "REGIONS",
    "SCHEMA",
    "Combination",
    "Curve",
    "Estimate",
    "Estimated",
    "EstimatedPoint",
    "Growth",
    "Parameter",
    "PredictionRecord",
    "ReportError",
    "SimulationRecord",
    "Thresholds",
    "log_interval",
    "parsed",
    "plain_content",
]

SCHEMA = 1
REGIONS = ("whole", "core")  # nested: every tumour label; necrosis and enhancing tumour
PACE = ("diffusion_white", "proliferation", "onset")  # what must be known to say how fast the tumour moved


class ReportError(InputError):
    """A results folder is incomplete, of another version, or its files do not belong together."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


@dataclass(frozen=True)
class Estimated:
    """An estimated quantity.

    Attributes:
        name: as in `estimate.json`.
        value: in `unit`.
        unit: as in `estimate.json`.
        interval: lower and upper end of the 95 % interval, in `unit`.
        identified: whether the data determine the value; otherwise it comes from the prior, or the data add little.
    """

    name: str
    value: float
    unit: str
    interval: tuple[float, float]
    identified: bool


@dataclass(frozen=True)
class EstimatedPoint:
    """An estimated position.

    Attributes:
        name: as in `estimate.json`.
        value: RAS mm.
        unit: mm.
        interval: lower and upper end of the 95 % interval of each coordinate, mm.
        identified: whether the data determine the value.
    """

    name: str
    value: tuple[float, float, float]
    unit: str
    interval: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    identified: bool


class Parameter(_Part):
    """One parameter of the model.

    Attributes:
        value: estimate, in `unit`; three coordinates for the seed.
        unit: as in `estimate.json`.
        sd_log: standard deviation of the natural logarithm.
        sd: standard deviation, in `unit`.
        identified: whether the data determine the value; otherwise it comes from the prior, or the data add little.
    """

    value: float | tuple[float, float, float]
    unit: str
    sd_log: float | None = None
    sd: float | tuple[float, float, float] | None = None
    identified: bool


class Quantity(_Part):
    """A number with its unit."""

    value: float
    unit: str


class Combination(_Part):
    """What the data say about several parameters together.

    Attributes:
        name: in words and symbols.
        value: in `unit`.
        unit: as in `estimate.json`.
        sd_log: standard deviation of the natural logarithm, prior included.
        identified: whether the data alone determine it.
    """

    name: str
    value: float
    unit: str
    sd_log: float
    identified: bool


class Volumes(_Part):
    """Volumes of one region, mL."""

    scan: float
    model: float


@dataclass(frozen=True, eq=False)
class Curve:
    """Volume of one region over time with its 95 % interval.

    Attributes:
        days: (nt,), day.
        value: (nt,), mL.
        low: (nt,) lower end, mL; equal to `value` where no interval is known.
        high: (nt,) upper end, mL.
    """

    days: NDArray[np.float64]
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class VolumeCurve(_Part):
    """Volumes of one region by day with the ends of their 95 % intervals, mL."""

    volume_ml: tuple[float, ...]
    low_ml: tuple[float, ...]
    high_ml: tuple[float, ...]


class Growth(_Part):
    """Growth from onset until some time after the last session, as the parameters' uncertainty spreads it."""

    days: tuple[float, ...]
    whole: VolumeCurve
    core: VolumeCurve

    def curve(self, region: str) -> Curve:
        """Return one region's curve."""
        volumes: VolumeCurve = getattr(self, region)
        ends = (volumes.volume_ml, volumes.low_ml, volumes.high_ml)
        return Curve(np.array(self.days), *(np.array(values) for values in ends))

    @classmethod
    def of(cls, curves: Mapping[str, Curve]) -> Self:
        """Return the growth of curves, by region, on the same days."""
        volumes = {
            region: {"volume_ml": c.value.tolist(), "low_ml": c.low.tolist(), "high_ml": c.high.tolist()}
            for region, c in curves.items()
        }
        return cls.model_validate({"days": curves["whole"].days.tolist(), **volumes})

    @model_validator(mode="after")
    def _of_one_length(self) -> Growth:
        lengths = {len(getattr(v, end)) for v in (self.whole, self.core) for end in VolumeCurve.model_fields}
        if lengths != {len(self.days)}:
            raise ValueError(f"has {len(self.days)} days and volumes of {sorted(lengths)}")
        return self


class Thresholds(_Part):
    """Cell densities at the boundaries of the two regions, 0..1."""

    oedema: float
    core: float


class Estimate(_Part):
    """Contents of `estimate.json`; what this version does not know is kept and shown as it is."""

    schema_: int = Field(alias="schema")
    case: str
    status: str
    verdict: Literal["", "explained", "partly", "not_explained"] = ""
    verdict_reasons: tuple[str, ...] = ()
    parameters: dict[str, Parameter]
    foci: tuple[Parameter, ...] = ()
    derived: dict[str, Quantity]
    dice: dict[str, dict[str, float | None]] = Field(min_length=1)
    misfit: float
    iterations: int
    gradient_evaluations: int
    mesh: dict[str, Any]
    run: dict[str, Any]
    thresholds: Thresholds
    intervals: dict[str, Any] = {}
    boundary_errors: dict[str, Any] = {}
    declared_errors: dict[str, Any] = {}
    combinations: tuple[Combination, ...] = ()
    not_identified: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    density_range: tuple[float, float] | None = None
    cut_density: float | None = None
    treatments: tuple[Any, ...] = ()
    mesh_quality: dict[str, Any] = {}
    volumes_ml: dict[str, dict[str, Volumes]] = {}
    growth_law: str = ""
    growth_law_parameters: dict[str, Any] = {}
    prior: Any = None
    eigen: Any = None
    reassigned_fraction: float | None = None
    single_seed_overlap: float | None = None
    shape_correction: dict[str, Any] = {}
    posterior: dict[str, Any] = {}
    mesh_margin_mm: float | None = None
    growth: Growth | None = None
    surrogate: dict[str, Any] = {}

    @property
    def diffusion_white(self) -> Estimated:
        """Diffusion in white matter, mm^2/day."""
        return self.scalar("diffusion_white")

    @property
    def diffusion_grey(self) -> Estimated:
        """Diffusion in grey matter, mm^2/day."""
        return self.scalar("diffusion_grey")

    @property
    def proliferation(self) -> Estimated:
        """Proliferation rate, 1/day."""
        return self.scalar("proliferation")

    @property
    def onset(self) -> Estimated:
        """Day of onset, in the calendar of the case."""
        return self.scalar("onset")

    @property
    def seed(self) -> EstimatedPoint:
        """Site of onset, RAS mm; that of the largest focus where there are several."""
        return self.seeds[0]

    @property
    def seeds(self) -> tuple[EstimatedPoint, ...]:
        """Sites of onset of all foci, RAS mm, the largest first."""
        points = []
        for number, entry in enumerate(self.foci or (self.parameters["seed"],), 1):
            assert isinstance(entry.value, tuple)
            sd = entry.sd if isinstance(entry.sd, tuple) else (math.nan,) * 3
            x, y, z = ((v - NORMAL_95 * s, v + NORMAL_95 * s) for v, s in zip(entry.value, sd, strict=True))
            name = f"seed{number}".removesuffix("1")  # seed, seed2, seed3
            points.append(EstimatedPoint(name, entry.value, entry.unit, (x, y, z), entry.identified))
        return tuple(points)

    @property
    def seed_radius(self) -> Estimated:
        """Radius of the ball of cells at onset, mm; one that was given has an interval of zero width."""
        return self.scalar("seed_radius")

    @property
    def front_speed(self) -> Estimated:
        """Speed of the front in white matter, 2 sqrt(D rho), mm/day."""
        return self._derived("front_speed")

    @property
    def infiltration_length(self) -> Estimated:
        """Width of the front in white matter, sqrt(D / rho), mm."""
        return self._derived("infiltration_length")

    def scalar(self, name: str) -> Estimated:
        """Return a parameter with one value."""
        entry = self.parameters[name]
        assert not isinstance(entry.value, tuple)
        ends = self.interval(name) or (math.nan, math.nan)
        return Estimated(name, entry.value, entry.unit, ends, entry.identified)

    def interval(self, name: str) -> tuple[float, float] | None:
        """Return the 95 % interval of a parameter with one value: in the file, else from its deviation, or None."""
        entry, given = self.parameters[name], self.intervals.get(name)
        if isinstance(given, Sequence) and len(given) == 2 and all(isinstance(end, int | float) for end in given):
            return float(given[0]), float(given[1])
        if isinstance(entry.value, tuple):
            return None
        if entry.sd_log is not None:
            return log_interval(entry.value, entry.sd_log)
        if isinstance(entry.sd, float):
            return entry.value - NORMAL_95 * entry.sd, entry.value + NORMAL_95 * entry.sd
        return None

    def _derived(self, name: str) -> Estimated:
        entry = self.derived[name]
        joint = next((c for c in self.combinations if c.name.startswith(name.replace("_", " "))), None)
        ends = (math.nan, math.nan) if joint is None else log_interval(joint.value, joint.sd_log)
        return Estimated(name, entry.value, entry.unit, ends, joint is not None and joint.identified)


def log_interval(value: float, sd_log: float) -> tuple[float, float]:
    """Return the 95 % interval of a quantity whose logarithm is normal."""
    factor = math.exp(min(NORMAL_95 * sd_log, 700.0))
    return value / factor, value * factor


class LastSession(_Part):
    """Where a prediction starts."""

    id: str
    day: float


class PredictionRecord(_Part):
    """Contents of `prediction.json`."""

    schema_: int = Field(alias="schema")
    case: str
    fit: str
    verdict: str = ""
    last_session: LastSession
    days: tuple[float, ...]
    thresholds: Thresholds
    volumes: Growth
    uncertainty: dict[str, Any]
    cut_density: float
    mesh: dict[str, Any]
    notes: tuple[str, ...]
    run: dict[str, Any]
    targets: dict[str, dict[str, Any]]
    coverage: dict[str, dict[str, dict[str, float]]]


class SimulationRecord(_Part):
    """Contents of `summary.json`."""

    schema_: int = Field(alias="schema")
    case: str
    density_range: tuple[float, float]
    steps: int
    thresholds: Thresholds
    mesh: dict[str, Any]
    frames: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    run: dict[str, Any]


def plain_content(record: BaseModel) -> dict[str, Any]:
    """Return a record as it is written: the keys that it was made with, and no others."""
    return record.model_dump(mode="json", by_alias=True, exclude_unset=True)


def parsed[Record: BaseModel](kind: type[Record], content: Any, where: str, remedy: str) -> Record:
    """Return a record of plain content.

    Args:
        kind: class of the record.
        content: as read from a JSON file.
        where: the file, for the message.
        remedy: what to do about a damaged one.

    Raises:
        ReportError: the content is of another version, or an entry is missing or of the wrong type.
    """
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ReportError(f"{where}: has schema {schema!r}, this version reads {SCHEMA}: {remedy}")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(str(part) for part in first["loc"])
        found = " ".join(repr(first["input"]).split())[:60]
        raise ReportError(f"{where}: {entry} is {found} ({first['msg']}): {remedy}") from error
