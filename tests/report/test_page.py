"""The page: complete, self-contained, safe, written whole or not at all, and refused for folders that are not right."""

import json
import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from oncology.errors import InputError, OutputError
from oncology.imaging import Case, read_volume, write_volume
from oncology.meshing import read_mesh
from oncology.model.trajectory import Trajectory, read_trajectory, write_trajectory
from oncology.report import page, pictures, scene
from oncology.report.style import Drawing
from oncology.results.files import read_results
from tests.cases import Scan, write_case
from tests.report.synthetic import write_results

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += f" {data}"


@pytest.fixture
def no_rendering(monkeypatch):
    """A machine without EGL; the other pictures are left out to save time."""

    def fail(made: scene.Scene) -> bytes:
        raise scene.RenderingError("3-D view: no EGL here: run `oncology doctor`")

    monkeypatch.setattr(pictures, "render", fail)
    for name in ("session_figure", "growth_figure", "convergence_figure", "density_figure"):
        monkeypatch.setattr(pictures, name, lambda *given: Drawing(figsize=(0.1, 0.1)))
    monkeypatch.setattr(pictures, "mosaic_figures", lambda *given: (Drawing(figsize=(0.1, 0.1)),) * 2)


def build_report(out: Path, case: Case | None = None) -> Path:
    return page.write_report(read_results(out, case), out / "report.html")


def change(out: Path, **entries: object) -> None:
    path = out / "estimate.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.fixture(scope="module")
def built(toy, toy_out) -> str:
    path = build_report(toy_out, toy)
    assert path == toy_out / "report.html"
    source = path.read_text()
    path.unlink()
    return source


def test_the_page_needs_nothing_else(built):
    tags = Page(built).tags
    assert not [tag for tag, _ in tags if tag in ("script", "link", "iframe", "object")]
    sources = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert len(sources) == 10  # two sessions in planes, as scan and as model; maps, growth, view, convergence
    assert all(source.startswith("data:image/") for source in sources)
    assert all(attributes["alt"] for tag, attributes in tags if tag == "img")
    assert "http" not in built.replace("base64", "")
    assert "url(" not in built


def test_the_page_says_it_all(built):
    text = Page(built).text
    for part in (
        "toy01",
        "2 sessions",
        "Research only, not a medical device",
        "necrosis 1; oedema 2; enhancing tumour 3",
        "15 fractions",
        "do not determine diffusion in grey matter",
        "95 % Hausdorff, mm",
        "cell size near the tumour, mm 2.5",
        "version of numpy 2.3.5",
        "Swanson, E. C. Alvord",
        "The model explains the scans (explained)",
        "smallest angle",
        "converged",
    ):
        assert part in text, part
    assert not re.search(r"\b(None|nan)\b", text)


def test_it_can_be_made_without_the_case(out, monkeypatch):
    monkeypatch.setattr(pictures, "render", lambda made: b"")
    text = Page(build_report(out).read_text()).text
    assert "Case folder not found when this page was made" in text
    assert "0.155" in text


def growth(days: list[float]) -> dict[str, object]:
    """Curves of volumes day / 2 and day / 4, between 0.9 and 1.2 times that, on days after the toy's onset."""
    volumes = {"whole": [0.5 * (day + 160.0) for day in days], "core": [0.25 * (day + 160.0) for day in days]}
    ends = {"volume_ml": 1.0, "low_ml": 0.9, "high_ml": 1.2}
    curves = {r: {end: [factor * v for v in values] for end, factor in ends.items()} for r, values in volumes.items()}
    return {"days": days, **curves}


def test_growth_is_shown_with_intervals_and_beyond_the_last_session(toy, out, monkeypatch):
    monkeypatch.setattr(pictures, "render", lambda made: b"")
    change(out, growth=growth([-100.0, 0.0, 40.0, 60.0]))
    text = Page(build_report(out, toy).read_text()).text
    assert "40 0 100 90.0 to 120 50.0 45.0 to 60.0" in text
    assert "60 20 110 99.0 to 132 55.0 49.5 to 66.0" in text
    assert "−100" not in text.partition("5 · Growth and prediction")[2].partition("6 ·")[0]
    assert "model error is not included" in text


def test_without_intervals_it_says_so(built):
    assert "This fit has no intervals of the volumes" in Page(built).text


def test_curves_of_different_lengths_are_refused(toy, out):
    damaged = growth([0.0, 40.0])
    damaged["days"] = [0.0]
    change(out, growth=damaged)
    with pytest.raises(InputError, match=r"estimate\.json: growth"):
        build_report(out, toy)


def test_a_corrected_shape_is_told_in_words(toy, out, no_rendering):
    corrected = {"day": -40.0, "width_mm": 5.0, "gaussians": 123, "positions_mm": [[1.0, 2.0, 3.0]] * 123}
    change(out, single_seed_overlap=0.8, shape_correction=corrected, posterior={"names": ["ln_proliferation"]})
    text = Page(build_report(out, toy).read_text()).text
    assert "overlaps with the segmentations by 0.80 (Dice)" in text
    assert "corrected on day −40, by 123 Gaussians of 5 mm" in text
    assert "positions" not in text and "prior of ln proliferation" in text


def test_a_machine_that_cannot_render_still_gets_its_page(toy, out, no_rendering):
    text = Page(build_report(out, toy).read_text()).text
    assert "This picture could not be drawn. 3-D view: no EGL here: run `oncology doctor`" in text


def test_the_same_files_give_the_same_page(toy, out, no_rendering):
    first = build_report(out, toy).read_bytes()
    assert build_report(out, toy).read_bytes() == first
    assert not list(out.glob(".tmp-*"))


def test_a_fit_that_did_not_converge_is_marked(toy, out, no_rendering):
    change(out, status="stagnated", warnings=["density at the cut is <high>"], some_new_entry={"a": [1, 2]})
    source = build_report(out, toy).read_text()
    text = Page(source).text
    assert "ended with status “stagnated”" in text
    assert "density at the cut is &lt;high&gt;" in source
    assert "some new entry: a 1, 2" in text


def test_a_tumour_without_core_in_one_scan(tmp_path, no_rendering):
    root = write_case(tmp_path, sessions=[Scan("ses-01", 0.0, whole=18.0, core=0.0)], values=(2, 3))
    case = Case.read(root)
    out = write_results(tmp_path, case, identified=False, change={"verdict": "explained"})
    (out / "log.jsonl").unlink()
    (out / "config.toml").unlink()
    text = Page(build_report(out, case).read_text()).text
    assert "1 session ·" in text
    assert "A second scan some weeks apart" in text
    assert "No log of the iterates was left" in text


def other_trajectory(out: Path) -> None:
    left = read_trajectory(out / "trajectory.h5")
    write_trajectory(out / "trajectory.h5", Trajectory(left.times, left.density, "f" * 64))


def shorter_trajectory(out: Path) -> None:
    left = read_trajectory(out / "trajectory.h5")
    fingerprint = read_mesh(out / "mesh.h5").fingerprint
    write_trajectory(out / "trajectory.h5", Trajectory(left.times, left.density[:, :-1], fingerprint))


def other_grid(out: Path) -> None:
    path = out / "density_ses-01.nii.gz"
    volume = read_volume(path)
    write_volume(path, volume.with_data(volume.data[:-1]), np.float32)


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda out: (out / "estimate.json").unlink(), "estimate.json: no such file"),
        (lambda out: (out / "estimate.json").write_text("{"), "estimate.json: not a JSON file"),
        (lambda out: change(out, schema=2), "estimate.json: has schema 2, this version reads 1"),
        (lambda out: (out / "estimate.json").write_text("[1]"), "estimate.json: has schema None"),
        (lambda out: change(out, misfit="much"), "estimate.json: misfit is 'much'"),
        (lambda out: change(out, dice={}), "estimate.json: dice is {}"),
        (lambda out: change(out, case="other"), "holds a fit of case 'other'"),
        (lambda out: (out / "density_ses-02.nii.gz").unlink(), "density_ses-02.nii.gz: no such file"),
        (lambda out: (out / "mesh.h5").unlink(), "mesh.h5: no such mesh file"),
        (lambda out: (out / "config.toml").write_text("= 1"), "config.toml: not a TOML file"),
        (other_trajectory, "trajectory.h5: was computed on mesh ffffffffffff"),
        (shorter_trajectory, "trajectory.h5: "),
        (other_grid, "density_ses-01.nii.gz: its grid"),
    ],
)
def test_wrong_folders_are_refused_in_one_line(toy, out, damage, part):
    damage(out)
    with pytest.raises(InputError) as caught:
        build_report(out, toy)
    message = str(caught.value)
    assert part in message
    assert "\n" not in message
    assert not (out / "report.html").exists()


def test_a_session_that_the_case_lacks(toy, out):
    content = json.loads((out / "estimate.json").read_text())
    content["dice"]["ses-09"] = content["dice"]["ses-01"]
    (out / "estimate.json").write_text(json.dumps(content))
    (out / "density_ses-09.nii.gz").write_bytes((out / "density_ses-01.nii.gz").read_bytes())
    with pytest.raises(InputError, match="ses-09 was fitted"):
        build_report(out, toy)


def test_a_place_that_cannot_be_written(toy, out, no_rendering):
    (out / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html: cannot be written"):
        build_report(out, toy)
    assert not list(out.glob(".tmp-*"))


def test_the_template_is_in_the_wheel(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".html")}
    assert names >= {f"oncology/report/{name}.html" for name in ("base", "macros", "prediction", "template")}


def test_headings_tables_and_pictures_are_told_to_those_who_cannot_see(built):
    tags = Page(built).tags
    names = [tag for tag, _ in tags]
    assert [names.count(name) for name in ("main", "nav", "header", "footer", "h1")] == [1] * 5
    identifiers = {attributes["id"] for _, attributes in tags if "id" in attributes}
    targets = [a["href"] for tag, a in tags if tag == "a" and a["href"].startswith("#")]
    assert len(targets) == 12 and all(target[1:] in identifiers for target in targets)
    assert names.count("table") == names.count("caption") > 5
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in tags if tag == "th")
    alternatives = [attributes["alt"] for tag, attributes in tags if tag == "img"]
    assert len(set(alternatives)) == len(alternatives) and all(len(alt) > 40 for alt in alternatives)
    assert any("overlap by" in alt and "mL" not in alt for alt in alternatives)
    labelled = {a["for"] for tag, a in tags if tag == "label"}
    assert labelled == {a["id"] for tag, a in tags if tag == "input"}


def test_scan_and_model_are_laid_over_each_other(built):
    stacks = re.findall(
        r'<div class="stack">\s*<img class="scan" src="([^"]+)".*?<img class="model" src="([^"]+)"', built, re.S
    )
    assert len(stacks) == 2 and all(scan != model for scan, model in stacks)


def test_provenance_tells_command_date_inputs_and_files(toy, out, no_rendering):
    config = out / "config.toml"
    made = '\n[provenance]\ncommand = "oncology fit <toy>"\ndate = "2026-11-28 10:00:00+00:00"\n'
    config.write_text(config.read_text() + made)
    source = build_report(out, toy).read_text()
    text = Page(source).text
    assert "date 2026-11-28 10:00:00+00:00 command oncology fit <toy>" in text
    for name, hash in read_results(out, toy).config["inputs"].items():
        assert f"{name} {hash}" in text
    linked = [a["href"] for tag, a in Page(source).tags if tag == "a" and not a["href"].startswith("#")]
    assert len(linked) > 4 and all((out / name).is_file() for name in linked)
    assert "oncology view FOLDER" in text


def test_a_map_of_the_uncertainty_is_read_and_shown(toy, out, no_rendering):
    assert "left no map of the density's uncertainty" in Page(build_report(out, toy).read_text()).text
    density = read_volume(out / "density_ses-02.nii.gz")
    write_volume(out / "density-sd_ses-02.nii.gz", density.with_data(0.1 * density.data), np.float32)
    source = build_report(out, toy).read_text()
    assert "density-sd_ses-02.nii.gz : its standard deviation, ses-02" in Page(source).text
    assert any("standard deviation is 0.0" in (a["alt"] or "") for tag, a in Page(source).tags if tag == "img")


def test_what_lies_below_a_voxel_and_days_are_not_told_finer_than_known(toy, out, no_rendering):
    tables = Page(build_report(out, toy).read_text()).text
    assert "≤ voxel (4)" in tables and "surface Dice" in tables
    onset = json.loads((out / "estimate.json").read_text())["parameters"]["onset"]["value"]
    assert f"day of onset −{abs(onset):.0f} day" in tables
    assert page._distance(4.2, 4.0) == "4.20" and page._distance(None, 4.0) == "–"
