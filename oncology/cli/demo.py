"""`oncology demo`: a synthetic patient grown in the MNI152 brain, fitted, and truth beside estimate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from oncology.cli.output import output_folder, progress
from oncology.cli.runtime import guarded, mesh_cache, world

__all__ = ["demo"]

_NAME = "demo"


def demo(
    *,
    out: Path = Path("demo-out"),
    size: float = 2.5,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Grow a synthetic patient on voxels, fit it with finite elements and compare.

    The tumour grows by explicit finite volumes on 1 mm voxels, the fit uses tetrahedra and another time stepping.
    Takes a few minutes on two cores; `mpiexec -n N oncology demo` uses N.

    Args:
        out: Folder for the patient (OUT/case) and the results (OUT/fit); made whole at the end, or not at all.
        size: Edge length of the mesh around the tumour, mm.
        overwrite: Replace what an earlier demo left in --out.
    """
    comm = world()
    with guarded(comm), output_folder(out, comm, overwrite=overwrite) as work:
        from oncology.cli.fit import run_fit
        from oncology.fem.patient import FiniteElementEngines
        from oncology.imaging import Case
        from oncology.inverse.fit import FitSettings
        from oncology.parallel import on_root

        root = work / "case" / f"sub-{_NAME}"
        with progress() as show:
            show("growing a synthetic patient in the MNI152 brain")
            on_root(comm, lambda: _grow(root))
        patient = on_root(comm, lambda: Case.read(root))
        results = work / "fit"
        on_root(comm, lambda: results.mkdir())
        estimate = run_fit(
            comm, FiniteElementEngines(comm, cache=mesh_cache()), patient, FitSettings(size=size), results
        )
        if comm.rank == 0:
            _print_table(json.loads((root / "truth.json").read_text()), estimate)
            print(f"\nresults: {out / 'fit'} (open {out / 'fit' / 'report.html'} in a browser)")


def _grow(root: Path) -> None:
    """Write the synthetic patient's case folder."""
    import numpy as np
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    from oncology.imaging import Volume
    from oncology.imaging.phantom import Phantom, grow_phantom, write_phantom_case

    images = [load(resolution=1) for load in (load_mni152_wm_template, load_mni152_gm_template)]
    white, grey = (Volume(np.clip(i.get_fdata(dtype=np.float32), 0.0, 1.0), i.affine) for i in images)
    grey = grey.with_data(np.minimum(grey.data, 1.0 - white.data))
    phantom = Phantom(
        diffusion_white=0.22,
        diffusion_grey=0.022,
        proliferation=0.025,
        seed=(-30.0, -24.0, 30.0),
        onset=-240.0,
        days=(0.0, 40.0),
        reach=48.0,
    )
    densities = grow_phantom(white, grey, phantom)
    write_phantom_case(root, _NAME, white, grey, phantom, densities, "explicit finite volumes, 1 mm voxels")


def _print_table(truth: dict[str, Any], estimate: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="truth beside estimate")
    for column in ("parameter", "unit", "truth", "estimate", "95 % interval", "identified"):
        table.add_column(column, justify="left" if column in ("parameter", "unit") else "right")
    for name in ("diffusion_white", "diffusion_grey", "proliferation"):
        entry, (low, high) = estimate["parameters"][name], estimate["intervals"][name]
        table.add_row(
            name,
            entry["unit"],
            f"{truth[name]:.4g}",
            f"{entry['value']:.4g}",
            f"{low:.3g} .. {high:.3g}",
            "yes" if entry["identified"] else "no",
        )
    seed = estimate["parameters"]["seed"]
    reach = [1.96 * sd for sd in seed["sd"]]
    table.add_row(
        "seed",
        "mm",
        " ".join(f"{x:.1f}" for x in truth["seed_mm"]),
        " ".join(f"{x:.1f}" for x in seed["value"]),
        "+- " + " ".join(f"{x:.1f}" for x in reach),
        "yes" if seed["identified"] else "no",
    )
    onset, (low, high) = estimate["parameters"]["onset"], estimate["intervals"]["onset"]
    table.add_row(
        "onset*",
        "day",
        f"{truth['onset']:.0f}",
        f"{onset['value']:.0f}",
        f"{low:.0f} .. {high:.0f}",
        "yes" if onset["identified"] else "no",
    )
    dice = [
        [session, region, "-" if value is None else f"{value:.3f}"]
        for session, regions in estimate["dice"].items()
        for region, value in regions.items()
    ]
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    console.print("* of the fit's own seed, which is larger than the phantom's: it starts later")
    console.print("Dice: " + ", ".join(" ".join(row) for row in dice))
