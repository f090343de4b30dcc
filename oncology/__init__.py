"""Parameter estimation for brain-tumour growth from MRI: finite elements, adjoints and neural ODEs.

The names below are loaded when they are first used, so that `import oncology` is quick and loads no engine.

    import oncology as onc

    case = onc.read_case("sub-01")
    fit = onc.fit(case, size=2.5)
    print(fit)
    forecast = fit.predict(days=[30, 60, 90], samples=100)

An inverse problem of one's own is composed of a mesh, an engine, unknowns and data (`InverseProblem`, `solve`,
`laplace`); networks are in `oncology.nodes`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oncology.api.composing import mesh as mesh
    from oncology.api.composing import read_mesh as read_mesh
    from oncology.api.composing import taylor_test as taylor_test
    from oncology.api.fitted import Fit as Fit
    from oncology.api.patients import fit as fit
    from oncology.api.patients import load as load
    from oncology.api.patients import read_case as read_case
    from oncology.api.patients import simulate as simulate
    from oncology.api.prediction import Prediction as Prediction
    from oncology.api.simulation import Simulated as Simulated
    from oncology.fem.engine import FiniteElements as FiniteElements
    from oncology.imaging.case import Case as Case
    from oncology.inverse.laplace import laplace as laplace
    from oncology.inverse.observe import observe as observe
    from oncology.inverse.problem import InverseProblem as InverseProblem
    from oncology.inverse.solve import solve as solve
    from oncology.inverse.unknowns import Field as Field
    from oncology.inverse.unknowns import Matern as Matern
    from oncology.inverse.unknowns import Scalars as Scalars
    from oncology.model.growth import Exponential as Exponential
    from oncology.model.growth import Gompertz as Gompertz
    from oncology.model.growth import Logistic as Logistic
    from oncology.model.tumour import Tumour as Tumour
    from oncology.results.verdict import Verdict as Verdict
    from oncology.voxel.engine import Voxels as Voxels

__version__ = "0.1.0"

_PATIENTS = {
    "Case": "oncology.imaging.case",
    "Fit": "oncology.api.fitted",
    "Prediction": "oncology.api.prediction",
    "Simulated": "oncology.api.simulation",
    "Tumour": "oncology.model.tumour",
    "Verdict": "oncology.results.verdict",
    "fit": "oncology.api.patients",
    "load": "oncology.api.patients",
    "read_case": "oncology.api.patients",
    "simulate": "oncology.api.patients",
}
_COMPOSING = {
    "Exponential": "oncology.model.growth",
    "Field": "oncology.inverse.unknowns",
    "FiniteElements": "oncology.fem.engine",
    "Gompertz": "oncology.model.growth",
    "InverseProblem": "oncology.inverse.problem",
    "Logistic": "oncology.model.growth",
    "Matern": "oncology.inverse.unknowns",
    "Scalars": "oncology.inverse.unknowns",
    "Voxels": "oncology.voxel.engine",
    "laplace": "oncology.inverse.laplace",
    "mesh": "oncology.api.composing",
    "observe": "oncology.inverse.observe",
    "read_mesh": "oncology.api.composing",
    "solve": "oncology.inverse.solve",
    "taylor_test": "oncology.api.composing",
}
_PLACES = {**_PATIENTS, **_COMPOSING}  # public name -> module that defines it

__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *_PLACES})
