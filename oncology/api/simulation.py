"""A simulation as users hold it: volumes, densities, the mesh and files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oncology.results.simulation import SimulationResults, day_image, timed_simulation, write_simulation
from oncology.text import Table, number, plain

if TYPE_CHECKING:
    import nibabel
    import pandas
    import pyvista

__all__ = ["Simulated"]


@dataclass(frozen=True, eq=False, repr=False)
class Simulated:
    """What `oncology.simulate` grew.

    Attributes:
        results: everything that the simulation leaves behind.
    """

    results: SimulationResults

    @property
    def days(self) -> tuple[float, ...]:
        """Days that were asked for, ascending."""
        return self.results.days

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know, in sentences."""
        return self.results.record.notes

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per frame with day, mass (mm^3) and the volumes `whole` and `core` (mL)."""
        import pandas

        rows = [
            (frame["day"], frame["mass_mm3"], frame["volume_ml"]["oedema"], frame["volume_ml"]["core"])
            for frame in self.results.record.frames
        ]
        return pandas.DataFrame(rows, columns=["day", "mass", "whole", "core"])

    def density(self, day: float | None = None) -> nibabel.Nifti1Image:
        """Return the density (0..1) on a day as an image on the grid of the tissue maps.

        Args:
            day: of the case's calendar; None: the last one.

        Raises:
            ArgumentError: the day is outside the simulation.
        """
        from oncology.api.images import nifti, vertex_density

        return nifti(day_image(self.results, vertex_density(self.results.trajectory, day)))

    def to_pyvista(self, day: float | None = None) -> pyvista.UnstructuredGrid:
        """Return the mesh with the density on a day, as `Fit.to_pyvista`."""
        from oncology.api.images import grid_of, vertex_density

        results = self.results
        return grid_of(results.mesh, vertex_density(results.trajectory, day), results.threshold)

    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write the simulation into a folder, whole or not at all.

        Raises:
            OutputError: the folder is not empty, or cannot be written.
        """
        from oncology.results.folder import output_folder

        folder = Path(folder)
        with output_folder(folder, overwrite=overwrite) as work:
            self.write(work)
        return folder

    def write(self, folder: Path, *, seconds: float | None = None) -> None:
        """Write the simulation into a folder that exists (rank 0); `seconds` is what it took, to be noted there."""
        write_simulation(folder, self.results if seconds is None else timed_simulation(self.results, seconds))

    def __repr__(self) -> str:
        return str(self._table())

    def _repr_html_(self) -> str:
        return self._table().html()

    def _table(self) -> Table:
        shown = [frame for frame in self.results.record.frames if frame["day"] in self.days]
        rows = tuple((plain(f["day"]), number(f["volume_ml"]["oedema"]), number(f["volume_ml"]["core"])) for f in shown)
        return Table(f"Tumour simulated in {self.results.case.id}", ("day", "whole, mL", "core, mL"), rows, self.notes)
