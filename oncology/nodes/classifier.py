"""What attacks and evaluations ask of a classifier: outputs, their Jacobian, and the pull-back of one covector.

A standalone NODE answers with adjoint solves, any other differentiable network (a ResNet, torchdiffeq's neural ODE)
with automatic differentiation, so that all are compared by the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from oncology.nodes.robustness.sensitivity import input_jacobian
from oncology.nodes.standalone import StandaloneNODE

__all__ = ["Classifier", "ModuleClassifier", "NODEClassifier"]


class Classifier(Protocol):
    """A map of inputs (K, inputs) to outputs (K, outputs); the class is that of the largest output."""

    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs, (K, outputs)."""

    def linearised(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and their derivative by the inputs, (K, outputs, inputs)."""

    def pulled(self, inputs: Tensor, covectors: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Outputs, and the derivative `J* v`, (K, inputs), for covectors v that depend on the outputs."""


@dataclass(frozen=True, eq=False)
class NODEClassifier:
    """A standalone NODE with its weights.

    Attributes:
        model: the network.
        theta: its weights.
    """

    model: StandaloneNODE
    theta: Tensor

    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs, (K, outputs)."""
        return self.model.outputs_of(self.theta, inputs)

    def linearised(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and their derivative by the inputs, the exact one of the discrete net."""
        run = self.model.run(self.theta, self.model.embed(inputs))
        return self.model.read(run.final), input_jacobian(self.model, run)

    def pulled(self, inputs: Tensor, covectors: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Outputs, and `J* v` by one adjoint solve."""
        run = self.model.run(self.theta, self.model.embed(inputs))
        outputs = self.model.read(run.final)
        adjoint = run.adjoint(self.model.write(covectors(outputs)))
        return outputs, adjoint.input[:, list(self.model.inputs)]


@dataclass(frozen=True, eq=False)
class ModuleClassifier:
    """A torch module whose samples are independent (no batch normalisation in training mode).

    Attributes:
        module: maps (K, inputs) to (K, outputs).
    """

    module: torch.nn.Module

    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs, (K, outputs)."""
        with torch.no_grad():
            result: Tensor = self.module(inputs)
            return result

    def linearised(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and their derivative by the inputs."""
        tracked = inputs.detach().requires_grad_()
        outputs = self.module(tracked)
        rows = [torch.autograd.grad(column.sum(), tracked, retain_graph=True)[0] for column in outputs.unbind(1)]
        return outputs.detach(), torch.stack(rows, dim=1)

    def pulled(self, inputs: Tensor, covectors: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Outputs, and `J* v`."""
        tracked = inputs.detach().requires_grad_()
        outputs = self.module(tracked)
        covector = covectors(outputs.detach())
        return outputs.detach(), torch.autograd.grad(outputs, tracked, covector)[0]
