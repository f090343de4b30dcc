"""The whole fit of one case, as typed in a plain shell: seconds, ratio to a reference workload, processor time, memory.

    python benchmarks/fit.py [CASE [RANKS [SIZE]]]      (sub-peer01 of the shared cases, 2 and 2.5 mm if omitted)

The reference workload is measured beside the fit: 1000 sparse products of a seven-point Laplacian on 64^3 nodes, which
is limited by memory bandwidth as the fit is, so that the column `relative` is about the same on every machine. The mesh
is made anew, nothing comes from a cache, and no variable chooses threads. The last line is the result as JSON. Nothing
is asserted.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import sparse

ROOT = Path(__file__).parents[1]
# Seconds on an idle machine of two cores, and in units of the reference workload: without the report, and with it.
AIMS = {"without report": (10.0, 9.0), "with report": (12.0, 10.8)}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
COLUMNS = "run seconds of_aim relative of_aim cpu memory_gb status"


def reference() -> float:
    """Seconds of 1000 sparse products; the smallest of three measurements."""
    line = sparse.diags_array([-np.ones(63), 2 * np.ones(64), -np.ones(63)], offsets=[-1, 0, 1])
    one = sparse.eye_array(64)
    matrix = sparse.csr_array(
        sparse.kron(sparse.kron(line, one), one)
        + sparse.kron(sparse.kron(one, line), one)
        + sparse.kron(sparse.kron(one, one), line)
    )
    x = np.random.default_rng(0).random(matrix.shape[0])
    times = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(100):
            matrix @ x
        times.append(10.0 * (time.perf_counter() - start))
    return min(times)


def fit(case: Path, ranks: int, size: float, folder: Path, report: bool) -> tuple[float, float, dict]:
    """Wall and processor seconds of the command, interpreter and imports included, and its estimate."""
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if launcher is None:
        sys.exit("no mpiexec here: install MPI, or take the one in .venv/bin")
    environment = {name: value for name, value in os.environ.items() if name not in THREADS}
    environment["ONCOLOGY_CACHE"] = str(folder / "cache")
    command = [launcher, "-n", str(ranks), sys.executable, "-m", "oncology", "fit", str(case), "--size", str(size)]
    command += ["--report" if report else "--no-report", "--out", str(folder / "out")]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, cwd=ROOT, check=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, json.loads((folder / "out" / "estimate.json").read_text())


def stages(log: Path) -> list[tuple[str, int, float]]:
    """Name, iterations and seconds of each stage, from the log; a stage ends where the next one begins."""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    found: list[tuple[str, int, float]] = []
    before = 0.0
    for record in records:
        if not found or found[-1][0] != record["stage"]:
            found.append((record["stage"], 0, 0.0))
        name, iterations, seconds = found[-1]
        found[-1] = (name, iterations + (record["iteration"] > 0), seconds + record["seconds"] - before)
        before = record["seconds"]
    return found


def main(words: list[str]) -> None:
    shared = Path(os.environ.get("ONCOLOGY_CASES", ROOT.parent / "shared" / "cases"))
    case = Path(words[0]) if words else shared / "sub-peer01"
    if not (case / "case.toml").is_file():
        print(f"{case} is not there: the bundled example is fitted instead")
        case = ROOT / "data" / "sub-example01"
    ranks = int(words[1]) if len(words) > 1 else 2
    size = float(words[2]) if len(words) > 2 else 2.5
    unit = reference()
    print(f"reference workload {unit:.2f} s; {ranks} ranks, {size:g} mm")
    print(" ".join(f"{name:>14}" for name in COLUMNS.split()))
    runs = {}
    for name, (longest, most) in AIMS.items():
        with tempfile.TemporaryDirectory() as folder:
            seconds, cpu, estimate = fit(case, ranks, size, Path(folder), name == "with report")
            parts = stages(Path(folder) / "out" / "log.jsonl")
        runs[name] = {"seconds": seconds, "relative": seconds / unit, "cpu": cpu, "status": estimate["status"]}
        memory = estimate["run"]["peak_memory_gb"]
        cells = [seconds, seconds / longest, seconds / unit, seconds / unit / most, cpu, memory]
        print(" ".join(f"{cell:>14}" for cell in [name, *(f"{value:.2f}" for value in cells), estimate["status"]]))
        runs[name]["stages"] = {stage: part for stage, _, part in parts}
        rest = seconds - sum(part for _, _, part in parts)
        print("  until the last iterate of each stage (meshes count to the stage that they begin):")
        for stage, iterations, part in parts:
            print(f"    {stage:<28} {iterations:>3} iterations {part:>8.1f} s {part / unit:>8.1f} relative")
        print(f"    {'start, results, last checks':<28} {'':>14} {rest:>8.1f} s {rest / unit:>8.1f} relative")
    mesh = {name: estimate["mesh"][name] for name in ("vertices", "cells", "size_mm")}
    print(json.dumps({"case": estimate["case"], "ranks": ranks, "reference": unit, "mesh": mesh, "runs": runs}))


if __name__ == "__main__":
    main(sys.argv[1:])
