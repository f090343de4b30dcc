"""`oncology demo`: its folder holds a patient and a fit that the other commands understand, wherever it is moved."""

import json

import pytest

from oncology.cli import main as cli
from oncology.imaging import phantom
from tests.cases import write_case

TRUTH = {"diffusion_white": 0.2, "diffusion_grey": 0.02, "proliferation": 0.02, "onset": -200.0}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A demo of a small patient on a coarse mesh, moved after it was made."""
    folder = tmp_path_factory.mktemp("demo")

    def small(root):
        assert write_case(root.parent, id="demo", voxel=5.0) == root
        (root / "truth.json").write_text(json.dumps({**TRUTH, "seed_mm": [-16.0, 12.0, 8.0]}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONCOLOGY_CACHE", str(folder / "cache"))
        patch.setattr(phantom, "write_demo_case", small)
        assert cli.run(["demo", "--out", str(folder / "made"), "--size", "8"]) == 0
    (folder / "made").rename(folder / "moved")
    return folder / "moved"


def test_the_report_finds_the_case_again(out, capsys):
    before = (out / "fit" / "report.html").read_text(encoding="utf-8")
    assert cli.run(["report", str(out / "fit")]) == 0
    assert capsys.readouterr().err == ""
    after = (out / "fit" / "report.html").read_text(encoding="utf-8")
    assert after.count("<img") == before.count("<img") and "Case folder not found" not in after


def test_the_view_shows_a_brain(out, tmp_path, capsys):
    assert cli.run(["view", str(out / "fit"), "--html", str(tmp_path / "view.html")]) == 0
    assert capsys.readouterr().err == ""
    assert "White matter" in (tmp_path / "view.html").read_text(encoding="utf-8")


def test_it_can_be_predicted_from(out, tmp_path):
    words = ["--days", "5", "--out", str(tmp_path / "later"), "--no-report"]
    assert cli.run(["predict", str(out / "fit"), *words]) == 0
    assert (tmp_path / "later" / "density_day-45.nii.gz").is_file()
