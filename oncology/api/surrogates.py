"""Neural surrogates of the solver: training runs, training, the engine of a fit, and what its report says."""

from __future__ import annotations

import importlib.metadata
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oncology.errors import ArgumentError, ConfigError, DataError
from oncology.text import Progress, silent

if TYPE_CHECKING:
    from oncology.imaging import Case
    from oncology.inverse.fit import CaseFit
    from oncology.meshing import TetMesh
    from oncology.model.trajectory import Trajectory
    from oncology.surrogate.engine import SurrogateEngines
    from oncology.surrogate.model import Surrogate

__all__ = ["CORRECTIONS", "Training", "fit_engine", "surrogate_content", "train_surrogate"]

CORRECTIONS = 1  # steps with the solver after those with the surrogate
_MARGIN = 25.0  # mm of brain beyond every segmentation, as on the coarse level of a fit
_RUNS = "runs"
_VOXEL_RUNS = 16  # that the convolutional variant learns from, at most: it has a hundred unknowns only


@dataclass(frozen=True)
class Training:
    """How a surrogate is made.

    Attributes:
        runs: number of runs to learn from.
        unseen: number of runs to measure the error with.
        frames: days of each run.
        size: edge length of the mesh, mm.
        seed: of the design and of the initial weights.
        basis: number of reduced coordinates.
        iterations: most iterations of conjugate gradients.
        voxels: edge of the voxels of the convolutional variant, mm; None: none.

    Raises:
        ConfigError: a number is out of range.
    """

    runs: int = 256
    unseen: int = 32
    frames: int = 6
    size: float = 2.5
    seed: int = 0
    basis: int = 60
    iterations: int = 400
    voxels: float | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("runs", 8, 16384),
            ("unseen", 4, 16384),
            ("frames", 2, 100),
            ("size", 0.5, 20.0),
            ("seed", 0, 2**31 - 1),
            ("basis", 1, 1000),
            ("iterations", 1, 100_000),
            ("voxels", 2.0, 20.0),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ArgumentError(name, f"{value:g} is out of range: give {low:g} to {high:g}")


def train_surrogate(
    case: Case,
    training: Training,
    folder: Path,
    *,
    trajectories: Path | None = None,
    keep_runs: bool = False,
    progress: Progress = silent,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Make a surrogate of the solver for one case; return what it was trained on and how accurate it is.

    Args:
        case: the patient.
        training: how it is made.
        folder: where it is written; it exists.
        trajectories: folder of an earlier training of this case with `keep_runs`, whose runs to learn from.
        keep_runs: keep the runs, as trajectories.
        progress: called with what is going on.
        cache: folder of meshes kept by content.

    Raises:
        DataError: `trajectories` holds no runs, or those of another brain.
        NumericalError: a diffusion solve does not converge.
    """
    import oncology
    from oncology.fem import probe
    from oncology.results.versions import versions
    from oncology.surrogate.design import domain_of
    from oncology.surrogate.engine import check_case, tissue_fingerprint
    from oncology.surrogate.learn import Learning, learn, snapshots_of
    from oncology.surrogate.store import save_surrogate

    started = time.perf_counter()
    check_case(case, "logistic")
    domain, tissue = domain_of(case), tissue_fingerprint(case)
    if trajectories is not None:
        mesh, runs = _read_runs(trajectories, case.id, tissue)
        training = _of_runs(training, mesh, runs)
    else:
        mesh, runs = _simulate(case, tissue, domain, training, progress, cache)
    simulated = time.perf_counter() - started
    if keep_runs:
        _keep_runs(folder / _RUNS, runs)
    facts = {
        "case": case.id,
        "tissue": tissue,
        "seed": training.seed,
        "design": asdict(training),
        "seconds_runs": round(simulated, 1),
        "versions": versions({**probe.versions().named, "torch": importlib.metadata.version("torch")}),
        "version": oncology.__version__,
    }
    surrogate = learn(
        snapshots_of(runs[: training.runs], mesh, domain),
        snapshots_of(runs[training.runs :], mesh, domain),
        mesh,
        domain,
        Learning(basis=training.basis, iterations=training.iterations, seed=training.seed),
        facts,
        progress,
    )
    save_surrogate(folder, surrogate)
    summary = dict(surrogate.facts)
    if training.voxels is not None:
        summary["voxels"] = _learn_voxels(case, training, mesh, runs, domain, folder, progress)
    summary |= {"seconds": round(time.perf_counter() - started, 1)}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def _simulate(
    case: Case, tissue: str, domain: Any, training: Training, progress: Progress, cache: Path | None
) -> tuple[TetMesh, list[Trajectory]]:
    """Run the solver over the design."""
    import oncology
    from oncology.fem.patient import MeshChoice, meshed_engine
    from oncology.fem.runtime import alone
    from oncology.forecast.ensemble import grow_many
    from oncology.model.growth import Logistic
    from oncology.surrogate.design import plan_runs

    comm, count = alone(), training.runs + training.unseen
    progress("mesh")
    choice = MeshChoice(training.size, margin=_MARGIN, cache=cache)
    engine = meshed_engine(comm, replace(case, treatments=()), choice, Logistic()).engine
    planned = plan_runs(domain, count, training.frames, training.seed)
    meta: dict[str, float | str] = {
        "case": case.id,
        "tissue": tissue,
        "law": "logistic",
        "version": oncology.__version__,
    }
    runs = []
    for run in grow_many(engine, ((plan.tumour, plan.days) for plan in planned), meta):
        runs.append(run)
        progress(f"run {len(runs)} of {count}", len(runs) / count)
    engine.destroy()
    return engine.mesh, runs


def _learn_voxels(
    case: Case, training: Training, mesh: TetMesh, runs: list[Trajectory], domain: Any, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Train the convolutional variant on the first runs, and measure it on unseen ones."""
    from oncology.surrogate.voxels import learn_flow, save_flow
    from oncology.voxel.box import tissue_box

    assert training.voxels is not None
    progress("voxels")
    box = tissue_box(case, training.voxels, _MARGIN)
    seen, unseen = runs[: min(training.runs, _VOXEL_RUNS)], runs[training.runs :][:_VOXEL_RUNS]
    flow, theta, facts = learn_flow(box, mesh, domain, seen, unseen, tell=progress)
    save_flow(folder / "voxels.h5", flow, theta, facts)
    return facts


def _keep_runs(folder: Path, runs: list[Trajectory]) -> None:
    from oncology.model.trajectory import write_trajectory

    folder.mkdir()
    for number, run in enumerate(runs):
        write_trajectory(folder / f"run-{number:05d}.h5", run)


def _read_runs(folder: Path, case: str, tissue: str) -> tuple[TetMesh, list[Trajectory]]:
    """Read the runs that an earlier training kept of a case with the same tissue."""
    from oncology.meshing import read_mesh
    from oncology.model.trajectory import read_trajectory

    files = sorted((folder / _RUNS).glob("*.h5"))
    if not files:
        raise DataError(f"{folder}: holds no runs: give a folder of `oncology train surrogate --keep-runs`")
    runs = [read_trajectory(file) for file in files]
    if any(run.meta.get("tissue") != tissue for run in runs):
        raise DataError(
            f"{folder}: its runs are of case {runs[0].meta.get('case')} and its tissue maps, those of --case {case} "
            "are others: give the case that they belong to, or leave --trajectories out"
        )
    return read_mesh(folder / "mesh.h5"), runs


def _of_runs(training: Training, mesh: TetMesh, runs: list[Trajectory]) -> Training:
    """The training with the numbers of the runs that are there, as many of them unseen as asked for."""
    if len(runs) <= training.unseen:
        raise ConfigError(f"--unseen {training.unseen} of {len(runs)} runs leave none to learn from: give fewer")
    there = {"runs": len(runs) - training.unseen, "frames": len(runs[0].times), "size": mesh.size}
    return Training(**{**asdict(training), **there})


def fit_engine(
    comm: Any, folder: Path | None, route: Any, mesh: TetMesh | None, cache: Path | None
) -> SurrogateEngines:
    """Return the engine of a surrogate's folder, with finite elements for the correction.

    Raises:
        ConfigError: no folder is given.
        DataError: the folder holds no surrogate.
    """
    from oncology.fem.patient import FiniteElementEngines
    from oncology.surrogate.engine import SurrogateEngines
    from oncology.surrogate.store import load_surrogate

    if folder is None:
        raise ArgumentError(
            "engine", "surrogate needs --surrogate: give a folder that `oncology train surrogate` wrote"
        )
    surrogate = load_surrogate(folder)
    route = route or "stuffing"
    own = FiniteElementEngines(comm, route, surrogate.mesh)
    return SurrogateEngines(surrogate, own, FiniteElementEngines(comm, route, mesh, cache))


def surrogate_content(surrogate: Surrogate, fit: CaseFit, case: Case) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the entry `surrogate` of `estimate.json`, and what to warn of."""
    from oncology.surrogate.engine import warnings_of

    before, after = (fit.unknowns.tumour(x).values for x in (fit.identified.coarse, fit.identified.x))
    facts = surrogate.facts
    names = ("diffusion_white", "diffusion_grey", "proliferation")
    content = {
        "trained_on": {
            key: facts[key]
            for key in ("case", "law", "seed", "mesh_size_mm", "training_runs", "unseen_runs", "range", "version")
        },
        "error": facts["error"],
        "estimate": {
            **{name: float(value) for name, value in zip(names, before, strict=False)},
            "seed": np.asarray(before[3:6]).tolist(),
            "onset": float(before[6]),
            "seed_radius": float(before[7]),
        },
        "correction_steps": CORRECTIONS,
    }
    return content, warnings_of(surrogate, case, after)
