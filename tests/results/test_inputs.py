"""Results belong to the files they were computed from: changed ones are noticed, and named."""

import shutil
import tomllib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tomli_w

import oncology as onc
from oncology.api.fitting import Options, is_finished
from oncology.cli import main as cli
from oncology.errors import OutputError
from oncology.imaging import Case
from oncology.imaging.fingerprint import changed_inputs, fingerprints
from oncology.results.schema import ReportError
from tests.cases import write_case
from tests.report.synthetic import write_results

MASK = "ses-02/anat/sub-toy01_ses-02_desc-tumor_dseg.nii.gz"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, Path]:
    """A case and a results folder of it."""
    folder = tmp_path_factory.mktemp("inputs")
    root = write_case(folder)
    return root, write_results(folder, Case.read(root))


@pytest.fixture
def copied(written, tmp_path) -> tuple[Path, Path]:
    """Copies that may be changed."""
    root, out = (Path(shutil.copytree(path, tmp_path / path.name)) for path in written)
    return root, out


def change_toml(root: Path, **sections) -> None:
    path = root / "case.toml"
    path.write_text(tomli_w.dumps(tomllib.loads(path.read_text()) | sections))


def change_voxel(path: Path) -> None:
    image = nib.load(path)
    data = np.asarray(image.dataobj).copy()
    data[tuple(np.argwhere(data)[0])] = 0
    nib.save(nib.Nifti1Image(data, image.affine), path)


def test_every_file_that_a_fit_reads_has_its_fingerprint(written):
    root, _ = written
    found = fingerprints(Case.read(root))
    assert set(found) == {
        "case.toml",
        "anat/sub-toy01_label-WM_probseg.nii.gz",
        "anat/sub-toy01_label-GM_probseg.nii.gz",
        "ses-01/anat/sub-toy01_ses-01_desc-tumor_dseg.nii.gz",
        MASK,
    }
    assert all(len(digest) == 64 for digest in found.values())


def test_what_the_fit_does_not_use_may_change(copied):
    root, _ = copied
    before = fingerprints(Case.read(root))
    change_toml(root, treatment=[{"kind": "radiotherapy", "day": 99.0, "dose_gy": 60.0, "fractions": 30}])
    with (root / "case.toml").open("a") as file:
        file.write("\n# a comment\n")
    moved = root.rename(root.with_name("moved"))
    assert changed_inputs(before, fingerprints(Case.read(moved))) == []


@pytest.mark.parametrize(
    "sections",
    [
        {"thresholds": {"oedema": 0.2, "core": 0.6}},
        {"session": [{"id": "ses-01", "day": 0.0}, {"id": "ses-02", "day": 80.0}]},
        {"labels": {"necrosis": 3, "oedema": 2}},
        {"treatment": [{"kind": "resection", "day": 20.0}]},
    ],
)
def test_what_the_fit_uses_may_not(copied, sections):
    root, _ = copied
    before = fingerprints(Case.read(root))
    change_toml(root, **sections)
    assert changed_inputs(before, fingerprints(Case.read(root))) == ["case.toml"]


def test_results_of_changed_images_are_refused_by_name(copied, capsys):
    root, out = copied
    onc.load(out, root)
    change_voxel(root / MASK)
    with pytest.raises(ReportError, match=rf"was computed from other inputs, .* \({MASK}\): give the old case"):
        onc.load(out, root)
    for words in (
        ["report"],
        ["view", "--html", str(out / "x.html")],
        ["predict", "--out", str(out / "p"), "--days", "9"],
    ):
        assert cli.run([words[0], str(out), "--case", str(root), *words[1:]]) == 2
        said = capsys.readouterr().err
        assert MASK in said and said.count("\n") == 1


def test_a_finished_fit_is_known_again(copied):
    root, out = copied
    case = Case.read(root)
    assert is_finished(out, case, Options())
    assert not is_finished(out.with_name("none"), case, Options())
    with pytest.raises(OutputError, match="a finished fit with another size_mm: choose another --out"):
        is_finished(out, case, Options(size=5.0))
    change_toml(root, thresholds={"oedema": 0.2, "core": 0.6})
    with pytest.raises(OutputError, match=r"finished fit, and the case has changed since \(case.toml\)"):
        is_finished(out, Case.read(root), Options())


def test_resume_never_replaces_finished_results(copied, tmp_path, capsys):
    root, out = copied
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / ".oncology").write_text("written by oncology\n")
    assert cli.run(["fit", str(root), "--out", str(out), "--resume"]) == 0
    assert "is finished" in capsys.readouterr().out
    other = write_case(tmp_path / "other", id="toy02")
    assert cli.run(["fit", str(other), "--out", str(out), "--resume"]) == 2
    said = capsys.readouterr().err
    assert "holds the finished fit of another case, 'toy01', this one is 'toy02'" in said and said.count("\n") == 1
    assert {name: (out / name).read_bytes() for name in before} == before
