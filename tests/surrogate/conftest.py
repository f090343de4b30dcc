"""A coarse spherical patient, runs of the finite-element solver in it, and a surrogate trained on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("torch")

from oncology.fem.engine import FiniteElements
from oncology.fem.patient import MeshChoice, make_mesh
from oncology.forecast.ensemble import grow_many
from oncology.imaging import Case
from oncology.meshing import TetMesh
from oncology.surrogate.design import Domain, domain_of, plan_runs
from oncology.surrogate.engine import tissue_fingerprint
from oncology.surrogate.learn import Learning, Snapshots, learn, snapshots_of
from oncology.surrogate.model import Surrogate
from tests.cases import write_case

TRAIN, UNSEEN, FRAMES = 128, 16, 4
RADII = (14.0, 16.0)  # of the seed, mm
SETTINGS = Learning(basis=50, iterations=250)


@dataclass(frozen=True)
class Patient:
    """A case with its mesh, its solver, and what was simulated."""

    case: Case
    mesh: TetMesh
    engine: FiniteElements
    domain: Domain
    train: Snapshots
    unseen: Snapshots

    def learn(self, settings: Learning) -> Surrogate:
        facts = {"case": self.case.id, "tissue": tissue_fingerprint(self.case)}
        return learn(self.train, self.unseen, self.mesh, self.domain, settings, facts)


@pytest.fixture(scope="session")
def patient(tmp_path_factory) -> Iterator[Patient]:
    case = Case.read(write_case(tmp_path_factory.mktemp("surrogate"), scan_voxel=3.0))
    mesh, _ = make_mesh(case, MeshChoice(9.0, margin=25.0))
    engine, box = FiniteElements(mesh, case), domain_of(case)
    # cells of 9 mm ask for a larger seed
    ends = (np.array([*end[:5], radius, end[6]]) for end, radius in ((box.lower, RADII[0]), (box.upper, RADII[1])))
    domain = Domain(*ends)
    planned = plan_runs(domain, TRAIN + UNSEEN, FRAMES, seed=1)
    runs = list(grow_many(engine, [(plan.tumour, plan.days) for plan in planned], {"law": "logistic"}))
    parts = (snapshots_of(part, mesh, domain) for part in (runs[:TRAIN], runs[TRAIN:]))
    yield Patient(case, mesh, engine, domain, *parts)
    engine.destroy()


@pytest.fixture(scope="session")
def surrogate(patient) -> Surrogate:
    return patient.learn(SETTINGS)
