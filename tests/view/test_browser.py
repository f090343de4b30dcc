"""The page in a real browser: it draws, the controls change the picture, it exports, and nothing goes wrong unseen."""

import base64
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest

from oncology.view.page import build_page
from oncology.view.sources import read_subject
from tests.view.balls import SPEED, box_mesh, growing, radius, volume
from tests.view.test_command import viewing

READY = "html[data-ready]"
SIZE = {"width": 1100, "height": 720}
FRAMES = "requestAnimationFrame(() => requestAnimationFrame(done))"
SETTLED = f"""() => new Promise((done) => {{
  const wait = () => (view.moving || view.timeline.playing ? setTimeout(wait, 30) : {FRAMES});
  wait();
}})"""


@contextmanager
def opened(browser, address, offline=False):
    """A page that is ready; afterwards, no error may have been seen and nothing else asked for."""
    context = browser.new_context(viewport=SIZE, offline=offline)
    page = context.new_page()
    errors, asked = [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector(READY, state="attached", timeout=60_000)
    yield page
    context.close()
    assert not errors
    assert [url for url in asked if not url.startswith(("blob:", "data:"))] == [address]


def picture(page):
    """What is drawn now, without what is written over it."""
    page.evaluate(SETTLED)
    # read in the same task as the drawing, as the browser clears the canvas afterwards
    code = "() => { view.picture.draw(); return view.picture.canvas.toDataURL() }"
    content = base64.b64decode(page.evaluate(code).partition(",")[2])
    return iio.imread(content, extension=".png")[..., :3].astype(float)


def change(before, after):
    """Share of the pixels that changed visibly."""
    assert before.shape == after.shape
    return float((np.abs(before - after).max(axis=-1) > 12).mean())


@pytest.fixture(scope="module")
def served(toy_out):
    with viewing(toy_out) as (_, address):
        yield address


@pytest.fixture(scope="module")
def file(toy_out, toy, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "growth.html"
    path.write_text(build_page(read_subject(toy_out, toy)), encoding="utf-8")
    return f"file://{path}"


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    """A ball whose surfaces, volumes and distances are known."""
    mesh = box_mesh(30.0, 24)
    path = tmp_path_factory.mktemp("page") / "ball.html"
    path.write_text(build_page(growing(mesh, np.array([0.0, 20.0, 40.0]))), encoding="utf-8")
    return f"file://{path}"


def slide(page, selector, share):
    """Click into a slider at a share of its length."""
    box = page.locator(selector).bounding_box()
    page.mouse.click(box["x"] + 8 + share * (box["width"] - 16), box["y"] + box["height"] / 2)


def test_served_it_loads_and_the_day_changes_the_picture(browser, served):
    with opened(browser, served) as page:
        last = picture(page)
        assert last.std() > 10
        assert page.title() == "Tumour growth, toy01"
        slide(page, "#day", 0.4)
        early = picture(page)
        assert change(last, early) > 0.01
        day = page.evaluate("view.state.day")
        assert day == pytest.approx(-160 + 0.4 * 200, abs=2.0)
        assert page.locator("#today").inner_text() == f"Day {day:.1f}".replace("-", "\u2212")
        assert page.locator("#volume-1").inner_text().endswith("mL")


def test_a_stranger_sees_no_patient(browser, served):
    page = browser.new_page()
    answer = page.goto(served[:-3])
    assert answer.status == 403
    assert "toy01" not in page.content()
    page.close()


def test_offline_every_control_changes_the_picture(browser, file):
    with opened(browser, file, offline=True) as page:
        banded = picture(page)
        page.select_option("#band", "-1")
        before = picture(page)
        assert change(banded, before) > 0.0005
        places = {"#day": 0.8, "#density-1": 0.35, "#opacity-1": 0.9, "#anatomy-0": 0.8, "#anatomy-1": 0.8}
        places |= {"#cross-2": 0.75, "#overlay": 0.1, "#segmentation": 0.9}
        for selector, share in places.items():
            page.locator(selector).scroll_into_view_if_needed()
            slide(page, selector, share)
            after = picture(page)
            assert change(before, after) > 0.002, selector
            before = after
        for selector in ("#on-2", "#plane-1", "[data-side=Front]", "[data-side=Above]"):
            page.locator(selector).click()
            after = picture(page)
            assert change(before, after) > 0.003, selector
            before = after


def test_the_mouse_turns_the_brain_and_moves_the_slices(browser, file):
    with opened(browser, file) as page:
        stage, before = page.locator("#picture").bounding_box(), picture(page)
        x, y = stage["x"] + 200, stage["y"] + 300
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 120, y + 30, steps=3)
        page.mouse.up()
        turned = picture(page)
        assert change(before, turned) > 0.02
        cross = page.evaluate("[...view.state.cross]")
        page.mouse.click(stage["x"] + stage["width"] - 60, stage["y"] + 70)
        moved = page.evaluate("[...view.state.cross]")
        assert moved[0] != cross[0] and moved[1] != cross[1] and moved[2] == cross[2]
        page.mouse.wheel(0, 100)
        assert change(turned, picture(page)) > 0.01
        assert page.evaluate("view.state.cross[2]") == cross[2] - 1


def test_while_things_move_the_processor_draws_less(browser, ball):
    with opened(browser, ball) as page:
        seen = "[view.picture.canvas.width, view.picture.tumour[1].count, view.picture.tumour[1].mm3]"
        page.evaluate("view.setDay(20)")
        picture(page)
        fine = page.evaluate(seen)
        # read in the frame of the drawing, before things come to rest
        moving = "view.moving = true; view.change(); requestAnimationFrame(() => done(" + seen + "))"
        coarse = page.evaluate(f"() => new Promise((done) => {{ {moving} }})")
        assert coarse[0] == pytest.approx(fine[0] / 2, abs=1)
        assert coarse[1] < 0.3 * fine[1]
        assert coarse[2] == pytest.approx(fine[2], rel=0.06)
        picture(page)
        assert page.evaluate(seen) == fine


def test_play_runs_to_the_last_day_offline(browser, file):
    with opened(browser, file, offline=True) as page:
        page.evaluate("document.querySelector('#speed').options[0].value = '2'")
        page.select_option("#speed", index=0)
        slide(page, "#day", 0.1)
        seen = [page.evaluate("view.state.day")]
        page.locator("#play").click()
        while page.evaluate("view.timeline.playing"):
            seen.append(page.evaluate("view.state.day"))
        assert page.evaluate("view.state.day === view.last")
        assert len(set(seen)) > 3 and seen == sorted(seen)
        page.locator("body").press("ArrowLeft")
        assert page.evaluate("view.state.day") == pytest.approx(40.0 - 2.0)


def test_screenshot_and_film_are_saved(browser, file, tmp_path):
    with opened(browser, file, offline=True) as page:
        with page.expect_download() as saved:
            page.locator("#shot").click()
        assert saved.value.suggested_filename == "toy01_day40.png"
        saved.value.save_as(tmp_path / "shot.png")
        shot = iio.imread(tmp_path / "shot.png")
        assert shot.shape[1] > 700 and shot[..., :3].std() > 10
        page.evaluate("document.querySelector('#speed').options[0].value = '1'")
        page.select_option("#speed", index=0)
        with page.expect_download(timeout=60_000) as saved:
            page.locator("#film").click()
        name = saved.value.suggested_filename
        assert name in ("toy01_growth.mp4", "toy01_growth.webm")
        saved.value.save_as(tmp_path / name)
        frames = iio.imread(tmp_path / name, plugin="FFMPEG")
        assert len(frames) >= 20  # whatever the computer is busy with
        assert np.abs(frames[0].astype(float) - frames[-1]).max() > 60


def test_the_surfaces_on_the_screen_are_the_balls(browser, ball):
    with opened(browser, ball) as page:
        for day in (20.0, 33.0, 40.0):
            page.evaluate(f"view.setDay({day})")
            picture(page)
            for k, level in enumerate((0.6, 0.25, 0.05)):
                drawn = page.evaluate(f"view.picture.tumour[{k}].mm3") / 1e3
                table = page.evaluate(f"view.volume({day}, {level})")
                assert drawn == pytest.approx(table, rel=0.02), (day, level)
                # P1 on cells of 2.5 mm, where the density falls off within 3 mm
                assert table == pytest.approx(volume(6.0 + SPEED * day, level), rel=0.06), (day, level)
        away = radius(0.0, 0.05) - radius(0.0, 0.25)
        shown = dict(page.evaluate("view.measured()"))
        assert float(shown["Front to boundary, mean"].split()[0]) == pytest.approx(away, abs=0.2)


def test_surfaces_close_face_outwards_and_converge_at_second_order(browser, ball):
    code = """([n, r]) => {
      const spacing = 24 / (n - 1), grid = { shape: [n, n, n], origin: [-11, -12, -13], spacing };
      const values = new Float32Array(n * n * n), centre = [1.3, 0.2, -0.7];
      for (let i = 0; i < values.length; i += 1) {
        const p = [i % n, Math.floor(i / n) % n, Math.floor(i / n / n)]
          .map((k, a) => grid.origin[a] + spacing * k - centre[a]);
        values[i] = r - Math.hypot(...p);
      }
      const s = Field.surface(values, null, 0, grid);
      return { volume: Field.enclosed(s.points, s.triangles), triangles: [...s.triangles] };
    }"""
    with opened(browser, ball) as page:
        errors = []
        for n in (17, 33):
            found = page.evaluate(code, [n, 8.0])
            errors.append(1 - found["volume"] / (4 / 3 * np.pi * 8.0**3))
            triangles = np.reshape(found["triangles"], (-1, 3))
            edges = Counter(
                map(
                    tuple,
                    np.concatenate([triangles, np.roll(triangles, -1, axis=1), np.roll(triangles, 1, axis=1)])[:, :2],
                )
            )
            assert all(count == 1 and edges[b, a] == 1 for (a, b), count in edges.items())
        assert 0 < errors[1] < 0.02
        assert np.log2(errors[0] / errors[1]) > 1.7


def test_lines_in_the_slices_are_the_iso_lines_and_nothing_else(browser, tmp_path):
    """Coloured pixels lie on the circles of the ball; none along the border of the grid of densities."""
    mesh = box_mesh(36.0, 24)
    path = tmp_path / "ball.html"
    path.write_text(build_page(growing(mesh, np.array([0.0, 1.0]))), encoding="utf-8")
    with opened(browser, f"file://{path}") as page:
        page.evaluate("Object.assign(view.state, { overlay: 0, cross: [0, 0, 0], zoom: 80 }); view.change(true)")
        drawn = picture(page)
        area, centre, span = page.evaluate(
            "[view.picture.areas[1], view.state.centre, view.picture.span(view.picture.areas[1])]"
        )
        x, y, w, h = (round(area[side]) for side in "xywh")
        panel = drawn[y : y + h, x : x + w]
        rows, columns = np.nonzero(np.ptp(panel, axis=-1) > 60)
        step = span / max(w, h)
        right = centre[0] + (columns + 0.5 - w / 2) * step
        up = centre[1] - (rows + 0.5 - h / 2) * step
        away = np.abs(np.hypot(right, up)[:, None] - [radius(6.2, level) for level in (0.6, 0.25, 0.05)])
        grid = page.evaluate("view.scene.grid")
        assert 2 * -grid["origin"][0] < 0.9 * span  # the border is in the picture
        # the error of P1 on cells of 3 mm, and the width of a line
        assert (away.min(axis=1) < 2.0).all()
        assert all((away[:, k] < 2.0).sum() > 100 for k in range(3))


def test_a_tumour_at_the_edge_of_the_brain_is_cut_off_there(browser, tmp_path):
    """Half of a ball whose centre lies in a face of the mesh."""
    mesh = box_mesh(30.0, 24)
    half = replace(mesh, points=mesh.points + np.array([30.0, 0.0, 0.0]))
    path = tmp_path / "half.html"
    path.write_text(build_page(growing(half, np.array([40.0, 41.0]))), encoding="utf-8")
    with opened(browser, f"file://{path}") as page:
        page.evaluate("view.setDay(40)")
        picture(page)
        drawn = page.evaluate("view.picture.tumour[1].mm3") / 1e3
        assert drawn == pytest.approx(volume(14.0, 0.25) / 2, rel=0.06)
