"""Forward, gradient and tangent runs in the MNI152 brain as ratios: to the memory's bandwidth, between ranks and runs.

    python benchmarks/forward.py [SIZE] [ROUTE]     (mm and stuffing or lattice; 2.5 stuffing if omitted)

The time loop is bound by memory: the roofline is the bytes that the conjugate-gradient iterations must move over the
bandwidth of a STREAM triad, measured with the same number of ranks in the same run. Weak scaling is measured on this
node with twice the vertices on two ranks, and modelled beyond it. Nothing is asserted.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oncology.model.tumour import Tumour, TumourChange

REPEATS = 5
ENTRIES = 20_000_000  # of each array of the triad: far more than a cache holds
DAYS = 300.0
DIRECTIONS = 8  # of tangents at once: all scalars of a tumour
# Network of the modelled cluster: seconds of a message between nodes, bytes a second of a rank's part of a link.
LATENCY, LINK = 2e-6, 1e9
NEIGHBOURS = 12  # subdomains that share vertices with one in three dimensions, about
TUMOUR = Tumour(0.3, 0.03, 0.02, seed=(-27.0, 16.0, 28.0), onset=0.0)
TRIAD = """
void triad(double *a, const double *b, const double *c, double s, long n) {
    for (long i = 0; i < n; i++) a[i] = b[i] + s * c[i];
}
"""


def main(size: float, route: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_mesh(folder / "mesh.h5", size, route)
        compile_triad(folder)
        one, two = (measure(folder, ranks) for ranks in (1, 2))
        make_mesh(folder / "mesh.h5", size / 2 ** (1 / 3), route)
        double = measure(folder, 2)
    print(f"{route} {size:g} mm: {one['vertices']} vertices, {one['cells']} cells, {one['steps']} steps")
    for name, result in (("1 rank ", one), ("2 ranks", two)):
        print(
            f"{name}  step {1e3 * result['step']:.1f} ms with {result['iterations']:.1f} iterations a solve,"
            f" triad {result['bandwidth'] / 1e9:.1f} GB/s, {result['memory']:.2f} GB at the peak"
        )
        print(f"         roofline share: solver {result['solver_share']:.0%}, whole step {result['share']:.0%}")
        print(
            f"         gradient over forward: {result['gradient'] / result['forward']:.2f},"
            f" {DIRECTIONS} tangents at once over one by one: {result['together'] / result['alone']:.2f}"
        )
    forward, gradient = (one[key] / two[key] for key in ("forward", "gradient"))
    print(f"2 ranks over 1: forward {forward:.2f}, gradient {gradient:.2f},", end=" ")
    print(f"bandwidth {two['bandwidth'] / one['bandwidth']:.2f}")
    work = [result["vertices"] * result["iterations"] * result["steps"] for result in (one, double)]
    efficiency = one["forward"] / double["forward"] * work[1] / (2.0 * work[0])
    print(f"weak scaling: 2 ranks with {double['vertices']} vertices, for each iteration and vertex: {efficiency:.0%}")
    modelled = ", ".join(f"{ranks} ranks {modelled_efficiency(one, two, ranks):.0%}" for ranks in (16, 128, 1024, 8192))
    print(f"modelled between nodes of full bandwidth for each rank: {modelled}")


def modelled_efficiency(one: dict[str, float], two: dict[str, float], ranks: int) -> float:
    """Return the time of an iteration on one rank over that on many ranks with as many vertices each.

    To the sparse product and the vectors of one rank come two sums over all ranks, each a tree of messages, and the
    values of the vertices at the surface of the subdomain, about 6 n^(2/3), of which every neighbour gets some. A sum
    within a node costs what was measured here.
    """
    iteration = one["step"] / (2.0 * one["iterations"])
    sums = 2.0 * (two["reduction"] + LATENCY * float(np.ceil(np.log2(ranks / 2.0))))
    ghosts = NEIGHBOURS * LATENCY + 8.0 * 6.0 * one["vertices"] ** (2.0 / 3.0) / LINK
    return iteration / (iteration + sums + ghosts)


def make_mesh(path: Path, size: float, route: str) -> None:
    """Mesh the brain whose maps come with nilearn."""
    from nilearn import datasets

    from oncology.imaging.volume import Volume
    from oncology.meshing import build_mesh, write_mesh

    images = [datasets.load_mni152_wm_template(resolution=1), datasets.load_mni152_gm_template(resolution=1)]
    white, grey = (Volume(np.asarray(i.get_fdata(), dtype=np.float32), i.affine) for i in images)
    mesh, _ = build_mesh(white, grey, size, route)
    write_mesh(path, mesh)


def compile_triad(folder: Path) -> None:
    (folder / "triad.c").write_text(TRIAD)
    command = [os.environ.get("CC", "gcc"), "-O3", "-march=native", "-shared", "-fPIC", "-o", "triad.so", "triad.c"]
    subprocess.run(command, cwd=folder, check=True)


def measure(folder: Path, ranks: int) -> dict[str, float]:
    """Run this file on some ranks and return what it found."""
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.is_file() else shutil.which("mpiexec")
    root = str(Path(__file__).resolve().parents[1])
    environment = {"UCX_TLS": "self,sm,tcp", **os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [str(launcher), "-n", str(ranks), sys.executable, __file__, "--worker", str(folder)]
    subprocess.run(command, check=True, env=environment)
    return dict(json.loads((folder / "result.json").read_text()))


def worker(folder: Path) -> None:
    """Measure on all ranks; rank 0 writes the result."""
    from oncology.fem.engine import FiniteElements
    from oncology.fem.runtime import world
    from oncology.meshing import read_mesh

    comm = world()

    def seconds(works: Sequence[Callable[[], object]]) -> list[float]:
        """Shortest time of each, of the slowest rank; taken in turns, so that all meet the same company."""
        times = np.full(len(works), np.inf)
        for _ in range(REPEATS):
            for number, work in enumerate(works):
                comm.Barrier()
                start = time.perf_counter()
                work()
                comm.Barrier()
                times[number] = min(times[number], time.perf_counter() - start)
        return [float(t) for t in times]

    engine = FiniteElements(read_mesh(folder / "mesh.h5"), comm=comm, tolerance=1e-9)
    brain = engine.core.discretisation
    plan = engine.plan(TUMOUR, [DAYS])
    run = engine.run(TUMOUR, plan, keep=False).run  # also builds the solvers

    def gradient() -> None:
        linearised = engine.run(TUMOUR, plan)
        engine.adjoint(linearised, [brain.lumped_mass * u for u in linearised.densities])

    linearised = engine.run(TUMOUR, plan)
    changes = [TumourChange.of(direction) for direction in np.eye(DIRECTIONS)]

    def together() -> None:
        engine.tangent(linearised, changes)

    def alone() -> None:
        engine.tangent(linearised, changes[:1])

    reduction = latency(comm)
    log = solver_log()
    solving: list[float] = []

    def forward() -> None:
        before = log.getPerfInfo()["time"]
        engine.run(TUMOUR, plan, keep=False)
        solving.append(log.getPerfInfo()["time"] - before)

    streaming, running, with_gradient, at_once, single = seconds([triad(folder), forward, gradient, together, alone])
    bandwidth = comm.size * 24.0 * ENTRIES / streaming
    steps = plan.steps
    solver, whole = bytes_moved(brain, run.iterations, steps)
    memory = comm.allreduce(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 2**20
    if comm.rank == 0:
        result = {
            "vertices": brain.vertex_count,
            "cells": brain.cell_count,
            "steps": steps,
            "step": running / steps,
            "iterations": run.iterations / (2 * steps),
            "bandwidth": bandwidth,
            "memory": memory,
            "solver_share": solver / bandwidth / min(solving),
            "share": whole / bandwidth / running,
            "forward": running,
            "gradient": with_gradient,
            "together": at_once,
            "alone": DIRECTIONS * single,
            "reduction": reduction,
        }
        (folder / "result.json").write_text(json.dumps(result))


def latency(comm: Any, repeats: int = 2000) -> float:
    """Return the seconds of a sum of one number over the ranks."""
    own, total = np.ones(1), np.zeros(1)
    comm.Barrier()
    start = time.perf_counter()
    for _ in range(repeats):
        comm.Allreduce(own, total)
    return (time.perf_counter() - start) / repeats


def triad(folder: Path) -> Callable[[], None]:
    """Return the STREAM triad `a = b + s c` on arrays of this rank, which moves 24 bytes an entry."""
    a, b, c = np.zeros(ENTRIES), np.ones(ENTRIES), np.ones(ENTRIES)
    function = ctypes.CDLL(str(folder / "triad.so")).triad
    function.restype = None

    def work() -> None:
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (a, b, c))
        function(*pointers, ctypes.c_double(0.5), ctypes.c_long(ENTRIES))

    return work


def bytes_moved(brain: Any, iterations: int, steps: int) -> tuple[float, float]:
    """Return the bytes that the solves of a run must move, and those of the whole run, if nothing stays in cache.

    An iteration is a sparse product, a copy, two inner products and three vector updates; a solve starts with a
    residual. A step adds two products with the mass and two reaction flows.
    """
    from petsc4py import PETSc

    n = brain.vertex_count
    entries = brain.mass.getInfo(PETSc.Mat.InfoType.GLOBAL_SUM)["nz_used"]
    index = np.dtype(PETSc.IntType).itemsize
    product = entries * (8 + index) + n * (index + 16)
    iteration = product + n * (16 + 2 * 16 + 3 * 24)
    solver = iterations * iteration + 2 * steps * (product + n * (24 + 24 + 16))
    return solver, solver + steps * (2 * product + 2 * 16 * n)


def solver_log() -> Any:
    """Return PETSc's own record of the time in its solvers, switched on."""
    from petsc4py import PETSc

    PETSc.Log.begin()
    return PETSc.Log.Event("KSPSolve")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(Path(sys.argv[2]))
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.5, sys.argv[2] if len(sys.argv) > 2 else "stuffing")
