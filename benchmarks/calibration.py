"""Coverage of the intervals: 60 synthetic patients in two strata, grown by another solver, then fitted.

    python -m benchmarks.calibration FOLDER [--patients 60] [--size 4] [--jobs 2] [--grow] [--plot PATH]

Patients (see `benchmarks.calibration_patients`) and results are kept in FOLDER: one case folder and one JSON file each,
so that an interrupted run goes on where it was. Each patient has a process of its own. Prints the tables of
docs/verification.md; the method is simulation-based calibration (Cook, Gelman and Rubin 2006; Talts et al. 2018). A fit
that fails is recorded, and counts as a miss.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.calibration_patients import Anatomy, mni152, patient_id, write_patient
from benchmarks.calibration_statistics import markdown, pit_plot

__all__ = ["patients", "read_results", "result_path", "run_patient"]

ROOT = Path(__file__).parents[1]
KEPT = (
    "parameters",
    "intervals",
    "derived",
    "combinations",
    "posterior",
    "prior",
    "warnings",
    "status",
    "run",
    "misfit",
)


# The first patients of each stratum served to choose a constant of the intervals, so they cannot judge them.
SEEN = 4


def patients(count: int) -> list[tuple[str, int]]:
    """Return stratum and number of the patients, half of them from each stratum; those that were seen are left out."""
    return [(stratum, number) for number in range(SEEN + 1, SEEN + count // 2 + 1) for stratum in "AB"]


def fit_patient(case: Path, size: float) -> dict[str, Any]:
    """Fit a patient with the public API; a failure is returned under `error`, with its class and message."""
    import oncology
    from oncology.results.schema import plain_content

    try:
        fit = oncology.fit(oncology.read_case(case), size=size, shape=False)
    except Exception as error:  # a benchmark counts every failure as a miss
        return {"error": f"{type(error).__name__}: {error}"}
    content = plain_content(fit.estimate)
    return {"estimate": {name: content[name] for name in KEPT if name in content}}


def result_path(folder: Path, size: float, stratum: str, number: int) -> Path:
    """Return where the result of a patient is kept."""
    return folder / f"results-{size:g}mm" / f"{patient_id(stratum, number)}.json"


def run_patient(
    folder: Path, stratum: str, number: int, size: float | None, anatomy: Anatomy, finest: float = 0.25
) -> None:
    """Grow a patient, and fit it unless `size` is None; what is there already is not done again."""
    case = write_patient(folder, stratum, number, anatomy, finest)
    if size is None:
        return
    path = result_path(folder, size, stratum, number)
    if path.is_file():
        return
    path.parent.mkdir(exist_ok=True)
    truth = json.loads((case / "truth.json").read_text())
    result = {"id": patient_id(stratum, number), "stratum": stratum, "truth": truth, **fit_patient(case, size)}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_results(folder: Path, size: float, count: int) -> list[dict[str, Any]]:
    """Return the results of the first patients; one that is missing, because its process died, is a failed fit."""
    results = []
    for stratum, number in patients(count):
        path = result_path(folder, size, stratum, number)
        died = {"id": patient_id(stratum, number), "stratum": stratum, "error": "the process ended without a result"}
        results.append(json.loads(path.read_text()) if path.is_file() else died)
    return results


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for patients and results")
    parser.add_argument("--patients", type=int, default=60, help="half of them from each stratum")
    parser.add_argument("--size", type=float, default=4.0, help="of the fine mesh, mm")
    parser.add_argument("--jobs", type=int, default=2, help="patients at a time")
    parser.add_argument("--grow", action="store_true", help="grow the patients only")
    parser.add_argument("--plot", type=Path, help="figure of the probability integral transforms")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    given.folder = given.folder.resolve()
    size = None if given.grow else given.size
    if given.one:
        run_patient(given.folder, given.one[0], int(given.one[1:]), size, mni152())
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    options = [str(given.folder), "--size", str(given.size), *(["--grow"] if given.grow else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ONCOLOGY_CACHE": str(given.folder / "meshes")}

    def run(patient: tuple[str, int]) -> None:
        id = patient_id(*patient)
        command = [sys.executable, "-m", "benchmarks.calibration", *options, "--one", id]
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        print(f"{id}: {'done' if code == 0 else f'exit status {code}'}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(run, patients(given.patients)))
    if size is not None:
        results = read_results(given.folder, size, given.patients)
        print(markdown(results))
        for result in results:
            if "error" in result:
                print(f"{result['id']}: {result['error']}")
        if given.plot:
            pit_plot(results, given.plot)


if __name__ == "__main__":
    main()
