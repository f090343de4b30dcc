"""`oncology reproduce`: tables of the documentation made again. A family of tables is a command of this group."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from oncology.cli.output import output_folder, progress
from oncology.cli.runtime import launched_rank
from oncology.errors import ConfigError

__all__ = ["reproduce", "science"]

reproduce = App(name="reproduce", help="Make the tables of the documentation again.")


@reproduce.command
def science(
    *,
    out: Path,
    only: Annotated[list[str] | None, Parameter(negative="", consume_multiple=True)] = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Solve the catalogue of differential equations directly and for their unknowns (docs/science.md).

    Takes about two minutes on one core, and ten more for the comparison with physics-informed networks (pinn).

    Args:
        out: Folder for tables.md and a CSV file for each table; made whole at the end, or not at all.
        only: Names of the tables to make, of direct, inverse, fields, symmetries, fronts, forms, brachistochrone,
            cracks and pinn; all of them if not given.
        overwrite: Replace results that an earlier run left in --out.
    """
    if launched_rank() > 0:
        return
    with output_folder(out, overwrite=overwrite) as work, progress() as show:
        from oncology.cli.tables import write_tables
        from oncology.node.experiments.science import sections

        every = {section.name: section for section in sections(time.process_time)}
        unknown = sorted(set(only or ()) - set(every))
        if unknown:
            raise ConfigError(f"table {unknown[0]!r} is unknown; take some of {', '.join(every)}")
        chosen = tuple(section for name, section in every.items() if not only or name in only)
        for text in write_tables(chosen, work, show):
            print(text, flush=True)
