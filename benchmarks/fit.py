"""The whole fit of one case from mesh to files, on two ranks: seconds, share of the aim, peak memory.

    python benchmarks/fit.py [CASE [RANKS]]      (sub-peer01 of the shared cases and 2 if omitted)

Times are also given in units of a reference workload measured beside the fit: 1000 sparse products of a seven-point
Laplacian on 64^3 nodes, which is limited by memory bandwidth as the fit is, so that the column `relative` is about the
same on every machine. The mesh is made anew, nothing comes from a cache. Nothing is asserted.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import sparse

ROOT = Path(__file__).parents[1]
AIM = 30.0  # seconds of the whole fit of peer01 at 2.5 mm on two cores
COLUMNS = "case ranks vertices runs seconds of_aim relative memory_gb status"


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


def fit(case: Path, ranks: int, folder: Path) -> tuple[float, dict]:
    """Wall seconds of the command, interpreter and imports included, and its estimate."""
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if launcher is None:
        sys.exit("no mpiexec here: install MPI, or take the one in .venv/bin")
    environment = {**os.environ, "ONCOLOGY_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [launcher, "-n", str(ranks), sys.executable, "-m", "oncology", "fit", str(case), "--no-report"]
    start = time.perf_counter()
    subprocess.run([*command, "--out", str(folder / "out")], env=environment, cwd=ROOT, check=True)
    seconds = time.perf_counter() - start
    return seconds, json.loads((folder / "out" / "estimate.json").read_text())


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
    unit = reference()
    with tempfile.TemporaryDirectory() as folder:
        seconds, estimate = fit(case, ranks, Path(folder))
        parts = stages(Path(folder) / "out" / "log.jsonl")
    print(f"reference workload {unit:.2f} s; aim {AIM:g} s")
    print(" ".join(f"{name:>10}" for name in COLUMNS.split()))
    run = estimate["run"]
    numbers = [estimate["mesh"]["vertices"], estimate["gradient_evaluations"], round(seconds, 1)]
    ratios = [round(seconds / AIM, 2), round(seconds / unit, 1), round(run["peak_memory_gb"], 2)]
    print(" ".join(f"{cell:>10}" for cell in [estimate["case"], ranks, *numbers, *ratios, estimate["status"]]))
    print("\nuntil the last iterate of each stage (meshes count to the stage that they begin):")
    for name, iterations, part in parts:
        print(f"  {name:<28} {iterations:>3} iterations {part:>8.1f} s {part / unit:>8.1f} relative")
    rest = seconds - sum(part for _, _, part in parts)
    print(f"  {'start, results, last checks':<28} {'':>14} {rest:>8.1f} s {rest / unit:>8.1f} relative")


if __name__ == "__main__":
    main(sys.argv[1:])
