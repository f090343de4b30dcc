"""A methods paragraph to paste into a paper, made of what a fit was, with the works that it cites."""

from __future__ import annotations

from dataclasses import dataclass

from oncology import __version__
from oncology.results.files import Results
from oncology.text import plain

__all__ = ["Methods", "methods"]

CITATIONS = {
    "Swanson et al. 2000": (
        "K. R. Swanson, E. C. Alvord, J. D. Murray. A quantitative model for differential motility of gliomas in "
        "grey and white matter. Cell Proliferation 33, 317-329 (2000)."
    ),
    "Fowler 1989": (
        "J. F. Fowler. The linear-quadratic formula and progress in fractionated radiotherapy. British Journal of "
        "Radiology 62, 679-694 (1989)."
    ),
    "Labelle and Shewchuk 2007": (
        "F. Labelle, J. R. Shewchuk. Isosurface stuffing: fast tetrahedral meshes with good dihedral angles. ACM "
        "Transactions on Graphics 26(3), article 57 (2007)."
    ),
    "Baratta et al. 2023": (
        "I. A. Baratta et al. DOLFINx: the next generation FEniCS problem solving environment. Zenodo (2023). "
        "doi:10.5281/zenodo.10447666."
    ),
    "Huber 1967": (
        "P. J. Huber. The behavior of maximum likelihood estimates under nonstandard conditions. Proceedings of "
        "the Fifth Berkeley Symposium on Mathematical Statistics and Probability 1, 221-233 (1967)."
    ),
    "Patterson and Thompson 1971": (
        "H. D. Patterson and R. Thompson. Recovery of inter-block information when block sizes are unequal. "
        "Biometrika 58, 545-554 (1971)."
    ),
}
ENGINES = {
    "fem": (
        "linear finite elements on tetrahedra of {size} mm near the tumour (Labelle and Shewchuk 2007) with DOLFINx "
        "{dolfinx} (Baratta et al. 2023)"
    ),
    "voxel": "finite volumes on voxels of {size} mm",
    "surrogate": (
        "a neural surrogate, corrected by linear finite elements of {size} mm with DOLFINx {dolfinx} "
        "(Baratta et al. 2023)"
    ),
}


@dataclass(frozen=True)
class Methods:
    """A paragraph as sentences, and the works that they cite, in full."""

    text: tuple[str, ...]
    citations: tuple[str, ...]


def methods(results: Results) -> Methods:
    """Return the paragraph of a fit."""
    estimate, config = results.estimate, results.config
    versions, settings = config.get("versions", {}), config.get("settings", {})
    size = settings.get("size_mm", estimate.mesh.get("size_mm"))
    engine = ENGINES.get(settings.get("engine", "fem"), ENGINES["fem"]).format(
        size=plain(float(size)) if isinstance(size, int | float) else "?", dolfinx=versions.get("dolfinx", "")
    )
    count = len(results.sessions)
    low, high = f"{estimate.thresholds.oedema:g}", f"{estimate.thresholds.core:g}"
    text = [
        f"Tumour growth was modelled as diffusion of tumour cells in white and grey matter with {estimate.growth_law} "
        "proliferation (Swanson et al. 2000), from a small ball of cells on the day of onset.",
        f"The equation was solved by {engine}, as implemented in oncology {versions.get('oncology', __version__)}.",
        f"The boundaries of the whole tumour and of its core in {count} MRI session{'s' if count > 1 else ''} were "
        f"taken as cell densities of {low} and {high} of the carrying capacity.",
        "Diffusion, proliferation, and site and day of onset were estimated by Gauss-Newton iterations on the squared "
        "difference of segmented and modelled volume fractions with exact discrete derivatives.",
        "Intervals (95 %) are those of a Gaussian posterior whose covariance counts correlated displacements of the "
        "boundaries (Huber 1967; Patterson and Thompson 1971) and broad priors.",
    ]
    if any(entry.get("kind") == "radiotherapy" for entry in estimate.treatments if isinstance(entry, dict)):
        text.insert(1, "Radiotherapy leaves a fraction of the cells by the linear-quadratic formula (Fowler 1989).")
    if estimate.shape_correction:
        text.append("The density before the first scan was corrected where one seed did not explain its shape.")
    joined = " ".join(text)
    return Methods(tuple(text), tuple(full for short, full in CITATIONS.items() if short in joined))
