"""`oncology simulate`: a tumour grown from a seed in the brain of a case, through its treatments, to given days."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from oncology.cli.mesh import Route, checked_size
from oncology.cli.output import closing, progress
from oncology.cli.runtime import guarded, world
from oncology.errors import ConfigError
from oncology.model.laws import growth_law
from oncology.parallel import on_root
from oncology.results.folder import output_folder

__all__ = ["simulate"]

RATIO = 0.1  # D_g / D_w if neither is given
Flag = Annotated[bool, Parameter(negative="")]


def simulate(
    case: Path,
    /,
    *,
    out: Path,
    diffusion_white: float,
    proliferation: float,
    seed: tuple[float, float, float],
    onset: float,
    diffusion_grey: float | None = None,
    ratio: float | None = None,
    days: Annotated[tuple[float, ...], Parameter(consume_multiple=True, negative="")] = (),
    law: str = "logistic",
    size: float | None = None,
    route: Route | None = None,
    uniform: Flag = False,
    mesh: Path | None = None,
    step: float | None = None,
    frames: int = 40,
    seed_radius: float = 6.5,
    seed_amplitude: float = 0.5,
    cache: bool = True,
    overwrite: Flag = False,
) -> None:
    """Grow a tumour from a seed in a patient's brain, through the case's treatments.

    Runs on one core, or on N with `mpiexec -n N oncology simulate CASE` with the same options.

    Args:
        case: Folder of the case, which holds case.toml.
        out: Folder for the results; made whole at the end, or not at all.
        diffusion_white: Diffusion in white matter, mm^2/day (gliomas: 0.01 to 1).
        proliferation: Proliferation rate, 1/day (gliomas: 0.002 to 0.1).
        seed: Where the tumour starts: x y z, RAS mm.
        onset: Day on which it starts, in the time of the case's sessions.
        diffusion_grey: Diffusion in grey matter, mm^2/day.
        ratio: Diffusion in grey over white matter, instead of --diffusion-grey (0.1 if neither is given).
        days: Days to write as images; the days of the case's sessions if not given.
        law: Growth law: exponential, logistic or gompertz, or package.module:Class for one of your own.
        size: Edge length of the mesh where the tumour grows, mm (2.5 if not given).
        route: How the mesh is made: stuffing (smooth surface, the default) or lattice (no obtuse angle).
        uniform: The same edge length everywhere, not coarser far from the seed.
        mesh: Mesh file to use instead (mesh.h5 of `oncology mesh`).
        step: Longest time step, day; by default as long as is accurate.
        frames: Least number of frames in trajectory.h5 and series.vtkhdf.
        seed_radius: Radius of the ball of cells at onset, mm: the density falls from the centre to zero at its edge.
        seed_amplitude: Density at the centre of that ball, 0..1.
        cache: Keep meshes in ONCOLOGY_CACHE (~/.cache/oncology) and take them from there.
        overwrite: Replace results that an earlier run left in --out.
    """
    if mesh is not None and (size is not None or route is not None or uniform):
        raise ConfigError(
            f"{mesh}: a mesh has its own --size, --route and --uniform: leave them out, or leave out --mesh"
        )
    growth_law(law)
    if size is not None:
        checked_size(size)
    if diffusion_grey is not None and ratio is not None:
        raise ConfigError(f"--ratio {ratio:g} and --diffusion-grey {diffusion_grey:g} say the same: give one of them")
    if diffusion_grey is None:
        diffusion_grey = (RATIO if ratio is None else ratio) * diffusion_white
    comm = world()
    with guarded(comm), output_folder(out, comm, overwrite=overwrite) as work, progress() as show:
        import oncology as onc
        from oncology.model.seed import Seed

        started = time.perf_counter()
        show("case")
        grown = onc.simulate(
            onc.read_case(case, comm),
            onc.Tumour(diffusion_white, diffusion_grey, proliferation, seed, onset, Seed(seed_amplitude, seed_radius)),
            days,
            size=size,
            law=law,
            mesh=mesh,
            route=route,
            uniform=uniform,
            step=step,
            frames=frames,
            cache=cache,
            progress=show,
            comm=comm,
        )
        show("files", 1.0)
        seconds = round(time.perf_counter() - started, 2)
        on_root(comm, lambda: grown.write(work, seconds=seconds))
    if comm.rank == 0:
        for note in grown.notes:
            print(f"oncology: note: {note}", file=sys.stderr)
    closing(out, lambda: grown, following=(shlex.join(("oncology", "view", str(out))),))
