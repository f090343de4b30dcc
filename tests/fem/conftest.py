"""Fixtures of the finite-element tests."""

import pytest

from oncology.fem.runtime import world


@pytest.fixture(scope="session")
def comm():
    """All ranks: one under plain pytest, two under mpiexec."""
    return world()
