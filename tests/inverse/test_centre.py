"""Centre of the posterior on a closed-form front: it moves where the data are weak, and stays where they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oncology.errors import NumericalError
from oncology.inverse.centre import centred
from oncology.inverse.identify import Identified
from oncology.inverse.observe import FixedData
from oncology.inverse.priors import GaussianPrior
from oncology.inverse.problem import Evaluated, InverseProblem, residual_tables
from oncology.inverse.scalars import ScalarMap
from oncology.inverse.uncertainty import centring, information, posterior
from tests.inverse.expanding import DAYS, TRUTH, Expanding, box, pack

ENGINE = Expanding(box(27.0, 12))
GIVEN = ScalarMap(0.0, radius=False)  # the closed form has no seed
AT = pack(GIVEN, TRUTH)
STILL = np.zeros(7)


def found(days: tuple[float, ...], offset: np.ndarray, sd: float = 1.0) -> Identified:
    """A front estimated at its truth from what it looks like on its mesh, with a prior that lies an offset away."""
    unknowns = replace(GIVEN, start=AT, prior=GaussianPrior(AT + offset, np.full(7, sd)))
    seen = InverseProblem(ENGINE, ENGINE.segmented(TRUTH, depth=1, days=days), unknowns).evaluate(AT).seen
    masks = ENGINE.segmented(TRUTH, depth=1, days=days).observations
    exact = tuple(replace(o, fractions=o.fractions + s.residual[:, 0]) for o, s in zip(masks, seen, strict=True))
    here = InverseProblem(ENGINE, FixedData(days, exact), unknowns).evaluate(AT)
    assert here.misfit < 1e-20
    return Identified(AT, AT, information(residual_tables(here), ENGINE.space), here, True, 0, 0)


def test_one_scan_follows_the_prior_where_it_says_nothing_and_nowhere_else():
    """One scan fixes sqrt(D / rho) and rho T: along what is left, D rho say, the mean is that of the prior."""
    before = found((0.0,), np.array([0.3, 0.0, 0.3, 0.0, 0.0, 0.0, -0.3]))
    prior = before.here.problem.map.prior
    after = centred(before, prior, STILL)
    moved = after.x - AT
    # the offset lies along the direction that nothing determines: all of it is followed
    np.testing.assert_allclose(moved[[0, 2, 6]], [0.3, 0.3, -0.3], atol=0.06)
    assert abs(moved[0] - moved[2]) < 0.05 and abs(moved[2] + moved[6]) < 0.02
    assert after.gradients > before.gradients and after.here.x is not before.here.x
    np.testing.assert_allclose(after.here.x, after.x)
    assert centring(after.x, after.information, prior, STILL).reach <= 0.25
    assert after.here.misfit < 20.0, "mm^3: the scan is still explained"


def test_two_scans_leave_the_estimate_where_it_is():
    before = found(DAYS, np.array([0.3, 0.0, 0.3, 0.0, 0.0, 0.0, -0.3]))
    prior = before.here.problem.map.prior
    spread = posterior(before.x, before.information, prior)
    assert all(spread.identified(unit) for unit in np.eye(7)[[0, 1, 2, 6]])
    assert centred(before, prior, STILL) is before


@pytest.mark.parametrize("failing", [1, 3])
def test_a_step_that_cannot_be_run_is_shortened_or_left_out(monkeypatch, failing):
    before = found((0.0,), np.array([0.3, 0.0, 0.3, 0.0, 0.0, 0.0, -0.3]))
    evaluate, asked = InverseProblem.evaluate, []

    def unstable(self: InverseProblem, x: np.ndarray) -> Evaluated:
        asked.append(float(np.abs(x - AT).max()))
        if len(asked) <= failing:
            raise NumericalError("the step diverges")
        return evaluate(self, x)

    monkeypatch.setattr(InverseProblem, "evaluate", unstable)
    after = centred(before, before.here.problem.map.prior, STILL)
    np.testing.assert_allclose(asked[1 : min(failing, 2) + 1], np.array([0.5, 0.25])[: min(failing, 2)] * asked[0])
    assert (after is before) == (failing == 3)
