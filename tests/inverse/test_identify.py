"""The whole search on a closed-form front: stages, starts, coarse to fine, going on after an interruption."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

from oncology.errors import NumericalError
from oncology.inverse.estimate import parameter_quantities
from oncology.inverse.identify import Checkpoint, Identified, identify
from oncology.inverse.problem import Evaluated, residual_tables
from oncology.inverse.scalars import ScalarMap
from oncology.inverse.start import default_prior
from oncology.inverse.uncertainty import information, posterior
from oncology.model.tumour import Tumour
from tests.inverse.expanding import TRUTH, Expanding, ExpandingLevel, ExpandingRun, box, pack

DEPTH = 4  # points along a cell's edge at which the truth is sampled
GIVEN = ScalarMap(0.0, radius=False)
UNKNOWNS = replace(GIVEN, prior=default_prior(GIVEN, np.zeros(3), {}))
NEAR = pack(UNKNOWNS, TRUTH * np.array([1.5, 1.5, 0.8, 0.0, 0.0, 0.0, 1.3, 1.0]))
ASTRAY = pack(UNKNOWNS, np.array([0.1, 0.01, 0.04, 20.0, 20.0, -20.0, -40.0, 6.5]))


def level(name: str, count: int) -> ExpandingLevel:
    engine = Expanding(box(27.0, count))
    return ExpandingLevel(name, engine, engine.segmented(TRUTH, DEPTH))


@pytest.fixture(scope="module")
def levels() -> tuple[ExpandingLevel, ExpandingLevel]:
    return level("coarse", 8), level("fine", 11)


class Recorder:
    """Keeps what the search tells, and can break off after a number of checkpoints."""

    def __init__(self, breaks_after: int | None = None) -> None:
        self.stages: list[str] = []
        self.iterations: list[int] = []
        self.values: list[float] = []
        self.checkpoints: list[Checkpoint] = []
        self.breaks_after = breaks_after

    def log(self, stage: str, iteration: int, here: Evaluated) -> None:
        assert here.problem.evaluate(here.x).value == pytest.approx(here.value)
        self.stages.append(stage)
        self.iterations.append(iteration)
        self.values.append(here.value)

    def save(self, checkpoint: Checkpoint) -> None:
        self.checkpoints.append(checkpoint)
        if len(self.checkpoints) == self.breaks_after:
            raise KeyboardInterrupt

    def search(self, levels, starts=(NEAR,), resume: Checkpoint | None = None) -> Identified:
        coarse, fine = levels
        return identify(UNKNOWNS, lambda: coarse, lambda x: fine, starts, self.log, self.save, resume)


@pytest.fixture(scope="module")
def whole(levels) -> tuple[Recorder, Identified]:
    recorder = Recorder()
    return recorder, recorder.search(levels)


def test_truth_is_approached_at_second_order_and_lies_inside_the_intervals(levels, whole):
    """P1 interpolation of a front a cell wide biases the estimate by h^2; the intervals know.

    What is left is then 1 / ((h_coarse / h_fine)^2 - 1) of the last step; the grey matter's front of 2.2 mm does not
    converge yet on the first pair of meshes, with cells of 7 and 5 mm.
    """
    errors = []
    for coarse, fine in ((8, 11), (11, 16)):
        found = whole[1] if fine == 11 else Recorder().search((level("coarse", coarse), level("fine", fine)))
        assert found.converged
        # without the pull of the prior, which no mesh changes
        values = UNKNOWNS.tumour(found.x - np.linalg.solve(found.information.normal, found.information.gradient)).values
        seed = np.linalg.norm(values[3:6] - TRUTH[3:6])
        errors.append(np.array([*np.abs(np.log(values[[0, 2]] / TRUTH[[0, 2]])), seed]))
    step = (found.x - found.coarse) / ((16 / 11) ** 2 - 1.0)
    quantities = parameter_quantities(UNKNOWNS, posterior(found.x, found.information, UNKNOWNS.prior, step))
    for name, true in zip(("diffusion_white", "diffusion_grey", "proliferation"), TRUTH, strict=False):
        low, high = quantities[name].interval
        assert low < true < high, name
    assert (errors[1] < [0.06, 0.06, 0.1 * 54 / 16]).all(), errors
    assert (errors[1] < errors[0] * (11 / 16) ** 1.5).all(), errors


def test_stages_come_in_order_and_each_lowers_its_cost(whole):
    recorder = whole[0]
    order = ["coarse, sharpness 10", "coarse, sharpness 25", "coarse, volume fraction", "fine, volume fraction"]
    assert list(dict.fromkeys(recorder.stages)) == order
    for stage in order[:3]:
        values = [v for s, v in zip(recorder.stages, recorder.values, strict=True) if s == stage]
        assert values == sorted(values, reverse=True)


def test_what_is_counted_is_what_was_logged(whole):
    recorder, found = whole
    starts = len([1 for a, b in zip([None, *recorder.stages], recorder.stages, strict=False) if a != b])
    assert found.iterations == len(recorder.stages) - starts
    assert found.iterations == sum(b > a for a, b in pairwise(recorder.iterations))
    assert found.gradients >= len(recorder.stages) + 1


def test_start_that_explains_most_is_followed(levels, whole):
    recorder = Recorder()
    found = recorder.search(levels, [ASTRAY, NEAR])
    np.testing.assert_allclose(found.x, whole[1].x, atol=2e-2)
    assert recorder.checkpoints[0].stage > 0, "trials of several starts are not worth going on from"


def test_every_checkpoint_leads_to_the_same_end(levels, whole):
    recorder, found = whole
    for checkpoint in recorder.checkpoints[:: max(1, len(recorder.checkpoints) // 4)]:
        again = Recorder().search(levels, resume=checkpoint)
        # the tolerance of the fine stage, in units of what the data can tell apart
        np.testing.assert_allclose(again.x, found.x, atol=2e-2)
        assert again.converged
        assert again.iterations <= found.iterations


@pytest.mark.parametrize("after", [2, 5])
def test_interrupted_search_goes_on_where_it_was(levels, whole, after):
    stopped = Recorder(breaks_after=after)
    with pytest.raises(KeyboardInterrupt):
        stopped.search(levels)
    last = stopped.checkpoints[-1]
    recorder = Recorder()
    found = recorder.search(levels, resume=last)
    np.testing.assert_array_equal(recorder.checkpoints[0].x, last.x)
    assert recorder.stages[0] == stopped.stages[-1]
    np.testing.assert_allclose(found.x, whole[1].x, atol=2e-2)


def test_finished_coarse_mesh_is_not_made_again(levels, whole):
    done = next(c for c in whole[0].checkpoints if c.metric is not None)

    def coarse():
        raise AssertionError("made again")

    found = identify(UNKNOWNS, coarse, lambda x: levels[1], [NEAR], resume=done)
    np.testing.assert_allclose(found.coarse, whole[1].coarse)
    np.testing.assert_allclose(found.x, whole[1].x, atol=1e-12)


def test_the_coarse_solution_leaves_its_noise_and_its_matrix(levels, whole):
    """The fine stage takes both over: the noise level of the residuals, and H without prior and noise."""
    done = next(c for c in whole[0].checkpoints if c.metric is not None)
    problem = levels[0].problem(UNKNOWNS, done.x, 50.0, None)
    info = information(residual_tables(problem.evaluate(done.x)), problem.space, 12.0)
    np.testing.assert_allclose(done.metric, info.normal, rtol=1e-12)
    assert done.noise == pytest.approx(max(info.noise, 1.0)) != 50.0
    assert whole[1].here.problem.noise == done.noise
    assert done.stage == 3 and np.array_equal(done.coarse, done.x)


def test_stages_end_where_they_say(whole):
    """A step is limited to a factor of two or so, 6 mm of the seed; a stage has at most 8 or 10 iterations."""
    recorder, _ = whole
    for stage, most in (("sharpness 10", 10), ("sharpness 25", 8), ("coarse, volume", 10), ("fine, volume", 8)):
        runs = [n for s, n in zip(recorder.stages, recorder.iterations, strict=True) if stage in s]
        assert 0 < len(runs) <= most + 1 and max(runs) <= most
    furthest = np.zeros(7)
    for start in (ASTRAY, NEAR + np.array([2.5, -2.5, 0.0, 5.0, -6.0, 6.0, 0.0])):
        found = Recorder()
        found.search((level("coarse", 8), level("fine", 11)), [start])
        moves = [
            np.abs(b.x - a.x)
            for a, b in pairwise(found.checkpoints)
            if a.stage == b.stage and a.metric is None and b.metric is None
        ]
        furthest = np.maximum(furthest, np.max(moves, axis=0) / [0.7, 0.7, 0.7, 2.0, 2.0, 2.0, 0.7])
    assert (furthest <= 1.0 + 1e-9).all()
    np.testing.assert_allclose(furthest, 1.0, atol=0.25, err_msg="from so far away limits are met, or nearly")


def test_checkpoints_hold_plain_numbers(whole):
    for checkpoint in whole[0].checkpoints:
        plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(checkpoint).items()}
        back = {k: np.array(v) if isinstance(v, list) else v for k, v in json.loads(json.dumps(plain)).items()}
        np.testing.assert_array_equal(Checkpoint(**back).x, checkpoint.x)


def test_fine_level_is_made_for_the_coarse_solution(levels):
    asked = []
    found = identify(UNKNOWNS, lambda: levels[0], lambda x: asked.append(x) or levels[1], [NEAR])
    np.testing.assert_array_equal(asked, [found.coarse])


def test_wrong_metric_is_replaced_until_confirmed(levels, whole):
    """A coarse matrix that is off by a factor of a thousand makes the fine stage crawl, not lie."""
    done = next(c for c in whole[0].checkpoints if c.metric is not None)
    stiff = Checkpoint(done.stage, done.x + 0.1, done.noise, done.coarse, 1e3 * done.metric)
    found = Recorder().search(levels, resume=stiff)
    assert found.converged
    np.testing.assert_allclose(found.x, whole[1].x, atol=2e-2)


def test_one_correction_is_one_step_and_says_whether_it_sufficed(levels, whole):
    done = next(c for c in whole[0].checkpoints if c.metric is not None)

    def corrected(x: np.ndarray) -> Identified:
        here = replace(done, x=x)
        return identify(UNKNOWNS, lambda: levels[0], lambda x: levels[1], [NEAR], resume=here, corrections=1)

    astray = done.x + 1.5 * np.eye(7)[0]  # further than a step may go
    near, far = corrected(done.x), corrected(astray)
    assert near.converged and near.iterations == 1
    np.testing.assert_allclose(near.x, whole[1].x, atol=2e-2)
    assert not far.converged and far.iterations == 1
    np.testing.assert_array_equal(far.here.x, far.x)
    assert far.here.value < far.here.problem.evaluate(astray).value


@dataclass(frozen=True)
class Fragile(Expanding):
    """Cannot be run where growth is fast."""

    def run(self, tumour: Tumour, plan, keep: bool = True, record=None) -> ExpandingRun:
        if tumour.proliferation > 0.024:
            raise NumericalError("too fast")
        return super().run(tumour, plan, keep, record)


def test_trials_that_cannot_be_run_are_shortened(levels, whole):
    fragile = tuple(replace(one, engine=Fragile(one.engine.space)) for one in levels)
    found = Recorder().search(fragile, [NEAR - 0.3 * np.eye(7)[2]])
    np.testing.assert_allclose(found.x, whole[1].x, atol=2e-2)


def test_a_start_that_cannot_be_run_is_an_error(levels):
    fragile = tuple(replace(one, engine=Fragile(one.engine.space)) for one in levels)
    with pytest.raises(NumericalError, match="too fast"):
        Recorder().search(fragile, [NEAR + np.eye(7)[2]])
