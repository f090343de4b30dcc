"""`oncology verify`: exact solutions and adjoint checks on the user's own installation, as a table.

The measurements are in `oncology.fem.checks`; this file shows and writes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from oncology.cli.output import progress
from oncology.cli.runtime import guarded, world
from oncology.errors import OutputError
from oncology.parallel import on_root

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
        if report is not None:  # before any work is done
            on_root(comm, lambda: _write(report, []))
        from oncology.fem.checks import Check, run_checks

        done: list[Check] = []
        if comm.rank == 0:
            print(f"{'':8}{'check':56}{'measured':>12}  expected", flush=True)
        with progress() as show:
            for check in run_checks(comm):
                done.append(check)
                show(check.name)
                if comm.rank == 0:
                    word = "ok" if check.good else "FAILED"
                    print(f"{word:8}{check.name:56}{check.measured:12.5g}  {check.expected}", flush=True)
        if report is not None:
            rows = [
                {"check": c.name, "measured": c.measured, "expected": c.expected, "ok": c.good, "ranks": comm.size}
                for c in done
            ]
            on_root(comm, lambda: _write(report, rows))
        failed = sum(not check.good for check in done)
        if comm.rank == 0:
            where = f"on {comm.size} rank{'s' if comm.size > 1 else ''}"
            print(
                f"{failed} of {len(done)} checks failed {where}."
                if failed
                else f"All {len(done)} checks are good {where}."
            )
    return 1 if failed else 0


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    try:
        path.write_text(json.dumps(rows, indent=1) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose a file you may write") from error
