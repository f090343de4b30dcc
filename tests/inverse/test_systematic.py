"""Errors of mesh and tissue maps: what the posterior counts is what another mesh or other maps would do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import oncology as onc
from oncology.fem.patient import FiniteElementEngines
from oncology.imaging import Case
from oncology.imaging.tissue import moved_white
from oncology.inverse import fit as fitting
from oncology.inverse.fit import FitSettings, fit_case
from oncology.parallel import on_root
from tests.phantom import Phantom

pytest.importorskip("torch")
DISTANCE = 0.5  # mm


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return replace(Case.read(Phantom().write(tmp_path_factory.mktemp("moved"))), white_error=DISTANCE)


def moved(case: Case, distance: float) -> Case:
    white, grey = moved_white(case.white, case.grey, distance)
    return replace(case, white=white, grey=grey)


def tumour(case: Case) -> onc.Tumour:
    phantom = Phantom()
    return onc.Tumour(0.25, 0.05, 0.03, seed=phantom.seed, onset=phantom.onset)


def engine_on(kind: str, case: Case):
    return onc.Voxels(case, size=4.0) if kind == "voxel" else onc.FiniteElements(onc.mesh(case, size=4.0), case)


@pytest.mark.parametrize("kind", ["fem", "voxel"])
def test_moved_tissue_is_that_of_moved_maps(case, kind):
    """Against an engine that is made from moved maps, mesh and all."""
    engine, other = engine_on(kind, case), engine_on(kind, moved(case, DISTANCE))
    plan = engine.plan(tumour(case), case.days)
    base, found, right = (
        run.densities[-1]
        for run in (
            engine.run(tumour(case), plan),
            engine.run_moved(tumour(case), plan, DISTANCE),
            other.run(tumour(case), plan),
        )
    )
    change = np.linalg.norm(right - base)
    assert change > 1e-3 * np.linalg.norm(base)
    least = 0.02 if kind == "fem" else 1e-12  # the mass matrix of finite elements knows the given maps
    assert np.linalg.norm(found - right) < least * change


def test_the_estimate_moves_as_far_as_the_posterior_says(comm, case, monkeypatch):
    """Two fits of the same scans, in the maps and in moved ones, against the direction that the posterior counts."""
    seen = []
    original = fitting.systematic_errors

    def kept(*arguments):
        seen.append(original(*arguments))
        return seen[-1]

    monkeypatch.setattr(fitting, "systematic_errors", kept)
    settings, engines = FitSettings(size=5.0, shape=False), FiniteElementEngines(comm)
    plain = fit_case(engines, on_root(comm, lambda: case), settings)
    other = fit_case(engines, on_root(comm, lambda: moved(case, DISTANCE)), settings)
    told = -seen[0][-1]
    shift = other.identified.x - plain.identified.x
    names = list(plain.unknowns.names)
    # the ratio of the diffusivities and their level carry nearly all of it
    rates = [names.index(name) for name in ("ln_diffusion_white", "ln_diffusion_ratio", "ln_proliferation")]
    assert np.abs(shift[rates]).max() > 0.02
    np.testing.assert_allclose(told[rates], shift[rates], atol=0.4 * np.abs(shift[rates]).max())


def test_a_case_may_say_that_its_maps_are_exact(comm, case):
    engines = FiniteElementEngines(comm)
    settings = FitSettings(size=6.0, shape=False)
    usual = fit_case(engines, case, settings)
    exact = fit_case(engines, replace(case, white_error=0.0), settings).posterior
    narrower = np.sqrt(np.diag(exact.covariance) / np.diag(usual.posterior.covariance))
    assert narrower[list(usual.unknowns.names).index("ln_diffusion_ratio")] < 0.8
