"""Where and in which precision a network is computed, for callers that do not know torch themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.standalone import StandaloneNODE

__all__ = ["Weights", "device_named", "seeded_weights", "torch_version"]

type Weights = Tensor


def device_named(name: str) -> str:
    """Return the device of a name, `auto` for a GPU where there is one.

    Raises:
        ConfigError: there is no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name!r} cannot be used here; take auto, cpu or cuda") from error
    return name


def seeded_weights(model: StandaloneNODE, seed: int, scale: float | None, precision: str, device: str) -> Tensor:
    """Random weights of a network, smooth in depth, the same numbers on every device.

    Args:
        model: the network.
        seed: of the random numbers.
        scale: standard deviation at whole depths; that of the model if not given.
        precision: "float32" or "float64".
        device: where they are kept.
    """
    like = torch.zeros((), dtype=getattr(torch, precision), device=device)
    return model.initial(torch.Generator().manual_seed(seed), scale).to(like)


def torch_version() -> str:
    """Version of torch, with its build."""
    return str(torch.__version__)
