"""`oncology demo`: a synthetic patient grown in the MNI152 brain, fitted, and truth beside estimate."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from oncology.cli.output import origin, progress
from oncology.cli.runtime import guarded, world
from oncology.cli.voice import voice
from oncology.parallel import on_root
from oncology.results.folder import output_folder

if TYPE_CHECKING:
    from oncology.results.schema import Estimate

__all__ = ["demo"]


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
    with guarded(comm), output_folder(out, comm, overwrite=overwrite) as work, progress() as show:
        import oncology as onc
        from oncology.imaging.phantom import write_demo_case
        from oncology.results.files import with_provenance

        root = work / "case" / "sub-demo"
        show("growing a synthetic patient in the MNI152 brain")
        on_root(comm, lambda: write_demo_case(root))
        case = onc.read_case(root, comm)
        found = onc.fit(case, size, progress=show, comm=comm, case_path="../case/sub-demo")
        on_root(comm, (work / "fit").mkdir)
        show("report", 0.95)
        found = onc.Fit(with_provenance(found.results, *origin()), comm)
        found.write(work / "fit", report=True)
    if comm.rank == 0:
        truth = json.loads((out / "case" / "sub-demo" / "truth.json").read_text(encoding="utf-8"))
        _print_table(truth, found.estimate)
        print(f"\nresults: {out / 'fit'} (open {out / 'fit' / 'report.html'} in a browser)")
        if sys.stdout.isatty() and not voice().quiet:
            print(f"next:    {shlex.join(('oncology', 'view', str(out / 'fit')))}")


def _print_table(truth: dict[str, Any], estimate: Estimate) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="truth beside estimate")
    for column in ("parameter", "unit", "truth", "estimate", "95 % interval", "identified"):
        table.add_column(column, justify="left" if column in ("parameter", "unit") else "right")
    for name in ("diffusion_white", "diffusion_grey", "proliferation", "onset"):
        found, digits = estimate.scalar(name), ".0f" if name == "onset" else ".4g"
        low, high = found.interval
        ends = f"{low:.0f} .. {high:.0f}" if name == "onset" else f"{low:.3g} .. {high:.3g}"
        known = "yes" if found.identified else "no"
        label = "onset*" if name == "onset" else name
        table.add_row(label, found.unit, f"{truth[name]:{digits}}", f"{found.value:{digits}}", ends, known)
    seed = estimate.seed
    table.add_row(
        "seed",
        "mm",
        " ".join(f"{x:.1f}" for x in truth["seed_mm"]),
        " ".join(f"{x:.1f}" for x in seed.value),
        "+- " + " ".join(f"{0.5 * (high - low):.1f}" for low, high in seed.interval),
        "yes" if seed.identified else "no",
    )
    dice = [
        f"{session} {region} {'-' if value is None else f'{value:.3f}'}"
        for session, regions in estimate.dice.items()
        for region, value in regions.items()
    ]
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    console.print("* of the fit's own seed, another ball than the phantom's: it starts on another day")
    console.print("Dice: " + ", ".join(dice))
