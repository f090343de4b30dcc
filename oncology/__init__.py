"""Parameter estimation for brain-tumour growth from MRI: finite elements, adjoints and neural ODEs.

The names below are loaded when they are first used, so that `import oncology` is quick and loads no engine.

    import oncology as onc

    case = onc.read_case("sub-01")
    fit = onc.fit(case, size=2.5)
    print(fit)
    forecast = fit.predict(days=[30, 60, 90], samples=100)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oncology.api.fitted import Fit as Fit
    from oncology.api.patients import fit as fit
    from oncology.api.patients import load as load
    from oncology.api.patients import read_case as read_case
    from oncology.api.patients import simulate as simulate
    from oncology.api.prediction import Prediction as Prediction
    from oncology.api.simulation import Simulated as Simulated
    from oncology.imaging.case import Case as Case
    from oncology.model.tumour import Tumour as Tumour

__version__ = "0.1.0"

_PATIENTS = {
    "Case": "oncology.imaging.case",
    "Fit": "oncology.api.fitted",
    "Prediction": "oncology.api.prediction",
    "Simulated": "oncology.api.simulation",
    "Tumour": "oncology.model.tumour",
    "fit": "oncology.api.patients",
    "load": "oncology.api.patients",
    "read_case": "oncology.api.patients",
    "simulate": "oncology.api.patients",
}
_PLACES = {**_PATIENTS}  # public name -> module that defines it

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
