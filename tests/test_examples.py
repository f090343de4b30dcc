"""The examples in docstrings hold, all of them: of every module of the packages that need no engine."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("imaging", "meshing", "model", "optimise")
PROMPTS = {
    path: len(re.findall(r"(?m)^ *>>> ", path.read_text(encoding="utf-8")))
    for package in PACKAGES
    for path in sorted((ROOT / "oncology" / package).glob("*.py"))
}


def name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", [path for path, count in PROMPTS.items() if count], ids=name)
def test_docstring_examples(path: Path) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name(path)))
    assert (failed, attempted) == (0, PROMPTS[path])


def test_there_are_examples() -> None:
    assert sum(PROMPTS.values()) >= 40
