"""A standalone NODE of the paper's configuration as ratios: to torchdiffeq, and to the peak of matrix products.

    python benchmarks/snode.py [--device cuda] [--epochs 10]

A state of 196, 150 Euler layers, batches of 100, tanh. A gradient is the forward and the adjoint solve with the
derivative by the weights: three products a layer. An iteration of the conjugate gradients adds the sensitivity solve,
two products more; `minimise` is the whole of it with its vectors and Sobolev gradient. torchdiffeq runs Euler's method
on the same net, once with the weights in one tensor and once as a list of matrices, whose derivatives cost autograd
less. The peak is a large product of the same type on the same threads, taken in turns with the rest. One thread is
measured in processor time, which other jobs disturb least. On a GPU the epochs of 60,000 random inputs are run as well.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
import torchdiffeq
from torch import Tensor

from oncology.nodes.cost import Cost
from oncology.nodes.samples import Samples
from oncology.nodes.standalone import StandaloneNODE, prototype
from oncology.nodes.training_problem import TrainingProblem
from oncology.optimise import Stop, minimise

FEATURES, CLASSES, BATCH, LARGE = 196, 10, 100, 1024
INPUTS, ITERATIONS = 60_000, 6
SMOOTHING = 0.5  # of the Sobolev gradient, in units of depth
ROUNDS, SLOW_ROUNDS = 9, 3
EACH = Stop(relative_gradient=0.0, max_iterations=ITERATIONS)


@dataclass(frozen=True)
class Case:
    """Network, weights and one batch with a covector."""

    model: StandaloneNODE
    theta: Tensor
    samples: Samples
    covector: Tensor

    @property
    def product(self) -> float:
        """Operations of one product a layer through all layers."""
        return 2.0 * BATCH * FEATURES**2 * self.model.grid.cells


def case(dtype: torch.dtype, device: str) -> Case:
    generator = torch.Generator().manual_seed(0)
    model = prototype(FEATURES, CLASSES)
    theta = model.initial(generator).to(device, dtype)
    inputs = torch.rand(BATCH, FEATURES, generator=generator)
    targets = torch.eye(CLASSES)[torch.randint(CLASSES, (BATCH,), generator=generator)]
    covector = torch.randn(BATCH, FEATURES, generator=generator)
    return Case(model, theta, Samples(inputs, targets).to(theta), covector.to(theta))


def ours(it: Case) -> dict[str, Callable[[], object]]:
    large = torch.randn(LARGE, LARGE).to(it.theta)
    out, space = torch.empty_like(large), it.model.space(SMOOTHING, it.theta)
    problem = TrainingProblem(it.model, Cost(), it.samples)

    def gradient() -> Tensor:
        return it.model.run(it.theta, it.samples.inputs).adjoint(it.covector).theta

    def solves() -> Tensor:
        run = it.model.run(it.theta, it.samples.inputs)
        return run.tangent(run.adjoint(it.covector).theta).final

    def descent() -> object:
        return minimise(problem, it.theta, space, stop=EACH)

    peak = lambda: torch.mm(large, large, out=out)  # noqa: E731
    return {"peak": peak, "gradient": gradient, "solves": solves, "minimise": descent}


class Net(torch.nn.Module):
    """The same network for torchdiffeq, from one tensor or from a list of matrices."""

    def __init__(self, it: Case, listed: bool) -> None:
        super().__init__()
        self.step, self.layers, self.listed = it.model.time_step, it.model.grid.cells, listed
        parts = list(it.theta.clone()) if listed else [it.theta.clone()]
        self.parts = torch.nn.ParameterList(parts)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """tanh(W x + b) of the layer that begins at t."""
        layer = min(round(float(t.detach()) / self.step), self.layers - 1)  # the adjoint looks at the end, too
        weights = self.parts[layer] if self.listed else self.parts[0][layer]
        return torch.tanh(torch.addmm(weights[-1], x, weights[:-1]))


def theirs(it: Case, listed: bool, solve: Callable[..., Tensor]) -> Callable[[], object]:
    net, cells = Net(it, listed), it.model.grid.cells
    times = torch.linspace(0.0, it.model.grid.length, cells + 1)

    def gradient() -> object:
        final = solve(net, it.samples.inputs, times, method="euler")[-1]
        return torch.autograd.grad(final, list(net.parts), it.covector)

    return gradient


def timed(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


def clock_of(device: str, threads: int) -> Callable[[], float]:
    def synchronised() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    if device == "cuda":
        return synchronised
    return time.thread_time if threads == 1 else time.perf_counter


def compare(dtype: torch.dtype, device: str, threads: int) -> None:
    torch.set_num_threads(threads)
    it, clock = case(dtype, device), clock_of(device, threads)
    fast = ours(it)
    slow = {
        "minimise": fast.pop("minimise"),
        "odeint, one tensor": theirs(it, False, torchdiffeq.odeint),
        "odeint, a list": theirs(it, True, torchdiffeq.odeint),
    }
    spent: dict[str, list[float]] = {name: [] for name in (*fast, *slow)}
    for work in fast.values():
        work()  # warm up
    for number in range(ROUNDS):
        for name, work in fast.items() if number % (ROUNDS // SLOW_ROUNDS) else (fast | slow).items():
            spent[name].append(timed(work, clock))
    seconds = {name: median(times) for name, times in spent.items()}
    iteration = seconds["minimise"] / ITERATIONS
    peak = 2.0 * LARGE**3 / seconds["peak"]
    print(f"-- {str(dtype).removeprefix('torch.')}, {device}, {threads} threads, peak {peak / 1e9:.0f} GFLOP/s")
    for name, products, took in (
        ("gradient", 3, seconds["gradient"]),
        ("three solves", 5, seconds["solves"]),
        ("iteration of minimise", 5 + 3 / ITERATIONS, iteration),  # and the first forward and adjoint
    ):
        share = 100.0 * products * it.product / took / peak
        ratios = ", ".join(f"{seconds[other] / took:.1f} ({other})" for other in slow if other != "minimise")
        print(f"{name:<22} {1e3 * took:7.1f} ms  {share:4.0f} % of the peak  torchdiffeq over ours: {ratios}")


def once_with_their_adjoint(device: str) -> None:
    torch.set_num_threads(1)
    it, clock = case(torch.float32, device), clock_of(device, 1)
    seconds = [timed(work, clock) for work in [theirs(it, False, torchdiffeq.odeint_adjoint), ours(it)["gradient"]]]
    print(f"odeint_adjoint over our gradient, float32, 1 thread: {seconds[0] / seconds[1]:.0f} (one run)")


def epochs(number: int) -> None:
    """Train on random inputs of the paper's shape; the first batch, with what it compiles, is left out."""
    it, clock, generator = case(torch.float32, "cuda"), clock_of("cuda", 1), torch.Generator().manual_seed(1)
    inputs = torch.rand(INPUTS, FEATURES, generator=generator)
    targets = torch.eye(CLASSES)[torch.randint(CLASSES, (INPUTS,), generator=generator)]
    data, space = Samples(inputs, targets).to(it.theta), it.model.space(SMOOTHING, it.theta)
    theta, start = it.theta, 0.0
    for step in range(number * INPUTS // BATCH + 1):
        rows = torch.arange(BATCH, device="cuda") + step * BATCH % INPUTS
        theta = minimise(TrainingProblem(it.model, Cost(), data.take(rows)), theta, space, stop=EACH).x
        start = clock() if step == 0 else start
    print(f"{number} epochs of {INPUTS} inputs: {clock() - start:.1f} s on {torch.cuda.get_device_name()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--epochs", type=int, default=10, help="on a GPU only")
    chosen = parser.parse_args()
    available = torch.get_num_threads() if chosen.device == "cpu" else 1
    for threads in sorted({1, available}):
        for dtype in (torch.float32, torch.float64):
            compare(dtype, chosen.device, threads)
    once_with_their_adjoint(chosen.device)
    if chosen.device == "cuda":
        epochs(chosen.epochs)


if __name__ == "__main__":
    main()
