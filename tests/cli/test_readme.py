"""The commands of the README run as printed, one after the other, on a small synthetic patient."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from oncology.cli import main as cli
from tests.cases import write_case

README = Path(__file__).parents[2] / "README.md"


def commands() -> list[list[str]]:
    lines = re.findall(r"(?m)^\$ (?:mpiexec -n \d+ )?oncology (.*)$", README.read_text(encoding="utf-8"))
    return [shlex.split(line) for line in lines]


@pytest.mark.slow
def test_the_first_fit_of_the_readme(tmp_path, monkeypatch):
    write_case(tmp_path, id="01", voxel=5.0)
    (toml,) = re.findall(r"(?ms)^```toml\n(.*?)^```", README.read_text(encoding="utf-8"))
    (tmp_path / "sub-01" / "case.toml").write_text(toml, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONCOLOGY_CACHE", str(tmp_path / "cache"))
    words = commands()
    assert [line[0] for line in words] == ["fit", "predict", "view"]
    for line in words:
        coarse = ["--size", "8"] if line[0] == "fit" else []
        assert cli.run([*line, *coarse]) == 0, line
    written = {path.name for path in tmp_path.iterdir()}
    assert written >= {"sub-01-fit", "sub-01-later", "growth.html"}
    assert (tmp_path / "sub-01-fit" / "report.html").is_file()
    assert len(list((tmp_path / "sub-01-later").glob("density_day-*.nii.gz"))) == 3
