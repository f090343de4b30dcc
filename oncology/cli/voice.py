"""How much a command says: words that may stand anywhere on the command line and hold for all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

__all__ = ["Voice", "speaking", "voice"]

_WORDS = {"--debug": "debug", "--quiet": "quiet", "-v": "verbose", "--verbose": "verbose"}


@dataclass(frozen=True)
class Voice:
    """How much a command says.

    Attributes:
        quiet: results and errors alone; neither progress nor notes, nor what comes next.
        verbose: a line for every step, in a pipe too.
        debug: the traceback of an error.
        words: the command line as it was typed.
    """

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, arguments: Sequence[str]) -> tuple[Self, list[str]]:
        """Return the voice that a command line asks for, and its other words."""
        asked = {_WORDS[word]: True for word in arguments if word in _WORDS}
        return cls(words=tuple(arguments), **asked), [word for word in arguments if word not in _WORDS]


_VOICE: ContextVar[Voice] = ContextVar("voice")


def voice() -> Voice:
    """Return the voice of the command that is running."""
    return _VOICE.get(Voice())


@contextmanager
def speaking(chosen: Voice) -> Iterator[None]:
    """Let the block speak with a voice."""
    token = _VOICE.set(chosen)
    try:
        yield
    finally:
        _VOICE.reset(token)
