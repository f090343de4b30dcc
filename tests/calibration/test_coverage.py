"""Eight patients of the coverage benchmark in a small brain: intervals hold the truth, and nothing is run twice.

The 60 patients in the MNI152 brain are `python -m benchmarks.calibration`; their table is in docs/verification.md.
"""

import json

import pytest

from benchmarks.calibration import patients, read_results, result_path, run_patient
from benchmarks.calibration_statistics import markdown, pit_plot, quantities, row
from tests.calibration.anatomy import small_brain

COUNT = 8
SIZE = 5.0  # mm


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, brain = tmp_path_factory.mktemp("coverage"), small_brain()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONCOLOGY_CACHE", str(folder / "meshes"))
        for stratum, number in patients(COUNT):
            run_patient(folder, stratum, number, SIZE, brain, finest=1.0)
    return folder


@pytest.mark.slow
def test_intervals_hold_the_truth(folder):
    results = read_results(folder, SIZE, COUNT)
    assert [result.get("error") for result in results] == [None] * COUNT
    found = [quantities(result["truth"], result["estimate"]) for result in results]
    for name in found[0]:
        summary = row([errors[name] for errors in found])
        assert summary.covered[2] >= 6, (name, summary)  # of calibrated intervals, fewer in 0.6 % of all experiments
        assert summary.wrong == 0 or name.startswith("seed_"), (name, summary)


@pytest.mark.slow
def test_results_are_kept_and_shown(folder):
    path = result_path(folder, SIZE, "A", 5)
    before = path.stat().st_mtime_ns
    run_patient(folder, "A", 5, SIZE, small_brain(), finest=1.0)
    assert path.stat().st_mtime_ns == before
    content = json.loads(path.read_text())
    assert content["truth"]["diffusion_white"] > 0.0 and content["estimate"]["status"] == "converged"
    results = read_results(folder, SIZE, COUNT + 2)
    assert [result["id"] for result in results if "error" in result] == ["A09", "B09"]
    page = markdown(results)
    assert "Stratum A: 5 patients, 1 failed fits: A09." in page and "| ln D_w | " in page
    pit_plot(results, folder / "pit.png")
    assert (folder / "pit.png").stat().st_size > 10_000
