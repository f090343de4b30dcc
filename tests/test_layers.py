"""The package's layers: imports never point up, engines stay apart, `--help` loads none of them."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "oncology"
BASE = {"errors", "parallel", "text", "files"}  # floor 1: everybody may import it
ENGINES = {"fem", "voxel"}
MAY = {  # floor by floor: who may import whom, beside the base and itself
    "errors": set(),
    "parallel": set(),
    "text": set(),
    "files": set(),
    "model": set(),
    "optimise": set(),
    "imaging": {"model"},
    "nodes": {"optimise"},
    "meshing": {"model", "imaging"},
    "science": {"optimise", "nodes"},
    "inverse": {"model", "optimise", "imaging", "meshing"},
    "fem": {"model", "imaging", "meshing"},
    "voxel": {"model", "imaging", "meshing", "science"},
    "surrogate": {"model", "optimise", "imaging", "nodes", "meshing", "inverse", "voxel"},
    "results": {"model", "imaging", "meshing", "inverse"},
    "forecast": {"model", "imaging", "meshing", "inverse", "results", "fem"},
    "verify": {"model", "optimise", "inverse", *ENGINES},
    "report": {"model", "imaging", "meshing", "inverse", "results", "forecast"},
    "view": {"model", "imaging", "meshing", "inverse", "results", "forecast"},
    "reproduce": {"optimise", "nodes", "science", "voxel", "surrogate"},
}
FLOORS = (  # lower floors never import higher ones
    ("errors", "parallel", "text", "files"),
    ("model", "optimise"),
    ("imaging", "nodes"),
    ("meshing", "science"),
    ("inverse", "fem", "voxel"),
    ("surrogate", "results"),
    ("forecast", "verify"),
    ("report", "view", "reproduce"),
    ("api", "cluster"),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
BELOW = {name: {other for other in LEVEL if LEVEL[other] < level} for name, level in LEVEL.items()}
MAY |= {"": {"api", *BELOW["api"]}, "api": BELOW["api"], "cluster": BELOW["cluster"], "cli": BELOW["cli"]}
MAY |= {"__main__": {"cli"}}
DOORS = {PACKAGE / "nodes" / "__init__.py": "science"}  # forwards names from above to users; no module imports it
FENICS = {"dolfinx", "dolfinx_solver", "petsc4py", "mpi4py"}
TORCH = {"torch"}
USES_TORCH = {"nodes", "science", "voxel", "surrogate", "reproduce"}
LOADS_FENICS = {"fem", "verify", "forecast", "api"}
HEAVY = FENICS | TORCH | {"vtk", "vtkmodules", "pyvista", "matplotlib"}
MODULES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
LONGEST = 400


def part(path: Path) -> str:
    """Return the module's first name below the package ("" for the package itself)."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything imported, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # the dots of a relative import stay, and a test refuses them
            yield from ((node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}") for alias in node.names)


IMPORTS = [(path, line, name) for path, tree in MODULES.items() for line, name in imports(tree)]


def test_imports_are_absolute():
    assert [f"{path}:{line}: {name}" for path, line, name in IMPORTS if name.startswith(".")] == []


def test_every_part_has_a_row():
    assert {part(path) for path in MODULES} == MAY.keys()


def test_the_table_never_points_up():
    assert [
        (own, other) for own, allowed in MAY.items() for other in allowed if own and LEVEL[other] > LEVEL[own]
    ] == []


def test_imports_follow_the_table():
    wrong = []
    for path, line, name in IMPORTS:
        root, _, other = name.partition(".")
        own, other = part(path), other.split(".")[0]
        named = other in LEVEL or (other and other != "__version__")  # the rest are names of the front door
        if root == "oncology" and named and DOORS.get(path) != other and other not in {own, *BASE, *MAY[own]}:
            wrong.append(f"{path}:{line}: {own or 'the package itself'} imports {name}")
    assert wrong == []


def test_doors_are_for_users_only():
    """A front door loads what is asked for: it holds no code of its own, and nothing in the package goes through it."""
    for path in DOORS:
        package = ".".join(path.relative_to(ROOT).parts[:-1])
        kinds = {node.name for node in ast.walk(MODULES[path]) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert kinds == {"__getattr__", "__dir__"}
        names = {name for _, name in imports(MODULES[path]) if name.startswith("oncology")}
        offered = {name.rpartition(".")[2] for name in names}
        assert [
            f"{file}:{line}" for file, line, name in IMPORTS if name in {f"{package}.{one}" for one in offered}
        ] == []


def test_engines_are_imported_in_their_own_part_only():
    wrong = []
    for path, line, name in IMPORTS:
        library = name.split(".")[0]
        if (library in FENICS and part(path) != "fem") or (library in TORCH and part(path) not in USES_TORCH):
            wrong.append(f"{path}:{line}: imports {name}")
    assert wrong == []


def test_the_world_communicator_is_named_in_one_place():
    users = {
        path
        for path, tree in MODULES.items()
        if any(isinstance(node, ast.Attribute) and node.attr == "COMM_WORLD" for node in ast.walk(tree))
    }
    assert users <= {PACKAGE / "fem" / "runtime.py"}


def test_only_the_command_line_prints():
    calls = [
        f"{path}:{node.lineno}"
        for path, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if part(path) != "cli"
    ]
    assert calls == []


def test_public_names_are_documented():
    silent = [str(path) for path, tree in MODULES.items() if not ast.get_docstring(tree)]
    for path, tree in MODULES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                silent += [] if ast.get_docstring(node) else [f"{path}:{node.lineno}: {node.name}"]
    assert silent == []


def test_files_are_short():
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def loaded_by(*command: str) -> set[str]:
    """Run `python -X importtime ...` and return the first names of all modules it loaded."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True, cwd=ROOT
    )
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


def test_help_loads_nothing_heavy():
    names = loaded_by("-m", "oncology", "--help")
    assert "cyclopts" in names
    assert not names & HEAVY


def test_the_package_itself_loads_next_to_nothing():
    own = {"oncology", "importlib", "typing"}
    code = "import sys; before = set(sys.modules); import oncology; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert {name.split(".")[0] for name in done.stdout.split()} <= own | set(sys.stdlib_module_names)


def test_the_version_imports_no_command():
    code = "import sys\nfrom oncology.cli.main import run\nrun(['--version'])\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    commands = {path.stem for path in MODULES if part(path) == "cli"} - {"__init__", "main", "runtime", "voice"}
    assert not commands & {name.removeprefix("oncology.cli.") for name in done.stdout.split()}


@pytest.mark.parametrize("foreign", [FENICS | TORCH, FENICS, TORCH], ids=["neither", "torch", "fenics"])
def test_parts_load_no_engine_but_their_own(foreign):
    """Parts that share what they may load are imported one after the other, so that the first that fails is named."""
    if "torch" not in foreign and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    names = []
    for path in MODULES:
        own = part(path)
        refused = (set() if own in LOADS_FENICS else FENICS) | (set() if own in USES_TORCH else TORCH)
        if own not in {"", "__main__", "cli"} and refused == foreign:
            names.append(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    assert names
    code = "import importlib, sys\nfor name in sys.argv[2:]:\n    importlib.import_module(name)\n"
    code += "    found = sorted(set(sys.argv[1].split()) & set(sys.modules))\n    assert not found, (name, found)"
    done = subprocess.run(
        [sys.executable, "-c", code, " ".join(sorted(foreign)), *names], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
