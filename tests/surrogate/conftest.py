"""A coarse spherical patient, runs of the finite-element solver in it, and a surrogate trained on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

pytest.importorskip("torch")

from oncology.surrogate.level import tissue_fingerprint

from oncology.fem.patient import MeshChoice, make_mesh, patient_model
from oncology.fem.runtime import world
from oncology.fem.tumour_model import TumourModel
from oncology.forecast.ensemble import grow_many
from oncology.imaging import Case
from oncology.meshing import TetMesh
from oncology.surrogate.design import Domain, domain_of, plan_runs
from oncology.surrogate.learn import Learning, Snapshots, learn, snapshots_of
from oncology.surrogate.model import Surrogate
from tests.cases import write_case

TRAIN, UNSEEN, FRAMES = 128, 16, 4
SETTINGS = Learning(basis=50, iterations=250)


@dataclass(frozen=True)
class Patient:
    """A case with its mesh, its solver, and what was simulated."""

    case: Case
    mesh: TetMesh
    model: TumourModel
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
    model, domain = patient_model(world(), case, mesh), domain_of(case)
    planned = plan_runs(domain, TRAIN + UNSEEN, FRAMES, seed=1)
    runs = list(grow_many(model, mesh, [(plan.parameters, plan.days) for plan in planned], {"law": "logistic"}))
    parts = (snapshots_of(part, mesh, domain) for part in (runs[:TRAIN], runs[TRAIN:]))
    yield Patient(case, mesh, model, domain, *parts)
    model.destroy()
    model.discretisation.destroy()


@pytest.fixture(scope="session")
def surrogate(patient) -> Surrogate:
    return patient.learn(SETTINGS)
