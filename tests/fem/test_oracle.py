"""Agreement with dolfinx-adjoint: the same discrete scheme written in UFL, differentiated by an independent package.

The cells' diffusivity, its factor for the front included, is written down with one Newton step for the implicit
equation of that factor, started at its root: exact up to first derivatives. The flow of the growth law at every vertex
is a linear problem with the lumped mass (quadrature at the vertices); the two stages of the diffusion step, survival
after a fraction of radiotherapy and the length of the first interval are linear problems too. So the whole default
scheme is written twice.
"""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import ufl
from scipy.optimize import brentq

from oncology.fem.boxes import kuhn_box
from oncology.fem.diffusion import BackwardEuler, Sdirk2
from oncology.fem.discretisation import discretise, dispersion_coefficient
from oncology.fem.rates import Rates
from oncology.fem.tumour_model import TumourModel
from oncology.model.timegrid import Interval, TimeGrid
from tests.fem.meshes import owned

oracle = pytest.importorskip("dolfinx_adjoint", reason="install requirements/oracle.txt: pip install --no-deps -r ...")
pyadjoint = pytest.importorskip("pyadjoint")
dolfinx = pytest.importorskip("dolfinx")
pyadjoint.pause_annotation()  # importing the oracle switches it on

RATES = Rates(0.5, 0.1, 0.08)
SURVIVAL = 0.6
DIRECT = {"ksp_type": "preonly", "pc_type": "lu"}
# scan, then a fraction of radiotherapy, then growth to the second scan
GRID = TimeGrid((Interval(0.0, 6.0, 2, observe=True, survival=SURVIVAL), Interval(6.0, 4.0, 2, observe=True)))


@contextmanager
def recording():
    """A tape of its own, and none for the other tests."""
    with pyadjoint.set_working_tape(pyadjoint.Tape()):
        pyadjoint.continue_annotation()
        try:
            yield
        finally:
            pyadjoint.pause_annotation()


@dataclass
class Twin:
    """The model in UFL on the mesh of a discretisation."""

    box: Any
    white: np.ndarray
    corrected: bool

    def __post_init__(self):
        self.problems: list[Any] = []
        self.space = self.box.space
        mesh = self.space.mesh
        self.trial, self.test = ufl.TrialFunction(self.space), ufl.TestFunction(self.space)
        self.lumped = ufl.Measure("dx", mesh, metadata={"quadrature_rule": "vertex", "quadrature_degree": 1})
        corners = self.box.points[self.box.cells]
        edges = corners[:, 1:] - corners[:, :1]
        inner = np.linalg.inv(edges).transpose(0, 2, 1)
        gradients = np.concatenate([-inner.sum(axis=1, keepdims=True), inner], axis=1)
        share = dispersion_coefficient(self.box.volumes, gradients) if self.corrected else 0.0 * self.box.volumes
        white = self.white[self.box.input_cells]
        grey = np.maximum(1.0 - white, 1e-3 - white)
        spacing = np.sqrt(12.0 * 0.18) * self.box.volumes ** (1.0 / 3.0)
        root = spacing * np.sqrt(RATES.proliferation / (RATES.diffusion_white * white + RATES.diffusion_grey * grey))
        at_root = np.array(
            [brentq(lambda x, r=r: x - np.tanh(0.5 * x) - 0.5 * r, 0.0, r + 2.0, xtol=1e-15) for r in root]
        )
        fields = (white, grey, share * white, spacing, at_root)
        self.white_field, self.grey_field, self.share, self.spacing, self.root = map(self.piecewise, fields)

    def piecewise(self, values):
        field = oracle.Function(dolfinx.fem.functionspace(self.space.mesh, ("DG", 0)))
        field.x.array[: len(values)] = values
        return field

    def solve(self, a, right):
        problem = oracle.LinearProblem(
            a, right, petsc_options=DIRECT, adjoint_petsc_options=DIRECT, tlm_petsc_options=DIRECT
        )
        self.problems.append(problem)  # kept alive: the tape would build each one again
        return problem.solve()

    def mass(self, u):
        return u * self.test * self.lumped - self.share * ufl.inner(ufl.grad(u), ufl.grad(self.test)) * ufl.dx

    def react(self, u, exposure):
        growth = ufl.exp(exposure)
        flow = growth * u / (1.0 + (growth - 1.0) * u)
        return self.solve(self.trial * self.test * self.lumped, flow * self.test * self.lumped)

    def diffuse(self, u, step, white, grey, rho, scheme):
        mean = white * self.white_field + grey * self.grey_field
        root, x = self.spacing * ufl.sqrt(rho / mean), self.root
        x = x - (x - ufl.tanh(0.5 * x) - 0.5 * root) / (0.5 + 0.5 * ufl.tanh(0.5 * x) ** 2)
        diffusion = mean * (self.white_field + (1.0 - self.white_field) * root / ufl.sinh(x))
        stiffness = diffusion * ufl.inner(ufl.grad(self.trial), ufl.grad(self.test)) * ufl.dx
        a = self.mass(self.trial) + scheme.gamma * step * stiffness
        v = self.solve(a, self.mass(u))
        if isinstance(scheme, BackwardEuler):
            return v
        root = np.sqrt(2.0)
        return self.solve(a, self.mass((1.0 + root) * v - root * u))

    def functional(self, start, white, grey, rho, duration, scheme):
        """Sum of `|u|^2 / 2` over the scans; `duration` is the length of the first interval."""
        u, total = start, 0.0
        for number, interval in enumerate(GRID.intervals):
            step = (duration if number == 0 else interval.duration) / interval.steps
            for _ in range(interval.steps):
                u = self.react(u, 0.5 * rho * step)
                u = self.diffuse(u, step, white, grey, rho, scheme)
                u = self.react(u, 0.5 * rho * step)
            total = total + oracle.assemble_scalar(0.5 * u**2 * self.lumped)
            if interval.survival != 1.0:
                left = interval.survival * u * self.test * self.lumped
                u = self.solve(self.trial * self.test * self.lumped, left)
        return total


@pytest.mark.parametrize(
    ("scheme", "corrected"), [(Sdirk2(), True), (BackwardEuler(), False)], ids=["default", "monotone"]
)
def test_functional_and_gradient(scheme, corrected):
    from mpi4py import MPI

    points, cells = kuhn_box([-6.0] * 3, [6.0] * 3, [3] * 3)
    white = np.random.default_rng(0).uniform(0.0, 1.0, len(cells))
    box = discretise(MPI.COMM_SELF, points, cells, white, 1.0 - white, corrected_mass=corrected)
    box = replace(box, tissue=replace(box.tissue, age=np.inf))  # the factor of old fronts is short enough to write down
    bump = 0.1 + 0.5 * np.exp(-((owned(box) - 1.0) ** 2).sum(axis=1) / 20.0)

    model = TumourModel(box, scheme=scheme, tolerance=1e-13)
    run = model.run(RATES, bump, GRID)
    value = sum(0.5 * box.lumped_mass @ u**2 for u in run.observations)
    ours = model.adjoint(run, [box.lumped_mass * u for u in run.observations])

    with recording():
        start = oracle.Function(box.space)
        start.x.array[:] = bump
        mesh = box.space.mesh
        scalars = [oracle.Constant(mesh, v) for v in (RATES.diffusion_white, RATES.diffusion_grey)]
        scalars += [oracle.Constant(mesh, v) for v in (RATES.proliferation, GRID.intervals[0].duration)]
        twin = Twin(box, white, corrected)
        total = twin.functional(start, *scalars, scheme)
        controls = [pyadjoint.Control(c) for c in (start, *scalars)]
        theirs = pyadjoint.compute_derivative(total, controls)
    assert value == pytest.approx(float(total), rel=1e-9)
    initial, *rest = (np.array(derivative.x.array) for derivative in theirs)
    rates = ours.rates
    np.testing.assert_allclose(
        [rates.diffusion_white, rates.diffusion_grey, rates.proliferation, ours.duration], np.ravel(rest), rtol=1e-9
    )
    np.testing.assert_allclose(ours.initial, initial, rtol=1e-9, atol=1e-9 * np.abs(initial).max())
