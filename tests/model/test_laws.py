"""Growth laws written as plain content and read again, those of a user's own module among them."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tomllib
from dataclasses import dataclass, field

import numpy as np
import pytest
import tomli_w

from oncology.errors import ConfigError
from oncology.model.growth import Exponential, Gompertz, Logistic
from oncology.model.laws import LAWS, growth_law, law_name, law_parameters


@dataclass(frozen=True)
class Richards:
    """f(u) = u (1 - u^power): a user's own law, with a parameter that has no default."""

    power: float
    label: str = "Richards"
    knots: tuple[float, ...] = (0.0, 1.0)

    def rate(self, u):
        return u * (1.0 - u**self.power)

    def flow(self, u, exposure):
        crowding = 1.0 + np.expm1(self.power * exposure) * u**self.power
        return np.exp(exposure) * u * crowding ** (-1.0 / self.power)

    def flow_slope(self, u, exposure):
        crowding = 1.0 + np.expm1(self.power * exposure) * u**self.power
        return np.exp(exposure) * crowding ** (-1.0 / self.power - 1.0)


class Plain(Exponential):
    """A law that is no dataclass of its own and has no parameters."""


@pytest.mark.parametrize(
    ("law", "name", "parameters"),
    [
        (Exponential(), "exponential", {}),
        (Logistic(), "logistic", {}),
        (Gompertz(), "gompertz", {"floor": 1e-8}),
        (Gompertz(floor=1e-6), "gompertz", {"floor": 1e-6}),
        (
            Richards(0.5, knots=(0.0, 0.25)),
            "tests.model.test_laws:Richards",
            {"power": 0.5, "label": "Richards", "knots": [0.0, 0.25]},
        ),
        (Plain(), "tests.model.test_laws:Plain", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_law_survives_json_and_toml(law, name, parameters):
    content = {"growth_law": law_name(law), "parameters": law_parameters(law)}
    assert content == {"growth_law": name, "parameters": parameters}
    for written in (json.loads(json.dumps(content)), tomllib.loads(tomli_w.dumps(content))):
        found = growth_law(written["growth_law"], written["parameters"])
        assert type(found) is type(law) and found == law


def test_parameters_that_are_not_given_are_the_defaults_of_the_class():
    assert growth_law("gompertz") == Gompertz() and growth_law("logistic", {}) == Logistic()
    assert growth_law("oncology.model.growth:Gompertz", {"floor": 1e-3}) == Gompertz(1e-3)
    assert law_name(growth_law("oncology.model.growth:Gompertz")) == "gompertz", "one law has one name"


def test_numbers_of_numpy_are_written_as_numbers():
    content = law_parameters(Richards(np.float64(0.5), knots=(np.float32(0.5), 1)))
    assert json.loads(json.dumps(content)) == {"power": 0.5, "label": "Richards", "knots": [0.5, 1]}


def test_an_installed_package_offers_a_law_by_a_short_name(tmp_path, monkeypatch):
    metadata = tmp_path / "allee-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: allee\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[oncology.laws]\nrichards = tests.model.test_laws:Richards\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.metadata.MetadataPathFinder.invalidate_caches()
    assert growth_law("richards", {"power": 2.0}) == Richards(2.0)
    assert law_name(Richards(2.0)) == "richards"
    with pytest.raises(ConfigError, match="give one of exponential, logistic, gompertz, richards, or package"):
        growth_law("richard")


class Short(Logistic):
    """A law without the derivative of its flow."""

    flow_slope = None


@dataclass(frozen=True)
class Listed(Logistic):
    """A law whose parameter is no plain value."""

    table: object = field(default_factory=dict)


class Attributed(Logistic):
    """A law with an attribute that no field declares."""

    def __init__(self):
        object.__setattr__(self, "power", 2.0)


@pytest.mark.parametrize(
    ("name", "parameters", "told"),
    [
        ("", {}, "is unknown"),
        ("Logistic", {}, "is unknown: give one of exponential, logistic, gompertz"),
        ("no_such_module:Law", {}, "No module named 'no_such_module'"),
        ("tests.model.test_laws:Missing", {}, "no attribute 'Missing'"),
        ("tests.model.test_laws:pytest", {}, "is no class"),
        (":Law", {}, "is unknown"),
        ("tests.model.test_laws:", {}, "is unknown"),
        ("tests.model.test_laws:Richards", {}, "power"),
        ("gompertz", {"flor": 1e-6}, "flor"),
        ("tests.model.test_laws:Short", {}, "has no method flow_slope"),
        ("builtins:int", {}, "has no method rate"),
    ],
)
def test_what_is_no_law_is_refused_in_one_line(name, parameters, told):
    with pytest.raises(ConfigError, match=told) as caught:
        growth_law(name, parameters)
    assert "\n" not in str(caught.value) and repr(name) in str(caught.value)


def test_a_module_that_fails_while_it_is_imported_is_refused_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "failing_law.py").write_text("raise RuntimeError('two\\nlines')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be imported \\(two lines\\)"):
        growth_law("failing_law:Law")
    assert "failing_law" not in sys.modules


def test_a_law_that_cannot_be_found_or_written_again_is_refused_at_once(monkeypatch):
    @dataclass(frozen=True)
    class Inner(Logistic):
        pass

    with pytest.raises(ConfigError, match="top of a module"):
        law_name(Inner())
    monkeypatch.setattr(sys.modules[__name__], "Short", Plain)
    with pytest.raises(ConfigError, match="stands for another class"):
        law_name(_original_short())
    with pytest.raises(ConfigError, match="table = "):
        law_parameters(Listed())
    with pytest.raises(ConfigError, match="power = nan"):
        law_parameters(Richards(float("nan")))
    with pytest.raises(ConfigError, match="power is no field"):
        law_parameters(Attributed())


def _original_short(kind=Short):
    return kind()


def test_the_names_of_the_package_stand_for_its_laws():
    assert {name: law_name(kind()) for name, kind in LAWS.items()} == {name: name for name in LAWS}
