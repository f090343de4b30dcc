"""`oncology doctor`: what is installed, what is missing, how to install it, and whether a fit can run.

Needs nothing but the standard library. Whatever could crash or hang (MPI, compiled forms, rendering) is tried in a
process of its own, with a limit.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from oncology.parallel import threads_of_rank, without_launcher

__all__ = ["Finding", "doctor", "examine", "renders"]

OLDEST_PYTHON = (3, 12)
OLDEST_DOLFINX = (0, 11)
SMOKE_ERROR = 0.1  # relative L2 error of the smoke solve at 8 cells an edge; 0.066 is right
ROOT_REFUSED = "Open MPI does not start as root"
LIMIT = 180.0  # seconds for one trial; the first one compiles

_TRIAL = "from oncology.cli.runtime import world; comm = world(); from oncology.fem import probe; "
_VERSIONS = _TRIAL + "v = probe.versions(); print(v.dolfinx, v.petsc, v.mpi4py, v.real, v.mpi, sep='|')"
_SMOKE = _TRIAL + "error = probe.smoke_solve(comm); comm.rank or print(error)"
_HDF5 = "import h5py; print(h5py.version.version, h5py.version.hdf5_version, sep='|')"
_RENDER = "from oncology.cli.doctor import renders; print(renders())"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: What was looked at.
        good: Whether it is there and works.
        detail: Version, size or what went wrong.
        remedy: How to mend it; empty where it is good.
        needed: Whether a fit cannot run without it.
    """

    name: str
    good: bool
    detail: str
    remedy: str = ""
    needed: bool = True


def doctor() -> int:
    """Show what is installed, what is missing and how to install it.

    Also solves a small equation on one and on two ranks; takes about 20 seconds.

    Returns:
        0 if a fit can run here, 1 otherwise.
    """
    able = True
    for finding in examine():
        able = able and (finding.good or not finding.needed)
        word = "ok" if finding.good else "MISSING" if finding.needed else "missing"
        print(f"{word:8}{finding.name:16}{finding.detail}", flush=True)
        if finding.remedy and not finding.good:
            print(f"{'':24}-> {finding.remedy}", flush=True)
    print("A fit can run here." if able else "A fit cannot run here: install what is marked MISSING.")
    return 0 if able else 1


def examine() -> Iterator[Finding]:
    """Yield the findings one by one, the quick ones first."""
    recent = sys.version_info >= OLDEST_PYTHON
    yield Finding("Python", recent, f"{platform.python_version()} at {sys.executable}", "install Python 3.12 or later")
    yield from _packages()
    yield _compiler()
    yield from _machine()
    if not recent:  # the rest of the package cannot even be read
        return
    engine = _engine()
    yield engine
    launcher = _launcher()
    found = launcher is not None
    yield Finding("mpiexec", found, launcher or "not found", "comes with DOLFINx; or: apt install mpich", needed=False)
    if engine.good:
        yield _smoke([], 1)
        if launcher is not None:
            yield _smoke([launcher, "-n", "2"], 2)
    yield _hdf5()
    yield _rendering()


def renders() -> bool:
    """Draw a sphere without a display and tell whether anything is on the picture."""
    import pyvista

    plotter = pyvista.Plotter(off_screen=True, window_size=[64, 64])
    plotter.add_mesh(pyvista.Sphere(), color="red")
    picture = plotter.screenshot(return_img=True)
    plotter.close()
    return picture is not None and bool(picture.std() > 0.0)


def _packages() -> Iterator[Finding]:
    """Compare what the package asks for with what is there (by name; the locks fix the versions)."""
    remedy = "run `make setup` in a clone, or: pip install 'oncology[fem]'"
    try:
        required = metadata.requires("oncology") or []
        version = metadata.version("oncology")
    except metadata.PackageNotFoundError:
        yield Finding("oncology", False, "is not installed here", remedy)
        return
    names = [re.split(r"[\s<>=!~;\[(]", line, maxsplit=1)[0] for line in required if "extra ==" not in line]
    missing = [name for name in names if not _is_installed(name)]
    detail = (
        f"{version}; not installed: {', '.join(missing)}" if missing else f"{version} and its {len(names)} packages"
    )
    yield Finding("oncology", not missing, detail, remedy)


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _compiler() -> Finding:
    command = (os.environ.get("CC") or "gcc").split()[0]
    path = shutil.which(command) or shutil.which("cc")
    remedy = "DOLFINx compiles its forms with it: apt install gcc, or: conda install c-compiler"
    return Finding("C compiler", path is not None, path or f"no {command}", remedy)


def _engine() -> Finding:
    remedy = "pip install 'oncology[fem]'; or use conda-forge's fenics-dolfinx, or the image dolfinx/dolfinx"
    done, text = _try([sys.executable, "-c", _VERSIONS])
    if not done:
        return Finding("DOLFINx", False, text, remedy)
    dolfinx, petsc, mpi4py, real, mpi = text.split("|")
    detail = f"{dolfinx}, PETSc {petsc}, mpi4py {mpi4py}, {mpi}"
    if tuple(int(part) for part in re.findall(r"\d+", dolfinx)[:2]) < OLDEST_DOLFINX:
        return Finding("DOLFINx", False, f"{detail}: too old, 0.11 or later is needed", remedy)
    if real != "True":
        return Finding("DOLFINx", False, f"{detail}: PETSc has complex scalars", "use a PETSc with real scalars")
    return Finding("DOLFINx", True, detail)


def _smoke(launch: list[str], ranks: int) -> Finding:
    name = f"solve, {ranks} rank{'s' if ranks > 1 else ''}"
    remedy = "see the message; often the compiler or Python's headers (apt install gcc python3-dev), or a mixed MPI"
    done, text = _try([*launch, sys.executable, "-c", _SMOKE])
    if text == ROOT_REFUSED:
        remedy = "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1, or use another account"
    if not done:
        return Finding(name, False, text, remedy, needed=ranks == 1)
    error = float(text)
    detail = f"relative error {error:.3f}, {SMOKE_ERROR} allowed"
    return Finding(name, error <= SMOKE_ERROR, detail, remedy, needed=ranks == 1)


def _hdf5() -> Finding:
    done, text = _try([sys.executable, "-c", _HDF5])
    detail = "h5py {}, HDF5 {}".format(*text.split("|")) if done else text
    return Finding("HDF5", done, detail, "pip install h5py")


def _rendering() -> Finding:
    done, text = _try([sys.executable, "-c", _RENDER])
    good = done and text == "True"
    remedy = "pip install pyvista; its libraries: apt install libgl1 libegl1 libxrender1"
    detail = "draws without a display" if good else "an empty picture" if done else text
    return Finding("3-D pictures", good, detail, remedy, needed=False)


def _machine() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_one, on_two = threads_of_rank({}), threads_of_rank({"PMI_SIZE": "2"})
    threads = os.environ.get("OMP_NUM_THREADS") or f"{on_one} on one rank, {on_two} each on two"
    yield Finding("cores", True, str(cores), needed=False)
    yield Finding("threads", True, threads, needed=False)
    try:
        memory = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    except OSError:
        memory = None
    if memory is not None:
        free = int(memory[1]) / 2**20
        remedy = "a whole-brain fit at 2.5 mm needs about 2 GB: use a coarser mesh or another machine"
        yield Finding("free memory", free >= 2.0, f"{free:.1f} GB", remedy, needed=False)


def _launcher() -> str | None:
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.is_file() else shutil.which("mpiexec")


def _try(command: list[str]) -> tuple[bool, str]:
    """Run a trial outside any launcher; return whether it worked, and its last line of output or of errors."""
    inherited = without_launcher()
    root = str(Path(__file__).resolve().parents[2])
    inherited["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(command, env=inherited, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return False, f"no answer within {LIMIT:.0f} s"
    if done.returncode:
        return False, _reason(done.stderr) or f"ended with status {done.returncode}"
    lines = done.stdout.strip().splitlines()
    return bool(lines), lines[-1] if lines else "said nothing"


def _reason(text: str) -> str:
    """Return the line that tells why a trial failed: Python's error, before what launchers add to it."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" -=*")]
    if any("run as root" in line for line in lines):
        return ROOT_REFUSED
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    last = (errors or lines or [""])[-1]
    return re.sub(r"^oncology\.errors\.\w+: ", "", last)
