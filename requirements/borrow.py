"""Lets a virtual environment see the packages of the Python that runs this file, after its own.

Usage: PROVIDER_PYTHON borrow.py VENV. It works where --system-site-packages does not: the provider may itself be a
virtual environment, or may find DOLFINx through PYTHONPATH as the official image does. Its mpiexec is lent, too.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

venv = Path(sys.argv[1]).resolve()
library = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(__file__).resolve().parent)}
lent = [p for p in sys.path if os.path.isdir(p) and p not in library and not p.endswith("lib-dynload")]
name = f"python{sys.version_info.major}.{sys.version_info.minor}"
path_file = venv / "lib" / name / "site-packages" / "borrowed.pth"
path_file.write_text("".join(f"import site; site.addsitedir({p!r})\n" for p in lent))

launcher = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
if launcher is not None:
    wrapper = venv / "bin" / "mpiexec"
    wrapper.write_text(f'#!/bin/sh\nexec "{launcher}" "$@"\n')
    wrapper.chmod(0o755)
