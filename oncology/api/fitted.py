"""A fit as users hold it: estimate, densities, forecasts, plots, pages and files behind one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncology.errors import ArgumentError
from oncology.results.files import Results
from oncology.text import Progress, Table, number, silent, symbols

if TYPE_CHECKING:
    import nibabel
    import pandas
    import pyvista

    from oncology.api.pages import ViewPage
    from oncology.api.plots import FitPlots
    from oncology.api.prediction import Prediction
    from oncology.imaging import Case
    from oncology.results.schema import Estimate
    from oncology.results.verdict import Verdict

__all__ = ["Fit"]


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """What `oncology.fit` found, or `oncology.load` read.

    Printing a fit shows values, units, 95 % intervals and whether the data determine each value; the last line is the
    verdict.

    Attributes:
        results: everything that the fit leaves behind.
        comm: communicator of all ranks that hold it; None: this process alone.

    Example:
        >>> fit = onc.load("sub-01-fit")                                # doctest: +SKIP
        >>> fit.estimate.proliferation.interval                         # doctest: +SKIP
        (0.0231, 0.0266)
        >>> fit.predict(days=[30, 60, 90]).volume("whole")              # doctest: +SKIP
    """

    results: Results
    comm: Any = field(default=None)

    @property
    def estimate(self) -> Estimate:
        """The estimate: `fit.estimate.proliferation.value`, `.interval`, `.unit`, `.identified`, and so on."""
        return self.results.estimate

    @property
    def verdict(self) -> Verdict:
        """Whether the model explains the scans: `fit.verdict.level`, `.reasons`; if not, no value is identified."""
        from oncology.results.verdict import verdict_of

        return verdict_of(self.estimate)

    @property
    def case(self) -> Case | None:
        """The fitted case; None where it was not found."""
        return self.results.case

    @property
    def plot(self) -> FitPlots:
        """Plots, each a matplotlib figure: `fit.plot.growth()`, `.convergence()`, `.slices()`."""
        from oncology.api.plots import FitPlots

        return FitPlots(self.results)

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per parameter with value, unit, low and high (95 % interval) and identified.

        Positions have one row per coordinate: seed_x, seed_y, seed_z (RAS mm), those of further foci seed2_x and so on.
        """
        import pandas

        rows = {name: (value, unit, low, high, known) for name, value, unit, low, high, known in self._rows()}
        columns = ["value", "unit", "low", "high", "identified"]
        frame = pandas.DataFrame.from_dict(rows, orient="index", columns=columns)
        return frame.rename_axis("parameter")

    def density(self, day: float | None = None) -> nibabel.Nifti1Image:
        """Return the density (0..1) on a day as an image in the space of the scans.

        Args:
            day: of the case's calendar, from onset to the last session; None: the last session.

        Raises:
            ArgumentError: the day is outside the fit; later days are for `predict`.
        """
        from oncology.api.images import density_on, nifti

        return nifti(density_on(self.results, day))

    def to_pyvista(self, day: float | None = None) -> pyvista.UnstructuredGrid:
        """Return the mesh with the density on a day (point data `density`) and tissue (cell data `white`, `grey`).

        The thresholds of both regions are field data, so that `grid.contour([grid.field_data["threshold_whole"][0]])`
        is the boundary of the tumour.

        Args:
            day: of the case's calendar, from onset to the last session; None: the last session.

        Raises:
            ArgumentError: the day is outside the fit; later days are for `predict`.
        """
        from oncology.api.images import grid_of, vertex_density

        results = self.results
        return grid_of(results.mesh, vertex_density(results.trajectory, day), results.threshold)

    def predict(
        self,
        days: Sequence[float],
        *,
        samples: int = 0,
        seed: int = 0,
        absolute: bool = False,
        margin: float | None = None,
        volume: float | None = None,
        recurrence: Path | str | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Predict the tumour on later days, with 95 % intervals and radiotherapy targets (collective).

        Args:
            days: days after the last session.
            samples: samples of the posterior for the uncertainty; 0 takes tangents, which suit well-determined fits.
            seed: of the random numbers.
            absolute: count `days` on the case's calendar instead.
            margin: of the standard target around the segmented core, mm (15 if neither is given).
            volume: of all targets, mL, instead of a margin.
            recurrence: mask of a later recurrence; None: those in the case's folder.
            progress: called with what is going on, `progress(text, fraction)`.

        Raises:
            ArgumentError: an argument is out of range.
            ConfigError: the case is not available or not the fitted one.
        """
        from oncology.api.fitting import communicator
        from oncology.api.prediction import Prediction
        from oncology.forecast.predict import plan_prediction, predict
        from oncology.meshing import default_cache
        from oncology.parallel import on_root

        comm, results = communicator("fem", self.comm), self.results
        results.fitted()
        assert results.case is not None
        case, mask = results.case, None if recurrence is None else Path(recurrence)
        plan = on_root(
            comm,
            lambda: plan_prediction(
                case,
                days,
                absolute=absolute,
                margin=margin,
                volume=volume,
                recurrence=mask,
                samples=samples,
                seed=seed,
            ),
        )
        return Prediction(predict(comm, results, plan, progress or silent, default_cache()), results)

    def save(self, folder: Path | str, *, overwrite: bool = False, report: bool = False) -> Path:
        """Write the results into a folder, whole or not at all (collective); `oncology.load` reads it.

        Args:
            folder: made here; its parents too.
            overwrite: replace what an earlier fit left there.
            report: write report.html as well.

        Raises:
            OutputError: the folder is not empty, or cannot be written.
        """
        from oncology.results.folder import output_folder

        folder = Path(folder)
        with output_folder(folder, self.comm, overwrite=overwrite) as work:
            self.write(work, report=report)
        return folder

    def write(self, folder: Path, *, report: bool = False) -> None:
        """Write the results into a folder that exists (collective)."""
        from oncology.parallel import on_root
        from oncology.results.files import write_results

        def write() -> None:
            write_results(folder, self.results)
            if report:
                self.report(folder / "report.html")

        on_root(self.comm, write)

    def report(self, path: Path | str = "report.html") -> Path:
        """Write the report as one HTML page that needs nothing else; return its path.

        Raises:
            OutputError: the page cannot be written.
        """
        from oncology.report.page import write_report

        return write_report(self.results, Path(path))

    def view(self, progress: Progress | None = None) -> ViewPage:
        """Return brain and growing tumour in three dimensions: inline in a notebook; `.save(path)` writes the page."""
        from oncology.api.pages import ViewPage
        from oncology.view.page import build_page
        from oncology.view.sources import subject_of

        return ViewPage(self.estimate.case, build_page(subject_of(self.results), progress or silent))

    def summary(self) -> str:
        """Return the findings in a few sentences: what was found, and what the scans do not determine."""
        from oncology.report.words import cannot_tell, headline

        estimate = self.estimate
        sentences = [*headline(estimate), *cannot_tell(estimate, len(self.results.sessions)), *estimate.warnings]
        return "\n".join(dict.fromkeys(sentences))

    def __repr__(self) -> str:
        return str(self._table())

    def _repr_html_(self) -> str:
        return self._table().html()

    def _rows(self) -> list[tuple[str, float, str, float, float, bool]]:
        """Name, value, unit, ends of the 95 % interval and identified, one per number."""
        rows = []
        for name in self.estimate.parameters:
            if name != "seed":
                found = self.estimate.scalar(name)
                rows.append((name, found.value, found.unit, *found.interval, found.identified))
                continue
            for seed in self.estimate.seeds:
                for axis, value, ends in zip("xyz", seed.value, seed.interval, strict=True):
                    rows.append((f"{seed.name}_{axis}", value, seed.unit, *ends, seed.identified))
        return rows

    def _table(self) -> Table:
        from oncology.report.words import verdict

        estimate = self.estimate
        rows = tuple(
            (
                name.replace("_", " "),
                number(value),
                symbols(unit),
                f"{number(low)} to {number(high)}",
                "yes" if known else "no",
            )
            for name, value, unit, low, high, known in self._rows()
        )
        size = f"{estimate.mesh['size_mm']:g} mm" if "size_mm" in estimate.mesh else ""
        count = len(self.results.sessions)
        sessions = f"{count} session{'s' if count > 1 else ''}"
        title = f"Fit of {estimate.case}, {sessions}, {size} mesh, {estimate.growth_law} growth"
        header = ("parameter", "value", "unit", "95 % interval", "identified")
        return Table(title, header, rows, (verdict(estimate),))


def check_session(results: Results, session: str | None) -> str:
    """Return the id of a session, that of the last one for None.

    Raises:
        ArgumentError: there is none of that id.
    """
    if session is None:
        return results.sessions[-1]
    if session not in results.sessions:
        raise ArgumentError("session", f"{session!r} was not fitted: give one of {', '.join(results.sessions)}")
    return session
