"""The interactive page: how long it takes to make, to open and to answer, in Chromium without a graphics card.

    python benchmarks/view.py [SIZE ...]          (mm; 4 2.5 if omitted: 2.5 mm has about a million cells)

A ball that grows in the MNI152 brain, 40 frames. `make` is everything between the results folder and the page, in
seconds (aim: below 5 s) and relative to a fixed numpy workload; `open` from the address to the first picture (aim:
below 3 s); `slider` from its move to the picture (aim: below 100 ms), `turn` a frame of turning, the median and the
slowest of 15.
Nothing is asserted.
"""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from nilearn import datasets

from oncology.imaging import Case, LabelTable, Session, Thresholds, Volume
from oncology.meshing import TetMesh, build_mesh
from oncology.model.trajectory import Trajectory
from oncology.view.page import build_page
from oncology.view.sources import Subject

CENTRE = np.array([-27.0, 16.0, 28.0])  # mm
WIDTH, SPEED = 3.0, 0.16  # mm, mm/day
FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
SLIDER = """async (share) => {
  const slider = document.getElementById("day"), began = performance.now();
  slider.value = view.first + share * (view.last - view.first);
  slider.dispatchEvent(new Event("input"));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - began;
}"""
TURN = """async () => {
  const began = performance.now();
  view.state.camera.turn += 0.05;
  view.moving = true;
  view.change();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - began;
}"""


def reference() -> float:
    keys = np.random.default_rng(0).integers(0, 2**60, 4_000_000)
    start = time.perf_counter()
    keys[np.argsort(keys, kind="stable")]
    return time.perf_counter() - start


def brain() -> tuple[Volume, Volume]:
    images = [datasets.load_mni152_wm_template(resolution=1), datasets.load_mni152_gm_template(resolution=1)]
    white, grey = (Volume(np.asarray(i.get_fdata(), dtype=np.float32), i.affine) for i in images)
    return white, grey


def density(points: np.ndarray, day: float) -> np.ndarray:
    return 1 / (1 + np.exp((np.linalg.norm(points - CENTRE, axis=1) - SPEED * day) / WIDTH))


def grown(white: Volume, grey: Volume, mesh: TetMesh) -> Subject:
    """The ball from day 10 to day 200, scanned on day 150."""
    points = white.world(np.argwhere(np.ones(white.shape, dtype=bool)))
    seen = density(points, 150.0).reshape(white.shape) * (white.data + grey.data > 0.5)
    masks = [white.with_data(seen > level) for level in (0.25, 0.6)]
    session = Session("ses-01", 150.0, *masks, labels=masks[0])
    table = LabelTable(necrosis=(1,), oedema=(2,), enhancing=(3,))
    case = Case("ball", Path(), table, Thresholds(0.25, 0.6), white, grey, None, None, (session,), (), 0.0)
    days = np.linspace(10.0, 200.0, 40)
    frames = np.array([density(mesh.points, day) for day in days], dtype=np.float32)
    trajectory = Trajectory(days, frames, mesh.fingerprint)
    return Subject("ball", "simulation", "", mesh, trajectory, case, {"whole": 0.25, "core": 0.6})


def measure(page: str) -> tuple[float, list[float], list[float]]:
    """Seconds to open, milliseconds of the slider and of turning."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise SystemExit("Chromium is not installed: apt install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as api:
        file = Path(folder, "growth.html")
        file.write_text(page, encoding="utf-8")
        browser = api.chromium.launch(executable_path=path, args=FLAGS.split())
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        start = time.perf_counter()
        tab.goto(f"file://{file}")
        tab.wait_for_selector("html[data-ready]", state="attached", timeout=120_000)
        opened = time.perf_counter() - start
        slider = [tab.evaluate(SLIDER, share) for share in np.linspace(0.2, 1.0, 15).tolist()]
        turn = [tab.evaluate(TURN) for _ in range(15)]
        browser.close()
    return opened, slider, turn


def main(sizes: list[float]) -> None:
    white, grey = brain()
    print("size  vertices    cells  make s  relative  page MB  open s  slider ms (slowest)  turn ms (slowest)")
    for size in sizes:
        mesh, _ = build_mesh(white, grey, size)
        subject = grown(white, grey, mesh)
        unit = reference()
        start = time.perf_counter()
        page = build_page(subject)
        made = time.perf_counter() - start
        opened, slider, turn = measure(page)
        print(
            f"{size:4g} {len(mesh.points):9d} {len(mesh.cells):8d} {made:7.1f} {made / unit:9.1f} "
            f"{len(page) / 1e6:8.1f} {opened:7.2f} {statistics.median(slider):9.0f} ({max(slider):.0f})"
            f" {statistics.median(turn):15.0f} ({max(turn):.0f})",
            flush=True,
        )


if __name__ == "__main__":
    main([float(size) for size in sys.argv[1:]] or [4.0, 2.5])
