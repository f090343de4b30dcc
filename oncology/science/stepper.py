"""What integrates a science-activated NODE over one time step, with its exact discrete tangent and adjoint.

A stepper is a rule from `(u, q)` to the next state; a step that was taken keeps what its linearisation needs.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from oncology.science.equation import Coefficients, Equation

__all__ = ["StepTaken", "Stepper"]


class StepTaken(Protocol):
    """A step that was taken from u to `final`."""

    @property
    def final(self) -> Tensor:
        """State after the step, (K, n)."""

    def tangent(self, du: Tensor, dq: list[Coefficients]) -> Tensor:
        """Derivative of the final state along the first one, (K, n), and along the coefficients of each stage."""

    def adjoint(self, covector: Tensor) -> tuple[Tensor, list[Coefficients]]:
        """Its transpose: duals of the first state, (K, n), and of the coefficients of each stage."""


class Stepper(Protocol):
    """A one-step method."""

    @property
    def name(self) -> str:
        """Name in files and tables."""

    @property
    def order(self) -> int:
        """Order of convergence for smooth solutions."""

    @property
    def positions(self) -> tuple[float, ...]:
        """Where in the step, 0 to 1, each stage reads the coefficients."""

    def step(self, equation: Equation, length: float, q: list[Coefficients], u: Tensor) -> StepTaken:
        """Take a step of the given length (day, or unit of depth) from u, (K, n)."""
