"""Neural ordinary differential equations as torch modules: `import oncology.nodes as nodes`.

Networks (`SNODE`, `CNODE`), their training (`fit`), certificates (`certify`), attacks (`attack`) and Jacobians; known
equations as modules (`Science`, `heat`, ...) and their identification (`identify`); `odeint` for right-hand sides of
any make. All derivatives are those of the discrete solution. This module is the front door of two packages, `nodes`
and `science`: it loads what is asked for, and nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oncology.nodes.fitting import NetworkFit, fit
    from oncology.nodes.modules import CNODE, SNODE
    from oncology.nodes.ode import odeint
    from oncology.nodes.robustness.assess import attack, certify, jacobian
    from oncology.science.discovery import Found, identify
    from oncology.science.grid import interval, square
    from oncology.science.modules import Science
    from oncology.science.posed import advection, burgers, heat, pose, reaction_diffusion

__all__ = [
    "CNODE",
    "SNODE",
    "Found",
    "NetworkFit",
    "Science",
    "advection",
    "attack",
    "burgers",
    "certify",
    "fit",
    "heat",
    "identify",
    "interval",
    "jacobian",
    "odeint",
    "pose",
    "reaction_diffusion",
    "square",
]

_HOMES = {
    "CNODE": "oncology.nodes.modules",
    "SNODE": "oncology.nodes.modules",
    "NetworkFit": "oncology.nodes.fitting",
    "fit": "oncology.nodes.fitting",
    "odeint": "oncology.nodes.ode",
    "attack": "oncology.nodes.robustness.assess",
    "certify": "oncology.nodes.robustness.assess",
    "jacobian": "oncology.nodes.robustness.assess",
    "advection": "oncology.science.posed",
    "burgers": "oncology.science.posed",
    "heat": "oncology.science.posed",
    "pose": "oncology.science.posed",
    "reaction_diffusion": "oncology.science.posed",
    "Found": "oncology.science.discovery",
    "identify": "oncology.science.discovery",
    "interval": "oncology.science.grid",
    "square": "oncology.science.grid",
    "Science": "oncology.science.modules",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
