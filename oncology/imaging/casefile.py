"""The schema of `case.toml`, checked with pydantic; images are not read here.

Every key has a unit and a range; an unknown key, a wrong type or a value out of range raises one `CaseError` with a
one-line message.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

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
from oncology.imaging.labels import MAX_LABEL, NAMED_TABLES, LabelTable
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection, Treatment

__all__ = ["CaseFile", "read_case_file"]

# The descriptions are the remedy in every message about the key: "give ...".
Day = Annotated[float, Field(allow_inf_nan=False, description="a finite number of days")]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False, description="a positive number")]
Density = Annotated[float, Field(gt=0.0, lt=1.0, description="a cell density between 0 and 1, both excluded")]
Values = Annotated[tuple[int, ...], Field(description=f"an integer in 1..{MAX_LABEL}, or a list of several")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SubjectSection(_Section):
    """`[subject]`: the BIDS label after `sub-`, letters and digits."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$", description="letters and digits")]


class NamedLabels(_Section):
    """`labels = "brats2021"`, also written `[labels]` with `table = "brats2021"` (or `name`)."""

    table: Literal["brats2017", "brats2021"] = Field(
        validation_alias=AliasChoices("table", "name"), description="'brats2017' or 'brats2021'"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"table": value} if isinstance(value, str) else value

    def build(self) -> LabelTable:
        """Return the table of this name."""
        return NAMED_TABLES[self.table]


class ExplicitLabels(_Section):
    """`[labels]` with one value or a list of values per class; an empty list for a class that does not occur."""

    necrosis: Values
    oedema: Values
    enhancing: Values

    @field_validator("*", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else (value,)

    def build(self) -> LabelTable:
        """Return the table; it checks its own values."""
        return LabelTable(self.necrosis, self.oedema, self.enhancing)


def _form_of_labels(value: object) -> str:
    """Distinguish the two forms of `[labels]`, so that an error refers to the form that was meant."""
    named = isinstance(value, str) or (isinstance(value, dict) and bool({"table", "name"} & value.keys()))
    return "named" if named else "explicit"


LabelSection = Annotated[
    Annotated[NamedLabels, Tag("named")] | Annotated[ExplicitLabels, Tag("explicit")], Discriminator(_form_of_labels)
]


class ThresholdSection(_Section):
    """`[thresholds]`: cell density (fraction of the carrying capacity) at the visible boundary of each compartment."""

    oedema: Density
    core: Density

    @model_validator(mode="after")
    def _core_is_denser(self) -> ThresholdSection:
        if self.core <= self.oedema:
            raise ValueError(f"core = {self.core:g} must be above oedema = {self.oedema:g}: raise core or lower oedema")
        return self


class SessionSection(_Section):
    """`[[session]]`: a scan; `day` in days from any origin shared by the whole file."""

    id: Annotated[str, Field(pattern=r"^ses-[A-Za-z0-9]+$", description="'ses-' and letters or digits")]
    day: Day


class RadiotherapySection(_Section):
    """`[[treatment]]` radiotherapy: first day, total dose in Gy, equal fractions; alpha in 1/Gy, alpha_beta in Gy."""

    kind: Literal["radiotherapy"]
    day: Day
    dose_gy: Positive
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
    """`[tensor]`: axes of the diffusion tensor's components, see `oncology.imaging.tensor`."""

    axes: Literal["fsl", "voxel", "ras"] = Field(default="fsl", description="'fsl', 'voxel' or 'ras'")


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

    @model_validator(mode="after")
    def _sessions_in_order(self) -> CaseFile:
        ids = [session.id for session in self.session]
        double = next((name for name in ids if ids.count(name) > 1), None)
        if double is not None:
            raise ValueError(f"session id {double} occurs twice: give each session its own id")
        for before, after in zip(self.session, self.session[1:], strict=False):
            if after.day <= before.day:
                raise ValueError(
                    f"{after.id} (day {after.day:g}) must be later than {before.id} (day {before.day:g}): "
                    "sort the sessions by day and correct equal days"
                )
        return self


Location = tuple[int | str, ...]
_SECTIONS: Mapping[str, tuple[type[_Section], ...]] = {
    "subject": (SubjectSection,),
    "labels": (NamedLabels, ExplicitLabels),
    "thresholds": (ThresholdSection,),
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
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CaseError(f"{path}: no such file: every case folder needs a case.toml (see data/README.md)") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CaseError(f"{path}: not readable as TOML ({error}): correct the file") from error
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
