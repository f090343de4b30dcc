"""Meshes of the MNI152 brain: size, cost relative to a fixed numpy workload, likeness and angles.

    python benchmarks/meshing.py [SIZE ...]          (mm; 6 4 2.5 if omitted)

The reference workload sorts and gathers four million integers, the two operations that meshing is made of, so the
column `relative` is about the same on every machine. Nothing is asserted.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
from nilearn import datasets

from oncology.imaging.volume import Volume
from oncology.meshing import Grading, build_mesh

CENTRE = np.array([-27.0, 16.0, 28.0])  # mm, of the graded meshes
REACH = 55.0  # mm, half the edge of the cropped box
COLUMNS = "route size grading vertices cells seconds relative volume% differ% white% grey% worst low median largest"


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Shortest wall time of a few calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def reference() -> float:
    keys = np.random.default_rng(0).integers(0, 2**60, 4_000_000)
    return seconds(lambda: keys[np.argsort(keys, kind="stable")], repeats=3)


def brain() -> tuple[Volume, Volume]:
    images = [datasets.load_mni152_wm_template(resolution=1), datasets.load_mni152_gm_template(resolution=1)]
    white, grey = (Volume(np.asarray(i.get_fdata(), dtype=np.float32), i.affine) for i in images)
    return white, grey


def main(sizes: list[float]) -> None:
    white, grey = brain()
    unit = reference()
    print(f"reference workload {unit:.2f} s; errors and symmetric difference in %, dihedral angles in degrees")
    print(" ".join(f"{name:>9}" for name in COLUMNS.split()))
    for size in sizes:
        graded = Grading(CENTRE, fine_radius=30.0, far_size=max(4.0, size))
        box = (CENTRE - REACH, CENTRE + REACH)
        for route, name, grading, region in (
            ("stuffing", "uniform", None, None),
            ("lattice", "uniform", None, None),
            ("stuffing", "graded", graded, None),
            ("stuffing", "cropped", graded, box),
            ("lattice", "cropped", graded, box),
        ):
            start = time.perf_counter()
            _, r = build_mesh(white, grey, size, route, grading, region)
            spent = time.perf_counter() - start
            errors = (r.volume_error, r.symmetric_difference, r.white_volume_error, r.grey_volume_error)
            angles = (r.smallest_angle, r.low_angle, r.median_angle, r.largest_angle)
            cells = [route, f"{size:g}", name, r.vertices, r.cells, f"{spent:.1f}", f"{spent / unit:.1f}"]
            cells += [f"{100 * e:.2f}" for e in errors] + [f"{a:.1f}" for a in angles]
            print(" ".join(f"{cell!s:>9}" for cell in cells), flush=True)


if __name__ == "__main__":
    main([float(size) for size in sys.argv[1:]] or [6.0, 4.0, 2.5])
