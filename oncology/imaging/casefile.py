"""The schema of `case.toml`, checked with pydantic; images are not read here.

Every key has a unit and a range; an unknown key, a wrong type or a value out of range raises one `CaseError` with a
one-line message.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from oncology.errors import CaseError
from oncology.imaging.casetext import count_dates, read_toml
from oncology.imaging.labels import MAX_LABEL, LabelTable
from oncology.imaging.naming import SESSION_NAME, SUBJECT_NAME
from oncology.imaging.session import State
from oncology.imaging.tables import NAMED_TABLES, named_table
from oncology.imaging.tensor import Order
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection, Treatment

__all__ = ["SAME_DAY", "CaseFile", "TensorSection", "check_content", "read_case_file"]

# The descriptions are the remedy in every message about the key: "give ...".
Day = Annotated[
    float,
    Field(allow_inf_nan=False, description="a finite number of days, or a date such as 2023-11-05 without quotes"),
]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False, description="a positive number")]
Density = Annotated[float, Field(gt=0.0, lt=1.0, description="a cell density between 0 and 1, both excluded")]
ThresholdError = Annotated[float, Field(ge=0.0, le=0.2, description="a standard deviation of the density in 0..0.2")]
Bias = Annotated[float, Field(ge=0.0, le=3.0, description="a standard deviation in 0..3 mm")]
Values = Annotated[tuple[int, ...], Field(description=f"an integer in 1..{MAX_LABEL}, or a list of several")]


SAME_DAY = 0.01  # day, a quarter of an hour: from a scan before surgery to the one after it on the same day
LONGEST = 36525.0  # day, a hundred years: a calendar beyond this is a typing error
MOST_DOSE = 200.0  # Gy: more is centigray


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SubjectSection(_Section):
    """`[subject]`: the name after `sub-`, as BIDS or a data set writes it."""

    id: Annotated[str, Field(pattern=SUBJECT_NAME, description="letters and digits, with - or _ in between, in quotes")]

    @field_validator("id")
    @classmethod
    def _without_prefix(cls, value: str) -> str:
        if value.startswith("sub-"):
            raise ValueError(f"{value!r} begins with the 'sub-' of the file names: give {value.removeprefix('sub-')!r}")
        return value


class NamedLabels(_Section):
    """`labels = "brats2021"`, also written `[labels]` with `table = "brats2021"` (or `name`)."""

    table: str = Field(
        validation_alias=AliasChoices("table", "name"), description=f"one of {', '.join(NAMED_TABLES)}, in quotes"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"table": value} if isinstance(value, str) else value

    def build(self) -> LabelTable:
        """Return the table of this name.

        Raises:
            CaseError: there is none.
        """
        return named_table(self.table)


class ExplicitLabels(_Section):
    """`[labels]` with one value or a list of values per class; a class that does not occur is left out."""

    necrosis: Values = ()
    oedema: Values = ()
    enhancing: Values = ()
    cavity: Values = ()

    @field_validator("*", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else (value,)

    def build(self) -> LabelTable:
        """Return the table; it checks its own values."""
        return LabelTable(self.necrosis, self.oedema, self.enhancing, cavity=self.cavity)


def _form_of_labels(value: object) -> str:
    """Distinguish the two forms of `[labels]`, so that an error refers to the form that was meant."""
    named = isinstance(value, str) or (isinstance(value, dict) and bool({"table", "name"} & value.keys()))
    return "named" if named else "explicit"


LabelSection = Annotated[
    Annotated[NamedLabels, Tag("named")] | Annotated[ExplicitLabels, Tag("explicit")], Discriminator(_form_of_labels)
]


class ThresholdSection(_Section):
    """`[thresholds]`: cell density (fraction of the carrying capacity) at the visible boundary of each compartment.

    `sd` is the standard deviation of both thresholds, the same density in all sessions.
    """

    oedema: Density
    core: Density
    sd: ThresholdError = 0.0

    @model_validator(mode="after")
    def _core_is_denser(self) -> ThresholdSection:
        if self.core <= self.oedema:
            raise ValueError(f"core = {self.core:g} must be above oedema = {self.oedema:g}: raise core or lower oedema")
        return self


class SegmentationSection(_Section):
    """`[segmentation]`: standard deviations of how far boundaries are off as a whole, mm.

    `bias_mm` of those that a rater draws around the tumour, `white_mm` of the one between white and grey matter.
    """

    bias_mm: Bias = 0.0
    white_mm: Bias = 0.25


class SessionSection(_Section):
    """`[[session]]`: a scan; `day` in days from any origin shared by the whole file, or a date.

    `core` says of a core that the segmentation does not show whether there is none or whether nobody segmented it.
    """

    id: Annotated[
        str,
        Field(pattern=SESSION_NAME, description="'ses-' and letters or digits, with - or _ in between, in quotes"),
    ]
    day: Day
    core: State | None = Field(default=None, description="'drawn', 'empty' or 'not segmented'")

    @field_validator("id")
    @classmethod
    def _with_prefix(cls, value: str) -> str:
        return value if value.startswith("ses-") else f"ses-{value}"


class RadiotherapySection(_Section):
    """`[[treatment]]` radiotherapy: first day, total dose in Gy, equal fractions; alpha in 1/Gy, alpha_beta in Gy."""

    kind: Literal["radiotherapy"]
    day: Day
    dose_gy: Annotated[
        float,
        Field(gt=0.0, le=MOST_DOSE, description=f"a positive number of Gy, at most {MOST_DOSE:g} (6000 cGy are 60)"),
    ]
    fractions: Annotated[int, Field(ge=1, le=100, description="an integer in 1..100")]
    alpha: Positive = Radiotherapy.alpha
    alpha_beta: Positive = Radiotherapy.alpha_beta

    def build(self, root: Path) -> Treatment:
        """Return the treatment."""
        return Radiotherapy(self.day, self.dose_gy, self.fractions, self.alpha, self.alpha_beta)


class ChemotherapySection(_Section):
    """`[[treatment]]` chemotherapy: day, kill rate at that day in 1/day, half-life of the kill rate in days.

    The default half-life is that of temozolomide in plasma, 1.8 hours (Baker et al. 1999).
    """

    kind: Literal["chemotherapy"]
    day: Day
    rate: Positive
    half_life: Positive = 0.075

    def build(self, root: Path) -> Treatment:
        """Return the treatment."""
        return Chemotherapy(self.day, self.rate, self.half_life)


class ResectionSection(_Section):
    """`[[treatment]]` resection: day, and the cavity as a mask file relative to the case folder (optional)."""

    kind: Literal["resection"]
    day: Day
    mask: str | None = None

    def build(self, root: Path) -> Treatment:
        """Return the treatment, with the mask's path resolved against the case folder."""
        return Resection(self.day, None if self.mask is None else root / self.mask)


TreatmentSection = Annotated[RadiotherapySection | ChemotherapySection | ResectionSection, Field(discriminator="kind")]


class TensorSection(_Section):
    """`[tensor]`: order and axes of the diffusion tensor's components, see `oncology.imaging.tensor`."""

    axes: Literal["fsl", "voxel", "ras"] = Field(default="fsl", description="'fsl', 'voxel' or 'ras'")
    order: Order | None = Field(default=None, description="'fsl', 'mrtrix', 'dipy' or 'ants'")


class CaseFile(_Section):
    """The whole of `case.toml`."""

    subject: SubjectSection = Field(description='id = "..."')
    labels: LabelSection = Field(description="values of necrosis, oedema and enhancing, or table = 'brats2021'")
    thresholds: ThresholdSection = Field(description="oedema = 0.25 and core = 0.60, or your own")
    session: Annotated[
        tuple[SessionSection, ...], Field(min_length=1, strict=False, description="at least one session")
    ]
    treatment: Annotated[tuple[TreatmentSection, ...], Field(strict=False, description="a list of treatments")] = ()
    tensor: TensorSection = TensorSection()
    segmentation: SegmentationSection = SegmentationSection()

    @model_validator(mode="after")
    def _sessions_in_order(self) -> CaseFile:
        ids = [session.id for session in self.session]
        double = next((name for name in ids if ids.count(name) > 1), None)
        if double is not None:
            raise ValueError(f"session id {double} occurs twice: give each session its own id")
        operated = {entry.day for entry in self.treatment if isinstance(entry, ResectionSection)}
        for before, after in pairwise(self.session):
            if after.day < before.day or (after.day == before.day and after.day not in operated):
                raise ValueError(
                    f"{after.id} (day {after.day:g}) must be later than {before.id} (day {before.day:g}): "
                    "sort the sessions by day and correct equal days; two scans on the same day need fractions of a "
                    "day (0.5 is 12 hours), or the resection between them"
                )
        return self

    @model_validator(mode="after")
    def _within_a_lifetime(self) -> CaseFile:
        first, last = self.session[0], self.session[-1]
        if last.day - first.day > LONGEST:
            raise ValueError(
                f"{first.id} and {last.id} are {last.day - first.day:.0f} days apart, more than 100 years: "
                "give days, not seconds, or dates such as 2023-11-05 without quotes"
            )
        early = next((entry for entry in self.treatment if entry.day < last.day - LONGEST), None)
        if early is not None:
            raise ValueError(
                f"{early.kind} on day {early.day:g} is more than 100 years before {last.id} (day {last.day:g}): "
                "correct its day"
            )
        return self

    @property
    def days(self) -> tuple[float, ...]:
        """Day of each session, strictly ascending: a second scan on one day comes shortly after the first."""
        days: list[float] = []
        for session in self.session:
            shifted = days and session.day <= days[-1]
            days.append(days[-1] + SAME_DAY if shifted else session.day)
        return tuple(days)

    @property
    def days_with_two(self) -> frozenset[float]:
        """Days with a scan before a resection and one after it."""
        return frozenset(before.day for before, after in pairwise(self.session) if before.day == after.day)


Location = tuple[int | str, ...]
_SECTIONS: Mapping[str, tuple[type[_Section], ...]] = {
    "subject": (SubjectSection,),
    "labels": (NamedLabels, ExplicitLabels),
    "thresholds": (ThresholdSection,),
    "segmentation": (SegmentationSection,),
    "session": (SessionSection,),
    "treatment": (RadiotherapySection, ChemotherapySection, ResectionSection),
    "tensor": (TensorSection,),
}


def read_case_file(path: Path) -> CaseFile:
    """Read and check `case.toml`.

    Args:
        path: the file.

    Raises:
        CaseError: the file is missing, is not TOML, has unknown or missing keys, or a value out of range; one line
            that names file, key, value and remedy.
    """
    return check_content(path, read_toml(path))


def check_content(path: Path, content: dict[str, Any]) -> CaseFile:
    """Check the content of a `case.toml` that was read, or will be written.

    Args:
        path: the file, for messages.
        content: of the file; dates are replaced by days.

    Raises:
        CaseError: it has unknown or missing keys, or a value out of range; one line that names file, key, value and
            remedy.
    """
    count_dates(path, content)
    try:
        case_file = CaseFile.model_validate(content)
        case_file.labels.build()
    except ValidationError as error:
        raise CaseError(f"{path}: {_first_line(error)}") from error
    except CaseError as error:
        raise CaseError(f"{path}: {error}") from error
    return case_file


def _first_line(error: ValidationError) -> str:
    """The first error as one line: key, value, and what to give instead."""
    problems = error.errors(include_url=False)
    # An unknown key is the usual cause (a typing error) of the missing key that is listed before it.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    location, key = problem["loc"], _key(problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            line = f"unknown key {key}: allowed here are {_allowed(location)}"
        case "missing":
            line = f"key {key} is missing: give {_remedy(location) or 'it'}"
        case "value_error":
            line = (f"[{key}] " if key else "") + str(problem["ctx"]["error"])
        case "union_tag_invalid":
            line = f"{key}.kind = {problem['ctx']['tag']!r} is unknown: give {problem['ctx']['expected_tags']}"
        case "union_tag_not_found":
            line = f"key {key}.kind is missing: give 'radiotherapy', 'chemotherapy' or 'resection'"
        case _:
            line = f"{key} = {problem['input']!r} is not allowed: give {_remedy(location) or problem['msg']}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return " ".join(line.split()) + more


def _key(location: Location) -> str:
    """A pydantic location as one writes it in TOML terms, for example session[2].day (entries count from 1)."""
    tag = {"labels": 1, "treatment": 2}.get(str(location[0]) if location else "")  # where pydantic adds the form's name
    key = ""
    for i, part in enumerate(location):
        if isinstance(part, int):
            key += f"[{part + 1}]"
        elif i != tag:
            key += f".{part}" if key else part
    return key


def _sections(location: Location) -> tuple[type[_Section], ...]:
    """The models that can hold the key at a location."""
    if len(location) == 1:
        return (CaseFile,)
    sections = _SECTIONS.get(str(location[0]), ())
    if location[0] == "treatment":
        return tuple(s for s in sections if get_args(s.model_fields["kind"].annotation) == (location[2],))
    return sections


def _allowed(location: Location) -> str:
    """The keys that the section of an unknown key does have."""
    return " or ".join(", ".join(section.model_fields) for section in _sections(location))


def _remedy(location: Location) -> str | None:
    """What the key at a location should hold."""
    names = [part for part in location if isinstance(part, str)]
    fields = (section.model_fields.get(names[-1]) for section in _sections(location))
    return next((field.description for field in fields if field is not None), None)
