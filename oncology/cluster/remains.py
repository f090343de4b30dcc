"""Shared memory that ranks of MPICH left on this machine when they were killed.

From version 5.0 on, ranks on one node meet in a segment whose name is made from the job's and the step's number alone
(MPI_Init: `MPIDI_POSIX_comm_bootstrap`). Slurm counts steps from 0 again when it requeues a job, so that its ranks
would meet in what the killed ones left, lose each other's first messages there, and crash or wait for ever.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["remove_remains"]

_PATTERN = "mpich_*_*"
_FRESH = 1.0  # seconds in which whoever made a segment has mapped it, by far


def remove_remains(folder: Path = Path("/dev/shm"), processes: Path = Path("/proc")) -> list[Path]:
    """Remove the segments of this user that no process has mapped any more.

    Args:
        folder: Where the system keeps shared memory.
        processes: Where it lists the processes.

    Returns:
        What was removed.
    """
    latest = time.time() - _FRESH
    left = [path for path in folder.glob(_PATTERN) if _is_ours(path, latest)]
    mapped = set(_mapped(processes)) if left else set()
    dead = [path for path in left if path.name not in mapped]
    for path in dead:
        path.unlink(missing_ok=True)
    return dead


def _is_ours(path: Path, latest: float) -> bool:
    """Whether a file belongs to this user and was there at a time, s since the epoch."""
    with suppress(OSError):
        status = path.lstat()
        return status.st_uid == os.getuid() and status.st_mtime < latest
    return False


def _mapped(processes: Path) -> Iterator[str]:
    """Yield the names, without folders, of all files that processes of this user have mapped."""
    for maps in processes.glob("[0-9]*/maps"):
        with suppress(OSError):  # another user's, or gone
            for line in maps.read_text(errors="replace").splitlines():
                yield line.rpartition("/")[2]
