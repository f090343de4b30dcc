"""First guesses from spheres whose growth is known, and seeds of shapes with more than one middle."""

import math
from dataclasses import replace

import numpy as np
import pytest

from oncology.errors import CaseError
from oncology.imaging import Case, Volume
from oncology.inverse.scalars import ScalarMap
from oncology.inverse.start import default_prior, radius, scalar_unknowns, starting_points
from oncology.model.tumour import Tumour
from tests.cases import Scan, write_case

FIRST = ScalarMap(0.0)
CENTRE = np.array([-16.0, 12.0, 8.0])


def case_of(folder, **settings) -> Case:
    return Case.read(write_case(folder, voxel=2.0, tumour_centre=CENTRE, **settings))


def guesses(case: Case) -> list[Tumour]:
    return [FIRST.tumour(x) for x in starting_points(case, FIRST, {})]


@pytest.mark.parametrize("wanted", [7.0, 12.0, 20.0])
def test_radius_of_a_ball_of_voxels(wanted):
    voxel = np.array([1.0, 1.5, 2.0])
    grid = np.stack(np.meshgrid(*[np.arange(-30, 31) * v for v in voxel], indexing="ij"), axis=-1)
    ball = Volume(np.linalg.norm(grid, axis=-1) < wanted, np.diag([*voxel, 1.0]))
    assert radius(ball) == pytest.approx(wanted, abs=0.1)


def test_two_scans_give_the_speed_and_the_width_of_the_front(tmp_path):
    """Radii 14 and 20 mm 40 days apart: 0.15 mm/day; 8 mm between the levels 0.25 and 0.60 at the second scan."""
    case = case_of(tmp_path)
    guess = guesses(case)[0]
    profile = [math.sqrt(6.0) * math.log(u**-0.5 - 1.0) for u in (0.60, 0.25)]
    assert guess.front_speed == pytest.approx(6.0 / 40.0, rel=0.05)
    assert guess.infiltration_length == pytest.approx(8.0 / (profile[1] - profile[0]), rel=0.1)
    assert -guess.onset > 14.0 / guess.front_speed
    np.testing.assert_allclose(guess.seed, CENTRE, atol=2.0)


def test_one_scan_takes_the_speed_of_the_literature(tmp_path):
    case = case_of(tmp_path, sessions=[Scan("ses-01", 0.0, whole=18.0, core=9.0)])
    assert guesses(case)[0].front_speed == pytest.approx(2.0 * math.sqrt(0.15 * 0.02))


def test_a_tumour_that_shrank_starts_with_a_slow_front(tmp_path):
    scans = [Scan("ses-01", 0.0, whole=18.0, core=9.0), Scan("ses-02", 30.0, whole=15.0, core=9.0)]
    physical = guesses(case_of(tmp_path, sessions=scans))[0].values
    assert np.isfinite(physical).all() and (physical[:3] > 0.0).all() and physical[6] < 0.0


def test_a_scan_without_core_starts_in_the_middle_of_the_whole(tmp_path):
    scans = [Scan("ses-01", 0.0, whole=14.0, core=0.0), Scan("ses-02", 30.0, whole=18.0, core=0.0)]
    starts = guesses(case_of(tmp_path, sessions=scans))
    assert len(starts) == 1
    np.testing.assert_allclose(starts[0].seed, CENTRE, atol=2.0)


def test_a_horseshoe_has_several_seeds_all_of_them_in_tissue(tmp_path):
    """The centre of a horseshoe lies outside it: its deepest point is worth a start of its own."""
    case = case_of(tmp_path)
    session = case.sessions[0]
    grid = session.whole.world(np.argwhere(np.ones(session.whole.shape, dtype=bool))) - CENTRE
    around = np.hypot(grid[:, 0], grid[:, 1])
    bent = (abs(around - 14.0) < 5.0) & (abs(grid[:, 2]) < 6.0) & (grid[:, 1] > -6.0)
    bent |= np.linalg.norm(grid - np.array([14.0, 0.0, 0.0]), axis=1) < 9.0
    shape = session.whole.shape
    bent_session = replace(
        session, core=session.core.with_data(bent.reshape(shape)), whole=session.whole.with_data(bent.reshape(shape))
    )
    bent_case = replace(case, sessions=(bent_session, *case.sessions[1:]))
    seeds = np.array([guess.seed for guess in guesses(bent_case)])
    assert len(seeds) > 1
    apart = np.linalg.norm(seeds[:, None] - seeds[None], axis=-1)[np.triu_indices(len(seeds), 1)]
    assert apart.min() > 6.0
    assert np.linalg.norm(seeds - CENTRE - np.array([14.0, 0.0, 0.0]), axis=1).min() < 4.0
    index = np.rint(case.white.voxel(seeds)).astype(int)
    assert (case.white.data + case.grey.data)[tuple(index.T)].min() > 0.5


def test_a_seed_in_fluid_moves_into_tissue(tmp_path):
    """Where the maps have no tissue in the middle of the tumour, the nearest tissue is taken."""
    case = case_of(tmp_path)
    hole = np.linalg.norm(case.white.world(np.argwhere(np.ones(case.white.shape, dtype=bool))) - CENTRE, axis=1) < 6.0
    empty = [m.with_data(np.where(hole.reshape(m.shape), 0.0, m.data)) for m in (case.white, case.grey)]
    for guess in guesses(replace(case, white=empty[0], grey=empty[1])):
        assert 6.0 <= np.linalg.norm(guess.seed - CENTRE) < 12.0


OTHER = np.array([30.0, -20.0, -4.0])


def with_another(case: Case) -> Case:
    """The case with a second, smaller ball in both sessions, as far as possible from any guess for the first."""
    sessions = []
    for session, (whole, core) in zip(case.sessions, ((12.0, 6.0), (18.0, 10.0)), strict=True):
        points = session.whole.world(np.argwhere(np.ones(session.whole.shape, dtype=bool)))
        away = np.linalg.norm(points - OTHER, axis=1).reshape(session.whole.shape)
        masks = {"whole": session.whole.data | (away < whole), "core": session.core.data | (away < core)}
        sessions.append(replace(session, **{name: session.whole.with_data(data) for name, data in masks.items()}))
    return replace(case, sessions=tuple(sessions))


def test_every_focus_has_a_seed_of_its_own(tmp_path):
    """The largest first; speed and width are those of a focus of mean volume, the prior is centred at both."""
    case = with_another(case_of(tmp_path))
    unknowns, starts = scalar_unknowns(case)
    assert unknowns.foci == 2 and all(start.shape == (11,) for start in starts)
    guess, middle = (unknowns.tumour(x) for x in (starts[0], unknowns.prior.mean))
    for tumour in (guess, middle):
        np.testing.assert_allclose(tumour.seeds, [CENTRE, OTHER], atol=2.0)
    sizes = [np.mean(np.power(radii, 3.0)) ** (1.0 / 3.0) for radii in ((14.0, 12.0), (20.0, 18.0))]
    assert guess.front_speed == pytest.approx((sizes[1] - sizes[0]) / 40.0, rel=0.05)
    alone = scalar_unknowns(case_of(tmp_path / "alone"))[0]
    assert alone.foci == 1 and unknowns.prior.sd[unknowns.names.index("seed2_y")] == alone.prior.sd[4]


def test_too_many_foci_are_refused(tmp_path):
    case = case_of(tmp_path)
    session = case.sessions[0]
    points = session.whole.world(np.argwhere(np.ones(session.whole.shape, dtype=bool)))
    grid = [np.array([x, y, z]) for x in (-24.0, 0.0, 24.0) for y in (-20.0, 20.0) for z in (-20.0, 20.0)]
    many = np.any([np.linalg.norm(points - centre, axis=1) < 6.0 for centre in grid], axis=0).reshape(
        session.whole.shape
    )
    with pytest.raises(CaseError, match="12 separate foci, at most 5 are fitted: this looks like metastases"):
        scalar_unknowns(replace(case, sessions=(replace(session, whole=session.whole.with_data(many)),)))


def test_prior_is_broad_and_centred(tmp_path):
    unknowns, given = ScalarMap(0.0, ("whole", "core")), {"whole": 0.25, "core": 0.6}
    prior = default_prior(unknowns, CENTRE, given)
    np.testing.assert_allclose(unknowns.tumour(prior.mean).seed, CENTRE)
    assert unknowns.level(prior.mean, "core", 0.0)[0] == pytest.approx(0.6)
    start = starting_points(case_of(tmp_path), unknowns, given)[0]
    assert start.shape == prior.mean.shape == prior.sd.shape == (10,)
    assert (np.abs(start - prior.mean) < 3.0 * prior.sd).all()
    # literature: D_w 0.02 to 1.3 mm^2/day, rho 0.002 to 0.2 /day are no surprise
    for k, (low, high) in {0: (0.02, 1.3), 2: (0.004, 0.1)}.items():
        assert (np.abs(np.log([low, high]) - prior.mean[k]) < 2.2 * prior.sd[k]).all()


def test_the_prior_is_written_out():
    """0.15 mm^2/day, 0.1, 0.02 /day, 300 days, 6.5 mm; 20 mm around the seed; half a log-odds of a threshold."""
    unknowns, given = ScalarMap(-7.0, ("whole", "core"), tracer=True, seed_scale=4.0), {"whole": 0.3, "core": 0.6}
    prior = default_prior(unknowns, CENTRE, given)
    tumour = unknowns.tumour(prior.mean)
    np.testing.assert_allclose(tumour.values, [0.15, 0.015, 0.02, *CENTRE, -307.0, 6.5])
    assert [unknowns.level(prior.mean, name, 0.0)[0] for name in ("whole", "core", "tracer")] == pytest.approx(
        [0.3, 0.6, 1.0]
    )
    np.testing.assert_allclose(prior.sd, [1.0, 1.0, 0.8, 5.0, 5.0, 5.0, 0.8, 0.15, 0.5, 0.5, 0.5])


SPEED = 2.0 * math.sqrt(0.15 * 0.02)  # of the medians, mm/day


@pytest.mark.parametrize(
    ("first", "second", "days", "core", "speed", "width"),
    [
        (14.0, 20.0, 40.0, 12.0, None, None),
        (18.0, 15.0, 30.0, 9.0, 0.2 * SPEED, None),
        (14.0, 24.0, 5.0, 15.0, 5.0 * SPEED, None),
        (14.0, 20.0, 40.0, 19.5, None, 0.7),
        (18.0, 30.0, 80.0, 4.0, None, 8.0),
    ],
    ids=["measured", "shrunk", "fast", "sharp", "wide"],
)
def test_a_first_guess_is_the_front_that_the_radii_tell(tmp_path, first, second, days, core, speed, width):
    """v = dR / dt and w = (R - R_core) / 3.02, within limits; D = v w / 2, rho = v / (2 w), T = R / v + 2 / rho."""
    scans = [Scan("ses-01", 10.0, whole=first, core=core - 2.0), Scan("ses-02", 10.0 + days, whole=second, core=core)]
    case = case_of(tmp_path, sessions=scans)
    radii = [radius(session.whole) for session in case.sessions]
    profile = [math.sqrt(6.0) * math.log(u**-0.5 - 1.0) for u in (0.25, 0.60)]
    v = (radii[1] - radii[0]) / days if speed is None else speed
    w = (radii[1] - radius(case.sessions[1].core)) / (profile[0] - profile[1]) if width is None else width
    unknowns = ScalarMap(10.0)
    guess = unknowns.tumour(starting_points(case, unknowns, {})[0])
    rho = 0.5 * v / w
    expected = [0.5 * v * w, 0.05 * v * w, rho]
    np.testing.assert_allclose(guess.values[:3], expected, rtol=1e-9)
    assert guess.onset == pytest.approx(10.0 - radii[0] / v - 2.0 / rho)


def test_one_scan_has_the_width_of_its_own_front(tmp_path):
    case = case_of(tmp_path, sessions=[Scan("ses-01", 0.0, whole=18.0, core=9.0)])
    profile = [math.sqrt(6.0) * math.log(u**-0.5 - 1.0) for u in (0.25, 0.60)]
    width = (radius(case.sessions[0].whole) - radius(case.sessions[0].core)) / (profile[0] - profile[1])
    assert guesses(case)[0].infiltration_length == pytest.approx(width)


def shaped(case: Case, core, whole) -> Case:
    """The first session with other masks, given as functions of the distance vector from the centre, mm."""
    session = case.sessions[0]
    shape = session.whole.shape
    away = (session.whole.world(np.argwhere(np.ones(shape, dtype=bool))) - CENTRE).reshape(*shape, 3)
    masks = {"core": session.core.with_data(core(away)), "whole": session.whole.with_data(whole(away))}
    return replace(case, sessions=(replace(session, **masks), *case.sessions[1:]))


def ball(away: np.ndarray, middle: tuple[float, float, float], size: float) -> np.ndarray:
    return np.linalg.norm(away - np.array(middle), axis=-1) < size


def test_seeds_are_the_centre_of_the_core_its_deepest_point_and_the_centre_of_the_whole(tmp_path):
    """A core of two balls: the centre of both, that of the larger one, and that of a whole that lies to one side."""
    case = shaped(
        case_of(tmp_path),
        lambda away: ball(away, (0.0, 0.0, 0.0), 8.0) | ball(away, (24.0, 0.0, 0.0), 6.5),
        lambda away: (
            ball(away, (0.0, 0.0, 0.0), 12.0) | ball(away, (24.0, 0.0, 0.0), 8.0) | ball(away, (0.0, 22.0, 0.0), 16.0)
        ),
    )
    first, second, third = (np.array(guess.seed) - CENTRE for guess in guesses(case))
    np.testing.assert_allclose(first, [24.0 * 6.5**3 / (8.0**3 + 6.5**3), 0.0, 0.0], atol=2.0)
    np.testing.assert_allclose(second, [-1.0, 0.0, 0.0], atol=3.0)
    assert third[1] > 8.0


@pytest.mark.parametrize(("apart", "number"), [(4.0, 1), (9.0, 2)])
def test_seeds_closer_than_6_mm_are_one_start(tmp_path, apart, number):
    """The whole tumour's centre is that far from the core's."""
    case = shaped(
        case_of(tmp_path),
        lambda away: ball(away, (0.0, 0.0, 0.0), 6.0),
        lambda away: ball(away, (0.0, apart, 0.0), 16.0),
    )
    assert len(guesses(case)) == number


def test_depth_is_measured_in_mm_up_to_the_edge_of_the_image(tmp_path):
    """A slab of 3 voxels of 4 mm is deeper than one of 5 voxels of 2 mm beside it, and the image's edge is an edge."""
    case = Case.read(write_case(tmp_path, voxel=2.0, scan_voxel=(2.0, 2.0, 4.0), tumour_centre=CENTRE))
    flat = shaped(
        case,
        lambda away: (np.abs(away) < [20.0, 20.0, 3.0]).all(axis=-1) | ball(away, (0.0, 0.0, 16.0), 9.0),
        lambda away: ball(away, (0.0, 0.0, 4.0), 30.0),
    )
    seeds = [np.array(guess.seed) - CENTRE for guess in guesses(flat)]
    assert any(np.linalg.norm(seed - [0.0, 0.0, 16.0]) < 4.0 for seed in seeds)
