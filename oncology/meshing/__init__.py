"""Tetrahedral meshes of a brain: isosurface stuffing, the Kuhn lattice, user-supplied meshes; quality and files."""

from oncology.meshing.build import Route, build_mesh
from oncology.meshing.cache import cached_mesh, default_cache, mesh_key
from oncology.meshing.domain import Box
from oncology.meshing.grading import Grading
from oncology.meshing.imported import TissueTags, import_mesh
from oncology.meshing.mesh import TetMesh, read_mesh, read_quality, write_mesh
from oncology.meshing.quality import QualityReport, measure_quality, quality_problem
from oncology.meshing.recipe import Recipe, read_recipe

__all__ = [
    "Box",
    "Grading",
    "QualityReport",
    "Recipe",
    "Route",
    "TetMesh",
    "TissueTags",
    "build_mesh",
    "cached_mesh",
    "default_cache",
    "import_mesh",
    "measure_quality",
    "mesh_key",
    "quality_problem",
    "read_mesh",
    "read_quality",
    "read_recipe",
    "write_mesh",
]
