"""A case and its treatments in words and in a small table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oncology.imaging.metrics import volume_ml
from oncology.model.treatment import Chemotherapy, Radiotherapy, Treatment
from oncology.text import Table, number, plain

if TYPE_CHECKING:
    from oncology.imaging.case import Case
    from oncology.imaging.session import Session

__all__ = ["case_table", "treatment"]


def case_table(case: Case) -> Table:
    """Return sessions with volumes; thresholds, images and treatments below."""
    rows = tuple(
        (
            session.id,
            plain(session.day),
            _volume(session, "whole"),
            _volume(session, "core"),
            " × ".join(f"{size:.3g}" for size in session.labels.voxel_sizes),
            "yes" if session.pet is not None else "no",
        )
        for session in case.sessions
    )
    header = ("session", "day", "whole, mL", "core, mL", "voxels, mm", "PET")
    extra = {"T1w": case.t1, "diffusion tensor": case.tensor}
    images = ["tissue maps", *(name for name, image in extra.items() if image is not None)]
    notes = [
        f"thresholds: oedema {case.thresholds.oedema:g}, core {case.thresholds.core:g}",
        f"images: {', '.join(images)}",
        *(treatment(given) for given in case.treatments),
    ]
    return Table(f"Case {case.id}", header, rows, tuple(notes))


def _volume(session: Session, region: str) -> str:
    """Volume of a region, mL, or its state where there is none."""
    return number(volume_ml(session.regions[region])) if region in session.regions else "not segmented"


def treatment(given: Treatment) -> str:
    """Say what was done, when and how much."""
    day = plain(given.day)
    match given:
        case Radiotherapy():
            return (
                f"radiotherapy from day {day}: {plain(given.dose_gy)} Gy in {given.fractions} fractions (α = "
                f"{plain(given.alpha)} /Gy, α/β = {plain(given.alpha_beta)} Gy: each leaves "
                f"{100 * given.survival:.1f} % of the cells)"
            )
        case Chemotherapy():
            return (
                f"chemotherapy on day {day}: kill rate {plain(given.rate)} /day, half-life "
                f"{plain(given.half_life)} days"
            )
    what = "the core of the scan before" if given.mask is None else given.mask.name
    return f"resection on day {day}: cavity from {what}"
