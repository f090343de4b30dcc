"""The share of a fit that is done, told from the stages that it reports.

How many iterates a stage takes is not known before it ends, so that the share is about right at best; it never falls.
"""

from __future__ import annotations

from oncology.text import Progress

__all__ = ["paced"]

# Words of the reports in the order of a fit, and the share of its time that is over when each stage begins: medians of
# fits at 2.5 to 5 mm.
_STAGES = (
    ("coarse mesh", 0.05),
    ("sharpness 10", 0.10),
    ("sharpness 25", 0.18),
    ("volume fraction", 0.25),
    ("fine mesh", 0.33),
    ("volume fraction", 0.38),
    ("uncertainty", 0.55),
    ("centre", 0.85),
    ("results", 0.90),
)
_END = 0.95  # the rest is for the files
_STEP = 0.25  # share of what is left of its stage that a further report stands for


def paced(progress: Progress) -> Progress:
    """Return a progress that adds the share of the fit which is done, 0..1, to every report.

    Args:
        progress: told of every report, with its share.
    """
    stage, share = [-1], [0.0]

    def tell(text: str, fraction: float | None = None) -> None:
        later = range(max(stage[0], 0), len(_STAGES))
        number = next((k for k in later if _STAGES[k][0] in text), stage[0])
        begin = _STAGES[number][1] if number >= 0 else 0.0
        end = _STAGES[number + 1][1] if number + 1 < len(_STAGES) else _END
        entered = number != stage[0]
        share[:] = [max(share[0], begin) if entered else share[0] + _STEP * (end - share[0])]
        stage[:] = [number]
        progress(text, share[0])

    return tell
