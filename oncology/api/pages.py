"""Pages that a notebook shows inline and that open in any browser."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oncology.errors import ArgumentError
from oncology.files import write_file
from oncology.results.files import find_case, read_results
from oncology.text import Progress, silent

if TYPE_CHECKING:
    from oncology.imaging import Case
    from oncology.view.sources import Subject

__all__ = ["ViewPage", "view_folder", "view_pair"]

HEIGHT = 640  # pixels of the frame in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class ViewPage:
    """Brain and growing tumour in three dimensions, as one HTML page that needs nothing else.

    Attributes:
        case: id of the case.
        page: the page.
        with_case: whether the case was available, which gives the scans.
    """

    case: str
    page: str
    with_case: bool = True

    def save(self, path: Path | str) -> Path:
        """Write the page, whole or not at all; return its path.

        Raises:
            OutputError: it cannot be written.
        """
        path = Path(path)
        write_file(path, self.page)
        return path

    def __repr__(self) -> str:
        return f"3-D page of {self.case}, {len(self.page) / 1e6:.1f} MB: .save('page.html') and open it in a browser"

    def _repr_html_(self) -> str:
        frame = f'style="width: 100%; height: {HEIGHT}px; border: 0" title="{html.escape(self.case)}"'
        return f'<iframe {frame} srcdoc="{html.escape(self.page)}"></iframe>'


def view_folder(
    out: Path | str, case: Path | None = None, horizon: float | None = None, progress: Progress = silent
) -> ViewPage:
    """Return the page of a folder that `oncology fit`, `predict` or `simulate` wrote.

    Args:
        out: the folder.
        case: folder of its case; None: the one that config.toml names, if it is still there.
        horizon: last day to show, days after the last session; the growth of a fit is predicted until then.
        progress: called with what is going on.

    Raises:
        ArgumentError: the horizon is beyond the end of a prediction or simulation.
        ReportError: the folder is incomplete or damaged.
    """
    from oncology.view.page import build_page
    from oncology.view.sources import read_subject

    out = Path(out)
    found = find_case(out, case) if out.is_dir() else None
    subject = read_subject(out, found)
    if horizon is not None:
        subject = _until(out, subject, found, horizon, progress)
    return ViewPage(subject.name, build_page(subject, progress), found is not None)


def view_pair(
    out: Path | str,
    other: Path | str,
    case: Path | None = None,
    horizon: float | None = None,
    progress: Progress = silent,
) -> ViewPage:
    """Return the pages of two folders side by side, with one cursor and one day for both.

    Args:
        out: the one.
        other: the other: another fit of the same patient, or its prediction.
        case: folder of the case of both; None: those that their config.toml name.
        horizon: last day to show, as in `view_folder`.
        progress: called with what is going on.

    Raises:
        ArgumentError: the horizon is beyond the end of a prediction or simulation.
        ReportError: a folder is incomplete or damaged.
    """
    from oncology.view.page import pair_page

    folders = [Path(out), Path(other)]
    made = [view_folder(folder, case, horizon, _half(progress, k)) for k, folder in enumerate(folders)]
    names = [f"{page.case} ({folder.name})" for page, folder in zip(made, folders, strict=True)]
    page = pair_page([(name, page.page) for name, page in zip(names, made, strict=True)])
    return ViewPage(" and ".join(names), page, all(page.with_case for page in made))


def _half(progress: Progress, which: int) -> Progress:
    """The first or second half of some work."""

    def tell(text: str, fraction: float | None = None) -> None:
        progress(text, None if fraction is None else 0.5 * (which + fraction))

    return tell


def _until(out: Path, subject: Subject, case: Case | None, horizon: float, progress: Progress) -> Subject:
    """The subject until so many days after the last session, predicted where it ends earlier."""
    from oncology.api.fitted import Fit
    from oncology.view.sources import continued, subject_of_prediction, until

    last = subject.days[1] if case is None else case.sessions[-1].day
    wanted = last + horizon
    if wanted <= subject.days[1]:
        return until(subject, wanted)
    if subject.kind != "fit":
        command = {"prediction": "predict --days", "simulation": "simulate --days"}[subject.kind]
        raise ArgumentError(
            "horizon",
            f"{horizon:g} is beyond the end of {out}, day {subject.days[1]:g}, {subject.days[1] - last:g} days after "
            f"the last session: give a smaller one, or run `oncology {command}` further",
        )
    later = Fit(read_results(out, case)).predict([horizon], progress=progress)
    return continued(subject, subject_of_prediction(later.results, case))
