"""What is read of an estimate by name, and that it is written again as it was read."""

import json
import math

import pytest
import pyvista as pv

from oncology.results.files import find_case, read_results, write_results
from oncology.results.schema import Estimate, ReportError, parsed, plain_content
from oncology.view.measures import volumes_above
from tests.cases import write_case
from tests.report.synthetic import write_results as synthetic


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    from oncology.imaging import Case

    return Case.read(write_case(tmp_path_factory.mktemp("schema") / "case"))


@pytest.fixture(scope="module")
def out(case, tmp_path_factory):
    return synthetic(tmp_path_factory.mktemp("results"), case, size=8.0, steps=4)


def test_what_is_written_again_is_what_was_read(case, out, tmp_path):
    results = read_results(out, case)
    write_results(tmp_path, results)
    for name in ("estimate.json", "log.jsonl"):
        lines = (
            [[json.loads(line) for line in (f / name).read_text().splitlines()] for f in (out, tmp_path)]
            if (name == "log.jsonl")
            else [json.loads((f / name).read_text()) for f in (out, tmp_path)]
        )
        assert lines[0] == lines[1], name
    again = read_results(tmp_path, case)
    assert again.estimate == results.estimate and again.config == results.config
    shapes = {f"surface_{region}_{s.id}.stl" for region in ("whole", "core") for s in case.sessions}
    more = {"series.vtkhdf", "dataset_description.json", *shapes}
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in out.iterdir()} | more
    described = json.loads((tmp_path / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative" and described["GeneratedBy"][0]["Name"] == "oncology"
    for region, threshold in results.threshold.items():
        surface = pv.read(tmp_path / f"surface_{region}_{case.sessions[-1].id}.stl")
        exact = volumes_above(results.mesh, results.trajectory.density[-1], [threshold])[0]
        assert surface.volume / 1e3 == pytest.approx(exact, rel=1e-3)


def test_parameters_have_names_values_and_intervals(out):
    estimate = read_results(out).estimate
    assert estimate.diffusion_white.value == 0.30 and estimate.diffusion_white.unit == "mm^2/day"
    low, high = estimate.proliferation.interval
    assert (low, high) == tuple(estimate.intervals["proliferation"])
    assert estimate.diffusion_grey.identified is False
    onset = estimate.onset
    assert onset.interval == pytest.approx((onset.value - 1.959964 * 14.0, onset.value + 1.959964 * 14.0))
    x, y, z = estimate.seed.interval
    assert (x[1] - x[0], y[1] - y[0], z[1] - z[0]) == pytest.approx([2 * 1.959964 * sd for sd in (0.8, 0.7, 0.9)])
    assert estimate.seeds == (estimate.seed,) and estimate.seed.name == "seed"
    speed = estimate.front_speed
    assert math.log(speed.interval[1] / speed.interval[0]) == pytest.approx(2 * 1.959964 * 0.025)


def test_several_foci_are_points_with_intervals(out):
    content = json.loads((out / "estimate.json").read_text())
    first = content["parameters"]["seed"]
    other = {"value": [1.0, 2.0, 3.0], "unit": "mm", "sd": [0.1, 0.2, 0.3], "identified": True}
    estimate = parsed(Estimate, content | {"foci": [first, other]}, "estimate.json", "fit again")
    seed, second = estimate.seeds
    assert seed == estimate.seed and second.name == "seed2" and second.value == (1.0, 2.0, 3.0)
    assert second.interval[1] == pytest.approx((2.0 - 1.959964 * 0.2, 2.0 + 1.959964 * 0.2))


def test_an_unknown_key_is_kept(out):
    content = json.loads((out / "estimate.json").read_text()) | {"verdict": "explained"}
    assert plain_content(parsed(Estimate, content, "estimate.json", "fit again"))["verdict"] == "explained"
    with pytest.raises(ReportError, match=r"estimate\.json: has schema 7, this version reads 1: fit again"):
        parsed(Estimate, content | {"schema": 7}, "estimate.json", "fit again")


def test_a_case_is_found_beside_the_results_wherever_both_are_moved(case, tmp_path):
    folder = tmp_path / "demo" / "fit"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[settings]\ncase = "../case/sub-toy01"\n')
    assert find_case(folder) is None
    write_case(tmp_path / "demo" / "case")
    assert find_case(folder).id == "toy01"
    (tmp_path / "demo").rename(tmp_path / "moved")
    assert find_case(tmp_path / "moved" / "fit").root.is_relative_to(tmp_path / "moved")
