"""The share of a fit that is done rises through its stages, whichever of them a fit goes through."""

from __future__ import annotations

import pytest

from oncology.api.pace import paced

COARSE = ["coarse mesh", *["6.4 mm, sharpness 10: misfit 9"] * 9, "6.4 mm, sharpness 25: misfit 8"]
COARSE += ["6.4 mm, volume fraction: misfit 7"] * 3
FINE = ["fine mesh", *["4 mm, volume fraction: misfit 7"] * 4, "uncertainty", "centre of the posterior"]


@pytest.mark.parametrize(
    "reports",
    [
        [*COARSE, *FINE, "results"],
        [*FINE, "results"],
        [*COARSE, *FINE, "wider mesh", *FINE, "shape of the tumour", "results"],
    ],
    ids=["whole", "resumed", "wider"],
)
def test_the_share_rises_from_stage_to_stage(reports):
    told: list[tuple[str, float]] = []
    show = paced(lambda text, fraction=None: told.append((text, fraction)))
    for text in reports:
        show(text)
    shares = [share for _, share in told]
    assert [text for text, _ in told] == reports
    assert shares == sorted(shares) and 0.0 < shares[0] and shares[-1] < 1.0
    first = {text: share for text, share in reversed(told)}
    assert first["fine mesh"] < first["4 mm, volume fraction: misfit 7"] < first["uncertainty"] < first["results"]
    if reports[0] == "coarse mesh":
        assert max(share for text, share in told if text.startswith("6.4 mm")) < first["fine mesh"]
