"""Cases damaged in one way each, and what the one line about it must name: the file, the value, the remedy."""

import json
import sys
import tomllib
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.cases import save, write_case, write_toml

WHITE = "anat/sub-toy01_label-WM_probseg.nii.gz"
GREY = "anat/sub-toy01_label-GM_probseg.nii.gz"
SECOND = "ses-02/anat/sub-toy01_ses-02_desc-tumor_dseg.nii.gz"
GROWTH = "--diffusion-white 0.1 --proliferation 0.02 --seed -16 12 8 --onset -100".split()


@dataclass(frozen=True)
class Bad:
    """One kind of bad input.

    Attributes:
        damage: changes a good case in place.
        named: what the line must contain, in this order: file, value, remedy.
        options: further words on the command line.
        out: where the results should go, below the test's own folder (or absolute).
    """

    damage: Callable[[Path], None]
    named: tuple[str, ...]
    options: tuple[str, ...] = ()
    out: str = "out"


def voxels(name: str, change: Callable[[np.ndarray], Any], shift: float = 0.0) -> Callable[[Path], None]:
    """Change the voxels of an image in place, and move it along x by mm."""

    def damage(root: Path) -> None:
        image = nib.load(root / name)
        data, affine = np.asarray(image.dataobj).copy(), image.affine.copy()
        change(data)
        affine[0, 3] += shift
        save(root / name, data, affine)

    return damage


def put(value: float) -> Callable[[np.ndarray], None]:
    """Set one voxel in the middle."""

    def change(data: np.ndarray) -> None:
        data[tuple(n // 2 for n in data.shape)] = value

    return change


def toml(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Change the content of case.toml."""

    def damage(root: Path) -> None:
        content = tomllib.loads((root / "case.toml").read_text())
        change(content)
        write_toml(root, content)

    return damage


def days(*values: float) -> Callable[[Path], None]:
    """Give the sessions other days."""

    def change(content: Mapping[str, Any]) -> None:
        for session, day in zip(content["session"], values, strict=True):
            session["day"] = day

    return toml(change)


def truncate(root: Path) -> None:
    path = root / GREY
    path.write_bytes(path.read_bytes()[:-200])


def nothing(root: Path) -> None:
    """Leave the case as it is: what is wrong is on the command line."""


def same(data: np.ndarray) -> None:
    """Leave the voxels as they are."""


BAD = {
    "missing map": Bad(lambda root: (root / WHITE).unlink(), (WHITE, "missing", "put it there")),
    "truncated image": Bad(truncate, (GREY, "truncated", "copy or convert it again")),
    "NaN probability": Bad(voxels(WHITE, put(np.nan)), (WHITE, "nan", "replace NaN")),
    "negative probability": Bad(voxels(GREY, put(-0.5)), (GREY, "-0.5", "clip the map")),
    "unknown label": Bad(voxels(SECOND, put(9)), (SECOND, "label 9", "add it to [labels]")),
    "empty segmentation": Bad(voxels(SECOND, lambda data: data.fill(0)), (SECOND, "empty", "leave this session out")),
    "tumour outside the brain": Bad(voxels(SECOND, same, 95.0), (SECOND, "% of the tumour", "register")),
    "no overlap": Bad(voxels(SECOND, same, 1000.0), (SECOND, "does not overlap", "register it or correct its affine")),
    "sessions out of order": Bad(days(40.0, 10.0), ("case.toml", "day 10", "sort the sessions")),
    "sessions equal": Bad(days(40.0, 40.0), ("case.toml", "day 40", "correct equal days")),
    "unknown key": Bad(
        toml(lambda c: c["thresholds"].update(odema=0.3)),
        ("case.toml", "thresholds.odema", "allowed here are oedema, core"),
    ),
    "threshold above one": Bad(
        toml(lambda c: c["thresholds"].update(core=1.2)), ("case.toml", "1.2", "between 0 and 1")
    ),
    "threshold of zero": Bad(
        toml(lambda c: c["thresholds"].update(oedema=0.0)), ("case.toml", "0.0", "between 0 and 1")
    ),
    "a file in the way": Bad(nothing, ("file/out", "cannot be written", "choose a folder"), out="file/out"),
    "output in /proc": Bad(
        nothing, ("/proc/oncology/out", "cannot be written", "choose a folder"), out="/proc/oncology/out"
    ),
    "mesh larger than the brain": Bad(nothing, ("size 200 mm", "mm"), options=("--size", "200")),
}


def words(command: str, case: Path, out: Path, bad: Bad) -> list[str]:
    """Return a command line."""
    suffix = ".h5" if command == "mesh" else ""
    growth = GROWTH if command == "simulate" else []
    return [command, str(case), "--out", f"{out}{suffix}", *growth, *bad.options]


def prepare(folder: Path, bad: Bad) -> tuple[Path, Path]:
    """Make a damaged case in a folder of its own; return it and where results should go."""
    case = write_case(folder / "in", voxel=8.0)
    bad.damage(case)
    (folder / "results").mkdir()
    (folder / "results" / "file").write_text("in the way")
    return case, folder / "results" / bad.out


def leftovers(folder: Path) -> list[str]:
    """Return what a run left where results should go."""
    return sorted(path.name for path in (folder / "results").rglob("*") if path.name != "file")


def main() -> None:
    """On every rank: run each command line of a file and write what this rank said and its statuses beside it."""
    from oncology.cli import main as cli
    from oncology.parallel import launched_rank

    source = Path(sys.argv[1])
    told = []
    for line in json.loads(source.read_text()):
        with redirect_stderr(StringIO()) as said:
            status = cli.run(line)
        told.append([status, said.getvalue()])
    source.with_suffix(f".{launched_rank()}").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
