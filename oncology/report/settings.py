"""Settings, versions and fingerprints of a run as lines of a table, with plain words for their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oncology.results.files import Results
from oncology.text import number

__all__ = ["flat", "provenance", "setting_lines", "written"]

WORDS = {
    "case": "case folder",
    "cut_density": "highest density at the edge of the mesh",
    "estimate_thresholds": "thresholds are estimated",
    "fit": "folder of the fit",
    "law": "growth law",
    "margin_mm": "margin, mm",
    "mesh_fingerprint": "fingerprint of a user-supplied mesh",
    "peak_memory_gb": "memory of all processes, GB",
    "ranks": "processes",
    "seconds": "run time, s",
    "seed": "seed of random numbers",
    "seed_radius_mm": "radius of the seed, mm",
    "shape": "correction of the shape where one seed does not suffice",
    "size_mm": "cell size near the tumour, mm",
    "tracer": "PET is used",
    "volume_ml": "volume, mL",
    "oedema": "density at the boundary of the whole tumour",
    "core": "density at the boundary of the core",
}
GROUPS = {
    "settings": "",
    "thresholds": "",
    "run": "",
    "versions": "version of ",
    "run.versions": "version of ",
    "prior": "prior of ",
}
FLAGS = {True: "yes", False: "no"}


def setting_lines(results: Results) -> list[tuple[str, str]]:
    """Return settings, what the run took, versions, priors, and entries of `estimate.json` that have no other place."""
    estimate, config = results.estimate, dict(results.config)
    for elsewhere in ("inputs", "provenance"):
        config.pop(elsewhere, None)
    run = {**config.pop("run", {}), **estimate.run}
    if run.get("versions") == config.get("versions"):
        run.pop("versions", None)
    return list(flat({**config, "run": run, "prior": estimate.prior, **(estimate.model_extra or {})}))


def provenance(results: Results) -> list[tuple[str, str]]:
    """Return when, by what and where a fit was made, as far as its files tell."""
    config, versions = results.config, results.config.get("versions", {})
    given = config.get("provenance", {})
    rows = [(what, str(given[key])) for what, key in (("date", "date"), ("command", "command")) if key in given]
    if "oncology" in versions:
        rows.append(("version", f"oncology {versions['oncology']}"))
    run = {**config.get("run", {}), **results.estimate.run}
    if "seconds" in run:
        rows.append(("run time", f"{number(float(run['seconds']))} s in {run.get('ranks', 1)} process(es)"))
    return rows


def flat(content: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested settings as lines of name, in words, and value."""
    for name, value in content.items():
        inner = f"{group}.{name}" if group else name
        if isinstance(value, Mapping):
            yield from flat(value, inner)
        elif value not in (None, "", [], ()):
            yield f"{_group(group)}{WORDS.get(name, name.replace('_', ' '))}", written(value)


def _group(name: str) -> str:
    if not name:
        return ""
    if name in GROUPS:
        return GROUPS[name]
    first, _, rest = name.partition(".")
    return f"{GROUPS.get(first, first.replace('_', ' ') + ': ')}{rest.replace('_', ' ') + ', ' if rest else ''}"


def written(value: Any) -> str:
    """Return a setting as text."""
    if isinstance(value, bool):
        return FLAGS[value]
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {written(part)}" for name, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(written(part) for part in value)
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "−")
    return str(value)
