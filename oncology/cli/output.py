"""Progress of a command on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from oncology.parallel import launched_rank
from oncology.text import Progress, silent

__all__ = ["progress", "tell_notes"]


@contextmanager
def progress() -> Iterator[Progress]:
    """Show one line of progress on rank 0's terminal (standard error); in a pipe and on other ranks show nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    # FORCE_COLOR, which notebooks set, makes a terminal of every pipe in rich's eyes
    if launched_rank() > 0 or not (sys.stderr.isatty() and console.is_terminal):
        yield silent
        return
    columns = (BarColumn(bar_width=20), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda text, fraction=None: bar.update(
            task, description=text, total=None if fraction is None else 1.0, completed=fraction or 0.0
        )


def tell_notes(notes: Callable[[], Iterable[str]]) -> None:
    """Print notes, a line each, on a terminal (standard error); in a pipe they are neither printed nor made."""
    if launched_rank() > 0 or not sys.stderr.isatty():
        return
    for note in notes():
        print(f"note: {note}", file=sys.stderr)  # above the line of progress, which takes standard error over
