"""The examples in the docstrings hold."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import oncology.optimise

MODULES = [module.name for module in pkgutil.iter_modules(oncology.optimise.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(f"oncology.optimise.{name}"))
    assert failed == 0
