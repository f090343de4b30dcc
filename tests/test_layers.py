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
LAYERS = (
    ("errors", "parallel"),
    ("model", "optimise"),
    ("imaging", "nodes"),
    ("meshing", "science"),
    ("inverse",),
    ("fem", "voxel"),
    ("surrogate", "results"),
    ("forecast", "verify"),
    ("report", "view", "reproduce"),
    ("cluster",),
    ("cli",),
    ("__main__",),
)
PENDING = {  # joints that the next moves take apart
    ("forecast", "cli"),
    ("results", "forecast"),
    ("results", "report"),
}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FENICS = {"dolfinx", "dolfinx_solver", "petsc4py", "mpi4py"}
TORCH = {"torch"}
USES_TORCH = {"nodes", "science", "voxel", "surrogate", "reproduce"}
LOADS_FENICS = {"fem", "verify", "forecast", "results"}
HEAVY = FENICS | TORCH | {"vtk", "vtkmodules", "pyvista", "matplotlib"}
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 450


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
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.fixture(params=MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def module(request: pytest.FixtureRequest) -> tuple[Path, ast.Module]:
    return request.param, ast.parse(request.param.read_text())


def test_imports_never_point_up(module):
    path, tree = module
    own = part(path)
    assert not own or own in LEVEL, f"{own} has no layer"
    for line, name in imports(tree):
        root, _, other = name.partition(".")
        other = other.split(".")[0]
        if root != "oncology" or other not in LEVEL:
            continue
        assert own, f"{path}:{line}: the package itself imports {name}"
        if (own, other) in PENDING:
            continue
        assert LEVEL[other] <= LEVEL[own], f"{path}:{line}: {own} imports {name} from above"
        assert {own, other} != {"fem", "voxel"}, f"{path}:{line}: the engines know nothing of each other"


def test_engines_are_imported_in_their_own_part_only(module):
    path, tree = module
    for line, name in imports(tree):
        library = name.split(".")[0]
        assert part(path) == "fem" or library not in FENICS, f"{path}:{line}: imports {name}"
        assert part(path) in USES_TORCH or library not in TORCH, f"{path}:{line}: imports {name}"


def test_the_world_communicator_is_named_in_one_place(module):
    path, tree = module
    uses = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "COMM_WORLD"]
    assert not uses or path == PACKAGE / "fem" / "runtime.py", f"{path}: lines {uses}"


def test_only_the_command_line_prints(module):
    path, tree = module
    calls = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not calls or part(path) == "cli", f"{path}: lines {calls}"


def test_public_names_are_documented(module):
    path, tree = module
    assert ast.get_docstring(tree), f"{path}: no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path}:{node.lineno}: {node.name} has no docstring"


def test_files_are_short(module):
    path, _ = module
    length = len(path.read_text().splitlines())
    assert length <= LONGEST, f"{path}: {length} lines"


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


@pytest.mark.parametrize("name", sorted({part(path) for path in MODULES} - {"", "__main__", "cli"}))
def test_parts_load_no_engine_but_their_own(name):
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
        if part(path) == name
    ]
    if name in USES_TORCH and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    foreign = (set() if name in LOADS_FENICS else FENICS) | (set() if name in USES_TORCH else TORCH)
    assert not loaded_by("-c", f"import {', '.join(modules)}") & foreign
