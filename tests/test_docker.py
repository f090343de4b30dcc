"""Images and environments: the files parse, what they name exists, and their install step works in a clean Debian."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from oncology.cli import main as cli

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("Dockerfile*"))
APPTAINER = DOCKER / "oncology.def"
INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENV", "FROM", "RUN", "WORKDIR"}
SECTIONS = {"help", "files", "post", "environment", "test", "runscript", "labels"}


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def sections(path: Path) -> dict[str, str]:
    """Return header ("") and sections of an Apptainer definition."""
    head, *rest = re.split(r"(?m)^%(\w+)[^\n]*\n", path.read_text())
    return {"": head, **dict(zip(rest[::2], rest[1::2], strict=True))}


def shell_parses(text: str) -> bool:
    return subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0


def commands(path: Path) -> set[str]:
    """Return the commands of this package that a file calls, in instructions, sections and blocks for a console."""
    text = path.read_text()
    if path.suffix == ".md":
        lines = re.findall(r"(?m)^\$ (.*)$", text) + re.findall(r"`([^`\n]+)`", text)
    else:
        lines = [line for line in text.splitlines() if not line.startswith(("#", "    oncology:"))]
    lines = [re.sub(r"^docker run .* (oncology|oncology-gpu) (?=mpiexec|oncology)", "", line) for line in lines]
    return {name for line in lines for name in re.findall(r"(?<![\w/.-])oncology ([a-z]+)", line)}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_parse_and_what_they_copy_exists(path):
    found = instructions(path)
    assert {name for name, _ in found} <= INSTRUCTIONS
    first = next(k for k, (name, _) in enumerate(found) if name == "FROM")
    assert all(name == "ARG" for name, _ in found[:first]) and [name for name, _ in found].count("FROM") == 1
    given = dict(words.split("=") for name, words in found[:first])
    image = re.sub(r"\$\{(\w+)\}", lambda match: given[match[1]], found[first][1])
    assert re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*", image), "a tag with a version"
    copied = []
    for name, words in found:
        if name == "COPY":
            *sources, target = words.split()
            copied += [(source, target) for source in sources]
            assert all((ROOT / source).exists() for source in sources)
            assert target.endswith("/") or len(sources) == 1
        if name in ("RUN", "CMD"):
            assert shell_parses(words)
        if name == "ENV":
            assert all(re.fullmatch(r"[A-Z_]+=\S+", word) for word in shlex.split(words))
    assert {"oncology", "pyproject.toml", "requirements/run.txt", "docker/install.sh"} <= {s for s, _ in copied}


def test_what_the_package_is_built_from_is_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {project["readme"], *project["license-files"], "pyproject.toml", "oncology", "requirements/run.txt"}
    for path in DOCKERFILES:
        sources = {word for name, words in instructions(path) if name == "COPY" for word in words.split()[:-1]}
        assert needed <= sources
    assert needed <= {line.split()[0] for line in sections(APPTAINER)["files"].splitlines() if line.strip()}


def test_only_what_images_are_made_of_reaches_the_builder():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert lines[0] == "*", "data of patients and environments stay outside"
    for path in DOCKERFILES:
        sources = {word for name, words in instructions(path) if name == "COPY" for word in words.split()[:-1]}
        assert sources <= kept
    assert kept <= {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if ".venv" not in path.parts}


@pytest.mark.parametrize("given", [False, True])
def test_the_install_step_takes_the_python_that_has_dolfinx(tmp_path, given):
    """Builders do not put the base image's Python on the path: the script looks for one with DOLFINx."""
    script = (DOCKER / "install.sh").read_text().replace("/dolfinx-env", f"{tmp_path}/dolfinx-env")
    folders = {"bare": "exit 1", "dolfinx-env": "exit 0", "mine": "exit 0"}
    for name, end in folders.items():
        program = tmp_path / name / "bin" / "python3"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\n[ "$1" = -m ] || {end}\necho "$0"\n')
        program.chmod(0o755)
    (tmp_path / "docker").mkdir()
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "run.txt").touch()
    for program in ("id", "apt-get"):  # not as root, no packages of the system
        (tmp_path / "bare" / "bin" / program).write_text("#!/bin/sh\necho 1000\n")
        (tmp_path / "bare" / "bin" / program).chmod(0o755)
    (tmp_path / "docker" / "install.sh").write_text(script)
    environment = {"PATH": f"{tmp_path}/bare/bin:{os.environ['PATH']}"}
    environment |= {"PYTHON": f"{tmp_path}/mine/bin/python3"} if given else {}
    command = ["sh", str(tmp_path / "docker" / "install.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{tmp_path}/{'mine' if given else 'dolfinx-env'}/bin/python3"


def test_the_definition_for_apptainer_parses():
    found = sections(APPTAINER)
    assert found.keys() - {""} == SECTIONS
    header = dict(line.split(": ") for line in found[""].splitlines() if line)
    assert header.keys() == {"Bootstrap", "From"}
    default = next(words.partition("=")[2] for name, words in instructions(DOCKER / "Dockerfile") if name == "ARG")
    assert header["From"].endswith(f":{default}"), "the same DOLFINx as in the Dockerfile"
    for name in ("post", "environment", "test", "runscript"):
        assert shell_parses(found[name])
    for line in found["files"].split("\n"):
        if line.strip():
            source, target = line.split()
            assert (ROOT / source).exists() and target == f"/opt/oncology/{source}"


def test_commands_extras_and_programs_that_are_named_exist():
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    targets = set(re.findall(r"(?m)^([a-z]+):(?!=)", (ROOT / "Makefile").read_text()))
    assert {"doctor", "fit"} <= commands(DOCKER / "README.md") | commands(DOCKER / "Dockerfile")
    for path in [*DOCKERFILES, APPTAINER, DOCKER / "README.md"]:
        called = path.read_text()
        assert commands(path) <= cli.COMMANDS.keys()
        for names in re.findall(r"install\.sh ([a-z,]+)", called):
            assert set(names.split(",")) <= extras
        assert set(re.findall(r"`make ([a-z]+)`", called)) <= targets
    assert shell_parses((DOCKER / "install.sh").read_text())


def test_the_conda_environment_has_what_the_package_asks_for():
    content = yaml.safe_load((DOCKER / "environment.yml").read_text())
    assert content.keys() == {"name", "channels", "dependencies"}
    listed = {line.split()[0]: line.split()[1:] for line in content["dependencies"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for line in [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]:
        name, bound = re.fullmatch(r"([\w-]+)(.*)", line).groups()
        assert listed[{"matplotlib": "matplotlib-base"}.get(name, name)] == [bound]
    assert {"fenics-dolfinx", "mpich", "mpi4py", "c-compiler"} <= listed.keys()
    assert listed["petsc"] == ["*", "*real*"]


ABSENT = [
    name
    for name in ("debootstrap", "chroot", "unshare")
    if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None
]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(bool(ABSENT), reason=f"no {', '.join(ABSENT)} here: apt install debootstrap")
@pytest.mark.skipif(os.environ.get("ONCOLOGY_CLEAN_ROOT") != "1", reason="takes minutes: ONCOLOGY_CLEAN_ROOT=1 runs it")
def test_the_install_step_works_in_a_clean_debian(tmp_path):
    """Debian 13 from this machine's mirror, nothing but Python, then the images' script and `oncology doctor`."""
    root = tmp_path / "root"
    mirror = next(word for line in apt_sources() for word in line.split() if word.startswith("http"))
    packages = "python3,python3-dev,python3-venv,ca-certificates"
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", "trixie", str(root), mirror],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    source = root / "opt" / "oncology"
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements/run.txt", "docker/install.sh"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "oncology", source / "oncology", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt"):
        if Path(name).is_file():
            shutil.copy(name, f"{root}{name}")
    script = (
        "python3 -m venv /opt/venv && PYTHON=/opt/venv/bin/python sh /opt/oncology/docker/install.sh fem "
        "&& cd / && /opt/venv/bin/oncology doctor"
    )
    mounts = " && ".join(f"mount --rbind /{name} {shlex.quote(str(root))}/{name}" for name in ("proc", "sys", "dev"))
    inside = shlex.join(["chroot", str(root), "sh", "-c", script])
    line = ["unshare", "--mount", "sh", "-c", f"{mounts} && {inside}"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.rstrip().endswith("A fit can run here.")
    assert "MISSING" not in done.stdout


def apt_sources() -> list[str]:
    """Return the lines that name this machine's Debian mirror."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(path.read_text() for path in files if path.suffix in (".list", ".sources") and path.is_file())
    return [line for line in text.splitlines() if re.match(r"(deb |URIs:)", line)]
