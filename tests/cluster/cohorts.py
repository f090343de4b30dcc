"""Small cohorts on disk whose fits are a shell script: folder, plan, runner, and what the script was seen to do."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import tomli_w

from oncology.cli import main as cli
from tests.test_docs import blocks

ROOT = Path(__file__).parents[2]
STUB = Path(__file__).with_name("stub.sh")


class Ended(NamedTuple):
    """How a command ended and what it said."""

    status: int
    out: str
    error: str


@dataclass(frozen=True)
class Cohort:
    """A folder with `patients/sub-*`, `plan.toml` and, after a run, `results`."""

    folder: Path

    @property
    def plan(self) -> Path:
        return self.folder / "plan.toml"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def environment(self) -> dict[str, str]:
        own = {"EVENTS": str(self.folder / "events"), "ESTIMATE": str(self.folder / "estimate.json")}
        return {**os.environ, **own, "PYTHONPATH": str(ROOT)}

    def case(self, name: str) -> Path:
        return self.folder / "patients" / f"sub-{name}"

    def finished(self) -> set[str]:
        return {path.parent.name for path in self.results.rglob("estimate.json") if ".tmp-" not in str(path)}

    def half_written(self) -> list[Path]:
        return [*self.results.rglob("*.tmp-*"), *self.results.rglob("*.new")]

    def log(self, task: str) -> str:
        return (self.results / ".cohort" / "logs" / f"{task}.log").read_text()

    def events(self, sign: str = "") -> list[str]:
        """Return the script's lines, or the cases of those that begin with a sign."""
        path = self.folder / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line[2:] for line in lines if line[0] == sign] if sign else lines

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start the command as a process of its own."""
        line = [sys.executable, "-m", "oncology", "cohort", str(self.plan), *words]
        return subprocess.Popen(
            line, text=True, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        )

    def run(self, *words: str) -> Ended:
        """Run the command in this process: a new one would take longer to start than it works."""
        out, error = io.StringIO(), io.StringIO()
        with patch.dict(os.environ, self.environment), redirect_stdout(out), redirect_stderr(error):
            status = cli.run(["cohort", str(self.plan), *words])
        return Ended(status, out.getvalue(), error.getvalue())


def example_estimate() -> dict[str, Any]:
    """The estimate of the documentation."""
    (text,) = blocks(ROOT / "docs" / "output-format.md", "json")
    return json.loads(text)


def write_cohort(folder: Path, cases: Sequence[str], plan: Mapping[str, Any] | None = None) -> Cohort:
    """Write a cohort of stub fits.

    Args:
        folder: where.
        cases: names after `sub-`.
        plan: keys to add to the plan or to replace in it; None removes one.
    """
    cohort = Cohort(folder)
    for name in cases:
        cohort.case(name).mkdir(parents=True)
    (folder / "estimate.json").write_text(json.dumps(example_estimate()))
    content = {"cases": ["patients/sub-*"], "out": "results", "python": ["sh", str(STUB)]} | dict(plan or {})
    cohort.plan.write_text(tomli_w.dumps({key: value for key, value in content.items() if value is not None}))
    return cohort


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@contextmanager
def meanwhile(condition: Callable[[], object], act: Callable[[], object]) -> Iterator[None]:
    """Do something beside the block as soon as something holds."""

    def watch() -> None:
        wait_for(condition)
        act()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        watcher.join()
