"""Pair the notebooks and run them: `python notebooks/execute.py [NAME ...]` writes each .ipynb anew from its .py.

The .py file (percent format) is the source. The .ipynb is what people open and what GitHub shows: the same cells, with
the pictures of the last run. The kernel is the Python that runs this, whatever kernels are installed.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))
NEEDED = ("data", "meshes")  # folders of the repository that the notebooks read, as ../data and ../meshes


class _ThisPython(KernelSpecManager):
    """Knows one kernel: the running Python."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


def execute(source: Path, folder: Path, timeout: int = 300) -> NotebookNode:
    """Run a notebook in a copy of its surroundings and return it with its outputs.

    Args:
        source: the .py or .ipynb file.
        folder: an empty folder, in which the notebook finds what it finds in the repository.
        timeout: most seconds for a cell.

    Raises:
        CellExecutionError: a cell failed.
    """
    for name in NEEDED:
        (folder / name).symlink_to(FOLDER.parent / name, target_is_directory=True)
    place = folder / FOLDER.name
    place.mkdir()
    copy = Path(shutil.copy(source, place))
    notebook = jupytext.read(copy)
    manager = AsyncKernelManager(kernel_spec_manager=_ThisPython())
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=timeout,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(place)}},
    )
    client.owns_km = True  # so that the kernel ends with the notebook
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ONCOLOGY_CACHE": str(folder / "cache")}
    client.execute(env=environment)
    return notebook


def cells(notebook: NotebookNode) -> list[tuple[str, str]]:
    """Return kind and source of each cell: what the two files of a pair share."""
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def _clean(notebook: NotebookNode) -> NotebookNode:
    """Keep what the next run gives again: no versions, no ids drawn at random."""
    language: dict[str, Any] = {"name": "python"}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"jupytext": {"formats": "ipynb,py:percent"}, "kernelspec": kernel, "language_info": language}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    return notebook


def main(names: list[str]) -> None:
    """Run the named notebooks, all if none is named, and write their .ipynb files."""
    for source in SOURCES:
        if names and source.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            notebook = _clean(execute(source, Path(folder)))
        nbformat.write(notebook, source.with_suffix(".ipynb"))
        print(source.stem, f"{source.with_suffix('.ipynb').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
