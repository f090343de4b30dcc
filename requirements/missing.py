"""Prints the part of a lock file that this environment lacks, for one that borrows DOLFINx and more from elsewhere.

Usage: VENV_PYTHON missing.py LOCK. Walks from the package's own requirements through what is installed; whatever is
absent, or too old for who asks for it, is printed with the lock's version and hashes. What an absent package asks
for is found at the next call, after it was installed: call until nothing is printed.
"""

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

lock = {
    re.match(r"[A-Za-z0-9._-]+", block)[0].lower(): block
    for block in re.findall(r"(?m)^[A-Za-z0-9].*(?:\n[ ]+.*)*", Path(sys.argv[1]).read_text())
}

try:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
except ModuleNotFoundError:
    print(lock["packaging"])
    sys.exit()

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
wanted = [
    *project["project"]["dependencies"],
    *(line for extra in ("node", "test") for line in project["project"]["optional-dependencies"][extra]),
    *project["dependency-groups"]["build"],
]
queue = [(Requirement(line), "") for line in wanted]
seen, missing = set(), set()
while queue:
    requirement, extra = queue.pop()
    if (str(requirement), extra) in seen or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
        continue
    seen.add((str(requirement), extra))
    name = canonicalize_name(requirement.name)
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        missing.add(name)
        continue
    if not requirement.specifier.contains(found.version, prereleases=True):
        missing.add(name)
        continue
    inner = [Requirement(line) for line in found.requires or []]
    queue += [(item, chosen) for item in inner for chosen in ("", *requirement.extras)]
print("\n".join(lock[name] for name in sorted(missing & lock.keys())))
