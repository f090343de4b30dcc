"""From a case to the results of its fit: the choice of an engine, the run with its journal, and what is left behind.

This is the one module that knows both the engines and `oncology.inverse.fit`.
"""

from __future__ import annotations

import importlib.util
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from oncology.api.pace import paced
from oncology.errors import ArgumentError, ConfigError, OutputError
from oncology.imaging.fingerprint import changed_inputs, fingerprints
from oncology.model.laws import growth_law, law_name, law_parameters
from oncology.parallel import Alone, launched_size, on_root
from oncology.results.checkpoint import CHECKPOINT, read_checkpoint, write_checkpoint
from oncology.results.files import LOG, Results, read_config, read_json, read_log
from oncology.results.folder import json_lines
from oncology.text import Progress, silent

if TYPE_CHECKING:
    from oncology.imaging import Case
    from oncology.inverse.fit import FitSettings
    from oncology.inverse.identify import Checkpoint
    from oncology.meshing import Route, TetMesh
    from oncology.meshing.engines import Engines
    from oncology.model.growth import GrowthLaw

__all__ = ["EngineName", "Options", "check_options", "communicator", "is_finished", "require_torch", "run_fit"]

EngineName = Literal["fem", "voxel", "surrogate"]

_LARGEST_SEED = 40.0  # mm


@dataclass(frozen=True)
class Options:
    """What a fit is made with.

    Attributes:
        size: edge length of the mesh around the tumour, or of the voxels, mm.
        engine: what solves the equations: "fem", "voxel" or "surrogate".
        law: growth law, by name or as an object.
        mesh: user-supplied mesh; not for voxels.
        route: how a mesh is made: "stuffing" or "lattice"; not for voxels.
        surrogate: folder of a trained surrogate; surrogate only.
        device: "cpu" or "cuda"; voxels only.
        precision: "single" or "double"; voxels only.
        estimate_thresholds: treat the boundary thresholds as unknown.
        pet: use the sessions' FET-PET too.
        seed_radius: radius of the seed where it is known, mm; None: unknown around 6.5 mm.
        shape: correct the shape where a single seed does not explain it.
        cache: folder of meshes kept by content; None: none.

    Raises:
        ConfigError: an option is out of range, or of no use to the engine.
    """

    size: float = 2.5
    engine: EngineName = "fem"
    law: GrowthLaw | str = "logistic"
    mesh: TetMesh | Path | None = None
    route: Route | None = None
    surrogate: Path | None = None
    device: str | None = None
    precision: str | None = None
    estimate_thresholds: bool = False
    pet: bool = False
    seed_radius: float | None = None
    shape: bool = True
    cache: Path | None = None

    def __post_init__(self) -> None:
        others = {name: getattr(self, name) for name in ("route", "mesh", "device", "precision", "surrogate")}
        check_options(self.engine, self.size, self.law, self.seed_radius, **others)


def check_options(
    engine: str = "fem",
    size: float = 2.5,
    law: GrowthLaw | str = "logistic",
    seed_radius: float | None = None,
    **others: object,
) -> None:
    """Refuse what can be seen to be wrong before a case is read: size, law or seed, options of another engine.

    Args:
        engine: fem, voxel or surrogate.
        size: edge length, mm.
        law: growth law, by name or as an object; it must be possible to write it to a file and to read it again.
        seed_radius: radius of the seed, mm; None: unknown.
        others: further options by name; None: not given.

    Raises:
        ConfigError: one of them cannot be met.
    """
    if not 0.5 <= size <= 20.0:
        raise ArgumentError("size", f"{size:g} mm is outside 0.5 to 20 mm: 2.5 mm suits most brains")
    if seed_radius is not None and not size <= seed_radius <= _LARGEST_SEED:
        raise ArgumentError(
            "seed_radius",
            f"{seed_radius:g} mm is outside {size:g} mm (--size) to {_LARGEST_SEED:g} mm: 6.5 mm is usual",
        )
    known = growth_law(law) if isinstance(law, str) else law
    law_name(known), law_parameters(known)
    foreign = {
        "fem": ("device", "precision", "surrogate"),
        "voxel": ("route", "mesh", "surrogate"),
        "surrogate": ("device", "precision"),
    }
    if engine not in foreign:
        raise ArgumentError("engine", f"{engine!r} is unknown: give one of {', '.join(foreign)}")
    given = [f"--{name}" for name in foreign[engine] if others.get(name) is not None]
    if given:
        raise ArgumentError(
            "engine", f"{engine} has no use for {', '.join(given)}: leave it out, or take another engine"
        )


def require_torch(option: str, processes: bool = False) -> None:
    """Refuse what needs torch where it is not installed, and several processes unless they are allowed.

    Raises:
        ConfigError: no torch, or a launcher with several ranks.
    """
    if importlib.util.find_spec("torch") is None:
        raise ConfigError(f"{option} needs torch, which is not installed: pip install 'oncology[node]'")
    if launched_size() > 1 and not processes:
        raise ConfigError(f"{option} runs in one process: start it without mpiexec, one process per patient")


def communicator(engine: EngineName, comm: Any = None) -> Any:
    """Return the communicator of a fit: the given one, else that of this process alone."""
    if engine == "voxel":
        return Alone()
    if comm is not None:
        return comm
    from oncology.fem.runtime import alone

    return alone()


def run_fit(
    comm: Any,
    case: Case,
    options: Options,
    *,
    progress: Progress = silent,
    journal: Path | None = None,
    resume: bool = False,
    saved: Callable[[], None] = lambda: None,
    case_path: str | None = None,
) -> Results:
    """Fit a case (collective).

    Args:
        comm: communicator of all ranks that hold the case.
        case: the patient.
        options: of the fit.
        progress: called with what is going on.
        journal: folder for the log of iterates and for the checkpoint while the fit runs; None: neither is written.
        resume: go on from the checkpoint in `journal`, if there is one.
        saved: called on every rank at every accepted iterate, once the checkpoint is written.
        case_path: where `config.toml` says that the case is, if not where it is now; relative to the results folder.

    Raises:
        CaseError: tracer images are asked for but missing.
        ConfigError: the engine cannot be had.
        MeshError: no mesh can be made.
        NumericalError: the model cannot be run.
        OutputError: the checkpoint belongs to other settings.
    """
    from oncology.inverse.fit import fit_case
    from oncology.results.collect import collect

    started, progress = time.perf_counter(), paced(progress)
    settings = _settings(options)
    engine = _engine(comm, case, options, settings.law)
    setup = {**_plain(settings), **engine.options, "case": case_path or str(case.root.resolve())}
    inputs = on_root(comm, lambda: fingerprints(case))
    checkpoint, log = None, []
    if journal is not None and resume:
        checkpoint = on_root(comm, lambda: read_checkpoint(journal / CHECKPOINT, setup, inputs))
        log = list(on_root(comm, lambda: read_log(journal / LOG)))
    with json_lines(journal / LOG if journal is not None and comm.rank == 0 else None) as write:

        def record(stage: str, iteration: int, here: Any) -> None:
            entry = _record(stage, iteration, here, time.perf_counter() - started)
            white, growth, misfit = (entry[name] for name in ("diffusion_white", "proliferation", "misfit_mm3"))
            progress(f"{stage}: D_w {white:.3f} mm^2/day, rho {growth:.4f} /day, misfit {misfit:.0f} mm^3")
            log.append(entry)
            write(entry)

        def save(checkpoint: Checkpoint) -> None:
            if journal is not None and comm.rank == 0:
                write_checkpoint(journal / CHECKPOINT, checkpoint, setup, inputs)
            saved()

        corrections = _corrections(options)
        outcome = fit_case(engine, case, settings, record, save, checkpoint, progress, corrections)
    progress("results")
    further = _further(engine, case, outcome, options)
    memory = _peak_memory(comm)
    further["run"] = {"seconds": round(time.perf_counter() - started, 2), "peak_memory_gb": memory}
    results = collect(comm, case, engine, outcome, setup, log, further, inputs)
    outcome.level.destroy()
    return results


def is_finished(out: Path, case: Case, options: Options) -> bool:
    """Tell whether a folder holds this very fit already.

    Args:
        out: results folder of a fit, or a folder that is not there.
        case: the patient.
        options: of the fit.

    Raises:
        OutputError: it holds a finished fit of another case, of changed inputs or with other settings.
    """
    if not (out / "estimate.json").is_file():
        return False
    anew = "choose another --out, or replace it with --overwrite instead of --resume"
    config, found = read_config(out), read_json(out / "estimate.json", anew)
    name = found.get("case") if isinstance(found, dict) else None
    if name != case.id:
        raise OutputError(f"{out}: holds the finished fit of another case, {name!r}, this one is {case.id!r}: {anew}")
    others = changed_inputs(config.get("inputs", {}), fingerprints(case))
    if others:
        raise OutputError(f"{out}: holds a finished fit, and the case has changed since ({', '.join(others)}): {anew}")
    before, now = config.get("settings", {}), {**_plain(_settings(options)), "engine": options.engine}
    changed = [key for key, value in now.items() if key in before and before[key] != value]
    if changed:
        raise OutputError(f"{out}: holds a finished fit with another {', '.join(changed)}: {anew}")
    return True


def _settings(options: Options) -> FitSettings:
    from oncology.inverse.fit import FitSettings

    return FitSettings(
        size=options.size,
        law=growth_law(options.law) if isinstance(options.law, str) else options.law,
        estimate_thresholds=options.estimate_thresholds,
        tracer=options.pet,
        seed_radius=options.seed_radius,
        shape=options.shape,
    )


def _engine(comm: Any, case: Case, options: Options, law: GrowthLaw) -> Engines:
    from oncology.meshing import TetMesh, read_mesh

    if options.engine == "voxel":
        require_torch("--engine voxel")
        from oncology.voxel.patient import VoxelEngines

        return VoxelEngines.choose(options.device, options.precision)
    given = options.mesh
    mesh = given if given is None or isinstance(given, TetMesh) else on_root(comm, lambda: read_mesh(given))
    if options.engine == "surrogate":
        from oncology.api.surrogates import fit_engine
        from oncology.surrogate.engine import check_case

        require_torch("--engine surrogate")
        trained = fit_engine(comm, options.surrogate, options.route, mesh, options.cache)
        check_case(case, law_name(law), trained.surrogate.facts["law"])
        return trained
    from oncology.fem.patient import FiniteElementEngines

    return FiniteElementEngines(comm, options.route or "stuffing", mesh, options.cache)


def _corrections(options: Options) -> int | None:
    """Most steps on the fine level; None: until it has converged."""
    from oncology.api.surrogates import CORRECTIONS

    return CORRECTIONS if options.engine == "surrogate" else None


def _further(engine: Any, case: Case, outcome: Any, options: Options) -> dict[str, Any]:
    """Entries of `estimate.json` beside the fit itself: growth with intervals, and what a surrogate contributed."""
    from oncology.forecast.curves import growth_content
    from oncology.results.collect import tumour_of

    if options.engine == "voxel":
        return {"growth": None}
    days = tuple(session.day for session in case.sessions)
    entries: dict[str, Any] = {
        "growth": growth_content(outcome.level, tumour_of(case, outcome), days, outcome.identified.growth)
    }
    if options.engine == "surrogate":
        from oncology.api.surrogates import surrogate_content

        entries["surrogate"], entries["warnings"] = surrogate_content(engine.surrogate, outcome, case)
    return entries


def _plain(settings: FitSettings) -> dict[str, object]:
    """Return the settings as plain values, for `config.toml` and to recognise a checkpoint."""
    return {
        "size_mm": settings.size,
        "law": law_name(settings.law),
        **({"law_parameters": parameters} if (parameters := law_parameters(settings.law)) else {}),
        "estimate_thresholds": settings.estimate_thresholds,
        "tracer": settings.tracer,
        "seed_radius_mm": "estimated" if settings.seed_radius is None else settings.seed_radius,
        "shape": settings.shape,
    }


def _record(stage: str, iteration: int, here: Any, seconds: float) -> dict[str, Any]:
    """Return the line of `log.jsonl` for an accepted iterate."""
    tumour = here.inputs.tumour
    return {
        "stage": stage,
        "iteration": iteration,
        "misfit_mm3": float(here.misfit),
        "diffusion_white": float(tumour.diffusion_white),
        "diffusion_grey": float(tumour.diffusion_grey),
        "proliferation": float(tumour.proliferation),
        "seed": [float(x) for x in tumour.seed],
        **({"foci": tumour.seeds.tolist()} if tumour.others else {}),
        "seed_radius": float(tumour.seed_radius),
        "onset": float(tumour.onset),
        "seconds": seconds,
    }


def _peak_memory(comm: Any) -> float:
    """Return the sum over the ranks of the peak resident memory, GB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(float(sum(comm.allgather(kilobytes))) / 1e6, 3)
