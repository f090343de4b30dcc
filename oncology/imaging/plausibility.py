"""What is odd about a case before any fit: sentences that name the value, what is usual, and what to look at.

Nothing here is an error. Each check is a function of the case that yields sentences; `CHECKS` lists them. Those of
files, labels and maps are in `oncology.imaging.plausibility_images`.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from oncology.imaging.foci import MOST_FOCI, late_foci, metastases
from oncology.imaging.metrics import volume_ml
from oncology.imaging.plausibility_images import files, label_order, maps, thickness
from oncology.imaging.resample import resample_to
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection
from oncology.text import number, plain

if TYPE_CHECKING:
    from oncology.imaging.case import Case, Session

__all__ = ["CHECKS", "Remarks", "examine"]

CLOSE, APART = 7.0, 365.0  # days between sessions: usual range
FALL = 0.1  # fraction of the volume by which it may fall without a remark
FASTEST = 1.0  # mm/day of the equivalent radius
UNLIKE = 2.0  # times the volume of another focus: more than seeds of one age explain
SMALL, LARGE = 0.5, 200.0  # mL, usual range of a whole tumour
LITTLE_OEDEMA = 0.98  # fraction of the whole tumour that is core
FAR = 3652.5  # day from the scans, beyond which a treatment is unlikely
MOST_DOSE = 100.0  # Gy
MOST_KILL = 1.0  # 1/day


class Remarks(tuple[str, ...]):
    """Sentences; empty where nothing is odd. Printed one per line."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(self) if self else "Nothing unusual was found."

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return "<br>".join(html.escape(line) for line in str(self).splitlines())


def examine(case: Case) -> Remarks:
    """Return what is odd about a case.

    Example:
        >>> examine(case)                                               # doctest: +SKIP
        ses-02: the whole tumour shrinks from 30 to 22 mL without treatment: check order and labels of the sessions
    """
    return Remarks(sentence for check in CHECKS for sentence in check(case))


def _sessions(case: Case) -> Iterator[str]:
    """Number of sessions and days between them."""
    if len(case.sessions) == 1:
        yield (
            f"{case.sessions[0].id} is the only session: diffusion and proliferation cannot be told apart; "
            "add a second scan if there is one"
        )
    for before, after in pairwise(case.sessions):
        days = after.day - before.day
        surgery = any(isinstance(t, Resection) and before.day < t.day < after.day for t in case.treatments)
        if not (CLOSE <= days <= APART or (surgery and days < CLOSE)):
            yield (
                f"{before.id} and {after.id} are {plain(days)} days apart, usual are {CLOSE:g} to {APART:g}: "
                "check their days in case.toml"
            )


def _overlap(case: Case) -> Iterator[str]:
    """Sessions whose tumours do not meet."""
    for before, after in pairwise(case.sessions):
        later = resample_to(after.whole.with_data(after.whole.data.astype(np.uint8)), before.whole, order=0).data > 0
        common = int(np.count_nonzero(later & before.whole.data))
        smaller = min(np.count_nonzero(later), np.count_nonzero(before.whole.data))
        if not common:
            yield (
                f"{before.id} and {after.id} do not overlap: the tumour cannot have moved: "
                "register the sessions to each other, and check their affines (a flip of left and right?)"
            )
        elif common < 0.5 * smaller:
            part = 100.0 * common / smaller
            yield (
                f"{before.id} and {after.id} overlap by only {part:.0f} % of the smaller tumour: "
                "register the sessions to each other"
            )


def _growth(case: Case) -> Iterator[str]:
    """Volumes that fall without treatment, and fronts that are faster than any known one."""
    for before, after in pairwise(case.sessions):
        treated = any(before.day <= treatment.day < after.day for treatment in case.treatments)
        for region in ("whole", "core"):
            first, second = (volume_ml(getattr(session, region)) for session in (before, after))
            if 0.0 < second < (1.0 - FALL) * first and not treated:
                what = "whole tumour" if region == "whole" else "core"
                yield (
                    f"{after.id}: the {what} shrinks from {number(first)} to {number(second)} mL without treatment: "
                    "check order and labels of the sessions, or add the treatment to case.toml"
                )
        if before.whole.same_grid(after.whole) and np.array_equal(before.labels.data, after.labels.data):
            yield f"{after.id}: has the same segmentation as {before.id}: check that each session has its own"
        first, second = (_radius(session) for session in (before, after))
        speed = (second - first) / (after.day - before.day)
        if speed > FASTEST:
            yield (
                f"{after.id}: the radius of the whole tumour grows by {number(speed)} mm/day, usual is at most "
                f"{FASTEST:g}: check the days in case.toml"
            )


def _radius(session: Session) -> float:
    """Radius of the ball of the whole tumour's volume, mm."""
    return float(np.cbrt(0.75 / np.pi * 1e3 * volume_ml(session.whole)))


def _cut(case: Case) -> Iterator[str]:
    """Tumours that reach the border of their image or of the tissue maps."""
    maps = np.ones(case.white.shape, dtype=np.uint8)
    for session in case.sessions:
        if _touches(session.whole.data):
            yield f"{session.id}: the tumour is cut by the border of its segmentation: use an image of the whole head"
            continue
        inside = resample_to(case.white.with_data(maps), session.whole, order=0).data > 0
        if (session.whole.data & ~inside).any():
            yield f"{session.id}: the tumour is cut by the border of the tissue maps: use maps of the whole head"


def _touches(mask: NDArray[np.bool_]) -> bool:
    """Whether a mask reaches the first or last voxel of an axis with more than one."""
    return any(
        bool(np.take(mask, end, axis=axis).any()) for axis in range(3) if mask.shape[axis] > 1 for end in (0, -1)
    )


def _foci(case: Case) -> Iterator[str]:
    """Tumours in several pieces: each grows from a seed of its own, on one day."""
    first, foci = case.sessions[0].id, case.foci
    if len(foci) > MOST_FOCI:
        yield f"{first}: {metastases(foci)}"
    elif len(foci) > 1:
        volumes = [focus.volume_ml for focus in foci]
        unlike = (
            "; they start on the same day, which may not explain foci of such different size"
            if volumes[0] > UNLIKE * volumes[-1]
            else ""
        )
        listed = f"{', '.join(map(number, volumes[:-1]))} and {number(volumes[-1])} mL"
        yield f"{first}: the tumour has {len(foci)} foci ({listed}): each gets a seed of its own{unlike}"
    for before, after in pairwise(case.sessions):
        for focus in late_foci(before.whole, after.whole):
            yield (
                f"{after.id}: a focus of {number(focus.volume_ml)} mL lies far from all that {before.id} shows: "
                "it gets no seed, since seeds start on the same day; check that both segmentations are complete"
            )


def _regions(case: Case) -> Iterator[str]:
    """Core against whole tumour, and sizes."""
    for session in case.sessions:
        whole, core = volume_ml(session.whole), volume_ml(session.core)
        if (session.core.data & ~session.whole.data).any():
            yield f"{session.id}: the core reaches outside the whole tumour: check the label table"
        if not core:
            yield from _missing_core(case, session)
        elif core > LITTLE_OEDEMA * whole and session.whole_state == "drawn":
            yield f"{session.id}: {100 * core / whole:.0f} % of the tumour is core: check whether oedema is labelled"
        if not SMALL <= whole <= LARGE:
            yield (
                f"{session.id}: the whole tumour has {number(whole)} mL, usual are {SMALL:g} to {LARGE:g}: "
                "check the labels and the voxel size"
            )


def _missing_core(case: Case, session: Session) -> Iterator[str]:
    """How a core that the segmentation does not show was read, and what to write if that is wrong."""
    if not case.labels.core:
        yield f"{session.id}: the label table has no core: only the boundary of the whole tumour is fitted"
    elif session.core_state == "empty":
        yield f'{session.id}: has no core, which counts as seen to be empty (core = "empty", or a resection)'
    else:
        before = [other.id for other in case.sessions if other.day < session.day and other.core.data.any()]
        gone = f"has no core although {before[-1]} has one and no resection is given" if before else "has no core"
        yield (
            f"{session.id}: {gone}: taken as not segmented, so that only the boundary of the whole tumour is fitted; "
            'segment it, add the resection, or write core = "empty" under its [[session]] if there is none'
        )


def _treatments(case: Case) -> Iterator[str]:
    """Doses, kill rates and days that are typing errors more often than treatments."""
    first, last = case.sessions[0].day, case.sessions[-1].day
    for treatment in case.treatments:
        kind, day = type(treatment).__name__.lower(), plain(treatment.day)
        if not first - FAR <= treatment.day <= last + FAR:
            yield f"{kind} on day {day} is more than ten years from the scans: check its day in case.toml"
        if isinstance(treatment, Radiotherapy) and treatment.dose_gy > MOST_DOSE:
            yield (
                f"{kind} on day {day}: a dose of {plain(treatment.dose_gy)} Gy is above {MOST_DOSE:g} Gy: "
                "check dose_gy in case.toml (Gy, not cGy)"
            )
        if isinstance(treatment, Chemotherapy) and treatment.rate > MOST_KILL:
            yield (
                f"{kind} on day {day}: a kill rate of {plain(treatment.rate)} /day is above {MOST_KILL:g} /day: "
                "check rate in case.toml (1/day, not per cent)"
            )


CHECKS: tuple[Callable[[Case], Iterator[str]], ...] = (
    files,
    _sessions,
    _overlap,
    _growth,
    _cut,
    _foci,
    _regions,
    label_order,
    thickness,
    maps,
    _treatments,
)
