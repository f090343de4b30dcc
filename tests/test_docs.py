"""The documentation is true: its Python runs, its links and names exist, its commands and formats are understood."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from oncology.cli import main as cli
from oncology.imaging.casefile import CaseFile, read_case_file
from oncology.results.schema import Estimate

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
PACKAGES = ("nodes", "imaging", "meshing", "optimise", "cluster")  # whose `__all__` is a promise
FOLDERS = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in folder.rglob("*.md"))])


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"(?m)^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def prose(path: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"(?ms)^```.*?^```", "", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Return the anchors that headings get: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"(?m)^#+ +(.*)$", prose(path))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def links(path: Path) -> list[str]:
    """Return the targets of links and pictures that lie in this repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_blocks_run(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    namespace: dict[str, object] = {"__name__": page.stem}
    code = blocks(page, "python")
    for block in code:
        exec(compile(block, name(page), "exec", dont_inherit=True), namespace)
    assert any(re.search(r"(?m)^\s*assert ", block) for block in code)


def test_extensions_take_under_30_lines():
    code = [block for block in blocks(ROOT / "docs" / "extending.md", "python") if "@dataclass" in block]
    assert len(code) == 4, "a growth law, an engine, a map of unknowns, an observation"
    assert max(sum(bool(line.strip()) for line in block.splitlines()) for block in code) < 30


@pytest.mark.parametrize("page", DOCUMENTS, ids=name)
def test_links_lead_somewhere(page):
    missing = []
    for link in links(page):
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        found = file.exists() and (not anchor or file.suffix != ".md" or anchor in anchors(file))
        missing += [] if found else [link]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_names_stand_in_the_files_beside_them(page):
    missing = []
    for line in prose(page).splitlines():
        if not line.startswith("|"):
            continue
        # names before a link belong to its file
        for names, target in re.findall(r"([^\[\]]*)\[[^\]]+\]\(([^)]+\.py)\)", line):
            text = (page.parent / target).read_text(encoding="utf-8")
            spans = re.findall(r"`([A-Za-z_][\w.]*)`", names)
            words = {word for span in spans for word in span.split(".")}
            missing += [f"{target}: {word}" for word in words if not re.search(rf"\b{word}\b", text)]
    assert not missing


@pytest.mark.parametrize("package", ["oncology", *(f"oncology.{part}" for part in PACKAGES)])
def test_every_public_name_is_on_an_api_page(package):
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "api").glob("*.md")))
    if re.search(rf"(?m)^\.\. automodule:: {package}\n(   :.*\n)*   :members:$", text):
        return
    shown = set(re.findall(rf"(?m)^\.\. auto[a-z]+:: {package}\.(\w+)$", text))
    assert set(getattr(importlib.import_module(package), "__all__", ())) - shown == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_are_understood(page):
    lines = [line[2:] for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ ")]
    for line in (re.sub(r"^(mpiexec|srun) -n \d+ ", "", line) for line in lines):
        words = shlex.split(line)
        if words[0] == "oncology":
            assert words[1] in cli.COMMANDS
            cli.build_app(words[1:]).parse_args(words[1:])


def test_the_case_format_is_complete_and_valid(tmp_path):
    page = ROOT / "docs" / "case-format.md"
    (text,) = blocks(page, "toml")
    (tmp_path / "case.toml").write_text(text, encoding="utf-8")
    read_case_file(tmp_path / "case.toml")
    schema = CaseFile.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    keys = {key for section in sections for key in section.get("properties", {})}
    assert not {key for key in keys if not re.search(rf"\b{key}\b", page.read_text(encoding="utf-8"))}


def test_the_output_format_is_complete_and_valid():
    page = ROOT / "docs" / "output-format.md"
    (text,) = blocks(page, "json")
    Estimate.model_validate_json(text)
    keys = {field.alias or key for key, field in Estimate.model_fields.items()}
    assert not {key for key in keys if f'"{key}"' not in text and f"`{key}`" not in page.read_text(encoding="utf-8")}
