"""Tables that a command makes row by row: one CSV file and a part of a Markdown page and of a JSON file each."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from oncology.text import Progress

if TYPE_CHECKING:
    from oncology.reproduce.trials import Row, Section

__all__ = ["write_tables"]


def write_tables(sections: tuple[Section, ...], folder: Path, show: Progress) -> Iterator[str]:
    """Make every table; give the Markdown of each when it is done.

    Args:
        sections: the tables.
        folder: where NAME.csv, tables.md and tables.json are written.
        show: shows which table is being made.

    Yields:
        Markdown of a table, with its heading.
    """
    made: dict[str, list[Row]] = {}
    with (folder / "tables.md").open("w") as page:
        for number, section in enumerate(sections):
            show(section.title, number / len(sections))
            made[section.name] = rows = list(section.rows())
            with (folder / f"{section.name}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
            text = _markdown(section.title, rows)
            page.write(f"{text}\n")
            yield text
    (folder / "tables.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def _markdown(title: str, rows: list[Row]) -> str:
    lines = [f"## {title}", "", _line(list(rows[0])), _line(["---"] * len(rows[0]))]
    lines += [_line([_shown(value) for value in row.values()]) for row in rows]
    return "\n".join([*lines, ""])


def _shown(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
