"""What a fit was made from, as SHA-256 by file: so that a resumed fit, a prediction or a page notices other inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncology.model.treatment import Resection

if TYPE_CHECKING:
    from oncology.imaging.case import Case

__all__ = ["CASE_FILE", "changed_inputs", "fingerprints"]

CASE_FILE = "case.toml"


def fingerprints(case: Case) -> dict[str, str]:
    """Return the SHA-256 of every image that a fit reads, by its path in the case folder, and that of `case.toml`.

    Of `case.toml` only what a fit uses counts: names, days, label table, thresholds, treatments before the last
    session; comments, and treatments to come, may change. Files that do not exist (of a case made in memory) are left
    out.
    """
    images = [case.white, case.grey, case.tensor]
    images += [image for session in case.sessions for image in (session.labels, session.pet)]
    paths = [image.path for image in images if image is not None and image.path is not None]
    paths += [given.mask for given in case.treatments if isinstance(given, Resection) and given.mask is not None]
    found = {_name(case.root, path): _digest(path) for path in paths if path.is_file()}
    return {CASE_FILE: _settings_digest(case), **dict(sorted(found.items()))}


def changed_inputs(before: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """Return the inputs that are others, new or gone; none where nothing was recorded before."""
    if not before:
        return []
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]


def _settings_digest(case: Case) -> str:
    last = case.sessions[-1].day
    content = {
        "id": case.id,
        "labels": [case.labels.necrosis, case.labels.oedema, case.labels.enhancing, case.labels.cavity],
        "thresholds": asdict(case.thresholds),
        "segmentation_bias": case.segmentation_bias,
        "white_error": case.white_error,
        "sessions": [(s.id, s.day, s.whole_state, s.core_state) for s in case.sessions],
        "treatments": [
            {"kind": type(given).__name__, **asdict(given), "mask": None}
            for given in case.treatments
            if given.day < last
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
