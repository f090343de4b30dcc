"""A folder of results that appears whole or not at all, and a log in JSON lines.

Results are written into a working folder beside the wanted one, which is renamed at the end. The working folder
holds a lock for as long as its run lives, so that a later run can tell what a killed run left from what is in use.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from oncology import __version__
from oncology.errors import OutputError
from oncology.parallel import Communicator, on_root

__all__ = ["MARKER", "json_lines", "output_folder"]

MARKER = ".oncology"  # in every folder this package writes: only these are ever replaced or cleared


@contextmanager
def output_folder(
    out: Path,
    comm: Communicator | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    checkpoint: str | None = None,
) -> Iterator[Path]:
    """Give a working folder that becomes `out` at the end of the block, or leaves nothing of `out` behind.

    What is wrong with `out` is found before any work is done. After an error the working folder is removed, except
    when it holds the checkpoint; a killed run leaves its working folder `OUT.tmp-<process>`. The next run into the
    same `out` removes what dead runs left or, with `resume`, goes on in the newest one that holds the checkpoint.

    Args:
        out: Folder to make.
        comm: Communicator; rank 0 alone touches the disk, every rank is given the path. None: this process alone.
        overwrite: Replace `out` if this package wrote it.
        resume: Go on from a dead run's working folder, or from a finished `out` of this package.
        checkpoint: Name of the file that makes a working folder worth keeping.

    Yields:
        Path of the working folder (the same on every rank).

    Raises:
        OutputError: The place cannot be written, `out` is not empty and neither `overwrite` nor `resume` is given,
            or `out` was not written by this package.
    """
    out = Path(os.path.abspath(out))
    lock: list[IO[str]] = []
    work = on_root(comm, lambda: _prepare(out, lock, overwrite, checkpoint if resume else None))
    try:
        yield work
    except BaseException:
        if lock and not (checkpoint and (work / checkpoint).is_file()):
            shutil.rmtree(work, ignore_errors=True)
        raise
    else:
        if comm is not None:
            comm.Barrier()
        on_root(comm, lambda: _publish(work, out, replace=overwrite or resume))
    finally:
        for handle in lock:
            handle.close()


def _prepare(out: Path, lock: list[IO[str]], overwrite: bool, checkpoint: str | None) -> Path:
    """Check `out`, clear away what dead runs left and return a locked working folder."""
    work = out.with_name(f"{out.name}.tmp-{os.getpid()}")
    try:
        _refuse_what_is_not_ours(out, overwrite, checkpoint is not None)
        out.parent.mkdir(parents=True, exist_ok=True)
        adopted = _clear_dead_runs(out, checkpoint)
        if adopted is not None:
            adopted.rename(work)
        elif checkpoint and (out / checkpoint).is_file():
            shutil.copytree(out, work)
        else:
            work.mkdir()
        handle = (work / MARKER).open("w")
        handle.write(f"written by oncology {__version__}\n")
        handle.flush()
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{out}: cannot be written ({reason}); choose a folder you may write to") from error
    with suppress(OSError):  # a file system without locks: dead runs are then left for the user to remove
        fcntl.flock(handle, fcntl.LOCK_SH)
    lock.append(handle)
    return work


def _refuse_what_is_not_ours(out: Path, overwrite: bool, resume: bool) -> None:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; choose another --out")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite and not resume:
        raise OutputError(f"{out}: is not empty; choose another --out, or replace it with --overwrite")
    if not (out / MARKER).is_file():
        raise OutputError(f"{out}: was not written by oncology and is left alone; choose another --out")


def _clear_dead_runs(out: Path, checkpoint: str | None) -> Path | None:
    """Remove the working folders of dead runs; return the newest that holds the checkpoint, if one is asked for."""
    dead = [folder for folder in out.parent.glob(f"{_escaped(out.name)}.tmp-*") if _is_dead(folder)]
    dead.sort(key=lambda folder: (folder / MARKER).stat().st_mtime)
    adopted = next((f for f in reversed(dead) if checkpoint and (f / checkpoint).is_file()), None)
    for folder in dead:
        if folder != adopted:
            shutil.rmtree(folder)
    return adopted


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "[]*?" else letter for letter in name)


def _is_dead(folder: Path) -> bool:
    """Tell whether no living process holds the folder's lock; a folder without our marker is nobody's."""
    try:
        with (folder / MARKER).open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:
        return False


def _publish(work: Path, out: Path, replace: bool) -> None:
    """Rename the working folder to `out`, moving an older `out` of ours out of the way first."""
    previous = work.with_name(f"{work.name}-previous")
    try:
        if replace and out.is_dir() and any(out.iterdir()):
            out.rename(previous)
        work.rename(out)
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be replaced ({error.strerror or error}); the results are in {work}"
        ) from error
    shutil.rmtree(previous, ignore_errors=True)


@contextmanager
def json_lines(path: Path | None) -> Iterator[Callable[[Mapping[str, object]], None]]:
    """Open a log that takes one record a line, appending; `path` None (ranks other than 0) writes nothing.

    Args:
        path: File to append to.

    Yields:
        Function that writes a record at once; arrays become lists, numbers that are not finite become null.
    """
    if path is None:
        yield lambda record: None
        return
    with path.open("a", encoding="utf-8") as handle:

        def write(record: Mapping[str, object]) -> None:
            handle.write(json.dumps(_plain(record), allow_nan=False) + "\n")
            handle.flush()

        yield write


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
