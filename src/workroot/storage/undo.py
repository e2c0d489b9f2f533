"""Changes of dictionaries that can be taken back: how what is kept in memory is kept all or not at all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Undo"]

_K = TypeVar("_K")
_V = TypeVar("_V")


class Undo:
    """Changes dictionaries, and can take it all back."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def put(self, kept: dict[_K, _V], key: _K, value: _V) -> None:
        """Let *kept* hold *value* under *key*."""
        if key in kept:
            self._steps.append(partial(kept.__setitem__, key, kept[key]))
        else:
            self._steps.append(partial(kept.__delitem__, key))
        kept[key] = value

    def drop(self, kept: dict[_K, _V], key: _K) -> None:
        """Let *kept* hold nothing under *key*."""
        if key in kept:
            self._steps.append(partial(kept.__setitem__, key, kept.pop(key)))

    def run(self) -> None:
        """Take all changes back, the last one first."""
        for step in reversed(self._steps):
            step()
