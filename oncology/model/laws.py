"""Growth laws as plain content for files and command lines, and back.

A law is written as a name and the parameters of its dataclass. The name is "exponential", "logistic" or "gompertz",
that of an entry point in the group `oncology.laws`, or the import path "package.module:Class" of a user's own class.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from importlib.metadata import entry_points
from typing import Any

from oncology.errors import ConfigError
from oncology.model.growth import Exponential, Gompertz, GrowthLaw, Logistic

__all__ = ["GROUP", "LAWS", "growth_law", "law_name", "law_parameters"]

LAWS: Mapping[str, type[GrowthLaw]] = {"exponential": Exponential, "logistic": Logistic, "gompertz": Gompertz}
"""The laws of this package by name."""
GROUP = "oncology.laws"
"""Group of the entry points under which installed packages offer laws of their own."""
_METHODS = ("rate", "flow", "flow_slope")
_PLAIN = (bool, int, float, str)


def growth_law(name: str, parameters: Mapping[str, Any] | None = None) -> GrowthLaw:
    """Return a growth law from its name and parameters.

    A name with a colon is imported: only read files whose origin you trust.

    >>> growth_law("gompertz", {"floor": 1e-6})
    Gompertz(floor=1e-06)

    Args:
        name: a name in `LAWS`, of an entry point of the group `oncology.laws`, or "package.module:Class".
        parameters: keyword arguments of the class; its defaults where not given.

    Raises:
        ConfigError: there is no such law, it lacks a method, or it does not take these parameters.
    """
    kind = _law_class(name)
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in (parameters or {}).items()}
    try:
        law = kind(**given)
    except (TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise ConfigError(
            f"growth law {name!r}: cannot be made with {given or 'no parameters'} ({text}): correct the parameters, or "
            "give the class defaults"
        ) from error
    missing = [method for method in _METHODS if not callable(getattr(law, method, None))]
    if missing:
        raise ConfigError(f"growth law {name!r}: has no method {missing[0]}: add it, see docs/extending.md")
    return law


def law_name(law: GrowthLaw) -> str:
    """Return the name from which `growth_law` finds the class of a law.

    Raises:
        ConfigError: the class cannot be imported by a name, as those defined inside a function.
    """
    kind = type(law)
    known = next((name for name, candidate in LAWS.items() if candidate is kind), None)
    path = f"{kind.__module__}:{kind.__qualname__}"
    if known is None:
        known = next((entry.name for entry in entry_points(group=GROUP) if entry.value == path), path)
        if _law_class(known) is not kind:
            raise ConfigError(f"growth law {path!r}: the name stands for another class: give each law its own name")
    return known


def law_parameters(law: GrowthLaw) -> dict[str, Any]:
    """Return the parameters of a law as plain values: numbers, texts, and lists of these.

    >>> law_parameters(Gompertz()), law_parameters(Logistic())
    ({'floor': 1e-08}, {})

    Raises:
        ConfigError: the law has an attribute that is no field of a dataclass, or a field that cannot be written.
    """
    declared: tuple[Field[Any], ...] = fields(law) if is_dataclass(law) else ()
    other = sorted(set(getattr(law, "__dict__", {})) - {field.name for field in declared})
    if other:
        raise ConfigError(
            f"growth law {type(law).__name__}: {other[0]} is no field of a dataclass, so it cannot be written: declare "
            "it, and decorate the class with @dataclass(frozen=True)"
        )
    return {field.name: _plain(law, field.name) for field in declared if field.init}


def _law_class(name: str) -> type[GrowthLaw]:
    """Return the class that a name stands for."""
    if name in LAWS:
        return LAWS[name]
    entry = next(iter(entry_points(group=GROUP, name=name)), None)
    path = name if entry is None else entry.value
    module, colon, attributes = path.partition(":")
    if not (module and colon and attributes):
        known = ", ".join([*LAWS, *sorted(entry.name for entry in entry_points(group=GROUP))])
        raise ConfigError(f"growth law {name!r}: is unknown: give one of {known}, or package.module:Class")
    try:
        found: Any = importlib.import_module(module)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except Exception as error:  # a user's module may fail in any way while it is imported
        text = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"growth law {name!r}: cannot be imported ({text}): define it at the top of a module, and install that "
            "module or add its folder to PYTHONPATH"
        ) from error
    if not isinstance(found, type):
        raise ConfigError(f"growth law {name!r}: is no class: give package.module:Class")
    return found


def _plain(law: GrowthLaw, name: str) -> Any:
    """Return one parameter as a value of JSON and TOML."""
    value = getattr(law, name)
    items = list(value) if isinstance(value, tuple | list) else [value]
    items = [item.item() if hasattr(item, "item") and getattr(item, "ndim", 0) == 0 else item for item in items]
    bad = next((x for x in items if not isinstance(x, _PLAIN) or (isinstance(x, float) and not math.isfinite(x))), None)
    if bad is not None:
        raise ConfigError(
            f"growth law {type(law).__name__}: parameter {name} = {bad!r} cannot be written to a file: use finite "
            "numbers, texts, or tuples of them"
        )
    return items if isinstance(value, tuple | list) else items[0]
