"""`oncology report`: which case it takes, and one line for what is wrong."""

from pathlib import Path

import pytest

from oncology.cli import main as cli
from oncology.imaging import Case
from oncology.report import pictures, scene
from oncology.report.style import Drawing
from tests.report.synthetic import write_results


@pytest.fixture
def out(case_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def fail(made: scene.Scene) -> bytes:
        raise scene.RenderingError("3-D view: not in this test")

    monkeypatch.setattr(pictures, "render", fail)
    for name in ("session_figure", "growth_figure", "convergence_figure"):
        monkeypatch.setattr(pictures, name, lambda *given: Drawing(figsize=(0.1, 0.1)))
    return write_results(tmp_path, Case.read(case_path), size=8.0, steps=4)


def test_the_case_is_found_in_the_settings(out, capsys):
    assert cli.run(["report", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(out / "report.html")
    assert captured.err == ""
    assert "Case folder not found" not in (out / "report.html").read_text()


def test_without_the_case_it_says_so(out, case_path, tmp_path, capsys):
    moved = case_path.rename(tmp_path / "elsewhere")
    assert cli.run(["report", str(out)]) == 0
    assert "case folder not found; scans are not shown. Use --case PATH." in capsys.readouterr().err
    assert cli.run(["report", str(out), "--case", str(moved)]) == 0
    assert capsys.readouterr().err == ""


def test_a_folder_without_a_fit_ends_in_one_line(tmp_path, capsys):
    assert cli.run(["report", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "estimate.json: no such file" in captured.err


def test_a_wrong_case_ends_in_one_line(out, tmp_path, capsys):
    assert cli.run(["report", str(out), "--case", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
