"""P1 simplex discretisation of `div(D grad u)` with two tissues: mesh, tissue and mass.

The diffusivity is constant on each cell (`oncology.model.front`); a diffusion tensor multiplies it. The mass in front
of the time derivative is lumped and then corrected,
`M_d = M_L - K_c`, where `K_c` is a stiffness matrix with coefficient `c V^(2/d) p_w`: it cancels the mean of the
leading dispersion error of the lattice stencils (as higher-order mass matrices do, Goudreau and Taylor 1973) and keeps
the constants. It acts in white matter only: in grey matter fronts are narrower than a cell, where it would undershoot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import basix.ufl
import dolfinx
import numpy as np
import ufl
from dolfinx import la
from mpi4py import MPI
from petsc4py import PETSc
from scipy import sparse

from oncology.errors import MeshError
from oncology.fem.assembly import StiffnessAssembler
from oncology.model.cells import CellSpace
from oncology.model.front import TissueCells

__all__ = ["Discretisation", "VoxelTissue", "discretise", "dispersion_coefficient"]

# Weights of voxels in cells (m, v), and the white- and grey-matter fractions (v,) of these voxels, for vertices (n, d),
# cells (m, d + 1) and volumes (m,).
VoxelTissue = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[sparse.csr_array, np.ndarray, np.ndarray]]

# Mean over directions of the h^2 dispersion term of the lumped P1 stencil, in units of V^(2/d): 1-D exact, 2-D squares
# cut in two, 3-D between the Kuhn lattice (0.165) and the body-centred-cubic lattice (0.197).
_DISPERSION = {1: 1.0 / 12.0, 2: 1.0 / 8.0, 3: 0.18}
# The correction never takes more than this fraction of a cell's lumped mass (keeps M_d positive definite on any mesh).
_MOST = 0.7


@dataclass(frozen=True, repr=False)
class Discretisation:
    """Matrices and index maps of one mesh on one communicator.

    Attributes:
        comm: MPI communicator.
        dimension: space dimension d, 1 to 3.
        space: P1 function space (DOLFINx).
        lumped_mass: (n,) lumped mass of the owned vertices, mm^d.
        mass: dispersion-corrected mass matrix M_d, mm^d.
        tissue: tissue of the cells of this rank, from which their diffusivities follow.
        gradients: (m, d + 1, d) gradients of the barycentric coordinates, 1/mm.
        tensor: (m, d, d) tensor that multiplies the diffusivity, dimensionless; None: identity.
        assemble: cell coefficients (m,) to a stiffness matrix of the pattern of the mass.
        points: (n + ghosts, d) vertex coordinates, owned vertices first, mm.
        cells: (m, d + 1) local vertex indices of the cells of this rank.
        volumes: (m,) cell volumes, mm^d.
        input_vertices: (n + ghosts,) index of each local vertex in the mesh file.
        input_cells: (m,) index of each local cell in the mesh file.
        vertex_count: number of vertices of the whole mesh.
        cell_count: number of cells of the whole mesh.
    """

    comm: Any
    dimension: int
    space: Any
    lumped_mass: np.ndarray
    mass: Any
    tissue: TissueCells
    gradients: np.ndarray
    tensor: np.ndarray | None
    assemble: StiffnessAssembler
    points: np.ndarray
    cells: np.ndarray
    volumes: np.ndarray
    input_vertices: np.ndarray
    input_cells: np.ndarray
    vertex_count: int
    cell_count: int

    def __repr__(self) -> str:
        return f"Discretisation({self.vertex_count} vertices, {self.cell_count} cells, {self.comm.size} ranks)"

    @property
    def owned(self) -> int:
        """Number of vertices that this rank owns."""
        return len(self.lumped_mass)

    @cached_property
    def cell_space(self) -> CellSpace:
        """The view of the mesh that misfits and observations need: numpy arrays and sums over the ranks."""
        return CellSpace(
            self.points,
            self.cells,
            self.volumes,
            self.total,
            self.extremes,
            self.with_ghosts,
            self.without_ghosts,
            self.owned,
            self.input_vertices[: self.owned],
        )

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over the ranks, the same bits on every rank."""
        values = np.ascontiguousarray(values, dtype=float)
        if self.comm.size == 1:
            return values
        summed = np.empty_like(values)
        self.comm.Reduce(values, summed, root=0)
        self.comm.Bcast(summed, root=0)
        return summed

    def extremes(self, low: float, high: float) -> tuple[float, float]:
        """Return the smallest `low` and the largest `high` of all ranks."""
        both = np.array([-low, high])
        everywhere = np.empty_like(both)
        self.comm.Allreduce(both, everywhere, op=MPI.MAX)
        return float(-everywhere[0]), float(everywhere[1])

    def fingerprint(self, owned: np.ndarray) -> bytes:
        """Return a digest of a P1 function (n,) over all ranks, the same on every rank."""
        parts = self.comm.allgather(hashlib.sha256(np.ascontiguousarray(owned).tobytes()).digest())
        return b"".join(parts)

    def to_cells(self, owned: np.ndarray) -> np.ndarray:
        """Return the values of a P1 function at the vertices of each local cell, (m, d + 1)."""
        return np.asarray(self.with_ghosts(owned)[self.cells])

    def with_ghosts(self, owned: np.ndarray) -> np.ndarray:
        """Return owned and ghost values, (n + ghosts,)."""
        vector = la.vector(self.space.dofmap.index_map, 1)
        vector.array[: self.owned] = owned
        vector.scatter_forward()
        return vector.array.copy()

    def without_ghosts(self, duals: np.ndarray) -> np.ndarray:
        """Add duals of ghost vertices (n + ghosts,) to those of their owners, (n,): transpose of `with_ghosts`."""
        vector = la.vector(self.space.dofmap.index_map, 1)
        vector.array[:] = duals
        vector.scatter_reverse(la.InsertMode.add)
        return vector.array[: self.owned].copy()

    def from_cells(self, duals: np.ndarray) -> np.ndarray:
        """Add up duals at cell vertices (m, d + 1) into the duals of the owned vertices: transpose of `to_cells`."""
        return self.without_ghosts(np.bincount(self.cells.ravel(), duals.ravel(), minlength=len(self.points)))

    def cell_means(self, owned: np.ndarray) -> np.ndarray:
        """Return the mean of a P1 function over each local cell, (m,)."""
        return self.to_cells(owned).mean(axis=1)

    def cell_means_transposed(self, duals: np.ndarray) -> np.ndarray:
        """Return the duals (n,) of the owned vertices from those of cell means (m,): transpose of `cell_means`."""
        corners = self.dimension + 1
        return self.from_cells(np.repeat(duals[:, None] / corners, corners, axis=1))

    def cell_pairing(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return `V grad a . T grad b` of P1 functions (n,) on each local cell, (m,), mm^(d-2)."""
        return np.asarray(self.volumes * np.einsum("ma,ma->m", self._cell_gradient(a), self._flux(b)))

    def cell_product(self, coefficients: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return `sum_c coefficient_c K_c values` with the unit stiffness K_c of each cell, (n,)."""
        flux = (coefficients * self.volumes)[:, None] * self._flux(values)
        return self.from_cells(np.einsum("mia,ma->mi", self.gradients, flux))

    def _cell_gradient(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("mia,mi->ma", self.gradients, self.to_cells(values)))

    def _flux(self, values: np.ndarray) -> np.ndarray:
        gradient = self._cell_gradient(values)
        return gradient if self.tensor is None else np.einsum("mab,mb->ma", self.tensor, gradient)

    def gather(self, owned: np.ndarray) -> np.ndarray | None:
        """Return the whole P1 function in the vertex order of the mesh file on rank 0, None elsewhere."""
        pieces = self.comm.gather((self.input_vertices[: self.owned], owned), root=0)
        if pieces is None:
            return None
        whole = np.empty(self.vertex_count)
        for vertices, values in pieces:
            whole[vertices] = values
        return whole

    def scatter(self, whole: np.ndarray) -> np.ndarray:
        """Return this rank's owned part of a P1 function given in the vertex order of the mesh file on every rank."""
        return np.asarray(np.asarray(whole, dtype=float)[self.input_vertices[: self.owned]])

    def integrate(self, owned: np.ndarray) -> float:
        """Return the integral of a P1 function over the domain, mm^d times its unit."""
        return float(self.total(np.array([self.lumped_mass @ owned]))[0])

    def destroy(self) -> None:
        """Free the PETSc matrices (collective)."""
        self.mass.destroy()
        self.assemble.destroy()


def discretise(
    comm: Any,
    points: np.ndarray,
    cells: np.ndarray,
    white: np.ndarray,
    grey: np.ndarray,
    tensor: np.ndarray | None = None,
    corrected_mass: bool = True,
    voxels: VoxelTissue | None = None,
) -> Discretisation:
    """Assemble the matrices of a simplex mesh; every rank passes the same whole mesh.

    Args:
        comm: MPI communicator.
        points: (nv, d) vertices, mm; every vertex belongs to a cell.
        cells: (nc, d + 1) vertex indices.
        white: (nc,) white-matter fraction of each cell, 0..1.
        grey: (nc,) grey-matter fraction of each cell, 0..1.
        tensor: (nc, d, d) symmetric tensor that multiplies the isotropic diffusivity, dimensionless; None: identity.
        corrected_mass: use the dispersion-corrected mass M_d; False: the lumped mass alone, for which backward Euler on
            the lattice obeys the discrete maximum principle exactly.
        voxels: tissue of the voxels of each cell; None: each cell is of one kind, as its fractions say.

    Raises:
        MeshError: where the arrays do not fit each other.
    """
    points, cells = np.asarray(points, dtype=float), np.asarray(cells, dtype=np.int64)
    dimension = points.shape[1]
    if cells.shape != (len(white), dimension + 1) or len(grey) != len(white):
        raise MeshError(
            f"cells {cells.shape}, white {np.shape(white)} and grey {np.shape(grey)} do not fit points {points.shape}: "
            "pass one row of d + 1 vertices and one fraction of each tissue a cell"
        )
    mesh = _distribute(comm, points, cells)
    space = dolfinx.fem.functionspace(mesh, ("Lagrange", 1))
    input_cells = np.asarray(mesh.topology.original_cell_index, dtype=np.int64)
    local_cells = np.asarray(space.dofmap.list, dtype=np.int64)
    dofs = space.dofmap.index_map.size_local + space.dofmap.index_map.num_ghosts
    input_vertices = np.empty(dofs, dtype=np.int64)
    geometry = np.asarray(mesh.geometry.input_global_indices, dtype=np.int64)
    input_vertices[local_cells.ravel()] = geometry[np.asarray(mesh.geometry.dofmaps[0]).ravel()]
    volumes, gradients = _geometry(points[input_vertices][local_cells])

    test = ufl.TestFunction(space)
    mass_vector = dolfinx.fem.assemble_vector(dolfinx.fem.form(test * ufl.dx))
    mass_vector.scatter_reverse(la.InsertMode.add)
    owned = space.dofmap.index_map.size_local
    local_tensor = None if tensor is None else np.asarray(tensor, dtype=float)[input_cells]
    flux = gradients if local_tensor is None else np.einsum("mab,mib->mia", local_tensor, gradients)
    local_points = points[input_vertices]
    spacing_squared = 12.0 * _DISPERSION[dimension] * volumes ** (2.0 / dimension)
    if local_tensor is not None:  # the front factor sees the mean of the tensor's eigenvalues
        spacing_squared = spacing_squared * dimension / np.trace(local_tensor, axis1=1, axis2=2)
    if voxels is None:
        local_white, local_grey = (np.asarray(part, dtype=float)[input_cells] for part in (white, grey))
        tissue = TissueCells.of_fractions(local_white, local_grey, spacing_squared)
    else:
        tissue = TissueCells(*voxels(local_points, local_cells, volumes), spacing_squared)
    correction = tissue.white_mean * dispersion_coefficient(volumes, gradients) if corrected_mass else 0.0 * volumes
    index_map = space.dofmap.index_map
    plain = StiffnessAssembler(comm, index_map, local_cells, volumes, (gradients, gradients))
    mass = plain(-correction)
    assemble = plain
    if local_tensor is not None:
        plain.destroy()
        assemble = StiffnessAssembler(comm, index_map, local_cells, volumes, (gradients, flux))
    lumped = mass.createVecLeft()
    lumped.array[:] = mass_vector.array[:owned]
    mass.setDiagonal(lumped, addv=PETSc.InsertMode.ADD_VALUES)
    lumped.destroy()
    return Discretisation(
        comm=comm,
        dimension=dimension,
        space=space,
        lumped_mass=mass_vector.array[:owned].copy(),
        mass=mass,
        tissue=tissue,
        gradients=gradients,
        tensor=local_tensor,
        assemble=assemble,
        points=local_points,
        cells=local_cells,
        volumes=volumes,
        input_vertices=input_vertices,
        input_cells=input_cells,
        vertex_count=len(points),
        cell_count=len(cells),
    )


def dispersion_coefficient(volumes: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return the coefficient of the mass correction on each cell, mm^2.

    Args:
        volumes: (m,) cell volumes, mm^d.
        gradients: (m, d + 1, d) gradients of the barycentric coordinates, 1/mm.
    """
    dimension = gradients.shape[2]
    largest = np.linalg.eigvalsh(np.einsum("mia,mib->mab", gradients, gradients))[:, -1]
    return np.asarray(
        np.minimum(_DISPERSION[dimension] * volumes ** (2.0 / dimension), _MOST / ((dimension + 1) * largest))
    )


def _distribute(comm: Any, points: np.ndarray, cells: np.ndarray) -> Any:
    """Return the DOLFINx mesh; each rank hands over its slice, so original indices are those of the file."""
    shape = {1: "interval", 2: "triangle", 3: "tetrahedron"}[points.shape[1]]
    element = basix.ufl.element("Lagrange", shape, 1, shape=(points.shape[1],))

    def part(count: int) -> slice:
        return slice(comm.rank * count // comm.size, (comm.rank + 1) * count // comm.size)

    # DOLFINx's annotations name neither this overload nor basix.ufl elements, its documentation both
    partitioner = dolfinx.mesh.create_cell_partitioner(dolfinx.mesh.GhostMode.none, 2)  # type: ignore[call-arg]
    local_cells, local_points = cells[part(len(cells))], points[part(len(points))]
    return dolfinx.mesh.create_mesh(comm, local_cells, element, local_points, partitioner)  # type: ignore[arg-type]


def _geometry(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return volumes (m,) and barycentric gradients (m, d + 1, d) of simplices with corners (m, d + 1, d)."""
    edges = corners[:, 1:] - corners[:, :1]
    inner = np.linalg.inv(edges).transpose(0, 2, 1)
    gradients = np.concatenate([-inner.sum(axis=1, keepdims=True), inner], axis=1)
    factorial = np.prod(np.arange(1, corners.shape[2] + 1))
    return np.abs(np.linalg.det(edges)) / factorial, gradients
