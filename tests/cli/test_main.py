"""The command line itself: exit statuses, one line for an error, quick help, commands imported when called."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import docstring_parser
import pytest
from cyclopts import App

from oncology import __version__, errors
from oncology.cli import main as cli
from oncology.cli.runtime import Ended
from oncology.cli.voice import Voice
from oncology.parallel import set_launch_defaults

LAUNCHERS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Registers a command `break` that raises the given error."""
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)

    def register(error: BaseException) -> None:
        def broken() -> None:
            """Raise."""
            raise error

        monkeypatch.setattr(sys.modules[__name__], "broken", broken, raising=False)
        monkeypatch.setitem(cli.COMMANDS, "break", f"{__name__}:broken")

    return register


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (errors.CaseError("case.toml: day -3 of ses-02\nmust be >= 0"), 2, "case.toml: day -3 of ses-02 must be >= 0"),
        (errors.OutputError("no place"), 2, "no place"),
        (errors.NumericalError("diverged"), 1, "diverged"),
        (ZeroDivisionError("oops"), 1, "internal error, ZeroDivisionError: oops (--debug shows where)"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Ended(2, errors.CaseError("agreed")), 2, "agreed"),
    ],
)
def test_errors_end_in_one_line_and_a_status(failing, capsys, error, status, line):
    failing(error)
    assert cli.run(["break"]) == status
    captured = capsys.readouterr()
    assert captured.err == f"oncology: {line}\n"
    assert captured.out == ""


def test_debug_shows_the_traceback(failing, capsys):
    failing(errors.NumericalError("diverged"))
    assert cli.run(["break", "--debug"]) == 1
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert text.endswith("oncology: diverged\n")


def test_only_the_first_rank_speaks(failing, capsys, monkeypatch):
    failing(errors.CaseError("bad case"))
    monkeypatch.setenv("PMI_RANK", "1")
    assert cli.run(["break"]) == 2
    assert capsys.readouterr().err == ""
    failing(Ended(2, None))
    monkeypatch.setenv("PMI_RANK", "0")
    assert cli.run(["break"]) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [["no-such-command"], ["doctor", "--no-such-option"], ["doctor", "7"]])
def test_wrong_usage_is_status_2_and_one_line(words, capsys):
    assert cli.run(words) == 2
    text = capsys.readouterr().err
    assert text.startswith("oncology: ")
    assert text.count("\n") == 1


def test_every_command_is_listed_with_what_it_does(capsys):
    assert cli.run(["--help"]) == 0
    text = capsys.readouterr().out
    for name, target in cli.COMMANDS.items():
        module, function = target.split(":")
        __import__(module)
        command = getattr(sys.modules[module], function)
        summary = (command.help if isinstance(command, App) else command.__doc__).splitlines()[0]
        assert name in text
        assert " ".join(summary.split()[:5]) in text


def commands(app: App, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    """Yield every command with its words, groups and their members."""
    yield name, app
    for word in app:
        if not word.startswith("-"):
            yield from commands(app[word], (*name, word))


COMMANDS = dict(commands(cli.build_app([])))


def plain(text: str) -> str:
    """Return text without the borders of panels, the quotes of code and the breaks of lines."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text.replace("`", "")).split())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_says_what_the_source_says(words, capsys, monkeypatch):
    """Markup that a formatter takes for its own would lose letters: stars in patterns, brackets, underscores."""
    monkeypatch.setenv("COLUMNS", "1000")
    assert cli.run([*words, "--help"]) == 0
    text = plain(capsys.readouterr().out)
    app = COMMANDS[words]
    source = app.help if app.default_command is None else inspect.getdoc(app.default_command)
    parsed = docstring_parser.parse(source)
    said = [
        parsed.short_description,
        *(parsed.long_description or "").split("\n\n"),
        *(p.description for p in parsed.params),
    ]
    assert not [part for part in said if plain(part) not in text]
    assert not re.search(r"default: (\(|\)|\]|None|False)|--empty-", text), text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_option(shell, capsys):
    assert cli.run(["completion", shell]) == 0
    script = capsys.readouterr().out
    options = {f"--{n.replace('_', '-')}" for n in inspect.signature(COMMANDS["simulate",].default_command).parameters}
    words = {*cli.COMMANDS, *(options - {"--case", "--law"}), "stuffing", "surrogate"}
    assert not {word for word in words if word.removeprefix("--") not in script}
    checker = shutil.which(shell)
    if checker is not None:
        subprocess.run([checker, "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("oncology si", "simulate"), ("oncology train ev", "evaluate"), ("oncology fit --engine vo", "voxel")],
)
def test_bash_completes(typed, offered, capsys):
    assert cli.run(["completion", "bash"]) == 0
    words = typed.split()
    line = f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _oncology; echo ${{COMPREPLY[@]}}"
    script = f"{capsys.readouterr().out}\n{line}\n"
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [offered]


def test_the_version_loads_no_library():
    code = "import sys; sys.argv = ['oncology', '--version']\nfrom oncology.cli.main import main\n"
    code += "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, loaded = done.stdout.splitlines()
    own = {name.split(".")[0] for name in loaded.split()} - sys.stdlib_module_names
    assert version == __version__
    assert not own & {"cyclopts", "rich", "numpy", "pydantic", "h5py", "markdown_it"}
    assert "oncology.cli.fit" not in loaded.split()


def test_words_that_stand_anywhere(failing, capsys):
    assert Voice.of(["fit", "--quiet", "case", "-v", "--out", "x"])[1] == ["fit", "case", "--out", "x"]
    failing(errors.NumericalError("diverged"))
    assert cli.run(["--quiet", "break"]) == 1
    assert capsys.readouterr().err == "oncology: diverged\n"


def test_one_command_does_not_import_the_others():
    code = "import sys; from oncology.cli.main import build_app; build_app(['doctor']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "oncology.cli.main" in loaded
    assert not {target.split(":")[0] for target in cli.COMMANDS.values()} & set(loaded)


@pytest.mark.parametrize(
    ("given", "transport"),
    [
        ({}, "self,sm,tcp"),
        ({"PMI_SIZE": "2", "MPI_LOCALNRANKS": "2"}, "self,sm,tcp"),
        ({"PMI_SIZE": "4", "MPI_LOCALNRANKS": "2"}, None),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, None),
        ({"SLURM_JOB_NUM_NODES": "2"}, None),
        ({"UCX_TLS": "rc"}, "rc"),
    ],
)
def test_shared_memory_is_chosen_on_one_node_only(given, transport):
    environment = dict(given)
    set_launch_defaults(environment)
    assert environment.get("UCX_TLS") == transport


@pytest.mark.parametrize(
    ("given", "affinity", "threads"),
    [
        ({}, 8, "8"),
        ({"PMI_SIZE": "2", "MPI_LOCALNRANKS": "2"}, 8, "4"),
        ({"PMI_SIZE": "16", "MPI_LOCALNRANKS": "16"}, 8, "1"),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 8, "4"),
        ({"PMI_SIZE": "4", "MPI_LOCALNRANKS": "4"}, 2, "2"),  # bound by the launcher to two of the eight cores
        ({"OMP_NUM_THREADS": "3"}, 8, "3"),
    ],
)
def test_threads_share_the_cores_of_a_node(monkeypatch, given, affinity, threads):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(affinity)))
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    environment = dict(given)
    set_launch_defaults(environment)
    assert environment["OMP_NUM_THREADS"] == threads
    assert environment.get("OPENBLAS_NUM_THREADS", threads) == threads


def test_threads_are_chosen_before_anything_that_fixes_their_number():
    """In a plain shell a rank of two runs half of the cores' threads, though the command imports numpy."""
    code = "import sys; sys.argv = ['oncology', '--version']\n"
    code += "from oncology.cli import main\nassert 'numpy' not in sys.modules\n"
    code += "try:\n    main.main()\nexcept SystemExit:\n    pass\n"
    code += "import os, numpy, threadpoolctl\n"
    code += "print(max(p['num_threads'] for p in threadpoolctl.threadpool_info()), os.environ['OMP_NUM_THREADS'])"
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    clean |= {"PMI_SIZE": "64", "MPI_LOCALNRANKS": "64", "PMI_RANK": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean)
    assert done.stdout.split()[-2:] == ["1", "1"]


def test_module_and_command_are_the_same():
    done = subprocess.run([sys.executable, "-m", "oncology", "--version"], capture_output=True, text=True, check=True)
    from oncology import __version__

    assert done.stdout.strip() == __version__


def test_an_old_encoding_ends_no_command():
    program = "import sys; from oncology.cli.runtime import open_streams; open_streams(); print('\u2212310 mm\u00b2')"
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1:strict"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment)
    assert done.stdout.decode("latin-1") == "?310 mm\u00b2\n"
