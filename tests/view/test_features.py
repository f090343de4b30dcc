"""What the page says and does beside drawing: read-out, ruler, sides, grey scale, scan against model, cuts, files."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import pyvista as pv

from oncology.api.pages import view_pair
from oncology.imaging import Volume
from oncology.imaging.metrics import dice
from oncology.meshing import read_mesh
from oncology.model.trajectory import read_trajectory
from oncology.results.images import session_density
from oncology.view.page import build_page, target_name
from oncology.view.sources import read_subject
from tests.view.balls import SPEED, WIDTH, box_mesh, growing, radius, volume
from tests.view.test_browser import change, opened, picture

CENTRE = np.array([-16.0, 12.0, 8.0])  # mm, of the toy's tumour
WHOLE, CORE = 20.0, 12.0  # mm, radii in its second session
FRONT = 6.0 + SPEED * 40.0  # mm, of the ball on its last day


def written(subject, path):
    path.write_text(build_page(subject), encoding="utf-8")
    return f"file://{path}"


@pytest.fixture(scope="module")
def toy_page(toy_out, toy, tmp_path_factory):
    return written(read_subject(toy_out, toy), tmp_path_factory.mktemp("page") / "toy.html")


@pytest.fixture(scope="module")
def ball_page(tmp_path_factory):
    """The growing ball, with a ball of 18 mm as its target."""
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = -30.0
    inside = np.linalg.norm(np.indices((61, 61, 61)) - 30.0, axis=0) < 18.0
    subject = growing(box_mesh(36.0, 24), np.array([0.0, 20.0, 40.0]))
    subject = replace(subject, targets={"target_margin-15mm": Volume(inside, affine)})
    return written(subject, tmp_path_factory.mktemp("page") / "ball.html")


def set_state(page, **state):
    page.evaluate(f"Object.assign(view.state, {json.dumps(state)}); view.change(true)")
    picture(page)


def spot(page, plane, point):
    """Where a place is in the window, in a plane's panel."""
    x, y = page.evaluate(
        f"view.picture.spot(PLANES[{plane}], view.picture.areas[{plane + 1}], {np.asarray(point).tolist()})"
    )
    stage = page.locator("#picture").bounding_box()
    return stage["x"] + x, stage["y"] + y


def test_the_read_out_knows_tissue_density_and_scan(browser, toy_page, ball_page):
    with opened(browser, toy_page) as page:
        at = lambda x, y, z: page.evaluate(f"Sample.at(view, [{x}, {y}, {z}])")  # noqa: E731
        middle = at(*CENTRE)
        assert middle["scan"] == "enhancing tumour" and middle["tissue"] == "white matter"
        assert middle["density"] > 0.6 and middle["intensity"] is None
        assert at(*(CENTRE + np.array([0, 0.5 * (WHOLE + CORE), 0])))["scan"] == "oedema"
        assert at(*(CENTRE + np.array([0, WHOLE + 6, 0])))["scan"] == "no tumour"
        assert at(50, 0, 0)["tissue"] == "grey matter"
        assert at(0, 0, 57)["tissue"] == "no brain tissue"
        assert at(0, 0, 500) == {"tissue": None, "density": 0, "scan": None, "intensity": None}
    with opened(browser, ball_page) as page:
        for r in (3.0, FRONT, 20.0):
            found = page.evaluate(f"Sample.at(view, [{r}, 0, 0]).density")
            # P1 on cells of 3 mm, and a byte for the logit
            assert found == pytest.approx(1 / (1 + np.exp((r - FRONT) / WIDTH)), abs=0.03)


def test_under_the_pointer_and_on_the_side_that_radiologists_expect(browser, toy_page):
    with opened(browser, toy_page) as page:
        place = CENTRE + np.array([9.0, -14.0, 0.0])
        page.mouse.move(10, 10)
        set_state(page, cross=CENTRE.tolist())
        assert "x \u221216.0  y 12.0  z 8.0 mm" in page.locator("#readout").inner_text()
        before, seen = picture(page), {}
        for side in (False, True):
            set_state(page, radiological=side)
            seen[side] = spot(page, 0, place)
            page.mouse.move(*seen[side])
            text = page.locator("#readout").inner_text()
            x, y = (float(text.split(name)[1].split()[0].replace("\u2212", "-")) for name in ("x ", "y "))
            assert (x, y) == pytest.approx(tuple(place[:2]), abs=0.5)
        middle = page.evaluate("view.picture.areas[1].x + view.picture.areas[1].w / 2")
        middle += page.locator("#picture").bounding_box()["x"]
        assert seen[True][0] - middle == pytest.approx(middle - seen[False][0], abs=0.1)
        area = {side: round(value) for side, value in page.evaluate("view.picture.areas[1]").items()}
        panels = [
            shown[area["y"] : area["y"] + area["h"], area["x"] : area["x"] + area["w"]]
            for shown in (before, picture(page))
        ]
        assert change(panels[0], panels[1]) > 0.05
        assert change(panels[0], panels[1][:, ::-1]) < 0.03  # edges alone


def test_the_ruler_measures_millimetres(browser, toy_page):
    with opened(browser, toy_page) as page:
        page.locator("#ruler").click()
        ends = [CENTRE, CENTRE + np.array([30.0, -40.0, 0.0])]
        set_state(page, cross=CENTRE.tolist())
        page.mouse.move(*spot(page, 0, ends[0]))
        page.mouse.down()
        page.mouse.move(*spot(page, 0, ends[1]), steps=3)
        page.mouse.up()
        ruler = page.evaluate("view.state.ruler")
        assert np.linalg.norm(np.subtract(ruler["to"], ruler["from"])) == pytest.approx(50.0, abs=1.0)
        assert page.evaluate("view.state.cross") == CENTRE.tolist()  # measuring moves no plane
        page.keyboard.press("Escape")
        assert page.evaluate("[view.state.ruler, view.state.measuring]") == [None, False]


def test_window_and_level_are_those_of_the_formula(browser, toy_page):
    with opened(browser, toy_page) as page:
        level, window = 0.6, 0.8
        shown = dict(overlay=0, outline=False, band=-1, window=window, level=level, planes=[False] * 3)
        set_state(page, levels=[dict(on=False, density=0.5, opacity=0, colour="#ffffff", name="none")] * 3, **shown)
        drawn = picture(page)
        for place in ([10.0, 0.0], [48.0, 0.0], [20.0, -55.0]):
            point = [*place, page.evaluate("view.state.cross[2]")]
            x, y = page.evaluate(f"view.picture.spot(PLANES[0], view.picture.areas[1], {point})")
            byte = page.evaluate(f"view.arrays.image[Sample.voxel(view.scene.image, {point})]")
            expected = 255 * 0.95 * np.clip((byte / 255 - level) / window + 0.5, 0, 1)
            assert drawn[int(y), int(x)] == pytest.approx(np.full(3, expected), abs=6.0), place


def test_where_scan_and_model_differ_is_measured_and_drawn(browser, toy_page, toy_out, toy):
    mesh, trajectory, session = (
        read_mesh(toy_out / "mesh.h5"),
        read_trajectory(toy_out / "trajectory.h5"),
        toy.sessions[1],
    )
    predicted = session_density(toy, mesh, trajectory.density[-1], session.whole)
    with opened(browser, toy_page) as page:
        for region, level, mask in (("whole", 0.25, session.whole), ("core", 0.6, session.core)):
            before = picture(page)
            page.select_option("#difference", region)
            assert change(before, picture(page)) > 0.0003
            found, ml = page.evaluate("view.compared()"), mask.voxel_volume / 1e3
            inside = predicted.data > level
            assert found["dice"] == pytest.approx(dice(inside, mask.data), abs=0.015)
            assert found["scan"] + found["both"] == pytest.approx(mask.data.sum() * ml, rel=1e-9)
            assert page.locator("#compared").inner_text().startswith("Model only")


def test_scans_are_drawn_apart_from_the_model(browser, toy_page, toy):
    with opened(browser, toy_page) as page:
        hues = page.evaluate("[...view.state.levels.map((l) => l.colour), ...Object.values(view.scene.hues)]")
        assert len({hue.lower() for hue in hues}) == len(hues)
        before = picture(page)
        page.locator("#outline").click()
        assert change(before, picture(page)) > 0.0005
        for region in ("whole", "core"):
            mm3 = "((b) => Field.enclosed(b.points, b.triangles))(view.picture.drawnBodies." + region + ")"
            drawn = {"whole": toy.sessions[1].whole, "core": toy.sessions[1].core}[region].data.sum() * 4.0**3
            assert page.evaluate(mm3) == pytest.approx(drawn, rel=0.06), region
        before = picture(page)
        set_state(page, drawn={"whole": 1.0, "core": 0.0})
        assert change(before, picture(page)) > 0.002
        page.locator("[data-day='0']").click()
        assert page.evaluate("view.state.day") == 0.0


def test_what_is_cut_away_is_gone_and_the_rest_is_not(browser, toy_page):
    with opened(browser, toy_page) as page:
        camera = {"turn": 0, "height": 0, "distance": 450, "target": [0, 0, 0]}
        shown = dict(anatomy=[1, 0], planes=[False] * 3, cross=[0, 0, 0], camera=camera, cutTumour=True)
        set_state(page, cut="nothing", **shown)
        whole = picture(page)
        area = page.evaluate("view.picture.areas[0]")
        width, middle = round(area["w"]), round(area["h"] / 2)
        back = whole[2, 2]
        seen = lambda rows: (np.abs(rows[:, :width] - back).max(axis=-1) > 8).mean()  # noqa: E731
        assert seen(whole[: middle - 8]) > 0.1 and seen(whole[middle + 8 :]) > 0.1
        for side, gone, kept in (
            ("above", slice(0, middle - 8), slice(middle + 8, None)),
            ("below", slice(middle + 8, None), slice(0, middle - 8)),
        ):
            set_state(page, cut=side)
            cut = picture(page)
            assert seen(cut[gone]) == 0.0, side
            assert seen(cut[kept]) > 0.1, side


def test_targets_are_a_layer(browser, ball_page):
    with opened(browser, ball_page) as page:
        assert page.evaluate("view.scene.targets") == ["margin, 15 mm"]
        body = page.evaluate("((b) => Field.enclosed(b.points, b.triangles))(view.picture.targetBody)")
        assert body == pytest.approx(4 / 3 * np.pi * 18.0**3, rel=0.03)
        before = picture(page)
        page.select_option("#target", "-1")
        assert change(before, picture(page)) > 0.005


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("target_margin-15mm", "margin, 15 mm"),
        ("target_nearest-40ml", "nearest, 40 mL"),
        ("target_isodensity_day-102", "iso-density, day 102"),
    ],
)
def test_targets_have_names_in_words(file, name):
    assert target_name(file) == name


def saved(page, button, path):
    with page.expect_download() as download:
        page.locator(button).click()
    download.value.save_as(path / download.value.suggested_filename)
    return path / download.value.suggested_filename


def test_files_of_what_is_shown(browser, ball_page, tmp_path):
    with opened(browser, ball_page) as page:
        picture(page)
        page.select_option("#surface", "Whole tumour")
        stl = saved(page, "#stl", tmp_path)
        assert stl.name == "ball_day40_whole-tumour.stl"
        assert stl.read_bytes().startswith(b"SPACE=RAS")
        surface = pv.read(stl).clean()
        assert surface.is_manifold
        assert surface.volume / 1e3 == pytest.approx(volume(FRONT, 0.25), rel=0.06)
        assert surface.volume == pytest.approx(page.evaluate("view.picture.tumour[1].mm3"), rel=1e-4)
        everything = pv.read(saved(page, "#vtk", tmp_path))
        names = page.evaluate("Export.shown(view).map((s) => s.name)")
        assert names[0] == "Core" and "Target margin, 15 mm" in names
        assert set(everything.cell_data["surface"]) == set(range(len(names)))
        kept = everything.extract_cells(everything.cell_data["surface"] == names.index("Whole tumour"))
        assert kept.extract_surface(algorithm="dataset_surface").volume == pytest.approx(surface.volume, rel=1e-4)
        image = nibabel.load(saved(page, "#nifti", tmp_path))
        assert image.header.get_xyzt_units()[0] == "mm"
        data = image.get_fdata()
        places = nibabel.affines.apply_affine(image.affine, np.moveaxis(np.indices(data.shape), 0, -1))
        assert np.allclose(image.get_qform(), image.affine)
        r = np.linalg.norm(places, axis=-1)
        exact = 1 / (1 + np.exp((r - FRONT) / WIDTH))
        assert np.abs(data - exact).max() < 0.04
        assert (data[r > radius(FRONT, 0.001)] == 0).all()


def until(page, frame, condition):
    """Wait for a condition; `wait_for_function` needs `eval`, which the page forbids."""
    for _ in range(300):
        if frame.evaluate(condition):
            return
        page.wait_for_timeout(100)
    pytest.fail(condition)


def test_two_pages_share_cursor_day_and_theme(browser, toy_out, toy, tmp_path):
    path = view_pair(toy_out, toy_out, toy.root).save(tmp_path / "pair.html")
    context = browser.new_context(viewport={"width": 1100, "height": 600}, offline=True)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"file://{path}")
    page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    frames = [handle.content_frame() for handle in page.query_selector_all("iframe")]
    for (source, other), day in ((frames, 7.0), (frames[::-1], -20.0)):
        source.evaluate(f"view.state.cross = [1, 2, {day}]; view.setDay({day})")
        until(page, other, f"view.state.day === {day} && view.state.cross[2] === {day}")
    frames[0].evaluate("view.setTheme('light')")
    until(page, frames[1], "document.documentElement.dataset.theme === 'light'")
    frames[1].evaluate("view.state.levels[0].density = 0.7; view.change(true)")
    assert frames[0].evaluate("view.state.levels[0].density") == 0.6  # each has its own surfaces
    context.close()
    assert not errors
