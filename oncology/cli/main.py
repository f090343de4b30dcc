"""Entry point of the `oncology` command: finds the command, and turns errors into one line and an exit status.

A command lives in a file of its own and is named in `COMMANDS`; it is imported when it is called. Its heavy imports
stand inside its function, so that `--help` stays quick, and `--version` loads not even the command-line library. A
command that solves a PDE does its work in `with guarded(comm := world()):` and may return an exit status.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from oncology import __version__
from oncology.cli.runtime import PIPE_CLOSED, Ended, exit_status, open_streams, report_error, terminable
from oncology.cli.voice import Voice, speaking
from oncology.parallel import launched_rank, set_launch_defaults

if TYPE_CHECKING:
    from cyclopts import App

__all__ = ["COMMANDS", "build_app", "main", "run"]

COMMANDS = {
    "case": "oncology.cli.case:case",
    "cohort": "oncology.cli.cohort:cohort",
    "completion": "oncology.cli.completion:completion",
    "doctor": "oncology.cli.doctor:doctor",
    "demo": "oncology.cli.demo:demo",
    "fit": "oncology.cli.fit:fit",
    "mesh": "oncology.cli.mesh:mesh",
    "predict": "oncology.cli.predict:predict",
    "report": "oncology.cli.report:report",
    "reproduce": "oncology.cli.reproduce:reproduce",
    "simulate": "oncology.cli.simulate:simulate",
    "train": "oncology.cli.train:train",
    "verify": "oncology.cli.verify:verify",
    "view": "oncology.cli.view:view",
}
EPILOGUE = (
    "Every command takes --help, --quiet (results and errors alone), -v (every step), --debug (traceback of an error)."
)


def build_app(arguments: Sequence[str]) -> App:
    """Return the application for one command line: only the named command is imported; all of them to list them."""
    from cyclopts import App, Parameter

    app = App(
        name="oncology",
        help="Identify brain-tumour growth from MRI with finite elements.",
        help_epilogue=EPILOGUE,
        default_parameter=Parameter(show_default=_default, negative_iterable=""),
        version=__version__,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    named = arguments[0] if arguments else ""
    listed = named not in COMMANDS and "--version" not in arguments
    for name, target in COMMANDS.items():
        app.command(_imported(target) if listed else target, name=name)
    return app


def _default(value: Any) -> str | None:
    """What the help says of a default: nothing of a switch that is off, and nothing where there is none."""
    if value is None or value is False or value == ():
        return None
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _imported(target: str) -> Any:
    module, function = target.split(":")
    return getattr(importlib.import_module(module), function)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status.

    Args:
        arguments: What follows `oncology` on the command line; `--debug`, `--quiet` and `-v` may stand anywhere.

    Returns:
        0 on success, 2 for wrong usage and for what the user can mend, 75 where `--resume` goes on, 130 after Ctrl-C,
        143 after SIGTERM, 141 where the reader of the output has gone, 1 for other failures.
    """
    voice, words = Voice.of(arguments)
    if words == ["--version"]:
        print(__version__)
        return 0
    from cyclopts import CycloptsError

    speaks = launched_rank() == 0
    try:
        with speaking(voice):
            return build_app(words)(words) or 0
    except CycloptsError as error:
        if speaks:
            print(f"oncology: {' '.join(str(error).split())} (see oncology --help)", file=sys.stderr)
        return 2
    except Ended as end:
        if end.error is not None:
            report_error(end.error, voice.debug)
        return end.status
    except (Exception, KeyboardInterrupt) as error:
        if speaks:
            report_error(error, voice.debug)
        return exit_status(error)


def main() -> None:
    """Run the command line of this process and exit; under a launcher only rank 0 writes to standard output."""
    open_streams()
    set_launch_defaults()
    terminable()
    if launched_rank() > 0:
        sys.stdout = open(os.devnull, "w")
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = status or PIPE_CLOSED
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to fail at exit
    sys.exit(status)
