"""Sphinx configuration of the documentation; `make docs` builds it into `site/html`, with every warning an error.

The sources are the Markdown files where they stand, in `docs/` and beside the code, so that their links work in the
repository and on the site alike. Formulas become MathML while the site is built: pages need no script and no network
for them, and a formula that cannot be read fails the build.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).parents[1]
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOGGER = logging.getLogger(__name__)

project = METADATA["name"]
author = METADATA["authors"][0]["name"]
project_copyright = author
version = release = METADATA["version"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/api/*.md",
    "*/README.md",
    "benchmarks/*.md",
    "notebooks/*.ipynb",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", ".*/**", "oncology", "tests", "requirements", "site", "build", "dist", "demo-out*"]

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "literal"

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_static/index.html"]
html_math_renderer = "mathml"
html_show_sphinx = False
copybutton_prompt_text = "$ "

FORMULAS = LatexToMathML()
# Docstrings are written in Markdown. Code in backticks and *emphasis* mean the same in reStructuredText; other
# characters that have a meaning there stand for themselves.
KEPT = re.compile(r"(``.+?``|`[^`\n]+`|(?<![\w*])\*\w[\w -]*\*(?![\w*]))")

HELD: dict[str, list[str]] = {}  # docstrings of properties, by name


def _formula(writer: Any, node: nodes.Element, display: bool) -> None:
    """Write one formula as MathML, or warn, which fails the build, and show its source."""
    try:
        writer.body.append(FORMULAS.convert_with_local_state(node.astext(), displaystyle=display))
    except LatexError as error:
        LOGGER.warning("formula %r: %s", node.astext(), error, location=node)
        writer.body.append(writer.encode(node.astext()))
    raise nodes.SkipNode


def _inline(writer: Any, node: nodes.Element) -> None:
    _formula(writer, node, display=False)


def _block(writer: Any, node: nodes.Element) -> None:
    _formula(writer, node, display=True)


def _as_restructured_text(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Turn the Markdown of a docstring into reStructuredText."""
    for number, line in enumerate(lines):
        if line.lstrip().startswith((">>>", "...")):
            continue
        parts = KEPT.split(line)
        for place, text in enumerate(parts):
            if place % 2:
                parts[place] = f"`{text}`" if re.match("`[^`]", text) else text
            else:
                parts[place] = re.sub(r"([*|])|(?<=\w)(_)(?!\w)", lambda found: "\\" + found[0], text)
        lines[number] = "".join(parts)


def _hold(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep a property's docstring from napoleon, which would take all before a colon for a type."""
    if what == "property":
        HELD[name] = lines[:]
        lines.clear()


def _release(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Give a property its docstring back."""
    lines[:] = HELD.pop(name, lines[:])


def setup(app: Sphinx) -> None:
    """Register the renderer of formulas and the reader of docstrings, which comes before napoleon (priority 500)."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("autodoc-process-docstring", _as_restructured_text, priority=300)
    app.connect("autodoc-process-docstring", _hold, priority=400)
    app.connect("autodoc-process-docstring", _release, priority=600)
