"""A tumour grown forward from given rates, site and day of onset, through the treatments of a case."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import oncology
from oncology.errors import ArgumentError, ConfigError
from oncology.imaging import Case
from oncology.imaging.fingerprint import fingerprints
from oncology.imaging.metrics import MM3_PER_ML
from oncology.meshing import Grading, Recipe, Route, TetMesh, read_mesh, read_quality
from oncology.meshing.around import built_mesh, far_size_of
from oncology.model.growth import GrowthLaw
from oncology.model.laws import law_name, law_parameters
from oncology.model.timegrid import plan_time_grid, step_limit
from oncology.model.trajectory import Trajectory
from oncology.model.tumour import Tumour
from oncology.parallel import on_root
from oncology.results.schema import SCHEMA, SimulationRecord
from oncology.results.simulation import SimulationResults
from oncology.results.versions import versions
from oncology.text import Progress, silent

__all__ = ["Simulation", "simulate"]

MOST_FRAMES = 1000
Quality = dict[str, float | int | str]


@dataclass(frozen=True, eq=False)
class Simulation:
    """What is grown, and on which mesh.

    Attributes:
        tumour: rates, seeds and onset.
        days: days to show, ascending; all after onset.
        law: growth law.
        size: edge length of the mesh where the tumour grows, mm.
        mesh: user-supplied mesh, or its file, instead of one that is made.
        route: how a mesh is made.
        uniform: the same edge length everywhere, not coarser far from the seeds.
        step: longest time step, day; None: as long as is accurate.
        frames: least number of frames.

    Raises:
        ArgumentError: a number is out of range.
    """

    tumour: Tumour
    days: tuple[float, ...]
    law: GrowthLaw
    size: float = 2.5
    mesh: TetMesh | Path | None = None
    route: Route = "stuffing"
    uniform: bool = False
    step: float | None = None
    frames: int = 40

    def __post_init__(self) -> None:
        tumour = self.tumour
        if not (math.isfinite(self.size) and self.size > 0.0):
            raise ArgumentError("size", f"{self.size:g} mm is out of range: give a length above 0 mm, such as 2.5")
        named = {name: getattr(tumour, name) for name in ("diffusion_white", "diffusion_grey", "proliferation")}
        for name, value in {**named, "seed_radius": tumour.seed_radius, "step": self.step}.items():
            zero = name in ("diffusion_grey", "proliferation")
            if value is not None and not (math.isfinite(value) and (value > 0.0 or (zero and value == 0.0))):
                least = "0 or more" if zero else "above 0"
                raise ArgumentError(name, f"{value:g} is out of range: give a finite number, {least}")
        amplitude = tumour.profile.amplitude
        if not 0.0 < amplitude <= 1.0:
            raise ArgumentError("seed_amplitude", f"{amplitude:g} is out of range: give a density in (0, 1]")
        if not 2 <= self.frames <= MOST_FRAMES:
            raise ArgumentError("frames", f"{self.frames} is out of range: give 2 to {MOST_FRAMES}")
        for name, values in (("seed", tumour.seeds.ravel()), ("onset", (tumour.onset,)), ("days", self.days)):
            if not np.isfinite(values).all():
                raise ArgumentError(name, f"{' '.join(f'{v:g}' for v in values)} is not finite: give numbers")
        if not tumour.onset < self.days[0]:
            raise ArgumentError("onset", f"{tumour.onset:g} is not before day {self.days[0]:g}: give an earlier onset")

    @property
    def reach(self) -> float:
        """How far a front gets from a seed until the last day, mm: speed 2 sqrt(D rho), and the seed's own radius."""
        tumour = self.tumour
        speed = 2.0 * math.sqrt(max(tumour.diffusion_white, tumour.diffusion_grey) * tumour.proliferation)
        return tumour.seed_radius + speed * (self.days[-1] - tumour.onset)


def simulate(
    comm: Any, case: Case, wanted: Simulation, tell: Progress = silent, cache: Path | None = None
) -> SimulationResults:
    """Grow a tumour in a patient's brain (collective); the trajectory is returned on rank 0 only.

    Args:
        comm: MPI communicator.
        case: the patient, on every rank.
        wanted: what is grown.
        tell: called with what is going on.
        cache: folder of meshes kept by content.

    Raises:
        ConfigError: a seed is outside the brain.
        MeshError: no mesh can be made.
        NumericalError: a diffusion solve does not converge.
    """
    tissue = case.white.data + case.grey.data > 0.5
    points = case.white.world(np.argwhere(tissue))
    _require_near(wanted.tumour, points, float(case.white.voxel_sizes.max()), case.white.name)
    tell("mesh")
    mesh, quality = on_root(comm, lambda: _mesh(case, wanted, cache))
    record, times, density = _grow(comm, case, wanted, mesh, tell)
    meta = _meta(case, wanted)
    shown = density if comm.rank == 0 else np.zeros((len(times), 1), np.float32)
    trajectory = Trajectory(times, shown, mesh.fingerprint, meta)
    return SimulationResults(record, case, wanted.days, trajectory, mesh, quality, _config(case, wanted, mesh, record))


def _require_near(tumour: Tumour, points: NDArray[np.float64], reach: float, name: str) -> None:
    """Refuse seeds further than `reach` (mm) from every one of the points, and name the nearest."""
    for seed in tumour.seeds:
        distances = np.linalg.norm(points - seed, axis=1)
        nearest = points[distances.argmin()]
        if distances.min() > reach:
            raise ConfigError(
                f"{name}: seed {_words(seed)} is {distances.min():.1f} mm outside the brain: "
                f"the nearest tissue is at {_words(nearest)} (RAS mm)"
            )


def _words(point: Any) -> str:
    return " ".join(f"{float(value):.1f}" for value in point)


def _mesh(case: Case, wanted: Simulation, cache: Path | None) -> tuple[TetMesh, Quality | None]:
    """The given mesh, or one of the whole brain that is fine as far as the tumour will get."""
    given, tumour = wanted.mesh, wanted.tumour
    if given is not None:
        made = given if isinstance(given, TetMesh) else read_mesh(given)
        quality = None if isinstance(given, TetMesh) else read_quality(given)
        _require_near(tumour, made.points, 2.0 * made.size, "mesh" if isinstance(given, TetMesh) else str(given))
        return made, quality
    graded = wanted.route == "stuffing" and not wanted.uniform
    middle = 0.5 * (tumour.seeds.min(axis=0) + tumour.seeds.max(axis=0))
    reach = wanted.reach + float(np.linalg.norm(tumour.seeds - middle, axis=1).max())
    grading = Grading(middle, reach, far_size_of(wanted.size)) if graded else None
    made, report = built_mesh(case, Recipe(wanted.size, wanted.route, grading), cache)
    _require_near(tumour, made.points, 2.0 * wanted.size, case.white.name)
    return made, report.as_dict()


def _grow(
    comm: Any, case: Case, wanted: Simulation, mesh: TetMesh, tell: Progress
) -> tuple[SimulationRecord, NDArray[np.float64], NDArray[np.float32]]:
    """Run the model; return the record and the days on every rank, the densities (nt, nv) on rank 0."""
    from oncology.fem import probe
    from oncology.fem.engine import FiniteElements
    from oncology.fem.rates import Rates
    from oncology.fem.series import Frame, frame_days, grow, volumes_above

    tumour = wanted.tumour
    engine = FiniteElements(mesh, case, wanted.law, comm)
    model = engine.core.model
    rates = Rates(tumour.diffusion_white, tumour.diffusion_grey, tumour.proliferation)
    longest = step_limit(rates.proliferation, max(rates.diffusion_white, rates.diffusion_grey), tumour.profile.width)
    kept = frame_days(tumour.onset, wanted.days, wanted.frames)
    grid = plan_time_grid(tumour.onset, kept, case.treatments, longest, wanted.step)
    space = model.discretisation
    levels = {"oedema": case.thresholds.oedema, "core": case.thresholds.core}
    frames: list[Frame] = []
    gathered, rows = [], []
    for frame in grow(model, rates, tumour.start(engine.space), grid):
        frames.append(frame)
        gathered.append(space.gather(frame.density))
        volumes = volumes_above(model, frame.density, tuple(levels.values())) / MM3_PER_ML
        rows.append({"day": frame.day, "mass_mm3": frame.mass, "volume_ml": dict(zip(levels, volumes, strict=True))})
        done = (frame.day - tumour.onset) / (wanted.days[-1] - tumour.onset)
        tell(f"day {frame.day:.1f}: {frame.mass / MM3_PER_ML:.2f} mL of cells", done)
    lowest, highest = min(f.lowest for f in frames), max(f.highest for f in frames)
    notes = list(grid.notes)
    if law_name(wanted.law) == "exponential" and highest > 1.0:
        notes.append(
            f"exponential growth is unbounded: the density reaches {highest:.3g}, where tissue holds at most 1"
        )
    content = {
        "schema": SCHEMA,
        "case": case.id,
        "density_range": [lowest, highest],
        "steps": sum(f.steps for f in frames),
        "thresholds": levels,
        "mesh": {"vertices": len(mesh.points), "cells": len(mesh.cells), "size_mm": mesh.size},
        "frames": rows,
        "notes": notes,
        "run": {"ranks": comm.size, "versions": versions(probe.versions().named)},
    }
    engine.destroy()
    density = np.empty((0, 0), np.float32)
    if comm.rank == 0:
        density = np.stack([values for values in gathered if values is not None]).astype(np.float32)
    return SimulationRecord.model_validate(content), np.array([f.day for f in frames]), density


def _meta(case: Case, wanted: Simulation) -> dict[str, float | str]:
    tumour = wanted.tumour
    meta: dict[str, float | str] = {"case": case.id, "law": law_name(wanted.law), "version": oncology.__version__}
    return meta | dict(zip(tumour.names, map(float, tumour.values), strict=True))


def _config(case: Case, wanted: Simulation, mesh: TetMesh, record: SimulationRecord) -> dict[str, Any]:
    tumour = wanted.tumour
    settings: dict[str, Any] = {
        "diffusion_white": tumour.diffusion_white,
        "diffusion_grey": tumour.diffusion_grey,
        "proliferation": tumour.proliferation,
        "seed": list(map(float, tumour.seed)),
        **({"foci": tumour.seeds.tolist()} if tumour.others else {}),
        **{f"seed_{name}": value for name, value in asdict(tumour.profile).items()},
        "onset": tumour.onset,
        "days": list(wanted.days),
        "law": law_name(wanted.law),
        "frames": wanted.frames,
        "size_mm": mesh.size,
        "route": mesh.route,
        "mesh": str(wanted.mesh) if isinstance(wanted.mesh, Path) else "",
        "uniform": wanted.uniform,
    }
    if parameters := law_parameters(wanted.law):
        settings["law_parameters"] = parameters
    if wanted.step is not None:
        settings["step"] = wanted.step
    where = {"command": "simulate", "case": str(case.root.resolve()), "inputs": fingerprints(case)}
    return {**where, "settings": settings, **record.run}
