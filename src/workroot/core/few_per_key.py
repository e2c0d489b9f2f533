"""An index in which most keys have one value: it costs no more there than a dictionary."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["FewPerKey"]

K = TypeVar("K")
V = TypeVar("V")


class _Several(set[V]):
    """More than one value; a type of its own, so that no value is taken for it."""

    __slots__ = ()


class FewPerKey(Generic[K, V]):
    """Values by key; a lone one is kept bare, since a set of one takes 216 bytes."""

    def __init__(self) -> None:
        self._values: dict[K, V | _Several[V]] = {}

    def __len__(self) -> int:
        """How many keys have values."""
        return len(self._values)

    def of(self, key: K) -> tuple[V, ...]:
        """Return the values of *key*, in any order."""
        if key not in self._values:
            return ()
        held = self._values[key]
        return tuple(held) if isinstance(held, _Several) else (held,)

    def add(self, key: K, value: V) -> None:
        """Add a value; one that is there already stays."""
        held = self._values.setdefault(key, value)
        if isinstance(held, _Several):
            held.add(value)
        elif held is not value and held != value:
            self._values[key] = _Several((held, value))

    def discard(self, key: K, value: V) -> None:
        """Remove a value if it is there."""
        held = self._values.get(key)
        if isinstance(held, _Several):
            held.discard(value)
            if len(held) == 1:
                self._values[key] = held.pop()
        elif held is value or held == value:
            self._values.pop(key, None)
