"""The time loop without any numerics: which operation is visited when, and with what it is called."""

from dataclasses import dataclass, field

import pytest

from oncology.model.march import Observe, Scaling, march, march_adjoint, march_tangent


@dataclass
class Stub:
    """Appends its name to whatever passes through it, and writes down every call."""

    name: str
    calls: list = field(default_factory=list)

    def forward(self, u):
        self.calls.append(("forward", u))
        return f"{u}{self.name}", f"record of {self.name}"

    def tangent(self, record, du, change):
        self.calls.append(("tangent", record, du, change))
        return f"{du}{self.name}"

    def adjoint(self, record, dual, gather):
        self.calls.append(("adjoint", record, dual))
        gather.append(self.name)
        return f"{dual}{self.name}"


@pytest.fixture
def stubs():
    calls = []
    return [Stub(name, calls) for name in "abc"], calls


def operations_of(a, b, c):
    return (a, Observe(), b, Observe(), Observe(), c, Observe())


def test_forward_goes_in_order_and_watches_all_but_observations(stubs):
    (a, b, c), calls = stubs
    watched = []
    done = march(operations_of(a, b, c), "u", keep=True, watch=lambda *seen: watched.append(seen))
    assert done.observations == ("ua", "uab", "uab", "uabc")
    assert done.records == ("record of a", None, "record of b", None, None, "record of c", None)
    assert calls == [("forward", "u"), ("forward", "ua"), ("forward", "uab")]
    assert watched == [(0, "ua"), (2, "uab"), (5, "uabc")]


def test_nothing_is_kept_unless_asked_for(stubs):
    (a, b, c), _ = stubs
    done = march(operations_of(a, b, c), "u", keep=False)
    assert done.observations == ("ua", "uab", "uab", "uabc") and done.records == ()
    with pytest.raises(ValueError, match="shorter"):
        march_tangent(operations_of(a, b, c), done.records, "", None)


def test_the_tangent_goes_in_order_too(stubs):
    (a, b, c), calls = stubs
    operations = operations_of(a, b, c)
    records = march(operations, "u", keep=True).records
    calls.clear()
    assert march_tangent(operations, records, "d", "change") == ("da", "dab", "dab", "dabc")
    expected = [("record of a", "d"), ("record of b", "da"), ("record of c", "dab")]
    assert calls == [("tangent", record, du, "change") for record, du in expected]


def test_the_adjoint_goes_back_and_meets_every_dual_at_its_observation(stubs):
    """Duals are added from the last to the first, each before the operation that led to its observation."""
    (a, b, c), calls = stubs
    operations = operations_of(a, b, c)
    records = march(operations, "u", keep=True).records
    calls.clear()
    gather, duals = [], ["1", "2", "3", "4"]
    assert march_adjoint(operations, records, "0", duals, gather) == "04c32b1a"
    expected = [("record of c", "04"), ("record of b", "04c32"), ("record of a", "04c32b1")]
    assert calls == [("adjoint", record, dual) for record, dual in expected]
    assert gather == ["c", "b", "a"] and duals == ["1", "2", "3", "4"]


@pytest.mark.parametrize("duals", [[1.0], [1.0, 2.0, 3.0]])
def test_duals_and_observations_must_be_as_many(duals):
    operations = (Observe(), Scaling(2.0), Observe())
    records = march(operations, 1.0, keep=True).records
    with pytest.raises(ValueError, match="duals of 2 observations"):
        march_adjoint(operations, records, 0.0, duals, None)


def test_scaling_is_its_own_tangent_and_transpose():
    operations = (Scaling(0.5), Observe(), Scaling(0.25), Observe())
    done = march(operations, 8.0, keep=True)
    assert done.observations == (4.0, 1.0)
    assert march_tangent(operations, done.records, 16.0, None) == (8.0, 2.0)
    assert march_adjoint(operations, done.records, 0.0, (3.0, 8.0), None) == 0.5 * (3.0 + 0.25 * 8.0)
