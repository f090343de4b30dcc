"""`oncology report`: make the page of a finished fit again, from the files that the fit left."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from oncology.cli.output import closing
from oncology.parallel import launched_rank

__all__ = ["report"]

NO_CASE = "oncology: Warning: case folder not found; scans are not shown. Use --case PATH."


def report(out: Path, /, *, case: Path | None = None) -> int:
    """Write OUT/report.html again: pictures, tables and what the scans do not determine, on one page.

    Reads files only and solves nothing; takes about 10 seconds.

    Args:
        out: Folder that `oncology fit CASE --out OUT` wrote.
        case: Folder of the fitted case, which gives the scans; by default the one that OUT/config.toml names.

    Returns:
        0; invalid input ends with exit status 2.
    """
    if launched_rank() > 0:
        return 0
    import oncology as onc

    fit = onc.load(out, case)
    print(fit.report(out / "report.html"))
    if fit.case is None:
        print(NO_CASE, file=sys.stderr)
    closing(out, following=(shlex.join(("oncology", "view", str(out))),))
    return 0
