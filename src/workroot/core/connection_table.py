"""What conversations of the handshake era asked for, as plain state: the longest unused first, and bounded.

Nothing here waits, reads a clock or touches a disk: callers pass in what was kept, and when it was used.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workroot.core.connections import KeptConnection
    from workroot.core.sessions import Alias, Owner

__all__ = ["ConnectionTable", "ConversationName"]

ConversationName: TypeAlias = "tuple[Owner, Alias]"
"""What a conversation is known by."""

_MOST_CONNECTIONS = 10_000
_MOST_SUBSCRIPTIONS = 65_536


class ConnectionTable:
    """What is kept of conversations, and when each was used last, on the idle clock."""

    def __init__(self) -> None:
        self._kept: OrderedDict[ConversationName, KeptConnection] = OrderedDict()  # longest unused first
        self._seen: dict[ConversationName, float] = {}
        self._used: OrderedDict[ConversationName, float] = OrderedDict()  # also of those that keep nothing
        self._subscriptions = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[KeptConnection]:
        return iter(self._kept.values())

    def __contains__(self, name: ConversationName) -> bool:
        return name in self._kept

    def get(self, name: ConversationName) -> KeptConnection | None:
        """Return what is kept of a conversation, or None if nothing is."""
        return self._kept.get(name)

    def seen(self, name: ConversationName, unknown: float) -> float:
        """Return when a conversation that keeps something was used or live last, or *unknown* if it keeps nothing."""
        return self._seen.get(name, unknown)

    def used(self, name: ConversationName, unknown: float) -> float:
        """Return when a conversation was used last, whether it keeps something or not, or *unknown*."""
        return self._used[name] if name in self._used else self.seen(name, unknown)

    def use(self, name: ConversationName, *, now: float) -> None:
        """Note that a conversation is used now."""
        self._used[name] = now
        self._used.move_to_end(name)
        if len(self._used) > _MOST_CONNECTIONS:
            self._used.popitem(last=False)
        if name in self._kept:
            self.see(name, seen=now)

    def put(self, kept: KeptConnection, *, seen: float) -> None:
        """Show what is kept of a conversation that was used last of all."""
        name = (kept.owner, kept.alias)
        self.drop(name)
        self._kept[name], self._seen[name] = kept, seen
        self._subscriptions += len(kept.subscriptions)

    def see(self, name: ConversationName, *, seen: float) -> None:
        """Note that a conversation of which something is kept is used."""
        self._seen[name] = seen
        self._kept.move_to_end(name)

    def drop(self, name: ConversationName) -> None:
        """Show nothing more of a conversation."""
        if (kept := self._kept.pop(name, None)) is not None:
            self._subscriptions -= len(kept.subscriptions)
            del self._seen[name]

    def in_the_way_of(
        self, new: KeptConnection, is_live: Callable[[Owner, Alias], bool], *, now: float
    ) -> list[ConversationName]:
        """Return the conversations that have to give way, those first that no connection stands for.

        Whoever is passed over has been used *now*: the next look for room does not come by again.
        """
        name = (new.owner, new.alias)
        before = self._kept.get(name)
        count = len(self._kept) + (before is None)
        total = self._subscriptions + len(new.subscriptions) - (len(before.subscriptions) if before else 0)
        victims: list[ConversationName] = []
        live: list[ConversationName] = []

        def is_room() -> bool:
            return total <= _MOST_SUBSCRIPTIONS and count - len(victims) <= _MOST_CONNECTIONS

        for each, kept in self._kept.items():
            if is_room():
                break
            if each == name:
                continue
            if is_live(*each):
                live.append(each)
            else:
                victims.append(each)
                total -= len(kept.subscriptions)
        for each in live:
            self.see(each, seen=now)
            if not is_room():
                victims.append(each)
                total -= len(self._kept[each].subscriptions)
        return victims
