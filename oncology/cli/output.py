"""What a command says beside its results: progress, notes, a log in words, and at the end where, what and next."""

from __future__ import annotations

import datetime
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from oncology import __version__
from oncology.cli.voice import voice
from oncology.parallel import launched_rank
from oncology.text import Progress, silent

__all__ = ["LOG_TEXT", "closing", "origin", "progress", "tell_notes"]

LOG_TEXT = "log.txt"


@contextmanager
def progress(log: Path | None = None) -> Iterator[Progress]:
    """Show on rank 0 what goes on; other ranks show nothing.

    On a terminal (standard error) one line with the share of the work and the time left, where they are known; with
    `-v` a line for every step instead, in a pipe too; with `--quiet` nothing.

    Args:
        log: File that gets a line for every step, after those that it holds.
    """
    if launched_rank() > 0:
        yield silent
        return
    with ExitStack() as stack:
        listeners: list[Progress] = []
        if log is not None:
            file = stack.enter_context(log.open("a", encoding="utf-8", buffering=1))
            file.write(f"{_heading()}\n")
            listeners.append(_lines(file))
        if voice().verbose:
            listeners.append(_lines(sys.stderr))
        elif not voice().quiet and sys.stderr.isatty():
            bar = stack.enter_context(_bar())
            listeners += [bar] if bar is not None else []

        def tell(text: str, fraction: float | None = None) -> None:
            for listener in listeners:
                listener(text, fraction)

        yield tell if listeners else silent


@contextmanager
def _bar() -> Iterator[Progress | None]:
    """One line on the terminal; None where rich sees none, as with TERM=dumb."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (BarColumn(bar_width=20), TimeElapsedColumn(), TextColumn("{task.fields[left]}{task.description}"))
    begin = time.monotonic()
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, left="")
        known: list[float | None] = [None]

        def tell(text: str, fraction: float | None = None) -> None:
            if fraction is not None:
                known[:] = [fraction]
                bar.update(task, total=1.0, completed=fraction)
            bar.update(task, description=text, left=time_left(known[0], time.monotonic() - begin))

        yield tell


def time_left(fraction: float | None, elapsed: float) -> str:
    """Return the share of the work and the time that is left at the pace so far, for the line of progress.

    Args:
        fraction: of the work that is done, 0..1; None: not known.
        elapsed: time since the start, s.

    Example:
        >>> time_left(0.25, 60.0)
        '25 %, about 3 min left  '
    """
    if fraction is None:
        return ""
    share = f"{100.0 * fraction:.0f} %"
    if not 0.02 <= fraction < 1.0 or elapsed < 5.0:
        return f"{share}  "
    left = elapsed * (1.0 - fraction) / fraction
    words = f"{left / 60.0:.0f} min" if left >= 90.0 else f"{max(10.0 * round(left / 10.0), 10.0):.0f} s"
    return f"{share}, about {words} left  "


def _lines(file: IO[str]) -> Progress:
    """Write a line for every step that differs from the one before: seconds since the start, share, text."""
    begin, last = time.monotonic(), [""]

    def tell(text: str, fraction: float | None = None) -> None:
        if text == last[0]:
            return
        last[0] = text
        share = "" if fraction is None else f"{100.0 * fraction:.0f} %"
        print(f"{time.monotonic() - begin:8.1f} s  {share:>5}  {text}", file=file, flush=True)

    return tell


def _heading() -> str:
    command, now = origin()
    return f"{now}  oncology {__version__}: {command}"


def origin() -> tuple[str, str]:
    """Return the command line as it was typed, and date and time with the zone."""
    now = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return shlex.join(("oncology", *voice().words)), now


def tell_notes(notes: Callable[[], Iterable[str]]) -> None:
    """Print notes, a line each, on a terminal (standard error); in a pipe they are neither printed nor made."""
    if launched_rank() > 0 or voice().quiet or not (sys.stderr.isatty() or voice().verbose):
        return
    for note in notes():
        print(f"note: {note}", file=sys.stderr)  # above the line of progress, which takes standard error over


def closing(
    where: Path, what: Callable[[], object] = lambda: "", page: Path | None = None, following: Sequence[str] = ()
) -> None:
    """Print on a terminal where the results are, what they say and what to type next; nothing in a pipe.

    Args:
        where: Folder or file of the results.
        what: Makes the main findings; called where they are printed.
        page: Page to open in a browser.
        following: Commands that make sense now, as they are typed.
    """
    if launched_rank() > 0 or voice().quiet or not sys.stdout.isatty():
        return
    findings = str(what())
    lines = [findings, ""] if findings else []
    lines.append(f"results: {where}")
    lines += [f"report:  {page} (open it in a browser)"] if page is not None else []
    lines += [f"{'next:' if number == 0 else '':8} {command}" for number, command in enumerate(following)]
    print("\n".join(lines))
