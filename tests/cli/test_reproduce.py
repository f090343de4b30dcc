"""`oncology reproduce`: tables as CSV and Markdown, and where it refuses."""

from __future__ import annotations

import csv

import pytest

from oncology.cli import main as cli


def test_tables_of_science_are_written_and_shown(tmp_path, capsys):
    names = ["symmetries", "brachistochrone"]
    assert cli.run(["reproduce", "science", "--out", str(tmp_path / "out"), "--only", *names]) == 0
    shown = capsys.readouterr().out
    assert (tmp_path / "out" / "tables.md").read_text().strip() == shown.strip()
    assert "the data do not see a change of initial by the factor c^1, proliferation by -0.1 c" in shown
    with (tmp_path / "out" / "brachistochrone.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["cells"] for row in rows] == ["10", "20", "40"]
    assert float(rows[-1]["error of the time, s"]) == pytest.approx(1.9e-5, rel=0.1)  # B2.7
    assert f"| 40 | {float(rows[-1]['error of the time, s']):.4g} |" in shown


def test_an_unknown_table_is_a_users_mistake(tmp_path, capsys):
    assert cli.run(["reproduce", "science", "--out", str(tmp_path / "out"), "--only", "magic"]) == 2
    assert "take some of direct, inverse" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
