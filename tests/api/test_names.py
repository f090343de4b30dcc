"""The names of the front door: typed, documented, listed, and loaded only when they are used."""

import ast
import inspect
from pathlib import Path

import pytest

import oncology as onc

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


def test_type_checkers_see_what_is_loaded():
    """The imports for type checkers, which `mypy` resolves, name the modules that the names are loaded from."""
    tree = ast.parse(Path(onc.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname
    }
    assert typed == onc._PLACES
    assert (Path(onc.__file__).parent / "py.typed").is_file()
