"""`oncology completion`: what a shell needs to complete commands, options and their choices."""

from __future__ import annotations

from typing import Literal

from oncology.parallel import launched_rank

__all__ = ["completion"]


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print a script with which a shell completes commands, options and their choices (docs/commands.md).

    Args:
        shell: The shell that is to read it.

    Returns:
        0.
    """
    if launched_rank() > 0:
        return 0
    from oncology.cli.main import build_app

    print(build_app([]).generate_completion(shell=shell), end="")
    return 0
