"""The results table of a cohort as CSV and HTML: one row per fit with estimates, intervals and errors.

It is made from the `estimate.json` files of the fits, at any time. The page needs no network and no script.
"""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2
from pydantic import ValidationError

from oncology import __version__
from oncology.cluster.store import RESULT, StateName, Store, TaskState, write_whole
from oncology.cluster.tasks import Task
from oncology.inverse.estimate import NORMAL_95
from oncology.results.schema import REGIONS, Estimate
from oncology.results.verdict import Verdict, verdict_of
from oncology.text import number, symbols

__all__ = ["COLUMNS", "CohortRow", "read_rows", "table_csv", "table_html", "write_tables"]

RATES = {"diffusion_white": "mm^2/day", "diffusion_grey": "mm^2/day", "proliferation": "1/day"}
DERIVED = {"front_speed": "mm/day", "infiltration_length": "mm"}
SCALARS = (*RATES, "seed_radius", "onset", *DERIVED)
Cell = str | int | float | bool | None


@dataclass(frozen=True)
class CohortValue:
    """A number with its 95 % interval.

    Attributes:
        value: In the unit of its column.
        low: Lower end.
        high: Upper end.
        identified: Whether the data determine it; None where the estimate does not say.
    """

    value: float
    low: float | None = None
    high: float | None = None
    identified: bool | None = None


@dataclass(frozen=True)
class CohortRow:
    """One task with its estimate.

    Attributes:
        task: The task.
        state: Its state.
        estimate: Its estimate; None unless it is finished.
    """

    task: Task
    state: TaskState
    estimate: Estimate | None = None

    @property
    def quantities(self) -> dict[str, CohortValue]:
        """Rates (mm^2/day, 1/day), seed radius (mm), onset (day), front speed (mm/day), infiltration length (mm)."""
        if self.estimate is None:
            return {}
        found = {}
        for name, parameter in self.estimate.parameters.items():
            if isinstance(parameter.value, float):
                low, high = self._interval(name, parameter.value, parameter.sd_log)
                found[name] = CohortValue(parameter.value, low, high, parameter.identified)
        for name, derived in self.estimate.derived.items():
            low, high = self._interval(name, derived.value, (derived.model_extra or {}).get("sd_log"))
            found[name] = CohortValue(derived.value, low, high)
        return found

    def dice(self, region: str) -> list[float]:
        """Return the Dice coefficient of a region at every session where it is defined."""
        values = [] if self.estimate is None else [regions.get(region) for regions in self.estimate.dice.values()]
        return [value for value in values if value is not None]

    @property
    def verdict(self) -> Verdict | None:
        """Whether the model explains the scans; None unless the fit is finished."""
        return None if self.estimate is None else verdict_of(self.estimate)

    @property
    def report(self) -> str:
        """Address of the case's report relative to the table; empty if there is none."""
        return f"{self.task.name}/report.html" if (self.task.out / "report.html").is_file() else ""

    def _interval(self, name: str, value: float, sd_log: float | None) -> tuple[float | None, float | None]:
        assert self.estimate is not None
        given = self.estimate.intervals.get(name)
        if given is not None:
            return float(given[0]), float(given[1])
        if sd_log is None:
            return None, None
        factor = math.exp(min(NORMAL_95 * sd_log, 700.0))
        return value / factor, value * factor


def _columns() -> dict[str, str]:
    """Return every column of the CSV with its unit."""
    columns = {name: "" for name in ("case", "variant", "state", "status", "verdict")}
    for name in SCALARS:
        unit = {**RATES, **DERIVED, "seed_radius": "mm", "onset": "day"}[name]
        columns |= {f"{name}{end}": unit for end in ("", "_low", "_high")}
        columns |= {} if name in DERIVED else {f"{name}_identified": ""}
    columns |= {f"seed_{axis}": "mm" for axis in "xyz"} | {"seed_identified": ""}
    columns |= {f"dice_{region}_{what}": "" for region in REGIONS for what in ("mean", "lowest")}
    columns |= {"sessions": "", "misfit": "mm^3", "iterations": "", "mesh_size": "mm", "vertices": ""}
    return columns | {"ranks": "", "run_time": "s", "memory": "GB", "warnings": "", "error": "", "results": ""}


COLUMNS = _columns()


def read_rows(tasks: Sequence[Task], store: Store, queue: Mapping[str, StateName] | None = None) -> list[CohortRow]:
    """Return a row for each task.

    Args:
        tasks: The tasks, in order.
        store: Their files.
        queue: States of the tasks in Slurm's queue, by task name.
    """
    return [_row(task, store.state(task, queue)) for task in tasks]


def _row(task: Task, state: TaskState) -> CohortRow:
    if state.name != "finished":
        return CohortRow(task, state)
    path = task.out / RESULT
    try:
        return CohortRow(task, state, Estimate.model_validate(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, ValidationError) as error:
        what = " ".join(str(error).split())[:120]
        return CohortRow(task, TaskState("failed", f"{path}: cannot be read ({what}): remove {task.out} and run again"))


def table_csv(rows: Sequence[CohortRow]) -> str:
    """Return the table as comma-separated values; units stand in the names of the columns."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([f"{name} [{unit}]" if unit else name for name, unit in COLUMNS.items()])
    for row in rows:
        cells = _cells(row)
        writer.writerow([_plain(cells.get(name)) for name in COLUMNS])
    return stream.getvalue()


def _cells(row: CohortRow) -> dict[str, Cell]:
    cells: dict[str, Cell] = {"case": row.task.case.name, "variant": row.task.variant, "state": row.state.name}
    cells |= {"error": row.state.message, "ranks": row.task.ranks, "results": row.task.name}
    estimate = row.estimate
    if estimate is None:
        return cells
    for name, quantity in row.quantities.items():
        cells |= {name: quantity.value, f"{name}_low": quantity.low, f"{name}_high": quantity.high}
        cells[f"{name}_identified"] = quantity.identified
    seed = estimate.parameters.get("seed")
    if seed is not None and isinstance(seed.value, tuple):
        cells |= dict(zip(("seed_x", "seed_y", "seed_z"), seed.value, strict=True))
        cells["seed_identified"] = seed.identified
    for region in REGIONS:
        if dice := row.dice(region):
            cells |= {f"dice_{region}_mean": statistics.fmean(dice), f"dice_{region}_lowest": min(dice)}
    mesh, run = estimate.mesh, estimate.run
    cells |= {
        "verdict": verdict_of(estimate).level,
        "status": estimate.status,
        "sessions": len(estimate.dice),
        "misfit": estimate.misfit,
    }
    cells |= {"iterations": estimate.iterations, "mesh_size": mesh.get("size_mm"), "vertices": mesh.get("vertices")}
    cells |= {"ranks": run.get("ranks"), "run_time": run.get("seconds"), "memory": run.get("peak_memory_gb")}
    return cells | {"warnings": "; ".join(estimate.warnings)}


def _plain(cell: Cell) -> str | int:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:.6g}"
    return "" if cell is None else cell


def table_html(rows: Sequence[CohortRow], title: str) -> str:
    """Return the table as a complete HTML page."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"number": number, "symbols": symbols}
    template = environment.from_string(files("oncology.cluster").joinpath("table.html").read_text(encoding="utf-8"))
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state.name] = counts.get(row.state.name, 0) + 1
    scales = {name: _scale(rows, name) for name in (*RATES, *DERIVED)}
    return template.render(
        title=title,
        version=__version__,
        rows=rows,
        counts=counts,
        variants=any(row.task.variant for row in rows),
        bars=[{name: _bar(row, name, scales[name]) for name in scales} for row in rows],
        scales=scales,
        summary=_summary(rows),
        units={**RATES, **DERIVED},
    )


def _scale(rows: Sequence[CohortRow], name: str) -> tuple[float, float] | None:
    """Return the ends of the logarithmic axis that all rows of a quantity share."""
    found = [row.quantities[name] for row in rows if name in row.quantities]
    ends = [end for q in found for end in (q.low, q.value, q.high) if end is not None and end > 0.0]
    if not ends:
        return None
    # one very wide interval must not flatten the others
    middle = statistics.median(q.value for q in found)
    low, high = max(min(ends), middle / 30.0), min(max(ends), 30.0 * middle)
    return (low, high) if high > low else (0.5 * low, 2.0 * low)


def _bar(row: CohortRow, name: str, scale: tuple[float, float] | None) -> tuple[float, float, float] | None:
    """Return lower end, value and upper end of an interval on its axis, 0..100."""
    quantity = row.quantities.get(name)
    if quantity is None or scale is None or quantity.value <= 0.0:
        return None
    ends = [quantity.value if end is None else end for end in (quantity.low, quantity.value, quantity.high)]
    low, value, high = (_place(end, scale) for end in ends)
    return low, value, high


def _place(value: float, scale: tuple[float, float]) -> float:
    fraction = math.log(max(value, 1e-300) / scale[0]) / math.log(scale[1] / scale[0])
    return 100.0 * min(max(fraction, 0.0), 1.0)


def _summary(rows: Sequence[CohortRow]) -> list[dict[str, Cell]]:
    """Return median and range of every quantity by variant, over the cases whose data determine it.

    A fit that does not explain its scans adds its overlap, and nothing else.
    """
    lines: list[dict[str, Cell]] = []
    for variant in dict.fromkeys(row.task.variant for row in rows):
        own = [row for row in rows if row.task.variant == variant]
        for name, unit in (RATES | DERIVED).items():
            values = [
                row.quantities[name].value
                for row in own
                if name in row.quantities and row.quantities[name].identified is not False
                if row.verdict is not None and not row.verdict.voids
            ]
            if values:
                line: dict[str, Cell] = {"variant": variant, "name": name.replace("_", " "), "unit": unit}
                line |= {"cases": len(values), "median": statistics.median(values)}
                lines.append(line | {"low": min(values), "high": max(values)})
        for region in REGIONS:
            if dice := [statistics.fmean(row.dice(region)) for row in own if row.dice(region)]:
                line = {"variant": variant, "name": f"Dice, {region}", "unit": "", "cases": len(dice)}
                lines.append(line | {"median": statistics.median(dice), "low": min(dice), "high": max(dice)})
    return lines


def write_tables(rows: Sequence[CohortRow], out: Path, title: str) -> Path:
    """Write `cohort.csv` and `cohort.html` into a folder; return the page."""
    write_whole(out / "cohort.csv", table_csv(rows))
    page = out / "cohort.html"
    write_whole(page, table_html(rows, title))
    return page
