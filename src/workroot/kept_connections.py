"""What conversations of the handshake era asked for, kept so that their clients need not ask again after a restart.

Kept first and shown then, like sessions. Bounded: what is unused for 30 days goes, a connector that does not come
back goes much earlier, and above the limits the longest unused conversation gives way; one that a connection stands
for only if there is no other.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from workroot.core.changes import AliasEnded, Change, ConnectionForgotten, ConnectionSaved, EndedAliasesForgotten
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.errors import StoreError
from workroot.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from workroot.core.ports import Clock
    from workroot.core.sessions import Alias, Owner

__all__ = ["EXPIRY_SECONDS", "MOST_SUBSCRIPTIONS", "KeptConnections", "keep_nowhere"]

logger = logging.getLogger(__name__)

MOST_SUBSCRIPTIONS = 256
"""Subscriptions of one conversation."""

EXPIRY_SECONDS = 30 * 24 * 3600.0
"""A conversation that is unused for longer is over, and so is the memory of one that was ended."""

_USE_SECONDS = 24 * 3600.0  # how far behind the time of the last use may be; each note of it is a commit
_OLDEST_SECONDS = EXPIRY_SECONDS - _USE_SECONDS  # at the start: a wrong wall clock leaves everybody a day to come back
_AWAY_SECONDS = 60.0  # a connector that lost its connection is back much earlier, or gone
_MOST_CONNECTIONS = 10_000
_MOST_SUBSCRIPTIONS_IN_ALL = 65_536
_MOST_ENDED = 10_000

_Name: TypeAlias = "tuple[Owner, Alias]"
_Keep: TypeAlias = "Callable[[Sequence[Change], Callable[[], None]], Awaitable[None]]"
"""Keeps changes, then calls what shows them: both or neither, cancelled or not."""


async def keep_nowhere(changes: Sequence[Change], show: Callable[[], None]) -> None:
    """Show changes without keeping them: for a server without a store."""
    show()


class KeptConnections:
    """What is kept of conversations, by their owner and alias.

    Args:
        keep: keeps changes and then shows them; raises `StoreError` if it cannot.
        clock: the time.

    Attributes:
        is_live: tells whether a connection stands for a conversation now; set by whoever knows the connections.
    """

    def __init__(self, keep: _Keep, clock: Clock) -> None:
        self._keep, self._clock = keep, clock
        self.is_live: Callable[[Owner, Alias], bool] = lambda owner, alias: False
        self._kept: OrderedDict[_Name, KeptConnection] = OrderedDict()  # longest unused first, as `_seen` has it
        self._seen: dict[_Name, float] = {}  # on the clock that no step of the wall clock moves
        self._used: OrderedDict[_Name, float] = OrderedDict()  # on the same clock; also of those that keep nothing
        self._away: dict[_Name, float] = {}
        self._ended: OrderedDict[_Name, EndedAlias] = OrderedDict()  # first ended first
        self._subscriptions = 0
        self._turns = Turns()
        self._noting: set[_Name] = set()

    def __len__(self) -> int:
        return len(self._kept)

    def load(self, kept: Iterable[KeptConnection], ended: Iterable[EndedAlias]) -> None:
        """Take over what a store kept."""
        wall, awake = self._clock.wall(), self._clock.awake()
        for each in sorted(kept, key=lambda each: each.last_used):
            self._show(each, seen=awake - min(max(0.0, wall - each.last_used), _OLDEST_SECONDS))
        self._ended.update(((each.owner, each.alias), each) for each in sorted(ended, key=lambda each: each.ended_at))

    def all(self) -> tuple[KeptConnection, ...]:
        """Return what is kept of every conversation, longest unused first."""
        return tuple(self._kept.values())

    def ended(self) -> tuple[EndedAlias, ...]:
        """Return which conversations were ended by their clients, first ended first."""
        return tuple(self._ended.values())

    def unknown(
        self, kept: Iterable[KeptConnection], ended: Iterable[EndedAlias]
    ) -> tuple[list[KeptConnection], list[EndedAlias]]:
        """Return what of a store's rows is about conversations that are not known here."""
        known = self._kept.keys() | self._ended.keys()
        return (
            [each for each in kept if (each.owner, each.alias) not in known],
            [each for each in ended if (each.owner, each.alias) not in known],
        )

    def get(self, owner: Owner, alias: Alias) -> KeptConnection | None:
        """Return what is kept of a conversation, or None if nothing is."""
        return self._kept.get((owner, alias))

    def is_over(self, owner: Owner, alias: Alias, *, begun_at: float) -> bool:
        """Tell whether a conversation has ended: by its client, or because it was unused for too long.

        Args:
            begun_at: in seconds since the Unix epoch.
        """
        name = (owner, alias)
        if name in self._ended:
            return True
        if (used := self._used.get(name, self._seen.get(name))) is not None:
            return self._clock.awake() - used > EXPIRY_SECONDS
        return self._clock.wall() - begun_at > EXPIRY_SECONDS  # nothing else is known of it

    async def note_use(self, owner: Owner, alias: Alias, *, begun_at: float) -> None:
        """Keep that a conversation is used, once a day: most are over before, and leave nothing behind."""
        name = (owner, alias)
        self._used[name] = self._clock.awake()
        self._used.move_to_end(name)
        if len(self._used) > _MOST_CONNECTIONS:
            self._used.popitem(last=False)
        if name in self._kept:
            self._see(name)
        if self._clock.wall() - self._last_use(owner, alias, begun_at) <= _USE_SECONDS or name in self._noting:
            return
        self._noting.add(name)
        try:
            await self._change(owner, alias, lambda before: replace(before, is_resumable=True))
        except StoreError as error:  # a later call notes it
            logger.warning("the use of a conversation could not be kept: %s", error)
        finally:
            self._noting.discard(name)

    async def subscribe(self, owner: Owner, alias: Alias, address: str, *, is_resumable: bool) -> bool:
        """Keep a subscription; False if the conversation has as many as it may have, and then nothing changed.

        Args:
            is_resumable: the client may come back long after its last connection ended.

        Raises:
            ChangeRefusedError: the client has ended this conversation.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        is_room = True

        def add(before: KeptConnection) -> KeptConnection:
            nonlocal is_room
            after = before.subscriptions | {address}
            is_room = len(after) <= MOST_SUBSCRIPTIONS
            return replace(before, subscriptions=after, is_resumable=is_resumable) if is_room else before

        await self._change(owner, alias, add)
        return is_room

    async def unsubscribe(self, owner: Owner, alias: Alias, address: str) -> None:
        """Keep a subscription no more.

        Raises:
            StoreError: as `subscribe`.
        """
        if (owner, alias) in self._kept:
            await self._change(
                owner, alias, lambda before: replace(before, subscriptions=before.subscriptions - {address})
            )

    async def set_log_level(self, owner: Owner, alias: Alias, level: str, *, is_resumable: bool) -> None:
        """Keep from which level on the client wants messages.

        Raises:
            StoreError: as `subscribe`.
        """
        await self._change(owner, alias, lambda before: replace(before, log_level=level, is_resumable=is_resumable))

    async def end(self, owner: Owner, alias: Alias) -> None:
        """The client ends this conversation for good.

        Raises:
            StoreUnavailableError: it goes on; the call may be repeated.
        """
        async with self._turns.take((owner, alias)):
            if (owner, alias) in self._ended:
                return
            ended = EndedAlias(owner, alias, self._clock.wall())
            changes: list[Change] = [AliasEnded(ended)]
            kept = (*self._ended.values(), ended)
            if len(kept) > _MOST_ENDED:
                changes.append(EndedAliasesForgotten(kept[-_MOST_ENDED].ended_at))

            def show() -> None:
                self._hide((owner, alias))
                self._ended[(owner, alias)] = ended
                while len(self._ended) > _MOST_ENDED:
                    self._ended.popitem(last=False)

            await self._keep(changes, show)

    async def housekeep(self) -> None:
        """Forget what nobody will come back to.

        Raises:
            StoreUnavailableError: it stays until the next time.
        """
        now = self._clock.awake()
        gone: list[_Name] = []
        for name, kept in list(self._kept.items()):
            if self.is_live(*name):
                self._see(name)
                self._away.pop(name, None)
            elif kept.is_resumable:
                if now - self._seen[name] > EXPIRY_SECONDS:
                    gone.append(name)
            elif now - self._away.setdefault(name, now) >= _AWAY_SECONDS:
                gone.append(name)
        changes: list[Change] = [ConnectionForgotten(*name) for name in gone]
        before = self._clock.wall() - EXPIRY_SECONDS
        if any(ended.ended_at < before for ended in self._ended.values()):
            changes.append(EndedAliasesForgotten(before))

        def show() -> None:
            for name in gone:
                self._hide(name)
            for name in [name for name, ended in self._ended.items() if ended.ended_at < before]:
                del self._ended[name]

        if changes:
            await self._keep(changes, show)

    async def _change(self, owner: Owner, alias: Alias, edit: Callable[[KeptConnection], KeptConnection]) -> None:
        """Keep a conversation as *edit* makes it, or nothing of it if that is nothing worth keeping."""
        name = (owner, alias)
        async with self._turns.take(name):
            now = self._clock.wall()
            before = self._kept.get(name) or KeptConnection(owner=owner, alias=alias, last_used=now)
            after = replace(edit(before), last_used=now)
            if not (after.subscriptions or after.log_level or after.is_resumable):
                await self._keep([ConnectionForgotten(owner, alias)], lambda: self._hide(name))
                return
            victims = self._in_the_way_of(after)

            def show() -> None:
                for victim in victims:
                    self._hide(victim)
                self._show(after, seen=self._clock.awake())

            await self._keep([*(ConnectionForgotten(*victim) for victim in victims), ConnectionSaved(after)], show)

    def _in_the_way_of(self, new: KeptConnection) -> list[_Name]:
        """Return the conversations that have to give way, those first that no connection stands for.

        Whoever is passed over has been used now: the next look for room does not come by again.
        """
        name = (new.owner, new.alias)
        before = self._kept.get(name)
        count = len(self._kept) + (before is None)
        total = self._subscriptions + len(new.subscriptions) - (len(before.subscriptions) if before else 0)
        victims: list[_Name] = []
        live: list[_Name] = []

        def is_room() -> bool:
            return total <= _MOST_SUBSCRIPTIONS_IN_ALL and count - len(victims) <= _MOST_CONNECTIONS

        for each, kept in self._kept.items():
            if is_room():
                break
            if each == name:
                continue
            if self.is_live(*each):
                live.append(each)
            else:
                victims.append(each)
                total -= len(kept.subscriptions)
        for each in live:
            self._see(each)
            if not is_room():
                victims.append(each)
                total -= len(self._kept[each].subscriptions)
        return victims

    def _see(self, name: _Name) -> None:
        self._seen[name] = self._clock.awake()
        self._kept.move_to_end(name)

    def _last_use(self, owner: Owner, alias: Alias, begun_at: float) -> float:
        kept = self._kept.get((owner, alias))
        return max(begun_at, kept.last_used if kept is not None else 0.0)

    def _show(self, kept: KeptConnection, *, seen: float) -> None:
        name = (kept.owner, kept.alias)
        self._hide(name)
        self._kept[name], self._seen[name] = kept, seen
        self._subscriptions += len(kept.subscriptions)

    def _hide(self, name: _Name) -> None:
        if (kept := self._kept.pop(name, None)) is not None:
            self._subscriptions -= len(kept.subscriptions)
            del self._seen[name]
            self._away.pop(name, None)
