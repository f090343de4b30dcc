"""Plots of a fit and of a prediction, each a matplotlib figure of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oncology.errors import ConfigError
from oncology.results.files import Results
from oncology.results.prediction import PredictionResults

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FitPlots", "PredictionPlots"]


@dataclass(frozen=True, eq=False, repr=False)
class FitPlots:
    """Plots of a fit: `growth`, `convergence`, `slices`."""

    results: Results

    def growth(self) -> Figure:
        """Plot volume and equivalent radius of both regions over time, with 95 % intervals and the scans as points."""
        from oncology.report.curves import growth_figure

        return growth_figure(self.results)

    def convergence(self) -> Figure:
        """Plot misfit and parameters over the accepted iterates.

        Raises:
            ConfigError: the fit left no log.
        """
        from oncology.report.curves import convergence_figure

        if not self.results.log:
            raise ConfigError(f"{self.results.name}: has no log of its iterates: fit the case again")
        return convergence_figure(self.results.log)

    def slices(self, session: str | None = None) -> Figure:
        """Plot a session in three planes, scan against model.

        Args:
            session: id; None: the last one.

        Raises:
            ArgumentError: there is no session of that id.
        """
        from oncology.api.fitted import check_session
        from oncology.report.slices import field_of_view, session_figure

        return session_figure(self.results, check_session(self.results, session), *field_of_view(self.results))

    def __repr__(self) -> str:
        return "plots: growth(), convergence(), slices(session)"


@dataclass(frozen=True, eq=False, repr=False)
class PredictionPlots:
    """Plots of a prediction: `growth`."""

    prediction: PredictionResults
    results: Results

    def growth(self) -> Figure:
        """Plot the growth of the fit and, after the last session, the prediction with its 95 % intervals."""
        from oncology.report.curves import growth_figure
        from oncology.report.prediction import joined_curves

        last = self.prediction.record.last_session.day
        return growth_figure(self.results, joined_curves(self.results, self.prediction.record.volumes), last)

    def __repr__(self) -> str:
        return "plots: growth()"
