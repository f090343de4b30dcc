"""`oncology report`: make the page of a finished fit again, from the files that the fit left."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from oncology.cli.runtime import launched_rank

if TYPE_CHECKING:
    from oncology.imaging import Case

__all__ = ["fitted_case", "report"]


def report(out: Path, /, *, case: Path | None = None) -> int:
    """Write OUT/report.html again: pictures, tables and what the scans cannot tell, on one page.

    Reads files only and solves nothing; takes about 10 seconds.

    Args:
        out: Folder that `oncology fit CASE --out OUT` wrote.
        case: Folder of the fitted case, which gives the scans; by default the one that OUT/config.toml names.

    Returns:
        0; wrong input ends with status 2.
    """
    if launched_rank() > 0:
        return 0
    from oncology.report import build_report

    found = fitted_case(out, case)
    print(build_report(out, found))
    if found is None:
        print("oncology: the case was not at hand, so no scan is shown: give --case CASE", file=sys.stderr)
    return 0


def fitted_case(out: Path, given: Path | None) -> Case | None:
    """Return the case that was given, else that of the settings of a fit if it is still there, else None."""
    from oncology.imaging import Case
    from oncology.results.read import read_config

    if given is not None:
        return Case.read(given)
    settings = read_config(out).get("settings", {})
    named = settings.get("case") if isinstance(settings, dict) else None
    if isinstance(named, str) and Path(named, "case.toml").is_file():
        return Case.read(named)
    return None
