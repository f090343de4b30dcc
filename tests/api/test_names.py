"""The names of the front door: typed, documented, listed, and loaded only when they are used."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import oncology as onc

ROOT = Path(__file__).parents[2]
NAMES = sorted(set(onc.__all__) - {"__version__"})


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_documented(name):
    found = getattr(onc, name)
    assert inspect.getdoc(found)
    assert name in dir(onc)
    if inspect.isfunction(found):
        assert set(found.__annotations__) == {*inspect.signature(found).parameters, "return"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'fits'"):
        onc.fits  # noqa: B018


def test_type_checkers_see_every_name(tmp_path):
    program = tmp_path / "program.py"
    uses = "\n".join(f"reveal_type(onc.{name})" for name in NAMES)
    program.write_text(f"import oncology as onc\n{uses}\n")
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports=silent", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    told = [line for line in done.stdout.splitlines() if "Revealed type" in line]
    assert len(told) == len(NAMES), done.stdout
    assert not [line for line in told if '"Any"' in line or "builtins.object" in line]
