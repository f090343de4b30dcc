"""Pictures show the right place: exact volumes, sides of the body, grids in any orientation."""

import base64
import io

import matplotlib.image
import numpy as np
import pytest

from oncology.imaging import Case, Volume
from oncology.meshing import build_mesh
from oncology.model.trajectory import Trajectory
from oncology.report import anatomy, curves, scene, slices, style
from oncology.results.files import read_results
from oncology.results.schema import Curve
from tests.cases import write_case
from tests.report.synthetic import write_results


def decoded(uri: str) -> np.ndarray:
    kind, _, content = uri.partition(";base64,")
    assert kind == "data:image/png"
    return matplotlib.image.imread(io.BytesIO(base64.b64decode(content)))[..., :3]


def near(picture: np.ndarray, colour: str, tolerance: float = 0.15) -> np.ndarray:
    wanted = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.abs(picture - wanted).max(axis=-1) < tolerance


@pytest.fixture(scope="module")
def results(toy, toy_out):
    return read_results(toy_out, toy)


def test_volume_above_a_plane_is_exact():
    block = np.zeros((12, 12, 12), dtype=np.float32)
    block[1:-1, 1:-1, 1:-1] = 1.0
    white = Volume(block, np.diag([2.0, 2.0, 2.0, 1.0]))
    mesh, _ = build_mesh(white, white.with_data(np.zeros_like(block)), 5.0, "lattice")
    x = mesh.points[:, 0]
    span = x.max() - x.min()
    ramp = (x - x.min()) / span
    trajectory = Trajectory(np.array([0.0, 1.0, 2.0]), np.array([0.0 * ramp, 0.8 * ramp, ramp]), mesh.fingerprint)
    for threshold in (0.25, 0.6):
        shares = np.array([0.0, 1.0 - threshold / 0.8, 1.0 - threshold])
        found = curves.volumes_over_time(trajectory, mesh, threshold)
        np.testing.assert_allclose(found, shares * mesh.volumes.sum() / 1000, rtol=1e-9, atol=1e-12)


def test_curves_are_the_trajectory_where_no_intervals_were_left(results):
    for region, curve in curves.growth_curves(results).items():
        wanted = curves.volumes_over_time(results.trajectory, results.mesh, results.threshold[region])
        np.testing.assert_array_equal(curve.value, wanted)
        np.testing.assert_array_equal(curve.low, curve.high)


def test_intervals_and_later_days_are_drawn(results):
    days = np.array([-100.0, 0.0, 40.0, 90.0])
    value = np.array([1.0, 20.0, 30.0, 50.0])
    sharp = {region: Curve(days, value, value, value) for region in ("whole", "core")}
    wide = {region: Curve(days, value, 0.8 * value, 1.3 * value) for region in ("whole", "core")}
    plain, banded = (style.vector(curves.growth_figure(results, given, 40.0)) for given in (sharp, wide))
    svg = [base64.b64decode(uri.partition(",")[2]).decode() for uri in (plain, banded)]
    assert [text.count("FillBetweenPolyCollection") for text in svg] == [0, 4]
    assert all(text.count("stroke-dasharray") >= 4 for text in svg), "both regions in both panels"


def test_planes_meet_in_the_tumour(results):
    centre, reach = slices.field_of_view(results)
    np.testing.assert_allclose(centre, (-16.0, 12.0, 8.0), atol=1.0)
    assert reach == slices.LEAST_REACH


def test_pixels_run_to_the_right_and_up():
    centre, offsets = np.array([1.0, 2.0, 3.0]), np.array([-5.0, 0.0, 5.0])
    for plane, first, last in zip(
        slices.PLANES,
        ([-4, -3, 3], [-4, 2, -2], [1, -3, -2]),
        ([6, 7, 3], [6, 2, 8], [1, 7, 8]),
        strict=True,
    ):
        points = plane.points(centre, offsets)
        assert points[0].tolist() == first
        assert points[-1].tolist() == last
        assert np.ptp(points[:3, plane.right]) == 10.0


def test_a_picture_does_not_depend_on_the_order_of_voxels(tmp_path):
    pictures = []
    turn = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
    for name, axes in (("straight", None), ("turned", turn)):
        case = Case.read(write_case(tmp_path / name, axes=axes))
        left = read_results(write_results(tmp_path / name, case), case)
        pictures.append(decoded(style.pixels(slices.session_figure(left, "ses-02", *slices.field_of_view(left)))))
    assert np.abs(pictures[0] - pictures[1]).mean() < 2e-3


def test_a_picture_shows_scan_and_model(results):
    picture = decoded(style.pixels(slices.session_figure(results, "ses-01", *slices.field_of_view(results))))
    for colour in style.MODEL.values():
        assert near(picture, colour).sum() > 100


def test_a_t1_is_the_background_where_there_is_one(toy, toy_out):
    density = read_results(toy_out, toy).densities["ses-01"]
    points = toy.white.world([[5, 5, 5], [14, 17, 13]])
    bright = _with_t1(toy, toy.white.with_data(toy.white.data * 900.0 + 100.0))
    assert slices.background(bright, density, points).tolist() == [0.0, 1.0]
    assert slices.background(toy, density, points)[1] == pytest.approx(slices.WHITE_SHADE)


def _with_t1(case: Case, t1: Volume) -> Case:
    return Case(**{name: getattr(case, name) for name in case.__dataclass_fields__} | {"t1": t1})


def test_the_rendered_tumour_is_on_the_patients_left(results):
    drawn = scene.render(anatomy.brain_and_tumour(results))
    picture = matplotlib.image.imread(io.BytesIO(drawn))[..., :3]
    width = picture.shape[1] // 3
    red = (picture[..., 0] - picture[..., 2]) > 0.25
    side, front, above = (red[:, k * width : (k + 1) * width] for k in range(3))
    assert min(part.sum() for part in (side, front, above)) > 500
    assert np.argwhere(side)[:, 1].mean() < width / 2  # anterior, seen from the left
    assert np.argwhere(front)[:, 1].mean() > width / 2  # left, seen from the front
    assert np.argwhere(above)[:, 1].mean() < width / 2  # left, seen from above
    assert np.argwhere(above)[:, 0].mean() < picture.shape[0] / 2  # anterior is up


def test_a_rendering_that_takes_too_long_is_given_up(results):
    with pytest.raises(scene.RenderingError, match="oncology doctor"):
        scene.render(anatomy.brain_and_tumour(results), patience=0.01)


def test_nothing_to_render_is_said(results):
    empty = scene.Shell(np.zeros((5, 5, 5)), np.eye(4), 0.5, "#000000", 1.0)
    nothing = scene.Scene((empty,), np.empty((0, 3)), np.empty((0, 3), dtype=np.int64), "#000000", 1.0, "left")
    with pytest.raises(scene.RenderingError, match="no threshold"):
        scene.render(nothing)


def test_stages_begin_where_names_or_numbers_say():
    log = [{"stage": "a", "iteration": k} for k in (0, 1, 0, 1, 2)] + [{"stage": "b", "iteration": 3}]
    assert curves._stage_starts(log) == [0, 2, 5]


def test_curves_are_the_same_bytes_every_time(results):
    first, second = (style.vector(curves.convergence_figure(results.log)) for _ in range(2))
    assert first == second
