"""pytest under mpiexec: every rank runs the same tests, and a test passes only where it passes on every rank.

Loaded with `mpiexec -n 2 python -m pytest -p tests.mpi_plugin -m mpi`. Rank 0 alone writes the report, in which a
failure elsewhere shows with its rank. A test that leaves one rank in a collective call ends in its time limit.
Temporary folders differ from rank to rank: a test that shares files takes `comm.bcast(tmp_path)`.
"""

from __future__ import annotations

import os

import pytest

from oncology.cli.runtime import world
from oncology.errors import ConfigError

try:
    COMM = world().Dup()
except ConfigError as error:  # every rank alone would pass everything that compares ranks
    raise pytest.UsageError(str(error)) from None
LIMIT = 300.0  # seconds a test; a thread ends the process, since a signal cannot interrupt MPI

if COMM.rank > 0:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.option.timeout = LIMIT
    config.option.timeout_method = "thread"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = COMM.allgather([item.nodeid for item in items])
    if any(other != names[0] for other in names):
        raise pytest.UsageError("the ranks collected different tests")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Give every rank the worst outcome of all, so that all go on to the same next step."""
    report = yield
    ranks = COMM.allgather((report.outcome, report.longreprtext))
    outcomes = [outcome for outcome, _ in ranks]
    if len(set(outcomes)) > 1:
        culprit = outcomes.index("failed") if "failed" in outcomes else outcomes.index("skipped")
        if report.outcome != "failed":
            report.longrepr = f"{outcomes[culprit]} on rank {culprit} of {COMM.size}:\n{ranks[culprit][1]}"
        report.outcome = "failed"
    return report
