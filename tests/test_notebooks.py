"""The notebooks run, assert what they say, and agree with what is shown of them."""

from __future__ import annotations

from pathlib import Path

import pytest

INSTALL = "install it with: pip install ipykernel jupytext nbclient"
jupytext = pytest.importorskip("jupytext", reason=INSTALL)
for _needed in ("nbclient", "ipykernel"):
    pytest.importorskip(_needed, reason=INSTALL)

from notebooks.execute import FOLDER, SOURCES, cells, execute  # noqa: E402

LARGEST = 800_000  # bytes, with pictures of 120 dpi


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(notebook):
    return [output for output in outputs(notebook) if "image/png" in output.get("data", {})]


def stem(path: Path) -> str:
    return path.stem


def test_every_notebook_is_a_pair_and_stands_in_the_table():
    assert [path.stem for path in SOURCES] == [path.stem for path in sorted(FOLDER.glob("*.ipynb"))]
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"({path.stem}.ipynb)" in table for path in SOURCES)


@pytest.mark.parametrize("source", SOURCES, ids=stem)
def test_pairs_agree(source):
    shown = source.with_suffix(".ipynb")
    notebook = jupytext.read(shown)
    assert cells(notebook) == cells(jupytext.read(source))
    assert shown.stat().st_size < LARGEST
    assert pictures(notebook)
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert "/home/" not in shown.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=stem)
def test_it_runs_and_its_numbers_hold(source, tmp_path):
    notebook = execute(source, tmp_path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any("\nassert " in f"\n{cell.source}" for cell in code)
    assert all(cell.execution_count for cell in code)
    assert pictures(notebook)
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
