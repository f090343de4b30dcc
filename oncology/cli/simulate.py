"""`oncology simulate`: a tumour grown from a seed in the brain of a case, through its treatments, to given days."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from cyclopts import Parameter

from oncology.cli.fit import Law, growth_law
from oncology.cli.mesh import SIZE, Route, built_mesh, checked_size, far_size_of
from oncology.cli.output import Show, output_folder, progress
from oncology.cli.runtime import guarded, mesh_cache, world
from oncology.errors import ConfigError

if TYPE_CHECKING:
    from oncology.fem.series import Frame
    from oncology.fem.tumour_model import TumourModel
    from oncology.imaging import Case
    from oncology.meshing import TetMesh
    from oncology.model.seed import Seed

__all__ = ["Settings", "simulate"]

RATIO = 0.1  # D_g / D_w if neither is given
Flag = Annotated[bool, Parameter(negative="")]


@dataclass(frozen=True)
class Settings:
    """What is grown.

    Attributes:
        diffusion_white: D_w, mm^2/day.
        diffusion_grey: D_g, mm^2/day.
        proliferation: rho, 1/day.
        seed: RAS mm.
        seed_width: standard deviation of the initial Gaussian, mm.
        seed_amplitude: density at its centre, 0..1.
        onset: day.
        days: days to show, ascending; all after onset.
        law: name of the growth law.
        step: longest time step that was asked for, day.
        frames: least number of frames.
    """

    diffusion_white: float
    diffusion_grey: float
    proliferation: float
    seed: tuple[float, float, float]
    seed_width: float
    seed_amplitude: float
    onset: float
    days: tuple[float, ...]
    law: Law
    step: float | None
    frames: int

    @property
    def reach(self) -> float:
        """How far a front gets from the seed until the last day, mm: speed 2 sqrt(D rho), and the seed's own radius."""
        speed = 2.0 * math.sqrt(max(self.diffusion_white, self.diffusion_grey) * self.proliferation)
        return 3.0 * self.seed_width + speed * (self.days[-1] - self.onset)


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
    law: Law = "logistic",
    size: float | None = None,
    route: Route | None = None,
    uniform: Flag = False,
    mesh: Path | None = None,
    step: float | None = None,
    frames: int = 40,
    seed_width: float = math.sqrt(10.0),
    seed_amplitude: float = 0.5,
    cache: bool = True,
    overwrite: Flag = False,
) -> None:
    """Grow a tumour from a seed in a patient's brain, through the case's treatments.

    Runs on one core, or on N with `mpiexec -n N oncology simulate CASE --out OUT ...`.

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
        law: Growth law.
        size: Edge length of the mesh where the tumour grows, mm (2.5 if not given).
        route: How the mesh is made: stuffing (smooth surface, the default) or lattice (no obtuse angle).
        uniform: The same edge length everywhere, not coarser far from the seed.
        mesh: Mesh file to use instead (mesh.h5 of `oncology mesh`).
        step: Longest time step, day; by default as long as is accurate.
        frames: Least number of frames in trajectory.h5 and series.vtkhdf.
        seed_width: Standard deviation of the initial density, mm.
        seed_amplitude: Initial density at the seed, 0..1.
        cache: Keep meshes in ONCOLOGY_CACHE (~/.cache/oncology) and take them from there.
        overwrite: Replace results that an earlier run left in --out.
    """
    if mesh is not None and (size is not None or route is not None or uniform):
        raise ConfigError(
            f"{mesh}: a mesh has its own --size, --route and --uniform: leave them out, or leave out --mesh"
        )
    if size is not None:
        checked_size(size)
    if diffusion_grey is not None and ratio is not None:
        raise ConfigError(f"--ratio {ratio:g} and --diffusion-grey {diffusion_grey:g} say the same: give one of them")
    if diffusion_grey is None:
        diffusion_grey = (RATIO if ratio is None else ratio) * diffusion_white
    rates = (diffusion_white, diffusion_grey, proliferation)
    comm = world()
    with guarded(comm), output_folder(out, comm, overwrite=overwrite) as work, progress() as show:
        from oncology.fem.engine import FiniteElements
        from oncology.imaging import Case
        from oncology.model.seed import Seed
        from oncology.parallel import on_root

        started = time.perf_counter()
        show("case")
        patient = on_root(comm, lambda: Case.read(case))
        shown = tuple(sorted(set(days))) or tuple(session.day for session in patient.sessions)
        settings = Settings(*rates, seed, seed_width, seed_amplitude, onset, shown, law, step, frames)
        _check(settings, patient)
        show("mesh")
        folder = mesh_cache() if cache else None
        made, quality = on_root(comm, lambda: _mesh(patient, settings, mesh, size or SIZE, route, uniform, folder))
        engine = FiniteElements(made, patient, growth_law(law), comm)
        model = engine.core.model
        summary = _grow(comm, patient, settings, Seed(seed_amplitude, seed_width), model, made, work, show)
        summary["run"]["seconds"] = round(time.perf_counter() - started, 2)
        choice = {"size_mm": made.size, "route": made.route, "mesh": str(mesh or ""), "uniform": uniform}
        on_root(comm, lambda: _write(work, case, settings, choice, summary, made, quality))
        engine.destroy()
    if comm.rank == 0:
        for note in summary["notes"]:
            print(f"oncology: note: {note}", file=sys.stderr)


def _check(settings: Settings, case: Case) -> None:
    """Refuse numbers out of range and a seed outside the brain; what concerns days is checked by the time grid."""
    for name in ("diffusion_white", "diffusion_grey", "proliferation", "seed_width", "step"):
        value, zero = getattr(settings, name), name in ("diffusion_grey", "proliferation")
        if value is not None and not (math.isfinite(value) and (value > 0.0 or (zero and value == 0.0))):
            least = "0 or more" if zero else "above 0"
            raise ConfigError(f"--{name.replace('_', '-')} {value:g} is out of range: give a finite number, {least}")
    if not 0.0 < settings.seed_amplitude <= 1.0:
        raise ConfigError(f"--seed-amplitude {settings.seed_amplitude:g} is out of range: give a density in (0, 1]")
    if not 2 <= settings.frames <= 1000:
        raise ConfigError(f"--frames {settings.frames} is out of range: give 2 to 1000")
    for name, values in (("seed", settings.seed), ("onset", (settings.onset,)), ("days", settings.days)):
        if not np.isfinite(values).all():
            raise ConfigError(f"--{name} {' '.join(f'{v:g}' for v in values)} is not finite: give numbers")
    if not settings.onset < settings.days[0]:
        raise ConfigError(f"--onset {settings.onset:g} is not before day {settings.days[0]:g}: give an earlier onset")
    tissue = case.white.data + case.grey.data > 0.5
    _require_near(settings.seed, case.white.world(np.argwhere(tissue)), case.white.voxel_sizes.max(), case.white.name)


def _require_near(seed: tuple[float, float, float], points: np.ndarray, reach: float, name: str) -> None:
    """Refuse a seed further than `reach` (mm) from every one of the points, and name the nearest."""
    distances = np.linalg.norm(points - np.array(seed), axis=1)
    nearest = points[distances.argmin()]
    if distances.min() > reach:
        raise ConfigError(
            f"{name}: --seed {_words(seed)} is {distances.min():.1f} mm outside the brain: "
            f"the nearest tissue is at {_words(nearest)} (RAS mm)"
        )


def _words(point: Any) -> str:
    return " ".join(f"{float(value):.1f}" for value in point)


def _mesh(
    case: Case,
    settings: Settings,
    path: Path | None,
    size: float,
    route: Route | None,
    uniform: bool,
    folder: Path | None,
) -> tuple[TetMesh, dict[str, float | int | str] | None]:
    """The mesh of a file, or one of the whole brain that is fine as far as the tumour will get."""
    from oncology.meshing import Grading, Recipe, read_mesh, read_quality

    if path is not None:
        made, quality = read_mesh(path), read_quality(path)
        _require_near(settings.seed, made.points, 2.0 * made.size, str(path))
        return made, quality
    route = route or "stuffing"
    graded = route == "stuffing" and not uniform
    grading = Grading(np.array(settings.seed), settings.reach, far_size_of(size)) if graded else None
    made, report = built_mesh(case, Recipe(size, route, grading), folder)
    _require_near(settings.seed, made.points, 2.0 * size, case.white.name)
    return made, report.as_dict()


def _grow(
    comm: Any,
    case: Case,
    settings: Settings,
    seed: Seed,
    model: TumourModel,
    mesh: TetMesh,
    work: Path,
    show: Show,
) -> dict[str, Any]:
    """Run the model, write trajectory, series and images, and return the summary on every rank."""
    from oncology.fem import probe
    from oncology.fem.series import frame_days, grow, volumes_above
    from oncology.fem.tumour_model import Rates
    from oncology.model.timegrid import plan_time_grid, step_limit
    from oncology.parallel import on_root
    from oncology.results.write import versions

    rates = Rates(settings.diffusion_white, settings.diffusion_grey, settings.proliferation)
    longest = step_limit(rates.proliferation, max(rates.diffusion_white, rates.diffusion_grey), seed.width)
    kept = frame_days(settings.onset, settings.days, settings.frames)
    grid = plan_time_grid(settings.onset, kept, case.treatments, longest, settings.step)
    space = model.discretisation
    rims = {"oedema": case.thresholds.oedema, "core": case.thresholds.core}
    initial = seed.density(space.points[: space.owned], np.array(settings.seed))
    frames: list[Frame] = []
    gathered, rows = [], []
    for frame in grow(model, rates, initial, grid):
        frames.append(frame)
        gathered.append(space.gather(frame.density))
        volumes = volumes_above(model, frame.density, tuple(rims.values())) / 1e3
        rows.append({"day": frame.day, "mass_mm3": frame.mass, "volume_ml": dict(zip(rims, volumes, strict=True))})
        done = (frame.day - settings.onset) / (settings.days[-1] - settings.onset)
        show(f"day {frame.day:.1f}: {frame.mass / 1e3:.2f} mL of cells", done)
    lowest, highest = min(f.lowest for f in frames), max(f.highest for f in frames)
    notes = list(grid.notes)
    if settings.law == "exponential" and highest > 1.0:
        notes.append(
            f"exponential growth is unbounded: the density reaches {highest:.3g}, where tissue holds at most 1"
        )
    show("files", 1.0)
    on_root(comm, lambda: _write_densities(work, case, settings, mesh, [f.day for f in frames], gathered))
    return {
        "schema": 1,
        "case": case.id,
        "density_range": [lowest, highest],
        "steps": sum(f.steps for f in frames),
        "thresholds": rims,
        "mesh": {"vertices": len(mesh.points), "cells": len(mesh.cells), "size_mm": mesh.size},
        "frames": rows,
        "notes": notes,
        "run": {"ranks": comm.size, "versions": versions(probe.versions().named)},
    }


def _write_densities(
    work: Path, case: Case, settings: Settings, mesh: TetMesh, days: list[float], density: list[Any]
) -> None:
    """Write the trajectory, the series for ParaView and an image of every day that was asked for."""
    import oncology
    from oncology.imaging import write_volume
    from oncology.meshing.raster import locate
    from oncology.meshing.vtkhdf import write_vtkhdf
    from oncology.model.trajectory import Trajectory, write_trajectory

    meta: dict[str, float | str] = {"case": case.id, "law": settings.law, "version": oncology.__version__}
    meta |= {name: getattr(settings, name) for name in ("diffusion_white", "diffusion_grey", "proliferation", "onset")}
    meta |= dict(zip(("seed_x", "seed_y", "seed_z"), settings.seed, strict=True))
    whole = Trajectory(np.array(days), np.stack(density).astype(np.float32), mesh.fingerprint, meta)
    write_trajectory(work / "trajectory.h5", whole)
    write_vtkhdf(work / "series.vtkhdf", mesh, whole)
    raster = locate(mesh.points, mesh.cells, case.white, case.white.data + case.grey.data > 0.5)
    for day, values in zip(days, density, strict=True):
        if day in settings.days:
            image = case.white.with_data(np.maximum(raster.image(values), 0.0))
            write_volume(work / f"density_day-{_plain(day)}.nii.gz", image, np.float32)


def _plain(day: float) -> str:
    return f"{day:.6f}".rstrip("0").rstrip(".")


def _write(
    work: Path,
    case: Path,
    settings: Settings,
    choice: dict[str, Any],
    summary: dict[str, Any],
    mesh: TetMesh,
    quality: dict[str, float | int | str] | None,
) -> None:
    """Write mesh, configuration and summary."""
    import tomli_w

    from oncology.meshing import write_mesh

    write_mesh(work / "mesh.h5", mesh, quality)
    resolved = {name: value for name, value in asdict(settings).items() if value is not None} | choice
    config = {"command": "simulate", "case": str(case), "settings": resolved, **summary["run"]}
    (work / "config.toml").write_text(tomli_w.dumps(config), encoding="utf-8")
    (work / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
