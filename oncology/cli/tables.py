"""Tables that a command makes row by row: one CSV file and one part of a Markdown page each, shown on the way."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from oncology.cli.output import Show

if TYPE_CHECKING:
    from oncology.node.experiments.science import Row, Section

__all__ = ["write_tables"]


def write_tables(sections: tuple[Section, ...], folder: Path, show: Show) -> Iterator[str]:
    """Make every table; give the Markdown of each when it is done.

    Args:
        sections: the tables.
        folder: where NAME.csv and tables.md are written.
        show: shows which table is being made.

    Yields:
        Markdown of a table, with its heading.
    """
    with (folder / "tables.md").open("w") as page:
        for number, section in enumerate(sections):
            show(section.title, number / len(sections))
            rows = list(section.rows())
            with (folder / f"{section.name}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
            text = _markdown(section.title, rows)
            page.write(f"{text}\n")
            yield text


def _markdown(title: str, rows: list[Row]) -> str:
    lines = [f"## {title}", "", _line(list(rows[0])), _line(["---"] * len(rows[0]))]
    lines += [_line([f"{value:.4g}" if isinstance(value, float) else str(value) for value in r.values()]) for r in rows]
    return "\n".join([*lines, ""])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
