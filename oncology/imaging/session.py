"""One scan of a patient: its regions, which of them were segmented, the cavity of a resection, the tracer image.

A region of a session is in one of three states. "drawn": the segmentation shows it. "empty": someone looked and there
is none. "not segmented": nothing is known about it, and the fit must not read its absence as "no core". A region
without a voxel counts as empty only where `case.toml` says so (`core = "empty"`) or a resection took it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from oncology.errors import CaseError
from oncology.imaging.labels import LabelTable, indicator
from oncology.imaging.volume import Volume
from oncology.model.treatment import Resection, Treatment

__all__ = ["Session", "State", "labelled_cavity", "make_session", "with_states"]

State = Literal["drawn", "empty", "not segmented"]


@dataclass(frozen=True, eq=False)
class Session:
    """One scan of a patient; sessions may have different grids.

    Attributes:
        id: BIDS name, "ses-01".
        day: days from the origin of `case.toml`.
        whole: mask of every tumour label.
        core: mask of necrosis and enhancing tumour.
        labels: the segmentation, unchanged.
        pet: tracer uptake in the file's unit, if there is one.
        cavity: mask of the resection cavity, where the segmentation has a label for it and shows it.
        whole_state: "drawn", or "not segmented" where the label table has no oedema: `whole` is the core then.
        core_state: "drawn", "empty" or "not segmented".
    """

    id: str
    day: float
    whole: Volume
    core: Volume
    labels: Volume
    pet: Volume | None = None
    cavity: Volume | None = None
    whole_state: State = "drawn"
    core_state: State = "drawn"

    @property
    def regions(self) -> dict[str, Volume]:
        """Masks by name of the regions that were segmented, empty ones too: what the fit may compare with."""
        states = {"whole": self.whole_state, "core": self.core_state}
        return {name: getattr(self, name) for name, state in states.items() if state != "not segmented"}


def make_session(name: str, day: float, labels: Volume, table: LabelTable, pet: Volume | None = None) -> Session:
    """Return the session of a segmentation, with the states that the table alone determines.

    Args:
        name: BIDS name, "ses-01".
        day: of the case's calendar.
        labels: checked segmentation (`oncology.imaging.labels.read_labels`).
        table: what its values mean.
        pet: tracer image.
    """
    cavity = indicator(labels.data, table.cavity)
    core = indicator(labels.data, table.core)
    return Session(
        id=name,
        day=day,
        whole=labels.with_data(indicator(labels.data, table.whole)),
        core=labels.with_data(core),
        labels=labels,
        pet=pet,
        cavity=labels.with_data(cavity) if cavity.any() else None,
        whole_state="drawn" if table.oedema else "not segmented",
        core_state="drawn" if core.any() else "not segmented",
    )


def with_states(
    sessions: Sequence[Session], said: Sequence[State | None], treatments: Sequence[Treatment], source: str
) -> tuple[Session, ...]:
    """Return the sessions with the state of the core that `case.toml` says, or that follows from a resection.

    Args:
        sessions: by day, as `make_session` returns them.
        said: state of the core in `case.toml`, by session; None: nothing is said.
        treatments: of the patient.
        source: path of `case.toml`, for messages.

    Raises:
        CaseError: `case.toml` says of a core that it is empty or drawn, and the segmentation says otherwise.
    """
    resected = [treatment.day for treatment in treatments if isinstance(treatment, Resection)]
    result: list[Session] = []
    for session, state in zip(sessions, said, strict=True):
        shown = bool(session.core.data.any())
        if state == "empty" and shown:
            raise CaseError(
                f'{source}: {session.id} has core = "empty" but its segmentation shows a core: leave one out'
            )
        if state == "drawn" and not shown:
            raise CaseError(
                f'{source}: {session.id} has core = "drawn" but its segmentation shows none: '
                'segment it, or write core = "empty" or "not segmented"'
            )
        had_one = any(before.core.data.any() for before in result)
        if state is None and not shown and had_one and any(day < session.day for day in resected):
            state = "empty"
        result.append(session if state is None else replace(session, core_state=state))
    return tuple(result)


def labelled_cavity(sessions: Sequence[Session], resection: Resection) -> Volume | None:
    """Return the cavity of a resection without a mask where the first scan after it has a label for it, else None."""
    after = [session for session in sessions if session.day > resection.day]
    return after[0].cavity if after else None
