"""A prediction as users hold it: volumes with intervals, densities, targets, a page and files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oncology.errors import ArgumentError
from oncology.results.files import Results
from oncology.results.prediction import PredictionResults
from oncology.results.schema import REGIONS
from oncology.text import Table, number, plain

if TYPE_CHECKING:
    import nibabel
    import pandas
    import pyvista

    from oncology.api.plots import PredictionPlots

__all__ = ["Prediction"]


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """What `Fit.predict` found.

    Both intervals and deviations account for parameter uncertainty only.

    Attributes:
        results: everything that the prediction leaves behind.
        fit: results of the fit.
    """

    results: PredictionResults
    fit: Results

    @property
    def days(self) -> tuple[float, ...]:
        """Predicted days of the case's calendar, ascending."""
        return self.results.record.days

    @property
    def plot(self) -> PredictionPlots:
        """Plots, each a matplotlib figure: `prediction.plot.growth()`."""
        from oncology.api.plots import PredictionPlots

        return PredictionPlots(self.results, self.fit)

    def volume(self, region: str = "whole") -> pandas.DataFrame:
        """Return the volume of a region, mL, one row per predicted day.

        The columns are `day` (after the last session, as in `Fit.predict`), `median`, `2.5 %` and `97.5 %`.

        Args:
            region: "whole" (every tumour label) or "core" (necrosis and enhancing tumour).

        Raises:
            ArgumentError: there is no such region.
        """
        import pandas

        rows = self._rows(region)
        return pandas.DataFrame(rows, columns=["day", "median", "2.5 %", "97.5 %"])

    def to_dataframe(self) -> pandas.DataFrame:
        """Return the whole curves, mL: one row per day (of the case's calendar) and region."""
        import pandas

        volumes = self.results.record.volumes
        frames = []
        for region in REGIONS:
            curve = volumes.curve(region)
            ends = {"median": self.results.median[region], "2.5 %": curve.low, "97.5 %": curve.high}
            frames.append(pandas.DataFrame({"day": curve.days, "region": region, **ends}))
        return pandas.concat(frames, ignore_index=True)

    def density(self, day: float | None = None) -> nibabel.Nifti1Image:
        """Return the predicted density (0..1) as an image in the space of the last scan.

        Args:
            day: a predicted day, after the last session; None: the last one.

        Raises:
            ArgumentError: the day was not predicted.
        """
        from oncology.api.images import nifti

        return nifti(self.results.densities[self._calendar(day)])

    def deviation(self, day: float | None = None) -> nibabel.Nifti1Image:
        """Return the standard deviation of the predicted density, as `density` does."""
        from oncology.api.images import nifti

        return nifti(self.results.deviations[self._calendar(day)])

    def to_pyvista(self, day: float | None = None) -> pyvista.UnstructuredGrid:
        """Return the mesh with the predicted density, as `Fit.to_pyvista`; `day` after the last session."""
        from oncology.api.images import grid_of, vertex_density

        wanted = None if day is None else self.results.record.last_session.day + day
        return grid_of(self.results.mesh, vertex_density(self.results.trajectory, wanted), self.fit.threshold)

    def save(self, folder: Path | str, *, overwrite: bool = False, report: bool = False) -> Path:
        """Write the prediction into a folder, whole or not at all.

        Args:
            folder: made here; its parents too.
            overwrite: replace what an earlier prediction left there.
            report: write prediction.html as well.

        Raises:
            OutputError: the folder is not empty, or cannot be written.
        """
        from oncology.results.folder import output_folder

        folder = Path(folder)
        with output_folder(folder, overwrite=overwrite) as work:
            self.write(work, report=report)
        return folder

    def write(self, folder: Path, *, report: bool = False, seconds: float | None = None) -> None:
        """Write the prediction into a folder that exists (rank 0); `seconds` is what it took, to be noted there."""
        from oncology.results.prediction import timed, write_prediction

        results = self.results if seconds is None else timed(self.results, seconds)
        write_prediction(folder, results)
        if report:
            Prediction(results, self.fit).report(folder / "prediction.html")

    def report(self, path: Path | str = "prediction.html") -> Path:
        """Write the page of the prediction; return its path.

        Raises:
            OutputError: the page cannot be written.
        """
        from oncology.report.prediction import write_prediction_page

        return write_prediction_page(self.fit, self.results, Path(path))

    def __repr__(self) -> str:
        return str(self._table())

    def _repr_html_(self) -> str:
        return self._table().html()

    def _calendar(self, day: float | None) -> float:
        """The predicted day of the case's calendar for one after the last session."""
        last, found = self.results.record.last_session.day, self.results.densities
        wanted = self.days[-1] if day is None else last + day
        near = [known for known in found if abs(known - wanted) < 1e-6]
        if not near:
            after = ", ".join(plain(known - last) for known in found)
            raise ArgumentError("day", f"{day:g} was not predicted: give one of {after} days after the last session")
        return near[0]

    def _rows(self, region: str) -> list[tuple[float, float, float, float]]:
        if region not in REGIONS:
            raise ArgumentError("region", f"{region!r} is unknown: give {' or '.join(REGIONS)}")
        record = self.results.record
        curve, median = record.volumes.curve(region), np.array(self.results.median[region])
        rows = [int(np.abs(curve.days - day).argmin()) for day in record.days]
        last = record.last_session.day
        return [
            (float(curve.days[k] - last), float(median[k]), float(curve.low[k]), float(curve.high[k])) for k in rows
        ]

    def _table(self) -> Table:
        columns = [self._rows(region) for region in REGIONS]
        rows = tuple(
            (plain(line[0][0]), *(f"{number(m)} ({number(low)} to {number(high)})" for _, m, low, high in line))
            for line in zip(*columns, strict=True)
        )
        record = self.results.record
        title = f"Prediction of {record.case}, median volume with 95 % interval, mL"
        return Table(title, ("days after the last session", "whole tumour", "core"), rows, record.notes)
