"""`oncology verify`: exact solutions and adjoint checks on the user's own installation, as a table.

The measurements are in `oncology.verify.checks`; this file shows and writes them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from oncology.cli.output import progress
from oncology.cli.runtime import guarded, world
from oncology.errors import OutputError
from oncology.parallel import on_root

if TYPE_CHECKING:
    from oncology.verify.checks import Check

__all__ = ["verify"]


def verify(*, report: Annotated[Path | None, Parameter(name="--json")] = None) -> int:
    """Measure the solver against exact solutions and its derivatives against differences.

    Takes about a minute on one core; `mpiexec -n N` spreads it over N ranks.

    Args:
        report: File for the same numbers as JSON.

    Returns:
        0 if every check is good, 1 otherwise.
    """
    with guarded(comm := world()):
        if report is not None:
            on_root(comm, lambda: _require_writable(report))
        from oncology.verify.checks import run_checks

        speak = print if comm.rank == 0 else lambda *words, **options: None
        speak(f"{'':8}{'check':56}{'measured':>12}  expected", flush=True)
        done: list[Check] = []
        with progress() as show:
            for check in run_checks(comm):
                done.append(check)
                word = "ok" if check.good else "FAILED"
                speak(f"{word:8}{check.name:56}{check.measured:12.5g}  {check.expected}", flush=True)
                show(check.name)
        if report is not None:
            on_root(comm, lambda: _write(report, done, comm.size))
        failed = sum(not check.good for check in done)
        where = f"on {comm.size} rank{'s' if comm.size > 1 else ''}"
        speak(
            f"{failed} of {len(done)} checks failed {where}." if failed else f"All {len(done)} checks are good {where}."
        )
    return 1 if failed else 0


def _require_writable(path: Path) -> None:
    """Find what is wrong with the file before any work is done."""
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise OutputError(
            f"{path}: cannot be written; choose a file in a folder that is there and that you may write to"
        )


def _write(path: Path, checks: Sequence[Check], ranks: int) -> None:
    rows = [
        {
            "check": check.name,
            "measured": check.measured if math.isfinite(check.measured) else None,
            "expected": check.expected,
            "ok": check.good,
            "ranks": ranks,
        }
        for check in checks
    ]
    try:
        path.write_text(json.dumps(rows, indent=1) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose a file you may write") from error
