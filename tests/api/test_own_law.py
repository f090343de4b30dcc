"""A growth law from outside the package: fitted, written, read again and predicted with, and on the command line."""

from __future__ import annotations

import importlib
import json
import sys
import tomllib

import numpy as np
import pytest

import oncology as onc
from oncology.cli import main as cli
from oncology.errors import ConfigError
from oncology.model.growth import Gompertz, Logistic
from tests.cases import write_case

OWN = '''
import math
from dataclasses import dataclass

CALLS = []


@dataclass(frozen=True)
class Richards:
    """f(u) = u (1 - u^power) for u > 0."""

    power: float = 1.5

    def rate(self, u):
        return u * (1.0 - self.raised(u))

    def flow(self, u, exposure):
        CALLS.append(self.power)
        return math.exp(exposure) * u * self.crowding(u, exposure) ** (-1.0 / self.power)

    def flow_slope(self, u, exposure):
        return math.exp(exposure) * self.crowding(u, exposure) ** (-1.0 / self.power - 1.0)

    def crowding(self, u, exposure):
        return 1.0 + math.expm1(self.power * exposure) * self.raised(u)

    def raised(self, u):
        return (u * (u > 0.0)) ** self.power
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small case, and a module of the user's on the path."""
    folder = tmp_path_factory.mktemp("laws")
    write_case(folder, voxel=6.0)
    (folder / "my_growth_laws.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("ONCOLOGY_CACHE", str(folder / "cache"))
        yield folder
    sys.modules.pop("my_growth_laws", None)


@pytest.fixture(scope="module")
def case(folder) -> onc.Case:
    return onc.read_case(folder / "sub-toy01")


def test_a_law_of_ones_own_goes_from_the_fit_through_the_file_into_the_prediction(folder, case):
    own = importlib.import_module("my_growth_laws")
    law = own.Richards(power=2.0)
    fit = onc.fit(case, size=16.0, law=law, shape=False)
    out = fit.save(folder / "own")
    content = json.loads((out / "estimate.json").read_text())
    assert content["growth_law"] == "my_growth_laws:Richards"
    assert content["growth_law_parameters"] == {"power": 2.0}
    config = tomllib.loads((out / "config.toml").read_text())
    assert (config["settings"]["law"], config["settings"]["law_parameters"]) == (
        "my_growth_laws:Richards",
        {"power": 2.0},
    )
    back = onc.load(out)
    assert back.results.law == law
    own.CALLS.clear()
    days = [10.0, 60.0]
    volumes = back.predict(days=days).volume("whole")["median"]
    assert own.CALLS and set(own.CALLS) == {2.0}, "predicted with the law and the parameter of the fit"
    np.testing.assert_allclose(volumes, fit.predict(days=days).volume("whole")["median"], rtol=1e-6)

    sys.modules.pop("my_growth_laws")
    (folder / "my_growth_laws.py").rename(folder / "elsewhere.py")
    importlib.invalidate_caches()
    with pytest.raises(ConfigError, match=r"my_growth_laws:Richards.*PYTHONPATH"):
        onc.load(out).predict(days=days)
    (folder / "elsewhere.py").rename(folder / "my_growth_laws.py")
    importlib.invalidate_caches()


def test_the_floor_of_gompertz_growth_survives(folder, case):
    fit = onc.fit(case, size=16.0, law=Gompertz(floor=1e-4), shape=False)
    out = fit.save(folder / "gompertz")
    content = json.loads((out / "estimate.json").read_text())
    assert (content["growth_law"], content["growth_law_parameters"]) == ("gompertz", {"floor": 1e-4})
    assert onc.load(out).results.law == Gompertz(floor=1e-4)
    content.pop("growth_law_parameters")
    (out / "estimate.json").write_text(json.dumps(content | {"growth_law": "logistic"}))
    assert onc.load(out).results.law == Logistic(), "as earlier versions wrote it"


def line(folder, out: str, law: str) -> list[str]:
    words = ["--diffusion-white", "0.2", "--proliferation", "0.05", "--seed", "-16", "12", "8", "--onset", "-60"]
    return ["simulate", str(folder / "sub-toy01"), "--out", str(folder / out), *words, "--size", "16", "--law", law]


def test_the_command_line_takes_a_module_and_a_class(folder, capsys):
    assert cli.run(line(folder, "grown", "my_growth_laws:Richards")) == 0, capsys.readouterr().err
    config = tomllib.loads((folder / "grown" / "config.toml").read_text())
    assert (config["settings"]["law"], config["settings"]["law_parameters"]) == (
        "my_growth_laws:Richards",
        {"power": 1.5},
    )


@pytest.mark.parametrize("command", ["fit", "simulate"])
@pytest.mark.parametrize(
    ("law", "told"),
    [
        ("linear", "give one of exponential, logistic, gompertz"),
        ("my_growth_laws:Missing", "no attribute 'Missing'"),
        ("no_such_module:Law", "No module named 'no_such_module'"),
        ("my_growth_laws:CALLS", "is no class"),
        ("builtins:float", "has no method rate"),
    ],
)
def test_a_wrong_law_ends_in_one_line_and_begins_nothing(folder, capsys, command, law, told):
    words = line(folder, "never", law)
    if command == "fit":
        words = ["fit", str(folder / "sub-toy01"), "--out", str(folder / "never"), "--law", law]
    assert cli.run(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("oncology: ") and told in error
    assert not list(folder.glob("never*"))


def test_a_law_that_could_not_be_read_again_is_refused_before_the_fit(case):
    class Inner(Logistic):
        pass

    with pytest.raises(ConfigError, match="top of a module"):
        onc.fit(case, size=16.0, law=Inner())
