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
from oncology.files import os_error_text
from oncology.parallel import Communicator, on_root

__all__ = ["MARKER", "RESUME_HINT", "json_lines", "output_folder"]

MARKER = ".oncology"  # in every folder this package writes: only these are ever replaced or cleared
LEAST_FREE = 4_000_000  # bytes
RESUME_HINT = "the last iterate is saved: give the same command with --resume to go on"


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
    same `out` removes what dead runs left or, with `resume`, goes on in the newest one that holds the checkpoint. An
    interrupt, a full disk or too little memory carries a note on how to go on where the checkpoint was kept.

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
            `out` was not written by this package, or another run is writing there; every OSError of the block.
    """
    out = Path(os.path.abspath(out))
    lock: list[IO[str]] = []
    work = on_root(comm, lambda: _prepare(out, lock, overwrite, checkpoint if resume else None))
    try:
        yield work
    except BaseException as error:
        kept = checkpoint is not None and (work / checkpoint).is_file()
        if lock and not kept:
            shutil.rmtree(work, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            told = OutputError(os_error_text(error, error.filename or out))
            _add_hint(told, kept)
            raise told from error
        _add_hint(error, kept and _may_go_on(error))
        raise
    else:
        if comm is not None:
            comm.Barrier()
        on_root(comm, lambda: _publish(work, out, replace=overwrite or resume))
    finally:
        for handle in lock:
            handle.close()


def _may_go_on(error: BaseException) -> bool:
    """Whether what ended a run was not its own fault, so that the same command can go on."""
    return isinstance(error, KeyboardInterrupt | MemoryError) or type(error) is OutputError


def _add_hint(error: BaseException, kept: bool) -> None:
    """Add a note on how to go on where the last iterate was kept."""
    if kept:
        error.add_note(RESUME_HINT)


def _prepare(out: Path, lock: list[IO[str]], overwrite: bool, checkpoint: str | None) -> Path:
    """Check `out`, clear away what dead runs left and return a locked working folder."""
    work = out.with_name(f"{out.name}.tmp-{os.getpid()}")
    adopted: Path | None = None
    try:
        _refuse_what_is_not_ours(out, overwrite, checkpoint is not None)
        out.parent.mkdir(parents=True, exist_ok=True)
        _require_space(out)
        adopted = _clear_dead_runs(out, checkpoint)
        if adopted is not None:
            adopted.rename(work)
        elif checkpoint and (out / checkpoint).is_file():
            shutil.copytree(out, work)
        else:
            work.mkdir()
        (work / MARKER).write_text(f"written by oncology {__version__}\n")
        handle = (work / MARKER).open("r+")
    except OSError as error:
        if adopted is None:
            shutil.rmtree(work, ignore_errors=True)
        raise OutputError(os_error_text(error, f"{out}: cannot be written")) from error
    with suppress(OSError):  # a file system without locks: dead runs are then left for the user to remove
        fcntl.flock(handle, fcntl.LOCK_SH)
    lock.append(handle)
    return work


def _require_space(out: Path) -> None:
    """Refuse a disk on which the smallest results do not fit; one that tells no size is taken as it is."""
    disk = shutil.disk_usage(out.parent)
    if disk.total > 0 and disk.free < LEAST_FREE:
        raise OutputError(
            f"{out}: only {disk.free / 1e6:.1f} MB of space are left on the disk, results need {LEAST_FREE / 1e6:g} MB "
            "or more: free some, or choose a folder on another disk"
        )


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
    """Remove the working folders of dead runs; return the newest that holds the checkpoint, if one is asked for.

    Raises:
        OutputError: another process is writing into one of them.
    """
    folders = list(out.parent.glob(f"{_escaped(out.name)}.tmp-*"))
    living = next((folder for folder in folders if _is_held(folder) is True), None)
    if living is not None:
        raise OutputError(
            f"{out}: another run is writing there ({living.name}); wait for its end, or choose another --out"
        )
    dead = [folder for folder in folders if _is_held(folder) is False]
    dead.sort(key=lambda folder: (folder / MARKER).stat().st_mtime)
    adopted = next((f for f in reversed(dead) if checkpoint and (f / checkpoint).is_file()), None)
    for folder in dead:
        if folder != adopted:
            shutil.rmtree(folder)
    return adopted


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "[]*?" else letter for letter in name)


def _is_held(folder: Path) -> bool | None:
    """Tell whether a living process holds the folder's lock; None where that cannot be known: it is nobody's then."""
    try:
        with (folder / MARKER).open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return None


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
