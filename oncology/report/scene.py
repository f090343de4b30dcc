"""A rendered view of brain and tumour, drawn by VTK off screen in a process of its own.

VTK needs no display (its wheels fall back to EGL or OSMesa), but where it cannot draw it may end the process that
asked it to, and that process may be a rank of an MPI job: so another one is asked, with a time limit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.errors import OncologyError

__all__ = ["RenderingError", "Scene", "Shell", "View", "draw", "render"]

WINDOW = (1560, 500)  # pixels: three views side by side
AIR = 1.22  # height of a view over the largest extent of what it shows
INK = "#222222"
UP, FORWARD = (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)
PATIENCE = 60.0  # seconds for the other process
_SCRIPT = "import sys; from oncology.report.scene import main; main(sys.argv[1], sys.argv[2])"


class RenderingError(OncologyError):
    """No three-dimensional picture can be drawn on this machine."""


@dataclass(frozen=True)
class View:
    """Where one looks from.

    Attributes:
        name: in words.
        direction: from the middle to the eye, RAS.
        up: direction to the top of the picture, RAS.
        left: letter of the side at the picture's left.
        right: letter of the side at its right.
    """

    name: str
    direction: tuple[float, float, float]
    up: tuple[float, float, float]
    left: str
    right: str


LEFT = View("from the left", (-1.0, 0.0, 0.0), UP, "A", "P")
RIGHT = View("from the right", (1.0, 0.0, 0.0), UP, "P", "A")
FRONT = View("from the front", (0.0, 1.0, 0.0), UP, "R", "L")
ABOVE = View("from above", (0.0, 0.0, 1.0), FORWARD, "L", "R")


@dataclass(frozen=True, eq=False)
class Shell:
    """An iso-surface of an image.

    Attributes:
        data: (nx, ny, nz) values.
        affine: (4, 4), voxel index to RAS mm.
        level: value on the surface.
        colour: "#rrggbb".
        opacity: 0..1.
    """

    data: NDArray[np.floating[Any]]
    affine: NDArray[np.float64]
    level: float
    colour: str
    opacity: float


@dataclass(frozen=True, eq=False)
class Scene:
    """What is drawn: iso-surfaces from the innermost to the outermost, and a triangle surface around them, if any.

    Attributes:
        shells: iso-surfaces.
        points: (n, 3) vertices of the outer surface, RAS mm; empty without one.
        faces: (m, 3) its triangles.
        colour: its colour.
        opacity: its opacity, 0..1.
        side: the side view's, "left" or "right".
    """

    shells: tuple[Shell, ...]
    points: NDArray[np.float64]
    faces: NDArray[np.int64]
    colour: str
    opacity: float
    side: str


def render(scene: Scene, patience: float = PATIENCE) -> bytes:
    """Draw a scene in another process and return the PNG.

    Args:
        scene: what to draw.
        patience: seconds after which that process is ended.

    Raises:
        RenderingError: the process failed, drew nothing or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="oncology-") as folder:
        source, target = Path(folder, "scene.npz"), Path(folder, "scene.png")
        _save(scene, source)
        command = [sys.executable, "-c", _SCRIPT, str(source), str(target)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PMI", "OMPI_"))}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=patience, env=environment)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RenderingError(f"3-D view: {_last_line(str(error))}: run `oncology doctor`") from error
        if done.returncode or not target.is_file():
            reason = _last_line(done.stderr) or f"VTK ended with status {done.returncode}"
            raise RenderingError(f"3-D view: {reason}: run `oncology doctor`")
        return target.read_bytes()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def _save(scene: Scene, path: Path) -> None:
    looks = [{"level": s.level, "colour": s.colour, "opacity": s.opacity} for s in scene.shells]
    text = json.dumps({"shells": looks, "colour": scene.colour, "opacity": scene.opacity, "side": scene.side})
    arrays: dict[str, NDArray[Any]] = {"text": np.array(text), "points": scene.points, "faces": scene.faces}
    for k, shell in enumerate(scene.shells):
        arrays |= {f"data_{k}": shell.data, f"affine_{k}": shell.affine}
    with path.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def _load(path: Path) -> Scene:
    with np.load(path) as file:
        text = json.loads(str(file["text"]))
        looks = text.pop("shells")
        shells = tuple(Shell(file[f"data_{k}"], file[f"affine_{k}"], **look) for k, look in enumerate(looks))
        return Scene(shells, file["points"], file["faces"], **text)


def main(source: str, target: str) -> None:
    """Draw the scene in one file into another: what the other process runs."""
    draw(_load(Path(source)), Path(target))


def draw(scene: Scene, path: Path) -> None:
    """Draw a scene in this process.

    Args:
        scene: what to draw.
        path: PNG to write.

    Raises:
        RenderingError: the picture is empty.
    """
    vista = _vista()
    solids = [(mesh, shell.colour, shell.opacity) for shell in scene.shells if (mesh := _surface(shell)).n_points]
    if not solids:
        raise RenderingError("3-D view: the density reaches no threshold: nothing to draw")
    if len(scene.faces):
        around = vista.PolyData.from_regular_faces(scene.points, scene.faces)
        solids.append((around, scene.colour, scene.opacity))
    lower, upper = (np.array([mesh.bounds[k::2] for mesh, _, _ in solids]) for k in (0, 1))
    extent = upper.max(axis=0) - lower.min(axis=0)
    plotter = vista.Plotter(off_screen=True, shape=(1, 3), window_size=list(WINDOW), border=False)
    for column, view in enumerate((RIGHT if scene.side == "right" else LEFT, FRONT, ABOVE)):
        plotter.subplot(0, column)
        plotter.set_background("white")
        for mesh, colour, opacity in solids:
            plotter.add_mesh(mesh, color=colour, opacity=opacity, smooth_shading=True, ambient=0.3, specular=0.2)
        plotter.view_vector(view.direction, viewup=view.up)
        plotter.enable_parallel_projection()
        plotter.camera.parallel_scale = 0.5 * AIR * float(extent.max())
        plotter.add_text(view.name, position="upper_edge", font_size=12, color=INK)
        for letter, across in ((view.left, 0.06), (view.right, 0.92)):
            plotter.add_text(letter, position=(across, 0.48), viewport=True, font_size=12, color=INK)
    picture = plotter.screenshot(str(path), return_img=True)
    plotter.close()
    if picture is None or picture.std() == 0.0:
        raise RenderingError("3-D view: VTK drew an empty picture: install vtk 9.4 or later")


def _vista() -> Any:
    """The library, without its type hints: they do not allow all that it allows."""
    import pyvista

    return pyvista


def _surface(shell: Shell) -> Any:
    """Contour in voxel coordinates, then placed by the affine: right for any voxel shape and obliquity."""
    grid = _vista().ImageData(dimensions=shell.data.shape)
    grid.point_data["value"] = np.asarray(shell.data, dtype=np.float32).ravel(order="F")
    surface = grid.contour([shell.level], scalars="value", method="flying_edges", compute_normals=False)
    surface.transform(shell.affine, inplace=True)
    return surface.compute_normals() if surface.n_points else surface
