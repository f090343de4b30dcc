"""Compiles this package and the modules of others that a fit and its report load.

A start would compile more than a thousand modules anew wherever PYTHONDONTWRITEBYTECODE is set, as in many images.
"""

import compileall
import importlib
import sys
from pathlib import Path

LOADED = (
    "cli.main",
    "cli.fit",
    "fem.patient",
    "results.collect",
    "forecast.predict",
    "report.page",
    "report.prediction",
)

if __name__ == "__main__":
    root = Path(__file__).parents[1]
    sys.path.insert(0, str(root))
    for name in (*(f"oncology.{part}" for part in LOADED), "pyvista", "pyvista.plotting"):
        importlib.import_module(name)
    compileall.compile_dir(root / "oncology", quiet=1)
    for module in list(sys.modules.values()):
        if str(getattr(module, "__file__", None)).endswith(".py"):
            compileall.compile_file(module.__file__, quiet=2)
