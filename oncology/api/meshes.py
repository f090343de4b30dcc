"""Meshes of a case's brain: whole and fine around the tumour, its neighbourhood only, by a recipe, or user-supplied."""

from __future__ import annotations

from pathlib import Path

from oncology.imaging import Case
from oncology.meshing import Box, QualityReport, Recipe, Route, TetMesh, TissueTags, import_mesh, read_recipe
from oncology.meshing.around import around_tumour, built_mesh, far_size_of

__all__ = ["brain_mesh"]


def brain_mesh(
    case: Case,
    size: float = 2.5,
    route: Route = "stuffing",
    *,
    far_size: float | None = None,
    uniform: bool = False,
    margin: float | None = None,
    box: Box | None = None,
    recipe: Path | None = None,
    given: Path | None = None,
    tags: TissueTags | None = None,
    cache: Path | None = None,
) -> tuple[TetMesh, QualityReport]:
    """Return a mesh of a case's brain with its quality.

    Args:
        case: the patient.
        size: edge length around the tumour, mm.
        route: "stuffing" (smooth surface) or "lattice" (no obtuse angle).
        far_size: edge length far from the tumour, mm; None: 1.6 times `size` for stuffing, `size` for lattice.
        uniform: the same edge length everywhere.
        margin: mesh only what lies within this distance of a segmentation, mm, as a fit does.
        box: mesh only this part of the brain.
        recipe: file with size, route, grading and box instead of the arguments above.
        given: user-supplied mesh file, to be taken instead of making one.
        tags: cell tags of the tissues in `given`; None: tissue comes from the case's maps.
        cache: folder of meshes kept by content; None: none.

    Raises:
        MeshError: no mesh can be made, or the given one cannot be used.
        ConfigError: the recipe cannot be used.
    """
    if given is not None:
        return import_mesh(given, case.white, case.grey, tags, box)
    if margin is not None:
        from oncology.fem.patient import MeshChoice, make_mesh

        near = None if far_size is None else around_tumour(case, far_size)
        made, quality = make_mesh(case, MeshChoice(size, route, margin, cache, near))
        assert quality is not None  # of every mesh that is made here
        return made, quality
    if recipe is not None:
        return built_mesh(case, read_recipe(recipe), cache)
    graded = not uniform and (route == "stuffing" or far_size is not None)
    grading = around_tumour(case, far_size or far_size_of(size)) if graded else None
    return built_mesh(case, Recipe(size, route, grading, box), cache)
