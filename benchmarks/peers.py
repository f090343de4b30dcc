"""Side by side with other packages: whole fits of the cases that they make public, as tables.

    python -m benchmarks.peers FOLDER [CASE ...] [--toolkit PYTHON] [--size 2.5] [--ranks 2]

CASE is a case folder; benchmarks/peers.md says where each one comes from. With `--toolkit`, a Python in which
TumorGrowthToolkit is installed, its two synthetic patients are grown in the MNI152 brain and fitted too. Cases run one
after the other; what FOLDER holds already is not done again. Prints parameters with 95 % intervals and errors where
`truth.json` is there, cost, and how much of a recurrence lies inside targets of equal volume. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import oncology
from benchmarks.calibration_patients import GIVEN, mni152, write_case
from benchmarks.fit import fit
from oncology.imaging import Case, read_volume
from oncology.imaging.metrics import volume_ml
from oncology.imaging.recurrence import find_recurrences
from oncology.imaging.target import brain_mask, coverage, densest_target, margin_target, nearest_target

__all__ = ["TOOLKIT", "Grown", "coverages", "grow", "table"]

ROOT = Path(__file__).parents[1]
MARGINS = (5.0, 7.5, 10.0, 15.0)  # mm around the core
COVERAGE = "recurrence | margin | volume | around the core | around the whole tumour | densest voxels"
QUANTITIES = {  # name: unit, significant digits
    "diffusion_white": ("mm²/day", 3),
    "diffusion_grey": ("mm²/day", 3),
    "proliferation": ("1/day", 3),
    "front_speed": ("mm/day", 3),
    "infiltration_length": ("mm", 3),
}


@dataclass(frozen=True)
class Grown:
    """A synthetic patient that another solver grows: mm, day, mm^2/day, 1/day.

    Attributes:
        diffusion_white: D_w.
        diffusion_grey: D_g.
        proliferation: rho.
        seed: voxel of the MNI152 brain at 1 mm.
        days: of the two scans, since onset.
    """

    diffusion_white: float
    diffusion_grey: float
    proliferation: float
    seed: tuple[int, int, int]
    days: tuple[float, float]


TOOLKIT = {
    "toolkit01": Grown(0.3, 0.03, 0.02, (70, 150, 100), (314.813, 360.0)),
    "toolkit02": Grown(0.12, 0.012, 0.035, (130, 90, 110), (218.382, 250.0)),
}


def grow(folder: Path, id: str, patient: Grown, python: str) -> Path:
    """Grow a patient with TumorGrowthToolkit, in the Python that has it, and return its case folder."""
    case = folder / f"sub-{id}"
    if (case / "truth.json").is_file():
        return case
    maps = mni152()
    given, grown = folder / f"{id}-given.npz", folder / f"{id}-grown.npz"
    np.savez_compressed(given, white=maps.white, grey=maps.grey, spacing=maps.spacing, **asdict(patient))
    subprocess.run([python, str(ROOT / "benchmarks" / "peers_toolkit.py"), str(given), str(grown)], check=True)
    found = np.load(grown)
    masks = [[density > threshold for threshold in GIVEN] for density in found["density"]]
    write_case(case, maps, masks, maps.affine, patient.days)
    place = maps.affine[:3, :3] @ patient.seed + maps.affine[:3, 3]
    truth = {**asdict(patient), "seed_mm": place.tolist(), "solver_seconds": found["seconds"].tolist()}
    (case / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return case


def run(folder: Path, case: Path, size: float, ranks: int) -> dict[str, Any]:
    """Fit a case unless that is done, and return case, wall and processor seconds, load of the machine and results."""
    home = folder / f"{case.resolve().name}-{size:g}mm"
    record = home / "cost.json"
    if not record.is_file():
        load = os.getloadavg()[0]
        seconds, cpu, _ = fit(case, ranks, size, home, report=False)
        record.write_text(json.dumps({"seconds": seconds, "cpu": cpu, "load": load}) + "\n", encoding="utf-8")
    truth = case / "truth.json"
    return {
        "case": case,
        "out": home / "out",
        **json.loads(record.read_text()),
        "truth": json.loads(truth.read_text()) if truth.is_file() else {},
    }


def table(runs: Iterable[Mapping[str, Any]]) -> str:
    """Return the tables of parameters and of cost, in Markdown."""
    estimated, spent = [], []
    for found in runs:
        fitted = oncology.load(found["out"])
        estimate, level = fitted.estimate, fitted.verdict.level.replace("_", " ")
        estimated += [(estimate.case, *row) for row in _parameters(estimate, found["truth"])]
        dice = [value for regions in estimate.dice.values() for value in regions.values() if value is not None]
        memory = estimate.run["peak_memory_gb"]
        cost = [f"{found['seconds']:.0f}", f"{found['cpu']:.0f}", f"{found['load']:.0f}", f"{memory:.1f}"]
        spent.append((estimate.case, level, f"{min(dice):.2f} to {max(dice):.2f}", *cost))
    return "\n\n".join(
        [
            _markdown(
                "case | quantity | estimate | 95 % interval | determined by the scans | truth | error", estimated
            ),
            _markdown("case | verdict | Dice | wall s | processor s | load before | memory GB", spent),
        ]
    )


def _parameters(estimate: Any, truth: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    true = dict(truth)
    if truth:
        white, rho = truth["diffusion_white"], truth["proliferation"]
        true |= {"front_speed": 2.0 * math.sqrt(white * rho), "infiltration_length": math.sqrt(white / rho)}
    for name, (unit, digits) in QUANTITIES.items():
        entry = getattr(estimate, name)
        ends = " to ".join(f"{end:.{digits}g}" for end in entry.interval)
        known = (f"{true[name]:.{digits}g}", f"{100.0 * (entry.value / true[name] - 1.0):+.1f} %") if true else ("", "")
        yes = "yes" if entry.identified else "no"
        yield (f"{name.replace('_', ' ')}, {unit}", f"{entry.value:.{digits}g}", ends, yes, *known)
    if true:
        off = math.dist(estimate.seed.value, true["seed_mm"])
        yield ("seed", "", "", "yes" if estimate.seed.identified else "no", "", f"{off:.2f} mm away")


def coverages(case: Case, density_path: Path) -> list[tuple[str, ...]]:
    """Return, for margins around the core, what targets of that volume cover of each recurrence.

    The targets are the margin around the core, the voxels nearest to the whole tumour, and those of highest density.

    Args:
        case: the patient; recurrences are found in its folder.
        density_path: density on the grid of the last session.
    """
    session = case.sessions[-1]
    brain, density = brain_mask(case.white, case.grey, session.core), read_volume(density_path)
    rows = []
    for margin in MARGINS:
        standard = margin_target(session.core, brain, margin)
        count = int(standard.data.sum())
        targets = [standard]
        if count >= session.whole.data.sum():
            targets += [nearest_target(session.whole, brain, count), densest_target(density, brain, count)]
        for recurrence in find_recurrences(case):
            for part, mask in recurrence.parts.items():
                shares = [f"{100.0 * coverage(mask, target):.1f} %" for target in targets]
                name = f"{case.id}, {recurrence.name}, {part}"
                rows.append(
                    (name, f"{margin:g} mm", f"{volume_ml(standard):.0f} mL", *shares, *[""] * (3 - len(shares)))
                )
    return rows


def _markdown(header: str, rows: Iterable[Sequence[str]]) -> str:
    columns = header.split(" | ")
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *rows])


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for grown patients and fits")
    parser.add_argument("cases", type=Path, nargs="*", help="case folders", metavar="CASE")
    parser.add_argument("--toolkit", help="a Python in which TumorGrowthToolkit is installed", metavar="PYTHON")
    parser.add_argument("--size", type=float, default=2.5, help="of the fine mesh, mm")
    parser.add_argument("--ranks", type=int, default=2, help="of every fit")
    given = parser.parse_args(words)
    given.folder.mkdir(parents=True, exist_ok=True)
    cases = list(given.cases)
    if given.toolkit:
        cases += [grow(given.folder, id, patient, given.toolkit) for id, patient in TOOLKIT.items()]
    runs = [run(given.folder, case, given.size, given.ranks) for case in cases]
    print(table(runs))
    rows = []
    for found in runs:
        case = oncology.read_case(found["case"])
        rows += coverages(case, found["out"] / f"density_{case.sessions[-1].id}.nii.gz")
    if rows:
        print(f"\n{_markdown(COVERAGE, rows)}")


if __name__ == "__main__":
    main()
