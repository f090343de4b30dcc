"""Voxel runs as ratios: to the memory's bandwidth, compiled over plain, gradient over forward, runs in one batch.

    python benchmarks/voxel.py [EDGE] [DEVICE] [PRECISION]   (voxels along an edge, cpu or cuda, single or double)

The roofline is the bytes of state and coefficients that a step must move if nothing stays in cache, over the bandwidth
of a copy measured in turns with the runs. On a GPU the whole-brain configuration (256^3 voxels, 300 days) is timed too.
Nothing is asserted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from oncology.model.seed import Seed
from oncology.model.timegrid import TimeGrid, plan_time_grid, step_limit
from oncology.voxel.stencil import Stencil, stencil
from oncology.voxel.voxel_model import VoxelModel, VoxelRun

REPEATS = 5
DAYS = 300.0
RATES = np.array([[0.13, 0.013, 0.025]])  # mm^2/day, mm^2/day, 1/day
SEED = Seed()
PRECISIONS = {"single": torch.float32, "double": torch.float64}
AIMS = {"cpu": 0.30, "cuda": 0.50}


def main(edge: int, device: str, precision: str) -> None:
    operator = ball(edge, device, PRECISIONS[precision])
    grid = time_grid(60.0)
    start = seed(operator)
    models = {"plain": VoxelModel(operator), "compiled": VoxelModel(operator, fused=True)}

    def forward(model: VoxelModel, rates: np.ndarray = RATES) -> VoxelRun:
        return model.run(rates, start.repeat(len(rates), 1), grid, keep=False)

    def gradient(model: VoxelModel) -> object:
        run = model.run(RATES, start, grid)
        return model.adjoint(run, list(run.observations))

    words = words_moved(operator, forward(models["plain"]))
    source = torch.zeros(1 << 26, dtype=PRECISIONS[precision], device=device)
    target = torch.empty_like(source)
    works: list[Callable[[], object]] = [lambda: target.copy_(source)]
    works += [lambda model=model: forward(model) for model in models.values()]  # type: ignore[misc]
    works += [lambda: gradient(models["compiled"]), lambda: forward(models["compiled"], RATES.repeat(4, axis=0))]
    copying, *times, with_gradient, batch = seconds(works, device)
    size = source.element_size()
    bandwidth = 2.0 * size * len(source) / copying
    print(f"{edge}^3 voxels, {precision}, {name_of(device)}: {grid.steps} steps, copy {bandwidth / 1e9:.1f} GB/s")
    for name, taken in zip(models, times, strict=True):
        share = size * words / bandwidth / taken
        print(f"  {name:8} step {1e3 * taken / grid.steps:8.2f} ms, share of the roofline {share:.0%}", end="")
        print(f" (aim {AIMS[device]:.0%})" if name == "compiled" else "")
    print(f"  compiled over plain {times[0] / times[1]:.1f} times faster, gradient over forward ", end="")
    print(f"{with_gradient / times[1]:.1f}, four runs in a batch over one {batch / times[1]:.1f}")
    if device == "cuda":
        whole_brain()
    else:
        print("256^3 voxels for 300 days: skipped, no GPU was asked for (aim under 0.1 s on an H200)")


def whole_brain() -> None:
    operator = ball(256, "cuda", torch.float32)
    model, grid, start = VoxelModel(operator, fused=True), time_grid(DAYS), seed(operator)
    (taken,) = seconds([lambda: model.run(RATES, start, grid, keep=False)], "cuda")
    print(f"256^3 voxels for 300 days on {name_of('cuda')}: {taken:.3f} s in {grid.steps} steps (aim 0.1 s on an H200)")


def ball(edge: int, device: str, dtype: torch.dtype) -> Stencil:
    """Return a ball of white matter in a grey shell on 1 mm voxels, with the margin of a compiled pass."""
    axis = np.arange(edge) - 0.5 * (edge - 1)
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) / (0.5 * edge - 1.0)
    white = (radius < 0.8).astype(float)
    return stencil(white, 1.0 - white, radius < 1.0, 1.0, dtype=dtype, device=device)


def seed(operator: Stencil) -> torch.Tensor:
    """Return a seed in the middle of the box."""
    axes = [np.arange(n) - 0.5 * (n - 1) for n in operator.shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    density = torch.as_tensor(SEED.density(points, np.zeros(3))).to(operator.joined)
    return density.reshape(1, -1) * operator.inside


def time_grid(days: float) -> TimeGrid:
    return plan_time_grid(0.0, [days], (), step_limit(RATES[0, 2], RATES[0, 0], SEED.width))


def words_moved(operator: Stencil, run: VoxelRun) -> float:
    """Return the numbers that a run must read and write.

    A stage reads one density and the edges and updates another; a reaction reads and writes one; the end of a diffusion
    step joins two densities in a third.
    """
    edges = len(operator.strides)
    return operator.voxels * (run.products * (3 + edges) + run.grid.steps * (2 * 2 + 3))


def seconds(works: Sequence[Callable[[], object]], device: str) -> list[float]:
    """Return the shortest time of each after a run that compiles; in turns, so that all meet the same company."""
    times = np.full(len(works), np.inf)
    for repeat in range(REPEATS + 1):
        for number, work in enumerate(works):
            synchronise(device)
            start = time.perf_counter()
            work()
            synchronise(device)
            if repeat:
                times[number] = min(times[number], time.perf_counter() - start)
    return [float(t) for t in times]


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def name_of(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"


if __name__ == "__main__":
    words = sys.argv[1:]
    chosen = words[1] if len(words) > 1 else "cuda" if torch.cuda.is_available() else "cpu"
    default = "256" if chosen == "cuda" else "160"
    main(int(words[0] if words else default), chosen, words[2] if len(words) > 2 else "single")
