"""`oncology reproduce`: tables as CSV and Markdown, and where it refuses."""

from __future__ import annotations

import csv
import json

import pytest

from oncology.cli import main as cli
from oncology.reproduce.toys import spiral_trials
from oncology.reproduce.trials import run_trials


def test_tables_of_science_are_written_and_shown(tmp_path, capsys):
    names = ["symmetries", "brachistochrone"]
    assert cli.run(["reproduce", "science", "--out", str(tmp_path / "out"), "--only", *names]) == 0
    shown = capsys.readouterr().out
    assert (tmp_path / "out" / "tables.md").read_text().strip() == shown.strip()
    assert "the data do not see a change of initial by the factor c^1, proliferation by -0.1 c" in shown
    with (tmp_path / "out" / "brachistochrone.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["cells"] for row in rows] == ["10", "20", "40"]
    assert float(rows[-1]["error of the time, s"]) == pytest.approx(1.9e-5, rel=0.1)
    assert f"| 40 | {float(rows[-1]['error of the time, s']):.4g} |" in shown


def test_a_quick_table_of_convolutional_networks(tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.run(["reproduce", "science", "--out", str(out), "--only", "convolution", "--quick"]) == 0
    (rows,) = json.loads((out / "tables.json").read_text()).values()
    kinds = ("NODE", "network")
    assert {row["method"] for row in rows} == {f"convolutional {k}{n}" for k in kinds for n in ("", ", input noise")}
    sizes = [row["parameters"] for row in rows]
    assert max(sizes) < 1.02 * min(sizes)
    assert all(0.0 <= row["attack 0.6"] <= row["attack 0.3"] <= row["accuracy"] <= 1.0 for row in rows)
    assert [row["twice the pixels"] is None for row in rows] == ["network" in row["method"] for row in rows]
    assert f"{rows[0]['accuracy']:.4g}" in capsys.readouterr().out


def test_an_unknown_table_is_a_users_mistake(tmp_path, capsys):
    assert cli.run(["reproduce", "science", "--out", str(tmp_path / "out"), "--only", "magic"]) == 2
    assert "take some of direct, inverse" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_quick_tables_of_standalone_nodes(tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.run(["reproduce", "snode", "--out", str(out), "--quick", "--jobs", "1"]) == 0
    tables = json.loads((out / "tables.json").read_text())
    assert set(tables) == {"reference", "equal_work", "spirals", "digits"}
    shown = capsys.readouterr().out
    for name, rows in tables.items():
        with (out / f"{name}.csv").open() as file:
            assert [list(row) for row in csv.DictReader(file)] == [list(row) for row in rows]
        assert all(0 <= row["accuracy"] <= 1 for row in rows)
        assert f"{rows[0]['accuracy']:.4g}" in shown
    assert len(tables["reference"]) == 14  # both spaces: steepest descent, FR twice, PR+ four times
    assert {row["method"] for row in tables["equal_work"]} == {"Adam", "L-BFGS", "NCG H1", "NCG L2", "NCG L2 newton"}
    sizes = [row["parameters"] for row in tables["digits"]]
    assert max(sizes) < 1.02 * min(sizes)
    assert all(row["certified"] <= row["attacked"] for row in tables["digits"])


def test_trials_do_not_depend_on_the_number_of_processes():
    trials = spiral_trials((0, 1), iterations=6, sizes=(4,))
    one, two = (dict(run_trials(trials, workers)) for workers in (1, 2))
    assert one == two
