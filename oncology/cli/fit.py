"""`oncology fit`: a case in, parameters with their uncertainty, predicted densities and a report out."""

from __future__ import annotations

import importlib.util
import json
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from oncology.cli.output import json_lines, output_folder, progress
from oncology.cli.runtime import guarded, launched_size, mesh_cache, stoppable, world
from oncology.cli.surrogate import CORRECTIONS, fit_engine, require_torch, surrogate_content
from oncology.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from oncology.imaging import Case
    from oncology.inverse.fit import FitSettings
    from oncology.inverse.identify import Checkpoint
    from oncology.meshing import Route
    from oncology.meshing.engines import Engines
    from oncology.surrogate.engine import SurrogateEngines

__all__ = ["check_options", "fit", "growth_law", "run_fit"]

CHECKPOINT = "checkpoint.json"
Law = Literal["exponential", "logistic", "gompertz"]


def fit(
    case: Path,
    /,
    *,
    out: Path,
    engine: Literal["fem", "voxel", "surrogate"] = "fem",
    surrogate: Path | None = None,
    size: float = 2.5,
    route: Literal["stuffing", "lattice"] | None = None,
    mesh: Path | None = None,
    device: Literal["cpu", "cuda"] | None = None,
    precision: Literal["single", "double"] | None = None,
    law: Law = "logistic",
    estimate_thresholds: Annotated[bool, Parameter(negative="")] = False,
    pet: Annotated[bool, Parameter(negative="")] = False,
    single_seed: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    resume: Annotated[bool, Parameter(negative="")] = False,
    report: bool = True,
) -> None:
    """Identify growth and diffusion of one patient's tumour from its segmentations.

    Runs on one core, or on N with `mpiexec -n N oncology fit CASE --out OUT`. SIGUSR1 ends it at the next iterate with
    exit status 75: the same command with --resume goes on.

    Args:
        case: Folder of the case, which holds case.toml.
        out: Folder for the results; made whole at the end, or not at all.
        engine: What solves the equations: fem (finite elements on N cores) or voxel (finite volumes in torch, in one
            process, on a GPU if there is one; needs no FEniCS) or surrogate (a trained network, then one correction
            step with finite elements; in one process).
        surrogate: Folder that `oncology train surrogate` wrote for this case; surrogate only.
        size: Edge length of the mesh around the tumour, or of the voxels, mm.
        route: How the mesh is made: stuffing (smooth surface, the default) or lattice (no obtuse angle); not voxel.
        mesh: Mesh file to use instead (mesh.h5 of `oncology mesh`); not voxel.
        device: Where the voxel engine computes: cpu or cuda (a GPU if there is one, if not given).
        precision: Of the voxel engine: single or double (double on the CPU and single on a GPU, if not given).
        law: Growth law.
        estimate_thresholds: Treat the rim thresholds as unknown around the values of case.toml.
        pet: Use the sessions' FET-PET too, as linear in the density with an unknown scale.
        single_seed: Keep a single round seed even where it does not explain the tumour's shape.
        overwrite: Replace results that an earlier run left in --out.
        resume: Go on from the last accepted iterate of a run that was stopped.
        report: Write report.html with pictures.
    """
    from oncology.parallel import Alone, on_root

    check_options(engine, size, route=route, mesh=mesh, device=device, precision=precision, surrogate=surrogate)
    if engine == "voxel" and launched_size() > 1:
        raise ConfigError("--engine voxel runs in one process: start it without mpiexec, one process a patient")
    if engine == "surrogate":
        require_torch("--engine surrogate")
    comm = Alone() if engine == "voxel" else world()
    with guarded(comm), output_folder(out, comm, overwrite=overwrite, resume=resume, checkpoint=CHECKPOINT) as work:
        from oncology.imaging import Case
        from oncology.inverse.fit import FitSettings

        patient = on_root(comm, lambda: Case.read(case))
        settings = FitSettings(
            size=size,
            law=growth_law(law),
            estimate_thresholds=estimate_thresholds,
            tracer=pet,
            shape=not single_seed,
        )
        if engine == "voxel":
            chosen: Engines = _voxels(device, precision)
        elif engine == "surrogate":
            chosen = _surrogate(comm, surrogate, patient, law, route, mesh)
        else:
            chosen = _finite_elements(comm, route, mesh)
        run_fit(
            comm,
            chosen,
            patient,
            settings,
            work,
            resume=resume,
            report=report,
            arguments={"case": str(case.resolve()), "law": law},
            corrections=CORRECTIONS if engine == "surrogate" else None,
        )


def check_options(engine: str = "fem", size: float = 2.5, **others: object) -> None:
    """Refuse what can be seen to be wrong before a case is read: a size out of range, options of the other engine.

    Args:
        engine: fem, voxel or surrogate.
        size: Edge length, mm.
        others: Further options by name; None: not given.

    Raises:
        ConfigError: one of them cannot be met.
    """
    if not 0.5 <= size <= 20.0:
        raise ConfigError(f"--size {size:g} mm is outside 0.5 to 20 mm: 2.5 mm suits most brains")
    foreign = {
        "fem": ("device", "precision", "surrogate"),
        "voxel": ("route", "mesh", "surrogate"),
        "surrogate": ("device", "precision"),
    }[engine]
    given = [f"--{name}" for name in foreign if others.get(name) is not None]
    if given:
        raise ConfigError(f"--engine {engine} has no use for {', '.join(given)}: leave it out, or take another engine")


def _surrogate(
    comm: Any, folder: Path | None, case: Case, law: str, route: Route | None, mesh: Path | None
) -> SurrogateEngines:
    from oncology.meshing import read_mesh
    from oncology.surrogate.engine import check_case

    chosen = fit_engine(comm, folder, route, None if mesh is None else read_mesh(mesh), mesh_cache())
    check_case(case, law, chosen.surrogate.facts["law"])
    return chosen


def _finite_elements(comm: Any, route: Route | None, mesh: Path | None) -> Engines:
    from oncology.fem.patient import FiniteElementEngines
    from oncology.meshing import read_mesh
    from oncology.parallel import on_root

    imported = None if mesh is None else on_root(comm, lambda: read_mesh(mesh))
    return FiniteElementEngines(comm, route or "stuffing", imported, mesh_cache())


def _voxels(device: str | None, precision: str | None) -> Engines:
    if importlib.util.find_spec("torch") is None:
        raise ConfigError("--engine voxel needs torch, which is not installed: pip install 'oncology[node]'")
    from oncology.voxel.patient import VoxelEngines

    return VoxelEngines.choose(device, precision)


def growth_law(name: Law) -> Any:
    """Return the growth law of a name."""
    from oncology.model.growth import Exponential, Gompertz, Logistic

    return {"exponential": Exponential(), "logistic": Logistic(), "gompertz": Gompertz()}[name]


def run_fit(
    comm: Any,
    engine: Engines,
    case: Case,
    settings: FitSettings,
    work: Path,
    *,
    resume: bool = False,
    report: bool = True,
    arguments: dict[str, object] | None = None,
    corrections: int | None = None,
) -> dict[str, Any]:
    """Fit a case and write everything into a working folder (collective); return the estimate on every rank."""
    from oncology.inverse.fit import fit_case
    from oncology.parallel import on_root
    from oncology.results.write import write_results

    started = time.perf_counter()
    setup = {**_setup(settings), **engine.options, **(arguments or {})}
    checkpoint = on_root(comm, lambda: _read_checkpoint(work / CHECKPOINT, setup)) if resume else None
    log_file = work / "log.jsonl" if comm.rank == 0 else None
    with json_lines(log_file) as record, progress() as show, stoppable(comm) as leave_if_asked:

        def log(stage: str, iteration: int, here: Any) -> None:
            t, misfit = here.inputs.tumour, here.misfit
            found = f"D_w {t.diffusion_white:.3f} mm^2/day, rho {t.proliferation:.4f} /day"
            show(f"{stage}: {found}, misfit {misfit:.0f} mm^3")
            record(
                {
                    "stage": stage,
                    "iteration": iteration,
                    "misfit_mm3": misfit,
                    "diffusion_white": t.diffusion_white,
                    "diffusion_grey": t.diffusion_grey,
                    "proliferation": t.proliferation,
                    "seed": list(t.seed),
                    "onset": t.onset,
                    "seconds": time.perf_counter() - started,
                }
            )

        def save(checkpoint: Checkpoint) -> None:
            if comm.rank == 0:
                _write_checkpoint(work / CHECKPOINT, checkpoint, setup)
            leave_if_asked()

        outcome = fit_case(engine, case, settings, log, save, checkpoint, show, corrections)
        show("results")
        estimate = write_results(comm, case, engine, outcome, work, setup)
    if setup["engine"] == "surrogate":
        estimate["surrogate"], notes = surrogate_content(engine.surrogate, outcome, case)  # type: ignore[attr-defined]
        estimate["warnings"] += notes
    estimate["run"] |= {"seconds": round(time.perf_counter() - started, 2), "peak_memory_gb": _peak_memory(comm)}

    def finish() -> None:
        (work / "estimate.json").write_text(json.dumps(estimate, indent=1) + "\n", encoding="utf-8")
        (work / CHECKPOINT).unlink(missing_ok=True)
        if report:
            from oncology.report import build_report

            build_report(work, case)

    on_root(comm, finish)
    outcome.level.destroy()
    return estimate


def _setup(settings: FitSettings) -> dict[str, object]:
    """Return the settings as plain values, for config.toml and to recognise a checkpoint."""
    return {
        "size_mm": settings.size,
        "law": type(settings.law).__name__.lower(),
        "estimate_thresholds": settings.estimate_thresholds,
        "tracer": settings.tracer,
        "shape": settings.shape,
    }


def _peak_memory(comm: Any) -> float:
    """Return the sum over the ranks of the peak resident memory, GB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(sum(comm.allgather(kilobytes)) / 1e6, 3)


def _write_checkpoint(path: Path, checkpoint: Checkpoint, setup: dict[str, object]) -> None:
    """Write a checkpoint, whole or not at all."""
    plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(checkpoint).items()}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"setup": setup, "checkpoint": plain}), encoding="utf-8")
    temporary.replace(path)


def _read_checkpoint(path: Path, setup: dict[str, object]) -> Checkpoint | None:
    """Read a checkpoint; None where there is none yet.

    Raises:
        OutputError: the checkpoint belongs to other settings.
    """
    from oncology.inverse.identify import Checkpoint

    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key, value in setup.items() if content["setup"].get(key) != value]
    if changed:
        raise OutputError(
            f"{path}: was written with another {', '.join(changed)}: give the same settings, or --overwrite instead"
        )
    plain = content["checkpoint"]
    coarse, metric = (None if plain[key] is None else np.array(plain[key]) for key in ("coarse", "metric"))
    return Checkpoint(plain["stage"], np.array(plain["x"]), plain["noise"], coarse, metric)
