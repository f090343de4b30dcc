"""`oncology reproduce`: tables of the documentation made again. A family of tables is a command of this group."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from oncology.cli.output import closing, progress
from oncology.errors import ConfigError
from oncology.parallel import launched_rank
from oncology.results.folder import output_folder

if TYPE_CHECKING:
    from oncology.reproduce.trials import Section

__all__ = ["reproduce", "science", "snode"]

reproduce = App(name="reproduce", help="Make the tables of the documentation again.")


@reproduce.command
def science(
    *,
    out: Path,
    only: Annotated[list[str] | None, Parameter(negative="", consume_multiple=True)] = None,
    quick: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Solve the catalogue of differential equations directly and for their unknowns (docs/science.md).

    Takes about four minutes on one core, seven more for images (convolution, docs/convolution.md) and ten more for the
    comparison with physics-informed networks (pinn).

    Args:
        out: Folder for tables.md, tables.json and a CSV file for each table; made whole at the end, or not at all.
        only: Names of the tables to make, of direct, inverse, fields, recovery, symmetries, fronts, forms,
            brachistochrone, cracks, convolution and pinn; all of them if not given.
        quick: Two noise levels, and short training of all networks, to see that it works; what these reach then means
            nothing.
        overwrite: Replace results that an earlier run left in --out.
    """
    if launched_rank() > 0:
        return
    from oncology.api.fitting import require_torch

    require_torch("oncology reproduce science", processes=True)
    with output_folder(out, overwrite=overwrite) as work, progress() as show:
        from oncology.reproduce.science_tables import FULL, QUICK, sections
        from oncology.reproduce.tables import write_tables

        every = sections(time.process_time, QUICK if quick else FULL)
        for text in write_tables(_chosen(every, only), work, show):
            print(text, flush=True)
    closing(out)


@reproduce.command
def snode(
    *,
    out: Path,
    only: Annotated[list[str] | None, Parameter(negative="", consume_multiple=True)] = None,
    quick: Annotated[bool, Parameter(negative="")] = False,
    jobs: int | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Train standalone NODEs on toys and digits, beside Adam, a ResNet and torchdiffeq (docs/snode.md).

    Takes about twenty minutes of one core.

    Args:
        out: Folder for tables.md, tables.json and a CSV file for each table; made whole at the end, or not at all.
        only: Names of the tables to make, of reference, equal_work, spirals and digits; all of them if not given.
        quick: One seed and a few iterations, to see that it works; the numbers mean nothing.
        jobs: Processes that share the work; all cores that this process may use if not given.
        overwrite: Replace results that an earlier run left in --out.
    """
    if launched_rank() > 0:
        return
    if jobs is not None and jobs < 1:
        raise ConfigError(f"--jobs {jobs}; take 1 or more")
    from oncology.api.fitting import require_torch

    require_torch("oncology reproduce snode", processes=True)
    with output_folder(out, overwrite=overwrite) as work, progress() as show:
        from oncology.reproduce.snode_tables import FULL, QUICK, sections
        from oncology.reproduce.tables import write_tables

        cores = len(os.sched_getaffinity(0))
        every = sections(
            QUICK if quick else FULL,
            jobs or cores,
            lambda title, done, whole: show(f"{title}: trial {done} of {whole}", done / whole),
        )
        for text in write_tables(_chosen(every, only), work, show):
            print(text, flush=True)
    closing(out)


def _chosen(every: Sequence[Section], only: Sequence[str] | None) -> tuple[Section, ...]:
    """Return the tables of the given names, all if there are none."""
    names = [section.name for section in every]
    unknown = sorted(set(only or ()) - set(names))
    if unknown:
        raise ConfigError(f"table {unknown[0]!r} is unknown; take some of {', '.join(names)}")
    return tuple(section for section in every if not only or section.name in only)
