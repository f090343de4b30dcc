"""Set-up and documents agree: locks are hashed and name no host, scripts parse, documented commands exist."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cyclopts import App

from oncology.cli import main as cli

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.txt"))
READMES = ("README.md", "CONTRIBUTING.md", "data/README.md", "meshes/README.md")
DOCUMENTS = (*(ROOT / name for name in READMES), *sorted((ROOT / "docs").glob("*.md")))


FAILS_ON_ONE_RANK = """
import pytest
from oncology.cli.runtime import world

@pytest.mark.mpi
def test_fails_on_the_last_rank():
    assert world().rank != 1

@pytest.mark.mpi
def test_passes():
    pass
"""


def requirements(lock: Path) -> dict[str, str]:
    """Return name and block (version, hashes) of every package in a lock."""
    blocks = re.findall(r"(?m)^[A-Za-z0-9].*(?:\n[ ]+.*)*", lock.read_text())
    return {re.match(r"[A-Za-z0-9._-]+", block)[0].lower(): block for block in blocks}


def documented(program: str) -> list[str]:
    """Return the lines of the documents' console blocks that call a program, without prompt and launcher."""
    lines = []
    for path in DOCUMENTS:
        for block in re.findall(r"```console\n(.*?)```", path.read_text(), flags=re.DOTALL):
            lines += [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    bare = [re.sub(r"^mpiexec -n \d+ ", "", line) for line in lines]
    return sorted({line for line in bare if line.split()[0] == program})


def makefile_targets() -> set[str]:
    return set(re.findall(r"(?m)^([a-z]+):(?!=)", (ROOT / "Makefile").read_text()))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_are_hashed_and_name_no_host(lock):
    packages = requirements(lock)
    assert packages
    for name, block in packages.items():
        assert re.match(r"[A-Za-z0-9._-]+==[^ ]+", block), f"{name} is not pinned"
        assert "--hash=sha256:" in block, f"{name} has no hash"
    assert "://" not in lock.read_text()
    assert not re.search(r"(?m)^\s*(-i|--index|--extra-index|--find-links)", lock.read_text())


def test_locks_hold_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    run = [*project["project"]["dependencies"], *extras["fem"], *extras["node"], *groups["build"]]
    expected = {
        "run": run,
        "test": [*run, *extras["test"], *extras["docs"]],
        "oracle": groups["oracle"],
        "uv": groups["setup"],
    }
    assert {lock.stem for lock in LOCKS} == expected.keys()
    for lock in LOCKS:
        asked = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in expected[lock.stem]}
        assert asked <= requirements(lock).keys()
    run_lock, test_lock = requirements(REQUIREMENTS / "run.txt"), requirements(REQUIREMENTS / "test.txt")
    for name, block in run_lock.items():
        assert block.split()[0] == test_lock[name].split()[0], f"{name} differs between the locks"


def test_an_environment_that_has_everything_lacks_nothing():
    script, lock = str(REQUIREMENTS / "missing.py"), str(REQUIREMENTS / "test.txt")
    full = subprocess.run([sys.executable, script, lock], capture_output=True, text=True, check=True)
    assert full.stdout.strip() == ""
    bare = subprocess.run([sys.executable, "-S", "-E", script, lock], capture_output=True, text=True, check=True)
    assert bare.stdout.startswith("packaging==")
    assert "--hash=sha256:" in bare.stdout


@pytest.mark.parametrize(
    ("shell", "script"),
    [
        ("bash", ".ci/run"),
        ("bash", ".ci/borrowed"),
        ("sh", "requirements/install.sh"),
        ("sh", "requirements/lock.sh"),
        ("sh", "requirements/types.sh"),
        ("sh", "docker/install.sh"),
    ],
)
def test_scripts_parse(shell, script):
    subprocess.run([shell, "-n", str(ROOT / script)], check=True)


def test_the_borrowed_route_counts_as_skipped_where_no_root_can_be_made(tmp_path):
    for name, output in (("id", "1000"), ("debootstrap", ""), ("unshare", ""), ("chroot", ""), ("tar", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {output}\n")
        (tmp_path / name).chmod(0o755)
    command = [str(shutil.which("bash")), str(ROOT / ".ci" / "borrowed")]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 77
    assert done.stdout == "ci: borrowed DOLFINx: skipped: a root of Debian takes the rights of root\n"


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize("target", sorted(makefile_targets()))
def test_targets_can_be_made(target):
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_documented_targets_exist():
    named = [word for line in documented("make") for word in line.split()[1:]]
    assert {"demo", "test"} <= set(named) <= makefile_targets()


def recipes() -> list[str]:
    """Return the command lines of this package in the Makefile's recipes, variables filled with a word."""
    lines = re.findall(r"(?m)^\t.* -m (oncology .*)$", (ROOT / "Makefile").read_text())
    return [re.sub(r"\$\(\w+\)", "word", line) for line in lines]


@pytest.mark.parametrize("line", [*documented("oncology"), *recipes()])
def test_documented_commands_are_understood(line):
    words = shlex.split(line)[1:]
    assert words[0] in cli.COMMANDS
    if words[1:] == ["--help"]:
        assert cli.run(words) == 0
    else:
        cli.build_app(words).parse_args(words)


def test_one_page_shows_every_command():
    page = (ROOT / "docs" / "commands.md").read_text()
    assert [name for name in cli.COMMANDS if not re.search(rf"(?m)^\$ oncology {name}\b", page)] == []
    assert [name for name in cli.COMMANDS if f"| `{name}` |" not in page] == []


def test_the_readme_names_what_the_set_up_needs():
    readme = DOCUMENTS[0].read_text()
    assert not {"gcc", "make", "python3-dev", "python3-venv", "GB"} - set(re.findall(r"[\w-]+", readme))


def test_the_demo_is_what_the_makefile_runs():
    assert [line.split()[1] for line in recipes()] == ["demo"]


def made(environment: dict[str, str], *words: str) -> dict[str, str]:
    """Return variables as the Makefile sees them on a machine of two cores, and what it gives its recipes."""
    rules = "include Makefile\nshow:\n\t@echo CORES=$(CORES) RANKS=$(RANKS); env\n"
    command = ["make", "--no-print-directory", "-f", "-", "show", *words]
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "PRTE", "RANKS", "MAKE"))}
    done = subprocess.run(command, cwd=ROOT, input=rules, env=bare | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(word.split("=", 1) for line in done.stdout.splitlines() for word in line.split(" ", 1) if "=" in word)


@pytest.mark.skipif(shutil.which("make") is None or shutil.which("nproc") is None, reason="no make or nproc here")
def test_ranks_follow_the_cores_and_share_them_only_where_they_must():
    cores = len(os.sched_getaffinity(0))
    found = made({"OMP_NUM_THREADS": "1"})
    assert found["CORES"] == str(cores), "threads a process are not cores"
    assert found["RANKS"] == str(min(cores, 4))
    shares = "PRTE_MCA_rmaps_default_mapping_policy"
    assert (shares in found) == (cores < 2)
    assert made({}, f"RANKS={cores + 1}")[shares] == ":oversubscribe"


def functions() -> dict[str, Callable[..., object]]:
    """Return every command's function by its words; groups hold several."""
    found = {}
    for name, target in cli.COMMANDS.items():
        module, attribute = target.split(":")
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, App):
            found |= {f"{name} {part}": command[part].default_command for part in command if not part.startswith("-")}
        else:
            found[name] = command
    return found


@pytest.mark.parametrize("name", functions())
def test_every_command_explains_itself_and_all_its_options(name, capsys):
    command = functions()[name]
    for parameter in inspect.signature(command).parameters:
        assert re.search(rf"(?m)^ +{parameter}: \w", command.__doc__), f"{name}: {parameter} is not explained"
    assert cli.run([*name.split(), "--help"]) == 0
    assert " ".join(command.__doc__.splitlines()[0].split()[:4]) in capsys.readouterr().out


def test_a_failure_on_one_rank_fails_on_all(tmp_path):
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("no mpiexec here")
    (tmp_path / "test_one.py").write_text(FAILS_ON_ONE_RANK)
    options = ["-p", "no:cacheprovider", "-p", "tests.mpi_plugin", "-m", "mpi", "-c", str(ROOT / "pyproject.toml")]
    command = [launcher, "-n", "2", sys.executable, "-m", "pytest", *options, str(tmp_path / "test_one.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
    assert done.returncode != 0
    assert "on rank 1 of 2" in done.stdout
    assert [line for line in done.stdout.splitlines() if "1 failed, 1 passed" in line] == [
        done.stdout.rstrip().splitlines()[-1]
    ]


def test_the_package_says_what_it_is(tmp_path):
    """Metadata agree, and the archive of the sources holds what builds the documentation and types."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in project["authors"]]
    entry = "\n".join(re.findall(r"(?ms)^```bibtex\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8")))
    fields = dict(re.findall(r"(\w+) += \{(.*)\}", entry))
    assert fields["version"] == citation["version"] and fields["license"] == citation["license"]
    assert re.sub(r"[{}]", "", fields["title"]) == citation["title"]
    assert re.sub(r"[{}]", "", fields["author"]) == " and ".join(author["name"] for author in citation["authors"])
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert "bash .ci/run" in [step.get("run") for step in workflow["jobs"]["check"]["steps"]]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    kept = {"oncology/py.typed", "docs/conf.py", "docs/index.md", "Makefile", "CITATION.cff", "requirements/test.txt"}
    assert kept <= names
    assert not {name for name in names if name.startswith((".venv", "site/", ".cache"))}
