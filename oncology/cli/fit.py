"""`oncology fit`: a case in, parameters with their uncertainty, predicted densities and a report out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from oncology.cli.output import LOG_TEXT, closing, origin, progress, tell_notes
from oncology.cli.runtime import guarded, stoppable, world
from oncology.errors import ConfigError
from oncology.parallel import launched_size, on_root
from oncology.results.folder import output_folder

__all__ = ["fit"]


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
    law: str = "logistic",
    estimate_thresholds: Annotated[bool, Parameter(negative="")] = False,
    pet: Annotated[bool, Parameter(negative="")] = False,
    seed_radius: float | None = None,
    single_seed: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    resume: Annotated[bool, Parameter(negative="")] = False,
    report: bool = True,
) -> None:
    """Estimate growth and diffusion of one patient's tumour from its segmentations.

    Runs on one core, or on N with `mpiexec -n N oncology fit CASE --out OUT`. SIGUSR1 ends it at the next iterate with
    exit status 75, SIGTERM and Ctrl-C at once (143, 130); the same command with --resume goes on from the last iterate.

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
        law: Growth law: exponential, logistic or gompertz, or package.module:Class for one of your own.
        estimate_thresholds: Treat the thresholds at the boundaries as unknown around the values of case.toml.
        pet: Use the sessions' FET-PET too, as linear in the density with an unknown scale.
        seed_radius: Radius of the ball of cells at onset where it is known, mm; estimated around 6.5 mm if not given.
        single_seed: Keep a single round seed even where it does not explain the tumour's shape.
        overwrite: Replace results that an earlier run left in --out.
        resume: Continue from the last accepted iterate of a run that was stopped; finished results stay as they are.
        report: Write report.html with pictures.
    """
    import oncology as onc
    from oncology.api.fitting import Options, check_options, communicator, is_finished, require_torch
    from oncology.results.checkpoint import CHECKPOINT
    from oncology.results.files import with_provenance

    others = {"route": route, "mesh": mesh, "device": device, "precision": precision, "surrogate": surrogate}
    check_options(engine, size, law, seed_radius, **others)
    if engine == "voxel" and launched_size() > 1:
        raise ConfigError("--engine voxel runs in one process: start it without mpiexec, one process per patient")
    if engine == "surrogate":
        require_torch("--engine surrogate")
    comm = communicator(engine, None if engine == "voxel" else world())
    if resume and not overwrite and (out / "estimate.json").is_file():
        chosen = Options(
            size,
            engine,
            law,
            estimate_thresholds=estimate_thresholds,
            pet=pet,
            seed_radius=seed_radius,
            shape=not single_seed,
        )
        with guarded(comm):
            patient = onc.read_case(case, comm)
            if on_root(comm, lambda: is_finished(out, patient, chosen)):
                print(f"{out} is finished: it holds this fit already, nothing is left to resume")
                return
    with (
        guarded(comm),
        output_folder(out, comm, overwrite=overwrite, resume=resume, checkpoint=CHECKPOINT) as work,
        progress(work / LOG_TEXT) as show,
        stoppable(comm) as leave_if_asked,
    ):
        show("case", 0.0)
        patient = onc.read_case(case, comm)
        if comm.rank == 0:
            tell_notes(patient.check)
        found = onc.fit(
            patient,
            size,
            engine=engine,
            law=law,
            mesh=mesh,
            route=route,
            surrogate=surrogate,
            device=device,
            precision=precision,
            estimate_thresholds=estimate_thresholds,
            pet=pet,
            seed_radius=seed_radius,
            shape=not single_seed,
            progress=show,
            comm=comm,
            journal=work,
            resume=resume,
            saved=leave_if_asked,
        )
        show(f"verdict: {found.verdict.level.replace('_', ' ')}", 0.95)
        show("report" if report else "files", 0.95)
        found = onc.Fit(with_provenance(found.results, *origin()), comm)
        found.write(work, report=report)
    later = ("oncology", "predict", str(out), "--days", "30", "60", "90", "--out", f"{out}-later")
    following = (shlex.join(later), shlex.join(("oncology", "view", str(out))))
    closing(out, lambda: found, out / "report.html" if report else None, following)
