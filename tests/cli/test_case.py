"""`oncology case check` says what a fit would say before it; `oncology case init` writes what `check` can read."""

import datetime
import io
import json
import tomllib

import numpy as np
import pytest

from oncology.cli import main as cli
from oncology.imaging import Case
from tests.cases import Scan, centres, grid, save, write_case

SECOND = Scan("ses-02", 40.0, whole=20.0, core=0.0)


def said(capsys) -> tuple[str, str]:
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_check_shows_sessions_and_remarks(tmp_path, capsys):
    root = write_case(tmp_path, sessions=(Scan("ses-01", 0.0, whole=14.0, core=7.0), SECOND))
    assert cli.run(["case", "check", str(root)]) == 0
    out, err = said(capsys)
    assert err == ""
    assert "ses-02   40" in out and "not segmented" in out
    assert "- ses-02: has no core although ses-01 has one and no resection is given" in out
    assert "remarks: a fit will repeat them as warnings" in out or "1 remark: a fit" in out


def test_check_for_programs(case_path, capsys):
    assert cli.run(["case", "check", str(case_path), "--json"]) == 0
    found = json.loads(said(capsys)[0])
    assert found["case"] == "toy01"
    assert found["sessions"][0] == {"id": "ses-01", "day": 0.0, "whole": "drawn", "core": "drawn"}
    assert isinstance(found["remarks"], list)


def test_check_refuses_what_a_fit_refuses(case_path, capsys):
    (case_path / "case.toml").write_text("[subject]\nid = 3\n")
    assert cli.run(["case", "check", str(case_path)]) == 2
    out, err = said(capsys)
    assert out == "" and "subject.id = 3" in err and err.count("\n") == 1


@pytest.fixture
def images(case_path):
    """A case without its case.toml."""
    (case_path / "case.toml").unlink()
    return case_path


def test_init_finds_subject_and_sessions(images, capsys):
    words = ["--days", "0", "40", "--oedema", "2", "--enhancing", "3"]
    assert cli.run(["case", "init", str(images), *words]) == 0
    out, err = said(capsys)
    assert err == "" and out.splitlines() == [str(images / "case.toml"), f"next: oncology case check {images}"]
    case = Case.read(images)
    assert (case.id, case.days) == ("toy01", (0.0, 40.0))
    assert case.labels.enhancing == (3,) and case.labels.necrosis == ()


def test_init_takes_dates_in_any_order_and_a_table(images):
    words = ["--sessions", "ses-02", "ses-01", "--days", "2024-02-10", "2024-01-01", "--table", "brats2021"]
    assert cli.run(["case", "init", str(images), *words]) == 0
    content = tomllib.loads((images / "case.toml").read_text())
    assert [entry["day"] for entry in content["session"]] == [datetime.date(2024, 1, 1), datetime.date(2024, 2, 10)]
    assert Case.read(images).days == (0.0, 40.0)


def test_init_asks_for_what_is_missing(images, capsys, monkeypatch):
    answers = io.StringIO("0\n40\nbrats2021\n")
    answers.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", answers)
    assert cli.run(["case", "init", str(images)]) == 0
    assert "Day of ses-01" in said(capsys)[0]
    assert Case.read(images).labels.name == "brats2021"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--days is missing: day of ses-01, or its date"),
        (["--days", "0"], "--days are 1 for the sessions ses-01, ses-02: give one for each"),
        (["--days", "0", "soon"], "--days 'soon' is neither a number of days nor a date"),
        (["--days", "0", "2024-01-01", "--table", "brats2021"], "days and dates: give days everywhere"),
        (["--days", "0", "40"], "--table is missing: label table (brats2017, brats2021,"),
        (["--days", "0", "40", "--table", "brats2023"], "has several challenges"),
        (["--days", "0", "40", "--table", "brats2021", "--oedema", "2"], "two ways to say the same"),
        (["--days", "0", "0", "--table", "brats2021"], "two scans on the same day"),
        (["--days", "0", "40", "--table", "brats2021", "--thresholds", "0.6", "0.3"], "core = 0.3 must be above"),
    ],
)
def test_init_without_a_terminal(images, capsys, monkeypatch, words, says):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert cli.run(["case", "init", str(images), *words]) == 2
    out, err = said(capsys)
    assert out == "" and says in err and err.count("\n") == 1
    assert not (images / "case.toml").exists()


def test_init_replaces_nothing_unasked(case_path, tmp_path, capsys):
    before = (case_path / "case.toml").read_bytes()
    assert cli.run(["case", "init", str(case_path), "--days", "0", "40", "--table", "brats2021"]) == 2
    assert "is there already" in said(capsys)[1] and (case_path / "case.toml").read_bytes() == before
    (tmp_path / "empty").mkdir()
    assert cli.run(["case", "init", str(tmp_path / "empty"), "--subject", "x", "--days", "0"]) == 2
    assert "holds no segmentation" in said(capsys)[1]


@pytest.fixture
def scans(case_path):
    """Two scans of a patient in the layout of BraTS 2024, with the maps of the tissue beside the first."""
    data = case_path.parent / "data"
    for number, session in ((100, "ses-01"), (101, "ses-02")):
        home = data / f"BraTS-GLI-00005-{number}"
        home.mkdir(parents=True)
        source = case_path / session / "anat" / f"{case_path.name}_{session}_desc-tumor_dseg.nii.gz"
        (home / f"{home.name}-seg.nii.gz").write_bytes(source.read_bytes())
    for tissue, name in (("WM", "wm"), ("GM", "gm")):
        source = case_path / "anat" / f"{case_path.name}_label-{tissue}_probseg.nii.gz"
        (data / "BraTS-GLI-00005-100" / f"{name}.nii.gz").write_bytes(source.read_bytes())
    return data


def test_a_public_patient_becomes_a_case_that_check_reads(scans, tmp_path, capsys):
    out = tmp_path / "sub-00005"
    assert cli.run(["case", "from-brats", str(scans), "--out", str(out), "--days", "2024-01-01", "2024-02-10"]) == 0
    printed, err = said(capsys)
    assert err == "" and printed.splitlines() == [str(out), f"next: oncology case check {out}"]
    assert cli.run(["case", "check", str(out)]) == 0
    case = Case.read(out)
    assert (case.id, case.days, case.labels.name) == ("BraTS-GLI-00005", (0.0, 40.0), "brats2024-posttreatment")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--days are 0 for the scans 100, 101"),
        (["--days", "0", "soon"], "--days 'soon' is neither a number of days nor a date"),
        (["--days", "40", "0"], "must be later than"),
        (["--sessions", "100", "--white", "none.nii.gz"], "none.nii.gz: no such file: correct --white"),
        (["--sessions", "101"], "--white is missing: the data set has no maps of white and grey matter"),
    ],
)
def test_what_a_public_patient_lacks_is_said_in_one_line(scans, tmp_path, capsys, words, says):
    assert cli.run(["case", "from-brats", str(scans), "--out", str(tmp_path / "out"), *words]) == 2
    out, err = said(capsys)
    assert out == "" and says in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_lumiere_takes_the_template_in_its_own_space(tmp_path, capsys):
    home = tmp_path / "Patient-007" / "week-000"
    mask = home / "DeepBraTumIA-segmentation" / "atlas" / "segmentation" / "seg_mask.nii.gz"
    shape, affine = grid(4.0)
    distance = np.linalg.norm(centres(shape, affine) - np.array([-28.0, -20.0, 28.0]), axis=-1)
    save(mask, np.where(distance < 8.0, 1, np.where(distance < 14.0, 3, 0)).astype(np.uint8), affine)
    out = tmp_path / "case"
    assert cli.run(["case", "from-lumiere", str(home.parent), "--out", str(out), "--template"]) == 0
    assert "note: days are known to the week only" in said(capsys)[1]
    case = Case.read(out)
    assert case.id == "Patient-007" and case.sessions[0].core_state == "drawn"
    words = ["--template", "--segmentation", "hd-glio"]
    assert cli.run(["case", "from-lumiere", str(home.parent), "--out", str(tmp_path / "b"), *words]) == 2
    assert "--template stands for --white and --grey" in said(capsys)[1]
