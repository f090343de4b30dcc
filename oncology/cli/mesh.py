"""`oncology mesh`: a case in, a tetrahedral mesh of its brain and figures of its quality out."""

from __future__ import annotations

import json
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from cyclopts import Parameter

from oncology.cli.output import closing, progress
from oncology.cli.runtime import guarded, world
from oncology.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from oncology.meshing import QualityReport

__all__ = ["Route", "checked_size", "mesh"]

SIZE = 2.5  # mm
MAKING = ("--size", "--route", "--far-size", "--uniform", "--margin")
CONTRADICTIONS = {
    "--recipe": ("--import", "--box", *MAKING),
    "--import": MAKING,
    "--margin": ("--box",),
    "--far-size": ("--uniform",),
}
TAGS = ("--white-tags", "--grey-tags", "--tag-name")
Flag = Annotated[bool, Parameter(negative="")]
Route = Literal["stuffing", "lattice"]
Tags = Annotated[tuple[int, ...], Parameter(negative="")]
Corners = tuple[float, float, float, float, float, float]


def mesh(
    case: Path,
    /,
    *,
    out: Path,
    size: float | None = None,
    route: Route | None = None,
    far_size: float | None = None,
    uniform: Flag = False,
    margin: float | None = None,
    box: Annotated[Corners | None, Parameter(negative="")] = None,
    recipe: Path | None = None,
    import_: Annotated[Path | None, Parameter(name="--import")] = None,
    white_tags: Tags = (),
    grey_tags: Tags = (),
    tag_name: str | None = None,
    export: Path | None = None,
    cache: bool = True,
    overwrite: Flag = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Make a tetrahedral mesh of a patient's brain, fine around the tumour.

    Args:
        case: Folder of the case, which holds case.toml.
        out: Mesh file to write (mesh.h5), for --mesh of `oncology simulate` and `oncology fit`.
        size: Edge length around the tumour, mm (2.5 if not given).
        route: stuffing (smooth surface, the default) or lattice (no obtuse angle).
        far_size: Edge length far from the tumour, mm (1.6 times --size for stuffing, --size for lattice).
        uniform: The same edge length everywhere.
        margin: Mesh only what lies within this distance of a segmentation, mm, as a fit does.
        box: Mesh only this part of the brain: lower x y z and upper x y z, RAS mm.
        recipe: TOML file with size, route, grading and box (examples in meshes/) instead of the options above.
        import_: Take this mesh (.msh, .xdmf, .vtu, .mesh: what meshio reads, RAS mm) instead of making one.
        white_tags: Cell tags of white matter in the imported mesh (tissue comes from the case's maps if not given).
        grey_tags: Cell tags of grey matter in the imported mesh.
        tag_name: Name of the imported mesh's cell data that holds the tags.
        export: Write the mesh for other programs too: .vtu, .vtk, .msh or .mesh.
        cache: Keep meshes in ONCOLOGY_CACHE (~/.cache/oncology) and take them from there.
        overwrite: Replace --out and --export if they are there.
        as_json: Print the figures of quality as JSON.
    """
    options: dict[str, object] = {
        "--size": size,
        "--route": route,
        "--far-size": far_size,
        "--uniform": uniform,
        "--margin": margin,
    }
    options |= {"--box": box, "--recipe": recipe, "--import": import_}
    options |= dict(zip(TAGS, (white_tags, grey_tags, tag_name), strict=True))
    comm = world()
    with guarded(comm):
        from oncology.api.meshes import brain_mesh
        from oncology.imaging import Case
        from oncology.meshing import TissueTags, default_cache, write_mesh
        from oncology.meshing.exported import export_mesh
        from oncology.parallel import on_root

        def work() -> None:
            _check_options({k: v for k, v in options.items() if not (v is None or v is False or v == ())})
            _check_output(out, overwrite, (".h5", ".hdf5"))
            if export is not None:
                _check_output(export, overwrite, (".vtu", ".vtk", ".msh", ".mesh"))
            with progress() as show:
                show("case")
                patient = Case.read(case)
                show("mesh")
                made, quality = brain_mesh(
                    patient,
                    size or SIZE,
                    route or "stuffing",
                    far_size=far_size,
                    uniform=uniform,
                    margin=margin,
                    box=None if box is None else (np.array(box[:3]), np.array(box[3:])),
                    recipe=recipe,
                    given=import_,
                    tags=TissueTags(white_tags, grey_tags, tag_name) if white_tags or grey_tags else None,
                    cache=default_cache() if cache else None,
                )
                show("files")
                for path in (out, export or out):
                    path.parent.mkdir(parents=True, exist_ok=True)
                if export is not None:
                    export_mesh(export, made)
                write_mesh(out, made, quality.as_dict())
            if as_json:
                print(json.dumps({"route": made.route, "size_mm": made.size, **quality.as_dict()}, indent=1))
                return
            fit = shlex.join(("oncology", "fit", str(case), "--mesh", str(out), "--out", f"{case}-fit"))
            closing(out, lambda: _quality_text(quality), following=(fit,))

        on_root(comm, work)


def checked_size(size: float, name: str = "--size") -> float:
    """Return an edge length if it is a positive number of mm, else raise ConfigError."""
    if not (np.isfinite(size) and size > 0.0):
        raise ConfigError(f"{name} {size:g} mm is out of range: give a length above 0 mm, such as {SIZE:g}")
    return size


def _check_options(given: dict[str, object]) -> None:
    """Refuse lengths that are none, options that contradict one another and tags without a mesh."""
    for name in ("--size", "--far-size", "--margin"):
        if name in given:
            checked_size(float(str(given[name])), name)
    for name, others in CONTRADICTIONS.items():
        if name in given and (clash := [other for other in others if other in given]):
            raise ConfigError(f"{name} {given[name]} leaves nothing to {', '.join(clash)}: give one or the other")
    if "--import" not in given and (tags := [name for name in TAGS if name in given]):
        raise ConfigError(f"{', '.join(tags)} belong to an imported mesh: give it by --import, or leave them out")


def _check_output(path: Path, overwrite: bool, suffixes: tuple[str, ...]) -> None:
    """Find out before any work whether a file can be written, without leaving anything behind."""
    if path.suffix.lower() not in suffixes:
        raise OutputError(f"{path}: cannot be written with this suffix: end it in {' or '.join(suffixes)}")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists; choose another name, or replace it with --overwrite")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".oncology-", dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path}: cannot be written ({reason}); choose a folder you may write to") from error


def _quality_text(q: QualityReport) -> str:
    """Return the figures of quality as a short table."""
    lines = (
        ("vertices, cells", f"{q.vertices:,}, {q.cells:,}"),
        (
            "dihedral angles",
            f"smallest {q.smallest_angle:.1f}, 1 % below {q.low_angle:.1f}, "
            f"median {q.median_angle:.1f}, largest {q.largest_angle:.1f} degrees",
        ),
        ("volume", f"{q.volume / 1e3:.1f} mL, {q.volume_error:+.2%} of the image's"),
        ("white matter", f"{q.white_volume_error:+.2%} of the image's {q.white_volume / 1e3:.1f} mL"),
        ("grey matter", f"{q.grey_volume_error:+.2%} of the image's {q.grey_volume / 1e3:.1f} mL"),
        ("mesh or image only", f"{q.symmetric_difference:.1%} of the volume"),
        ("fluid in the mesh", f"{q.fluid_inside:.2%} of the volume, further than {q.coarsest:g} mm from the surface"),
    )
    return "\n".join(f"{name:20}{value}" for name, value in lines)
