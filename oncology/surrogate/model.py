"""The surrogate: a standalone NODE on reduced coordinates, started at a quadratic of the parameters.

    x' = tanh(W(t) x + b(t)),  x(0) = (s, P(s)),  (s, a) = x(T),  u = density_of(mean + (a * unit) V)

s are the similarity variables scaled to (-1, 1), P their quadratic of least squares, V a proper orthogonal basis of
log-odds. Tangent and adjoint are those of the network, between the slopes of what stands before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from oncology.meshing import TetMesh
from oncology.nodes.depth_run import DepthRun
from oncology.nodes.standalone import StandaloneNODE
from oncology.surrogate.basis import Basis
from oncology.surrogate.coordinates import SIMILARITY, density_of, density_slope
from oncology.surrogate.design import Domain

__all__ = ["Response", "Surrogate", "quadratic", "quadratic_slope"]

Vector = NDArray[np.float64]

_VARIABLES = len(SIMILARITY)
_PAIRS = np.triu_indices(_VARIABLES)


def quadratic(scaled: Vector) -> Vector:
    """Return all monomials of degree 0 to 2 of variables (K, 7), (K, 36)."""
    first, second = _PAIRS
    return np.concatenate([np.ones((len(scaled), 1)), scaled, scaled[:, first] * scaled[:, second]], axis=1)


def quadratic_slope(scaled: Vector, direction: Vector) -> Vector:
    """Return the derivative of `quadratic` along a direction (K, 7), (K, 36)."""
    first, second = _PAIRS
    pairs = direction[:, first] * scaled[:, second] + scaled[:, first] * direction[:, second]
    return np.concatenate([np.zeros((len(scaled), 1)), direction, pairs], axis=1)


@dataclass(frozen=True, eq=False)
class Response:
    """The surrogate at K sets of variables, with its linearisation.

    Attributes:
        surrogate: whose it is.
        scaled: (K, 7) what the network sees.
        slopes: (K, 7) derivative of each by its variable.
        run: of the network.
        odds: (K, n) log-odds on the reached vertices.
    """

    surrogate: Surrogate
    scaled: Vector
    slopes: Vector
    run: DepthRun
    odds: Vector = field(repr=False)

    @property
    def densities(self) -> Vector:
        """Densities at the vertices of the mesh, (K, nv)."""
        return self._spread(density_of(self.odds))

    def tangent(self, direction: Vector) -> Vector:
        """Return the derivative of `densities` along directions of the similarity variables, (K, 7)."""
        model = self.surrogate
        moved = self.slopes * direction
        start = np.concatenate([moved, quadratic_slope(self.scaled, moved) @ model.start], axis=1)
        final = self.run.tangent(None, torch.from_numpy(start)).final.numpy()
        change = (final[:, _VARIABLES:] * model.units) @ model.basis.vectors
        return self._spread(density_slope(self.odds) * change)

    def adjoint(self, duals: Vector) -> Vector:
        """Return the derivative of `sum duals * densities` (K, nv) by the similarity variables, (K, 7)."""
        model = self.surrogate
        pulled = duals[:, model.basis.reached] * density_slope(self.odds)
        final = np.zeros((len(duals), model.network.size))
        final[:, _VARIABLES:] = (pulled @ model.basis.vectors.T) * model.units
        by_start = self.run.adjoint(torch.from_numpy(final)).input.numpy()
        by_monomial = by_start[:, _VARIABLES:] @ model.start.T
        first, second = _PAIRS
        by_scaled = by_start[:, :_VARIABLES] + by_monomial[:, 1 : 1 + _VARIABLES]
        for one, other in ((first, second), (second, first)):
            for pair, (k, j) in enumerate(zip(one, other, strict=True)):
                by_scaled[:, k] += by_monomial[:, 1 + _VARIABLES + pair] * self.scaled[:, j]
        return np.asarray(self.slopes * by_scaled)

    def _spread(self, values: Vector) -> Vector:
        reached, vertices = self.surrogate.basis.reached, len(self.surrogate.mesh.points)
        if len(reached) == vertices:
            return values
        whole = np.zeros((len(values), vertices))
        whole[:, reached] = values
        return whole


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A trained surrogate.

    Attributes:
        mesh: on which it gives densities as P1 functions.
        basis: of log-odds.
        start: (36, r) coefficients of the quadratic P.
        units: (r,) unit of each reduced coordinate.
        network: the standalone NODE; its state is (s, a), all of it input and output.
        theta: its weights, float64.
        domain: range of the similarity variables in which it was trained.
        facts: what it was trained on and how far it is off on unseen runs; plain values.
    """

    mesh: TetMesh
    basis: Basis
    start: Vector
    units: Vector
    network: StandaloneNODE
    theta: torch.Tensor
    domain: Domain
    facts: Mapping[str, Any]

    def respond(self, variables: Vector) -> Response:
        """Return densities and their linearisation for similarity variables (K, 7)."""
        scaled, slopes = self.domain.eased(variables)
        start = np.concatenate([scaled, quadratic(scaled) @ self.start], axis=1)
        run = self.network.run(self.theta, torch.from_numpy(start))
        reduced = run.final.numpy()[:, _VARIABLES:] * self.units
        return Response(self, scaled, slopes, run, self.basis.mean + reduced @ self.basis.vectors)
