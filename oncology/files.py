"""Files that are written whole or not at all, with one line for each thing that can be in the way of it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from oncology.errors import OutputError

__all__ = ["hdf5_bytes", "os_error_text", "write_file"]

_CURES = {
    errno.ENOSPC: "no space left on the disk: free some, or choose a folder on another disk",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose a folder on another disk",
    errno.EACCES: "permission denied: choose a folder you can write to, or correct its permissions",
    errno.EPERM: "not permitted: choose a folder you can write to, or correct its permissions",
    errno.EROFS: "the file system is read-only: choose a folder you can write to",
    errno.ENOENT: "no such file or folder: correct the path, or choose a folder you can write to",
    errno.EEXIST: "a file is in the way: choose a folder elsewhere",
    errno.ENOTDIR: "a part of the path is a file: choose a folder elsewhere",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.EMFILE: "too many open files: raise the limit (ulimit -n)",
    errno.EIO: "input/output error: check the disk or the network share",
    errno.ESTALE: "the network share was lost: mount it again",
}


def os_error_text(error: OSError, path: Path | str | None = None) -> str:
    """Return an error of the operating system as one line with its path and what to do."""
    where = path if path is not None else error.filename
    why = _CURES.get(error.errno or 0) or f"{error.strerror or error}: check the path, its disk and its permissions"
    return " ".join(f"{where}: {why}".split()) if where else " ".join(why.split())


def write_file(path: Path | str, content: bytes | str) -> None:
    """Write a file, whole or not at all (temporary file in the same folder, then rename).

    Args:
        path: file to write; an existing one is replaced in a single rename.
        content: all of it; text is encoded as UTF-8.

    Raises:
        OutputError: the folder is missing, full or cannot be written.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(os_error_text(error, f"{path}: cannot be written")) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def hdf5_bytes(fill: Callable[[Any], None]) -> bytes:
    """Return the bytes of an HDF5 file that a function fills.

    The file is made in memory: on a full disk the HDF5 library would fail again and again until the process ends.

    Args:
        fill: takes the open h5py file.
    """
    import h5py

    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        fill(file)
        file.flush()
        return bytes(file.id.get_file_image())
