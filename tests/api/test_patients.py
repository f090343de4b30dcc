"""The postcard for patients as it is printed, on the example of this repository, and what each of its objects says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import oncology as onc
from oncology.errors import ArgumentError, ConfigError
from oncology.imaging import read_volume

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "data" / "sub-example01"
COARSE = 7.0  # mm
POSTCARD = re.findall(r"(?ms)^```py\n(.*?)^```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"))[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The names that the postcard leaves, and the folder in which it ran; only the mesh and the samples are smaller."""
    folder = tmp_path_factory.mktemp("postcard")
    shutil.copytree(EXAMPLE, folder / "sub-01")
    text = POSTCARD.replace("size=2.5", f"size={COARSE}").replace("samples=100", "samples=8")
    text = text.replace("days=[0, 45])", f"days=[0, 45], size={COARSE})")
    names: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONCOLOGY_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        exec(text, names)
    return folder, names


@pytest.fixture(scope="module")
def fit(run) -> onc.Fit:
    return run[1]["fit"]


@pytest.fixture(scope="module")
def forecast(run) -> onc.Prediction:
    return run[1]["forecast"]


def test_a_case_prints_as_a_table_and_is_plausible(run):
    case = run[1]["case"]
    lines = repr(case).splitlines()
    assert lines[0] == "Case example01"
    assert lines[2].split()[:3] == ["ses-01", "0", "41.8"]
    assert "thresholds: oedema 0.25, core 0.6" in lines
    assert "<td" in case._repr_html_() and "ses-02" in case._repr_html_()
    assert not case.check() and len(case.check()) == 0


def test_a_fit_prints_values_intervals_and_a_verdict(fit):
    lines = repr(fit).splitlines()
    assert lines[1].split() == ["parameter", "value", "unit", "95", "%", "interval", "identified"]
    assert [line.split("  ")[0] for line in lines[2:5]] == ["diffusion white", "diffusion grey", "proliferation"]
    assert lines[-1].startswith("Verdict: explained, converged, Dice of the whole tumour 0.9")
    assert fit.verdict.level == "explained" and "overlap by 0.9" in fit.verdict.reasons[0]
    assert "<table>" in fit._repr_html_()
    assert fit.summary().startswith("The modelled tumour began about day")


def test_the_estimate_is_near_the_truth(fit):
    """As in truth.json of the example; on 7 mm cells to a third."""
    estimate = fit.estimate
    for found, truth in ((estimate.diffusion_white, 0.2), (estimate.proliferation, 0.025)):
        assert found.value == pytest.approx(truth, rel=0.35)
        assert found.interval[0] < found.value < found.interval[1]
        assert found.identified
    np.testing.assert_allclose(estimate.seed.value, (34.0, -20.0, 30.0), atol=2.0)
    speed = 2.0 * np.sqrt(estimate.diffusion_white.value * estimate.proliferation.value)
    assert estimate.front_speed.value == pytest.approx(speed)


def test_the_frame_holds_what_the_file_holds(fit):
    frame = fit.to_dataframe()
    assert list(frame.columns) == ["value", "unit", "low", "high", "identified"]
    assert list(frame.index[:3]) == ["diffusion_white", "diffusion_grey", "proliferation"]
    assert (frame["low"] < frame["value"]).all() and (frame["value"] < frame["high"]).all()
    low, high = fit.estimate.intervals["onset"]
    assert tuple(frame.loc["onset", ["low", "high"]]) == (low, high)


def test_densities_lie_in_the_space_of_the_scans(run, fit):
    case = run[1]["case"]
    stored = read_volume(run[0] / "sub-01-fit" / "density_ses-02.nii.gz")
    last = fit.density(day=42.0)
    np.testing.assert_array_equal(last.get_fdata(dtype=np.float32), stored.data)
    np.testing.assert_array_equal(last.affine, case.sessions[-1].whole.affine)
    volumes = [(fit.density(day=day).get_fdata() > 0.25).sum() for day in (0.0, 20.0, 30.0, 42.0)]
    assert volumes == sorted(set(volumes)), "it grows from day to day"
    with pytest.raises(ArgumentError, match=r"day 50 is outside"):
        fit.density(day=50.0)


def test_the_grid_holds_density_tissue_and_thresholds(fit):
    grid = fit.to_pyvista(day=42.0)
    assert grid.n_points == len(fit.results.mesh.points) and grid.n_cells == len(fit.results.mesh.cells)
    assert {"white", "grey"} <= set(grid.cell_data.keys())
    level = float(grid.field_data["threshold_whole"][0])
    surface = grid.contour([level], scalars="density")
    assert surface.volume == pytest.approx(fit.estimate.volumes_ml["ses-02"]["whole"].model * 1e3, rel=0.2)


def test_a_forecast_has_one_row_per_day_that_was_asked_for(forecast, fit):
    frame = forecast.volume("whole")
    assert list(frame.columns) == ["day", "median", "2.5 %", "97.5 %"]
    assert list(frame["day"]) == [30.0, 60.0, 90.0]
    assert (np.diff(frame["median"]) > 0.0).all()
    assert ((frame["2.5 %"] < frame["median"]) & (frame["median"] < frame["97.5 %"])).all()
    assert (forecast.volume("core")["median"] < frame["median"]).all()
    assert forecast.days == (72.0, 102.0, 132.0)
    scan = fit.case.sessions[-1].whole
    np.testing.assert_array_equal(forecast.density(90).affine, scan.affine)
    with pytest.raises(ArgumentError, match="region 'rim' is unknown"):
        forecast.volume("rim")
    with pytest.raises(ArgumentError, match="31 was not predicted"):
        forecast.density(31)
    assert [line.split()[0] for line in repr(forecast).splitlines()[2:5]] == ["30", "60", "90"]


def test_what_is_saved_is_loaded(run, fit):
    folder = run[0]
    assert fit.results.out == Path("sub-01-fit")  # relative, as it was given
    assert {"estimate.json", "log.jsonl", "mesh.h5"} <= {path.name for path in (folder / "sub-01-fit").iterdir()}
    assert "example01" in (folder / "page.html").read_text(encoding="utf-8")
    assert fit.case is not None and len(fit.results.log) > 5
    again = onc.load(folder / "sub-01-fit")
    assert again.estimate == fit.estimate


def test_plots_are_figures(fit, forecast):
    for figure in (fit.plot.growth(), fit.plot.convergence(), fit.plot.slices("ses-01"), forecast.plot.growth()):
        assert isinstance(figure, Figure) and figure.axes
        assert figure._repr_png_()[:4] == b"\x89PNG"
    with pytest.raises(ArgumentError, match="'ses-09' was not fitted: give one of ses-01, ses-02"):
        fit.plot.slices("ses-09")


def test_the_view_is_a_page_of_its_own(fit, tmp_path):
    page = fit.view()
    assert "<iframe" in page._repr_html_() and len(repr(page)) < 200
    text = page.save(tmp_path / "view.html").read_text(encoding="utf-8")
    assert "<html" in text and "example01" in text


def test_a_simulation_has_the_days_that_were_asked_for(run, tmp_path):
    grown = run[1]["grown"]
    assert grown.days == (0.0, 45.0)
    frame = grown.to_dataframe().set_index("day")
    assert frame.loc[45.0, "whole"] > frame.loc[0.0, "whole"] > 0.0
    image = grown.density(45)
    counted = (image.get_fdata() > 0.25).sum() * np.prod(image.header.get_zooms()) / 1e3
    assert counted == pytest.approx(frame.loc[45.0, "whole"], rel=0.05)
    assert "density_day-45.nii.gz" in {path.name for path in grown.save(tmp_path / "grown").iterdir()}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0.1}, r"size 0\.1 mm is outside 0\.5 to 20 mm"),
        ({"engine": "magic"}, "engine 'magic' is unknown"),
        ({"device": "cuda"}, "engine fem has no use for --device"),
        ({"law": "linear"}, "'linear'"),
    ],
)
def test_options_that_cannot_be_met(run, options, says):
    with pytest.raises(ConfigError, match=says):
        onc.fit(run[1]["case"], **options)
