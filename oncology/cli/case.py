"""`oncology case`: a case looked at before any fit, a `case.toml` for images that are there, cases of public data."""

from __future__ import annotations

import json
import shlex
import sys
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from oncology.cli.casedays import read_days
from oncology.cli.caseimport import from_brats, from_lumiere, from_predictgbm
from oncology.cli.output import closing
from oncology.errors import ArgumentError, CaseError, OutputError
from oncology.parallel import launched_rank

if TYPE_CHECKING:
    from oncology.imaging.casemaker import Draft

__all__ = ["case", "check", "init"]

case = App(name="case", help="Look at a case before a fit, write its case.toml, or make it from a public data set.")
for command in (from_brats, from_lumiere, from_predictgbm):
    case.command(command)

Values = Annotated[tuple[int, ...], Parameter(consume_multiple=True, negative="")]
CLASSES = ("necrosis", "oedema", "enhancing", "cavity")


@case.command
def check(case: Path, /, *, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> int:
    """Read a case as a fit would, and say what is odd about it, a line each with what to do.

    Args:
        case: Folder of the case, which holds case.toml.
        as_json: Print one JSON object instead.

    Returns:
        0 for a case that can be fitted, odd or not; invalid input ends with exit status 2.
    """
    if launched_rank() > 0:
        return 0
    import oncology as onc

    patient = onc.read_case(case)
    remarks = patient.check()
    if as_json:
        sessions = [{"id": s.id, "day": s.day, "whole": s.whole_state, "core": s.core_state} for s in patient.sessions]
        print(json.dumps({"case": patient.id, "sessions": sessions, "remarks": list(remarks)}, indent=1))
        return 0
    print(patient)
    print()
    for remark in remarks:
        print(f"- {remark}")
    count = len(remarks)
    print(f"{count} remark{'s' * (count > 1)}: a fit will repeat them as warnings" if count else str(remarks))
    closing(case, following=(shlex.join(("oncology", "fit", str(case), "--out", f"{case}-fit")),))
    return 0


@case.command
def init(
    folder: Path,
    /,
    *,
    subject: str | None = None,
    sessions: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    days: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    table: str | None = None,
    necrosis: Values = (),
    oedema: Values = (),
    enhancing: Values = (),
    cavity: Values = (),
    thresholds: tuple[float, float] = (0.25, 0.6),
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write FOLDER/case.toml for images with BIDS names; what is neither given nor found is asked for.

    Args:
        folder: Folder of the case, with its images.
        subject: Name of the subject, without sub- (found in the names of the images).
        sessions: Names of the sessions, by day (found: those with a segmentation).
        days: Day of each session, from any origin, or its date (2023-11-05).
        table: Label table of the segmentations, such as brats2021 or hd-glio (docs/case-format.md).
        necrosis: Values of necrosis, instead of a table.
        oedema: Values of oedema.
        enhancing: Values of enhancing tumour.
        cavity: Values of the cavity of a resection.
        thresholds: Cell density at the boundary of the whole tumour and of the core, 0 to 1.
        overwrite: Replace a case.toml that is there.

    Returns:
        0; invalid input ends with exit status 2.
    """
    if launched_rank() > 0:
        return 0
    from oncology.files import write_file
    from oncology.imaging.casemaker import case_text

    path = folder / "case.toml"
    if not folder.is_dir():
        raise CaseError(f"{folder}: no such folder: give the one with the images")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: is there already: edit it, or replace it with --overwrite")
    values = dict(zip(CLASSES, (necrosis, oedema, enhancing, cavity), strict=True))
    labels = {name: found for name, found in values.items() if found}
    draft = _draft(folder, subject, sessions, days, table, labels, thresholds)
    write_file(path, case_text(path, draft))
    print(path)
    print(f"next: {shlex.join(('oncology', 'case', 'check', str(folder)))}")
    return 0


def _draft(
    folder: Path,
    subject: str | None,
    sessions: tuple[str, ...],
    days: tuple[str, ...],
    table: str | None,
    labels: dict[str, tuple[int, ...]],
    thresholds: tuple[float, float],
) -> Draft:
    """Put together what is given, found and asked for."""
    from oncology.imaging.casemaker import Draft, find_sessions, find_subject
    from oncology.imaging.tables import NAMED_TABLES, named_table

    if table and labels:
        raise ArgumentError("table", f"{table} and values of classes are two ways to say the same: give one of them")
    subject = subject or find_subject(folder) or _asked("--subject", "Name of the subject, without sub-")
    sessions = sessions or find_sessions(folder)
    if not sessions:
        raise CaseError(
            f"{folder}: holds no segmentation: put it at "
            f"ses-01/anat/sub-{subject}_ses-01_desc-tumor_dseg.nii.gz (layout in data/README.md)"
        )
    days = days or tuple(_asked("--days", f"Day of {name}, or its date (2023-11-05)") for name in sessions)
    if len(days) != len(sessions):
        raise ArgumentError("days", f"are {len(days)} for the sessions {', '.join(sessions)}: give one for each")
    read = read_days(days)
    if not labels and not table:
        table = _asked("--table", f"Label table ({', '.join(NAMED_TABLES)})")
    if table:
        named_table(table)
    ordered = sorted(zip(sessions, read, strict=True), key=itemgetter(1))
    return Draft(subject, tuple(ordered), table, labels, thresholds)


def _asked(option: str, question: str) -> str:
    """Ask on a terminal; elsewhere the option is missing."""
    if not sys.stdin.isatty():
        raise ArgumentError(option.removeprefix("--"), f"is missing: {question[0].lower()}{question[1:]}")
    try:
        return input(f"{question}: ").strip()
    except EOFError:
        raise KeyboardInterrupt from None
