"""Reading a case, fitting it, and loading a fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncology.api.fitted import Fit
from oncology.imaging import Case
from oncology.parallel import on_root
from oncology.text import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oncology.api.fitting import EngineName
    from oncology.api.simulation import Simulated
    from oncology.meshing import Route, TetMesh
    from oncology.model.growth import GrowthLaw
    from oncology.model.tumour import Tumour

__all__ = ["fit", "load", "read_case", "simulate"]


def read_case(folder: Path | str, comm: Any = None) -> Case:
    """Read a patient from a folder with BIDS names, and check it (collective over `comm`, if given).

    Args:
        folder: the one that holds `case.toml`.
        comm: MPI communicator; rank 0 reads for all. None: this process alone.

    Returns:
        The case. Printing it shows sessions, volumes, thresholds and treatments; `case.check()` lists what is odd.

    Raises:
        CaseError: the folder or `case.toml` are incomplete or inconsistent, or the tumour is outside the brain.
        ImageError: an image is damaged or its values cannot be used.

    Example:
        >>> case = onc.read_case("data/sub-example01")                  # doctest: +SKIP
        >>> [session.day for session in case.sessions]                  # doctest: +SKIP
        [0.0, 42.0]
    """
    return on_root(comm, lambda: Case.read(folder))


def fit(
    case: Case,
    size: float = 2.5,
    *,
    engine: EngineName = "fem",
    law: GrowthLaw | str = "logistic",
    mesh: TetMesh | Path | str | None = None,
    route: Route | None = None,
    surrogate: Path | str | None = None,
    device: str | None = None,
    precision: str | None = None,
    estimate_thresholds: bool = False,
    pet: bool = False,
    seed_radius: float | None = None,
    shape: bool = True,
    progress: Progress | None = None,
    comm: Any = None,
    journal: Path | str | None = None,
    resume: bool = False,
    saved: Callable[[], None] | None = None,
    case_path: str | None = None,
) -> Fit:
    """Estimate diffusion, proliferation, and site and day of onset of a tumour, with 95 % intervals.

    Minimises the misfit between the segmentations and the modelled densities by Gauss-Newton with exact discrete
    adjoints, from a coarse mesh to a fine one. Collective over `comm`, if one is given.

    Args:
        case: the patient, on every rank.
        size: edge length of the mesh around the tumour, or of the voxels, mm.
        engine: what solves the equations: "fem" (finite elements), "voxel" (finite volumes in torch, on a GPU if there
            is one) or "surrogate" (a trained network, then one correction step with finite elements).
        law: growth law: "exponential", "logistic", "gompertz" or an object of `oncology.model.growth`.
        mesh: user-supplied mesh or its file; not for voxels.
        route: how a mesh is made: "stuffing" (smooth surface) or "lattice" (no obtuse angle); not for voxels.
        surrogate: folder that `oncology train surrogate` wrote for this case; surrogate only.
        device: "cpu" or "cuda"; voxels only.
        precision: "single" or "double"; voxels only.
        estimate_thresholds: treat the boundary thresholds as unknown around those of `case.toml`.
        pet: use the sessions' FET-PET too, as linear in the density with an unknown scale.
        seed_radius: radius of the seed where it is known, mm; None: unknown around 6.5 mm.
        shape: correct the tumour's shape where a single seed does not explain it.
        progress: called with what is going on, `progress(text, fraction)`.
        comm: MPI communicator; None: this process alone.
        journal: folder that exists, for log.jsonl and checkpoint.json while the fit runs.
        resume: go on from the checkpoint in `journal`, if there is one.
        saved: called on every rank at every accepted iterate, once its checkpoint is written.
        case_path: where `config.toml` says that the case is, relative to the results; None: where it is now.

    Raises:
        CaseError: tracer images are asked for but missing.
        ConfigError: an option is out of range, or of no use to the engine.
        MeshError: no mesh can be made.
        NumericalError: the model cannot be run.

    Example:
        >>> fit = onc.fit(case, size=4.0, progress=lambda text, fraction=None: print(text))   # doctest: +SKIP
        >>> print(fit)                                                                        # doctest: +SKIP
    """
    from oncology.api.fitting import Options, communicator, run_fit
    from oncology.meshing import TetMesh, default_cache

    options = Options(
        size=size,
        engine=engine,
        law=law,
        mesh=mesh if mesh is None or isinstance(mesh, TetMesh) else Path(mesh),
        route=route,
        surrogate=None if surrogate is None else Path(surrogate),
        device=device,
        precision=precision,
        estimate_thresholds=estimate_thresholds,
        pet=pet,
        seed_radius=seed_radius,
        shape=shape,
        cache=default_cache(),
    )
    results = run_fit(
        communicator(engine, comm),
        case,
        options,
        progress=progress or silent,
        journal=None if journal is None else Path(journal),
        resume=resume,
        saved=saved or (lambda: None),
        case_path=case_path,
    )
    return Fit(results, comm)


def load(folder: Path | str, case: Case | Path | str | None = None, comm: Any = None) -> Fit:
    """Read a fit from the folder that `Fit.save` or `oncology fit` wrote (collective over `comm`, if given).

    Args:
        folder: the folder.
        case: the fitted case or its folder; None: the one that config.toml names, if it is still there.
        comm: MPI communicator; rank 0 reads for all. None: this process alone.

    Raises:
        ReportError: a file is missing, damaged, of another version, or belongs to another fit or case.
    """
    from oncology.results.files import find_case, read_results

    folder = Path(folder)

    def read() -> Fit:
        found = case if isinstance(case, Case) else find_case(folder, None if case is None else Path(case))
        return Fit(read_results(folder, found))

    return Fit(on_root(comm, read).results, comm)


def simulate(
    case: Case,
    tumour: Tumour,
    days: Sequence[float] = (),
    *,
    size: float | None = None,
    law: GrowthLaw | str = "logistic",
    mesh: TetMesh | Path | str | None = None,
    route: Route | None = None,
    uniform: bool = False,
    step: float | None = None,
    frames: int = 40,
    cache: bool = True,
    progress: Progress | None = None,
    comm: Any = None,
) -> Simulated:
    """Grow a tumour from a seed in a patient's brain, through the case's treatments (collective over `comm`, if given).

    Args:
        case: the patient, on every rank.
        tumour: rates, seed and day of onset.
        days: days to show, of the case's calendar; none: those of the sessions.
        size: edge length of the mesh where the tumour grows, mm; None: 2.5.
        law: growth law, by name or as an object of `oncology.model.growth`.
        mesh: user-supplied mesh or its file.
        route: how a mesh is made: "stuffing" (smooth surface, the default) or "lattice" (no obtuse angle).
        uniform: the same edge length everywhere, not coarser far from the seed.
        step: longest time step, day; None: as long as is accurate.
        frames: least number of frames that are kept.
        cache: keep meshes in ONCOLOGY_CACHE (~/.cache/oncology) and take them from there.
        progress: called with what is going on, `progress(text, fraction)`.
        comm: MPI communicator; None: this process alone.

    Raises:
        ArgumentError: a number is out of range.
        ConfigError: the seed is outside the brain.
        NumericalError: a diffusion solve does not converge.

    Example:
        >>> tumour = onc.Tumour(.2, .02, .02, seed=(30, -20, 28), onset=-300)    # doctest: +SKIP
        >>> onc.simulate(case, tumour, days=[0, 45]).density(45)                 # doctest: +SKIP
    """
    from oncology.api.fitting import communicator
    from oncology.api.simulation import Simulated
    from oncology.forecast.simulation import Simulation
    from oncology.forecast.simulation import simulate as run
    from oncology.meshing import TetMesh, default_cache
    from oncology.model.laws import growth_law

    shown = tuple(sorted({float(day) for day in days})) or tuple(session.day for session in case.sessions)
    wanted = Simulation(
        tumour,
        shown,
        growth_law(law) if isinstance(law, str) else law,
        2.5 if size is None else size,
        mesh if mesh is None or isinstance(mesh, TetMesh) else Path(mesh),
        route or "stuffing",
        uniform,
        step,
        frames,
    )
    return Simulated(
        run(communicator("fem", comm), case, wanted, progress or silent, default_cache() if cache else None)
    )
