"""Results folders of every kind, continued and cut off; damaged ones are refused in one line."""

import json
import shutil

import numpy as np
import pytest

from oncology.errors import ConfigError, InputError
from oncology.model.trajectory import Trajectory, read_trajectory, write_trajectory
from oncology.view.grids import logit
from oncology.view.sources import continued, read_subject, until
from tests.view.balls import SPEED, box_mesh, growing, radius

SUMMARY = {
    "schema": 1,
    "case": "toy01",
    "density_range": [0.0, 1.0],
    "steps": 12,
    "thresholds": {"oedema": 0.2, "core": 0.7},
    "mesh": {},
    "frames": [],
    "notes": ["slow steps"],
    "run": {},
}


@pytest.fixture
def simulated(out):
    """The same folder as a simulation would have left it."""
    (out / "estimate.json").unlink()
    (out / "summary.json").write_text(json.dumps(SUMMARY))
    return out


def test_a_fit_with_its_case(toy_out, toy):
    subject = read_subject(toy_out, toy)
    assert (subject.kind, subject.status, subject.name) == ("fit", "converged", toy.id)
    assert subject.days == (-160.0, 40.0)
    assert subject.thresholds == {"whole": 0.25, "core": 0.6}
    assert set(subject.scans) == {(s.id, r) for s in toy.sessions for r in ("whole", "core")}
    whole = subject.intervals["whole"]
    assert whole.high == pytest.approx(1.15 * whole.value)


def test_a_simulation_has_no_intervals(simulated, toy):
    subject = read_subject(simulated)
    assert (subject.kind, subject.intervals, subject.notes) == ("simulation", {}, ("slow steps",))
    assert subject.thresholds == {"whole": 0.2, "core": 0.7}
    assert read_subject(simulated, toy).thresholds == {"whole": 0.25, "core": 0.6}


def test_a_prediction_has_intervals_and_continues_its_fit(out, toy_out, toy):
    known = json.loads((toy_out / "estimate.json").read_text())["growth"]
    curves = {r: {end: values[-2:] for end, values in known[r].items()} for r in ("whole", "core")}
    content = {
        "schema": 1,
        "case": "toy01",
        "fit": "out",
        "last_session": {"id": "ses-02", "day": 40.0},
        "days": [70.0],
        "thresholds": {"oedema": 0.25, "core": 0.6},
        "volumes": {"days": [40.0, 70.0], **curves},
        "uncertainty": {"method": "linearised"},
        "cut_density": 0.0,
        "mesh": {},
        "notes": ["beyond the mesh"],
        "run": {},
        "targets": {},
        "coverage": {},
    }
    (out / "estimate.json").unlink()
    (out / "prediction.json").write_text(json.dumps(content))
    prediction = read_subject(out, toy)
    assert prediction.kind == "prediction"
    fit = read_subject(toy_out, toy)
    whole = continued(fit, prediction)
    assert whole.kind == "fit" and whole.scans == fit.scans and whole.notes[-1] == "beyond the mesh"
    days = whole.intervals["whole"].days
    assert list(days) == [*(d for d in known["days"] if d < 40.0), 40.0, 70.0]
    assert len(whole.intervals["whole"].low) == len(days)


def test_cut_off_between_two_frames_the_front_is_where_it_belongs():
    mesh = box_mesh(30.0, 12)
    subject = until(growing(mesh, np.array([0.0, 40.0, 80.0])), 50.0)
    assert list(subject.trajectory.times) == [0.0, 40.0, 50.0]
    front = 6.0 + SPEED * 50.0
    r = np.linalg.norm(mesh.points, axis=1)
    exact = logit(np.array(0.25)) + (radius(front, 0.25) - r) / 3.0
    near = np.abs(exact) < 5.0
    assert logit(subject.trajectory.density[-1])[near] == pytest.approx(exact[near], abs=1e-9)


def test_cut_off_on_a_frame_it_is_that_frame():
    mesh = box_mesh(10.0, 3)
    subject = growing(mesh, np.array([0.0, 40.0, 80.0]))
    last = until(subject, 80.0).trajectory
    assert list(last.times) == [0.0, 40.0, 80.0]
    assert last.density[-1] == pytest.approx(subject.trajectory.density[-1], abs=1e-3)


@pytest.mark.parametrize("day", [0.0, -5.0, 80.1])
def test_days_outside_are_refused(day):
    subject = growing(box_mesh(10.0, 3), np.array([0.0, 40.0, 80.0]))
    with pytest.raises(ConfigError, match="0 to 80"):
        until(subject, day)


def damage_mesh(out):
    shutil.copy(out / "trajectory.h5", out / "mesh.h5")


def other_mesh(out):
    trajectory = read_trajectory(out / "trajectory.h5")
    write_trajectory(out / "trajectory.h5", Trajectory(trajectory.times, trajectory.density, "0" * 64))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_mesh, "mesh.h5"),
        (other_mesh, "one run"),
        (lambda out: (out / "trajectory.h5").unlink(), "no such file"),
        (lambda out: (out / "summary.json").write_text("{"), "not a JSON file"),
        (lambda out: (out / "summary.json").write_text("[]"), "has schema None"),
        (lambda out: (out / "summary.json").write_text(json.dumps(SUMMARY | {"thresholds": {"oedema": 0.2}})), "core"),
        (lambda out: (out / "prediction.json").write_text('{"schema": 1, "volumes": {"days": [1]}}'), "Field required"),
        (lambda out: (out / "summary.json").unlink(), "summary.json: no such file"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_damaged_folders_are_refused_in_one_line(simulated, damage, says):
    damage(simulated)
    with pytest.raises(InputError, match=says) as caught:
        read_subject(simulated)
    assert "\n" not in str(caught.value)


def test_the_wrong_case_is_refused(simulated, toy):
    (simulated / "summary.json").write_text(json.dumps(SUMMARY | {"case": "somebody"}))
    with pytest.raises(InputError, match="give its case"):
        read_subject(simulated, toy)
