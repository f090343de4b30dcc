"""Removal of shared memory that killed ranks of MPICH left on this machine.

From version 5.0 on, the ranks of a node meet in a shared-memory segment that is named after the numbers of job and step
only (MPI_Init: `MPIDI_POSIX_comm_bootstrap`). Slurm counts steps from 0 again when it requeues a job, so that its ranks
would meet in the segment of the killed ones, lose each other's first messages, and crash or wait for ever.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["remove_remains"]

_PATTERN = "mpich_*_*"
_FRESH = 1.0  # seconds; a process maps a segment long before this after creating it


def remove_remains(folder: Path = Path("/dev/shm"), processes: Path = Path("/proc")) -> list[Path]:
    """Remove the segments of this user that no process has mapped any more.

    Args:
        folder: Folder in which the system keeps shared memory.
        processes: Folder in which it lists the processes.

    Returns:
        The removed files.
    """
    latest = time.time() - _FRESH
    left = [path for path in folder.glob(_PATTERN) if _is_ours(path, latest)]
    mapped = set(_mapped(processes)) if left else set()
    dead = [path for path in left if path.name not in mapped]
    for path in dead:
        path.unlink(missing_ok=True)
    return dead


def _is_ours(path: Path, latest: float) -> bool:
    """Tell whether a file belongs to this user and is older than `latest`, s since the epoch."""
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
