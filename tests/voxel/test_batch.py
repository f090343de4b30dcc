"""Batches are loops, single precision is close to double, a compiled pass is the plain one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from oncology.errors import ConfigError, NumericalError
from oncology.model.growth import Logistic
from oncology.model.timegrid import plan_time_grid
from oncology.model.treatment import Chemotherapy, Radiotherapy
from oncology.voxel.stencil import Stencil, stacked
from oncology.voxel.voxel_model import VoxelDirections, VoxelModel
from tests.voxel.boxes import KINDS, equal_steps, mixed

RATES = np.array([[0.5, 0.1, 0.06], [0.25, 0.02, 0.03], [0.4, 0.4, 0.02]])
GRID = plan_time_grid(-30.0, [8.0, 30.0], (Radiotherapy(10.0, 6.0, 3), Chemotherapy(5.0, 0.05, 8.0)), 6.0)
LEAST = (7,) * len(GRID.intervals)


def noise(operator: Stencil, *sizes: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.uniform(0.1, 0.6, size=(*sizes, operator.voxels)), dtype=operator.joined.dtype)


def everything(model: VoxelModel, rates: np.ndarray, start: torch.Tensor) -> list[np.ndarray]:
    """Densities, tangents and the adjoint's results of runs from given densities, each with the batch in front."""
    run = model.run(rates, start, GRID, least=LEAST)
    count = len(rates)
    directions = VoxelDirections(0.1 * rates[None], 0.1 * start[None], np.ones((1, count)))
    tangents = model.tangent(run, directions)
    derivative = model.adjoint(run, list(run.observations))
    tensors = [*run.observations, *(du[0] for du in tangents), derivative.initial]
    return [*(t.numpy() for t in tensors), derivative.rates, derivative.duration]


@pytest.mark.parametrize("kind", KINDS)
def test_parameter_sets_in_a_batch(kind):
    operator = mixed(kind)
    start = noise(operator, 3) * operator.inside
    model = VoxelModel(operator)
    together = everything(model, RATES, start)
    for number in range(3):
        alone = everything(model, RATES[[number]], start[[number]])
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_allclose(all_of_them[[number]], one, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_patients_in_a_batch(kind):
    patients = [mixed(kind, seed=seed) for seed in range(3)]
    both = stacked(patients)
    start = noise(both, 3) * both.inside
    together = everything(VoxelModel(both), RATES, start)
    for number, patient in enumerate(patients):
        alone = everything(VoxelModel(patient), RATES[[number]], start[[number]])
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_allclose(all_of_them[[number]], one, rtol=1e-11, atol=1e-13)


def test_intervals_of_a_batch_may_differ_in_length():
    operator = mixed()
    start = (noise(operator, 1) * operator.inside).repeat(2, 1)
    model, grid = VoxelModel(operator), equal_steps(30.0, 6)
    both = model.run(RATES[[0, 0]], start, grid, np.array([[30.0, 20.0]]), (7,), keep=False)
    other = model.run(RATES[[0]], start[:1], equal_steps(20.0, 6), least=(7,), keep=False)
    torch.testing.assert_close(both.observations[0][1:], other.observations[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision(kind):
    double = mixed(kind)
    tensor = None if double.tensor is None else double.tensor.float()
    single = replace(double, joined=double.joined.float(), tensor=tensor)
    start = noise(double, 3) * double.inside
    exact = everything(VoxelModel(double), RATES, start)
    rough = everything(VoxelModel(single), RATES, start.float())
    assert rough[0].dtype == np.float32
    for one, other in zip(exact, rough, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=2e-5 * np.abs(one).max())


@pytest.mark.slow
def test_a_compiled_pass_is_the_plain_one():
    """Of densities, of tangents and of duals; on a GPU the same code is compiled for it."""
    operator = mixed("tensor", (9, 6), margin=2)
    assert operator.guarded
    start = noise(operator, 3) * operator.inside
    plain = everything(VoxelModel(operator), RATES, start)
    fused = everything(VoxelModel(operator, fused=True), RATES, start)
    for one, other in zip(plain, fused, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-11, atol=1e-13 * np.abs(one).max())


def test_what_is_refused():
    operator = mixed(seed=3)
    start = noise(operator, 1) * operator.inside
    model = VoxelModel(operator)
    with pytest.raises(ConfigError, match="pad its first axis"):
        VoxelModel(operator, fused=True)
    with pytest.raises(ConfigError, match="three rates and one density"):
        model.run(RATES, start, GRID)
    with pytest.raises(NumericalError, match="finite and not negative"):
        model.run(np.array([[np.nan, 0.1, 0.1]]), start, GRID)
    with pytest.raises(ConfigError, match="chemotherapy"):
        model.run(RATES[:1], start, GRID, 1.1 * np.array([[i.duration] for i in GRID.intervals]))
    with pytest.raises(NumericalError, match="went to"):
        VoxelModel(operator, Logistic()).run(RATES[:1], start * np.nan, GRID)
