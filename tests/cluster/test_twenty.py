"""Twenty real fits with the local runner: one broken case, and everything killed halfway."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
from pathlib import Path

import pytest
import tomli_w

from tests.cases import write_case
from tests.cluster.cohorts import Cohort, wait_for

NAMES = [f"{k:02d}" for k in range(20)]
BROKEN = "07"


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    try:
        own = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*own, *(grandchild for child in own for grandchild in children(child))]


def log_of(folder: Path) -> list[dict]:
    """Return the records of every accepted iterate."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def saved_iterate(folder: Path) -> float:
    """Return D_w of the iterate in a checkpoint, mm^2/day; the first unknown is its logarithm."""
    return math.exp(json.loads((folder / "checkpoint.json").read_text())["checkpoint"]["x"][0])


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    """Tumours in different places of one brain, on meshes so coarse that a fit is little more than its start."""
    folder = tmp_path_factory.mktemp("twenty")
    for k, name in enumerate(NAMES):
        write_case(folder / "patients", id=name, voxel=6.0, tumour_centre=(-16.0 + k % 5, 12.0 - k % 4, 8.0 - k % 3))
    cohort = Cohort(folder)
    (cohort.case(BROKEN) / "anat" / f"sub-{BROKEN}_label-GM_probseg.nii.gz").unlink()
    options = {"size": 20.0, "single_seed": True, "report": False}
    cohort.plan.write_text(tomli_w.dumps({"cases": ["patients/sub-*"], "out": "results", "fit": options}))
    return cohort


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_cases_one_broken_one_kill(cohort, monkeypatch):
    monkeypatch.setenv("ONCOLOGY_CACHE", str(cohort.folder / "cache"))
    runner = cohort.start("--cores", "2")
    wait_for(lambda: len(cohort.finished()) >= 4 and list(cohort.results.glob("*.tmp-*/checkpoint.json")), 900.0)
    for pid in [runner.pid, *children(runner.pid)]:
        os.kill(pid, signal.SIGKILL)
    runner.communicate(timeout=60)
    first = {
        path: path.stat().st_mtime_ns for path in cohort.results.glob("*/estimate.json") if ".tmp-" not in str(path)
    }
    assert 4 <= len(first) < 19 and cohort.half_written(), "killed halfway"
    killed = {
        path.parent.name.partition(".tmp-")[0]: path.parent for path in cohort.results.glob("*.tmp-*/checkpoint.json")
    }
    before = {name: (saved_iterate(folder), log_of(folder)) for name, folder in killed.items()}
    assert before

    again = cohort.start("--cores", "2")
    out, error = again.communicate(timeout=1500)
    assert again.returncode == 1
    assert error.count("\n") == 1 and error.startswith(f"oncology: sub-{BROKEN}: ") and "GM is missing" in error
    assert out.strip() == str(cohort.results / "cohort.html")
    assert cohort.finished() == {f"sub-{name}" for name in NAMES if name != BROKEN}
    assert not cohort.half_written()
    assert {path.name for path in cohort.results.iterdir()} - cohort.finished() == {
        ".cohort",
        "cohort.csv",
        "cohort.html",
    }
    assert all(path.stat().st_mtime_ns == time for path, time in first.items()), "finished cases are not done again"
    for name, (iterate, records) in before.items():
        after = log_of(cohort.results / name)
        assert after[: len(records)] == records and len(after) > len(records), f"{name} went on"
        assert after[len(records)]["diffusion_white"] == pytest.approx(iterate, rel=1e-9), (
            "from the iterate that it had"
        )
    with (cohort.results / "cohort.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["state"] for row in rows] == ["failed" if name == BROKEN else "finished" for name in NAMES]
    assert "GM is missing" in rows[int(BROKEN)]["error"]
    for row in (row for row in rows if row["state"] == "finished"):
        estimate = json.loads((cohort.results / row["results"] / "estimate.json").read_text())
        assert float(row["proliferation [1/day]"]) == pytest.approx(
            estimate["parameters"]["proliferation"]["value"], rel=1e-5
        )
