"""Training of a surrogate: trajectories to snapshots, basis, quadratic, network, and errors on unseen runs.

The network is trained with nonlinear conjugate gradients on the squared misfit of the reduced
coordinates, those of small variance weighted up. Whole runs are held out, never single days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from oncology.errors import DataError
from oncology.meshing import TetMesh
from oncology.model.trajectory import Trajectory
from oncology.model.tumour import PARAMETERS
from oncology.nodes.cost import Cost
from oncology.nodes.depth import DepthGrid
from oncology.nodes.samples import Samples
from oncology.nodes.scheme import HEUN
from oncology.nodes.standalone import StandaloneNODE
from oncology.nodes.training_problem import TrainingProblem
from oncology.optimise import Stop, minimise
from oncology.surrogate.basis import fit_basis
from oncology.surrogate.coordinates import SIMILARITY, similarity
from oncology.surrogate.design import Domain
from oncology.surrogate.model import Surrogate, quadratic

__all__ = ["Learning", "Snapshots", "learn", "relative_errors", "snapshots_of", "summary"]

Vector = NDArray[np.float64]

_LAW = "logistic"
_DAMPING = 1e-4  # of the quadratic's coefficients, beside the mean square of the monomials
# Units of the coordinates, as parts of the deviations of the first one and of their own.
_UNIT, _OWN = 0.3, 0.3
_BATCH = 32  # snapshots whose densities are compared at a time


@dataclass(frozen=True)
class Learning:
    """Settings of the training.

    Attributes:
        basis: r, number of reduced coordinates.
        depth: T, length of the depth interval.
        cells: of the depth grid.
        iterations: most iterations of conjugate gradients.
        decay: mu4, of the squared norm of the weights.
        seed: of the initial weights.
    """

    basis: int = 60
    depth: float = 2.0
    cells: int = 5
    iterations: int = 400
    decay: float = 1e-4
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Snapshots:
    """Densities with their similarity variables.

    Attributes:
        variables: (K, 7).
        density: (K, nv).
        runs: number of runs that they come from.
    """

    variables: Vector
    density: NDArray[np.floating]
    runs: int


def snapshots_of(trajectories: Sequence[Trajectory], mesh: TetMesh, domain: Domain) -> Snapshots:
    """Return the densities of trajectories on days whose reach lies within a domain.

    Raises:
        DataError: a trajectory belongs to another mesh, says nothing of its parameters, or grew by another law.
    """
    variables, rows = [], []
    for number, trajectory in enumerate(trajectories):
        if trajectory.mesh_fingerprint != mesh.fingerprint:
            raise DataError(f"trajectory {number} belongs to another mesh: give runs of one training")
        missing = [name for name in PARAMETERS if name not in trajectory.meta]
        if missing or trajectory.meta.get("law") != _LAW:
            what = f"does not say its {missing[0]}" if missing else f"did not grow by the {_LAW} law"
            raise DataError(f"trajectory {number} {what}: give those of `oncology train surrogate --keep-runs`")
        parameters = np.array([float(trajectory.meta[name]) for name in PARAMETERS])
        for day, density in zip(trajectory.times, trajectory.density, strict=True):
            here = similarity(parameters, float(day))
            if domain.lower[-1] * (1.0 - 1e-6) <= here[-1] <= domain.upper[-1] * (1.0 + 1e-6):
                variables.append(here)
                rows.append(density)
    if not variables:
        raise DataError(f"no day of {len(trajectories)} trajectories lies in the range: give other runs")
    return Snapshots(np.array(variables), np.array(rows, dtype=np.float32), len(trajectories))


def learn(
    train: Snapshots,
    unseen: Snapshots,
    mesh: TetMesh,
    domain: Domain,
    settings: Learning,
    facts: Mapping[str, Any],
    tell: Callable[[str, float | None], None] = lambda text, fraction: None,
) -> Surrogate:
    """Train a surrogate and measure it on runs that it has not seen.

    Args:
        train: to learn.
        unseen: of other runs.
        mesh: of both.
        domain: range of the variables.
        settings: of the training.
        facts: what else the surrogate should know of itself.
        tell: called with what is going on and which fraction of it is done.

    Raises:
        DataError: there are too few snapshots for the basis.
    """
    tell("basis", None)
    basis, coordinates = fit_basis(train.density, _lumped(mesh), settings.basis)
    units = _UNIT * basis.deviations[0] ** (1.0 - _OWN) * basis.deviations**_OWN
    targets, scaled = coordinates / units, domain.scaled(train.variables)
    monomials = quadratic(scaled)
    normal = monomials.T @ monomials / len(scaled) + _DAMPING * np.eye(monomials.shape[1])
    start = np.linalg.solve(normal, monomials.T @ targets / len(scaled))
    network = _network(basis.size, settings)
    pairs = [np.concatenate([scaled, values], axis=1) for values in (monomials @ start, targets)]
    problem = TrainingProblem(network, Cost(decay=settings.decay), Samples(*map(torch.from_numpy, pairs)))
    first = network.initial(torch.Generator().manual_seed(settings.seed), network.size**-0.5).to(torch.float64)
    result = minimise(
        problem,
        first,
        network.space(0.0, first),
        stop=Stop(relative_gradient=1e-6, stagnation=1e-9, max_iterations=settings.iterations),
        callback=lambda state: tell(f"network: cost {state.value:.2e}", state.iteration / settings.iterations),
    )
    bare = Surrogate(mesh, basis, start, units, network, result.x, domain, {})
    tell("unseen runs", None)
    measured = {
        "training_runs": train.runs,
        "training_snapshots": len(train.variables),
        "unseen_runs": unseen.runs,
        "unseen_snapshots": len(unseen.variables),
        "mesh_size_mm": mesh.size,
        "mesh_vertices": len(mesh.points),
        "range": {
            name: [float(low), float(high)]
            for name, low, high in zip(SIMILARITY, domain.lower, domain.upper, strict=True)
        },
        "basis_energy": basis.energy,
        "cost": float(result.value),
        "iterations": result.iterations,
        "error": summary(relative_errors(bare, unseen)),
        "error_training": summary(relative_errors(bare, train)),
        "settings": asdict(settings),
        "law": _LAW,
    }
    return Surrogate(mesh, basis, start, units, network, result.x, domain, {**measured, **facts})


def _network(basis: int, settings: Learning) -> StandaloneNODE:
    size = len(SIMILARITY) + basis
    everything = tuple(range(size))
    return StandaloneNODE(
        size, DepthGrid(settings.depth, settings.cells, "linear"), everything, everything, scheme=HEUN
    )


def summary(errors: Vector) -> dict[str, float]:
    """Return median, 95th percentile and worst of relative errors."""
    return {
        "median": float(np.median(errors)),
        "percentile_95": float(np.quantile(errors, 0.95)),
        "worst": float(errors.max()),
    }


def relative_errors(surrogate: Surrogate, seen: Snapshots) -> Vector:
    """Return the relative error of each snapshot's density in L2 of the brain, (K,)."""
    mass, errors = _lumped(surrogate.mesh), []
    for k in range(0, len(seen.variables), _BATCH):
        truth = seen.density[k : k + _BATCH].astype(float)
        miss = surrogate.respond(seen.variables[k : k + _BATCH]).densities - truth
        errors.append(np.sqrt((miss**2 @ mass) / (truth**2 @ mass)))
    return np.concatenate(errors)


def _lumped(mesh: TetMesh) -> Vector:
    """Return the lumped mass of the vertices, (nv,), mm^3."""
    return np.bincount(mesh.cells.ravel(), np.repeat(mesh.volumes / 4.0, 4), minlength=len(mesh.points))
