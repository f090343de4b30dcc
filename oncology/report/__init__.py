"""Reports: metrics, figures (matplotlib, VTK) and one self-contained HTML page per case."""

from typing import Any

__all__ = ["build_report"]


def __getattr__(name: str) -> Any:
    """Give `build_report` when it is asked for: the rendering process needs none of what it imports."""
    if name == "build_report":
        from oncology.report.page import build_report

        return build_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
