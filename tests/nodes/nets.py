"""Small networks, batches and random directions that the tests of the neural half share."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from oncology.nodes.activation import TANH, Activation
from oncology.nodes.cost import Cost
from oncology.nodes.depth import DepthGrid, Kind
from oncology.nodes.samples import Samples
from oncology.nodes.scheme import EULER, Scheme
from oncology.nodes.standalone import StandaloneNODE
from oncology.nodes.training_problem import TrainingProblem
from oncology.optimise import Stop, minimise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net(
    size: int = 4,
    cells: int = 7,
    kind: Kind = "constant",
    activation: Activation = TANH,
    scheme: Scheme = EULER,
    steps: int = 1,
    length: float = 2.0,
) -> StandaloneNODE:
    """A network from the last two coordinates to the first two."""
    return StandaloneNODE(size, DepthGrid(length, cells, kind), (size - 2, size - 1), (0, 1), activation, scheme, steps)


def batch(number: int = 9, seed: int = 1) -> Samples:
    """Points of the plane whose class is the side of the unit circle that they lie on."""
    inputs = torch.randn(number, 2, generator=generator(seed), dtype=torch.float64)
    return Samples(inputs, torch.eye(2, dtype=torch.float64)[(inputs.norm(dim=1) > 1.0).long()])


def like(tensor: Tensor, seed: int = 2) -> Tensor:
    """Random tensor of the same shape."""
    return torch.randn(tensor.shape, generator=generator(seed), dtype=torch.float64)


@cache
def trained(cells: int = 12, number: int = 60) -> tuple[StandaloneNODE, Tensor, Samples]:
    """A network that tells the inside of the circle from its outside."""
    model, samples = net(cells=cells), batch(number)
    problem = TrainingProblem(model, Cost(squared=1.0, decay=1e-3), samples)
    result = minimise(problem, model.initial(generator()), model.space(0.5), stop=Stop(max_iterations=60))
    return model, result.x, samples
