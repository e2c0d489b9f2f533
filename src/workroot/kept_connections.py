"""What conversations of the handshake era asked for, kept so that their clients need not ask again after a restart.

Kept first and shown then, like sessions. Bounded: what is unused for 30 days goes, a connector that does not come
back goes much earlier, and above the limits the longest unused conversation gives way (`core.connection_table`). All
of it is counted on the idle clock: no step of the wall clock ends a conversation that is in use.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from workroot.core.changes import Change, ConnectionForgotten, ConnectionSaved, EndedAliasesForgotten
from workroot.core.connection_table import ConnectionTable
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.ended_aliases import EndedAliases
from workroot.errors import StoreError
from workroot.idle_clock import IdleClock
from workroot.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from workroot.core.connection_table import ConversationName
    from workroot.core.ports import Clock
    from workroot.core.sessions import Alias, Owner

__all__ = ["EXPIRY_SECONDS", "MOST_SUBSCRIPTIONS", "KeptConnections", "keep_nowhere"]

logger = logging.getLogger(__name__)

MOST_SUBSCRIPTIONS = 256
"""Subscriptions of one conversation."""

EXPIRY_SECONDS = 30 * 24 * 3600.0
"""A conversation that is unused for longer is over, and so is the memory of one that was ended."""

_USE_SECONDS = 24 * 3600.0  # how far behind the time of the last use may be; each note of it is a commit
_OLDEST_SECONDS = EXPIRY_SECONDS - _USE_SECONDS  # at the start: whoever was live all the time has a day to come back
_AWAY_SECONDS = 60.0  # a connector that lost its connection is back much earlier, or gone

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
        idle: the clock that all ages are counted on; None for one of its own.

    Attributes:
        is_live: tells whether a connection stands for a conversation now; set by whoever knows the connections.
    """

    def __init__(self, keep: _Keep, clock: Clock, idle: IdleClock | None = None) -> None:
        self._keep, self._clock = keep, clock
        self.now = (idle if idle is not None else IdleClock(clock)).now
        self.is_live: Callable[[Owner, Alias], bool] = lambda owner, alias: False
        self._table = ConnectionTable()
        self._away: dict[ConversationName, float] = {}
        self._ended = EndedAliases()
        self._turns = Turns()
        self._noting: set[ConversationName] = set()

    def __len__(self) -> int:
        return len(self._table)

    def load(self, kept: Iterable[KeptConnection], ended: Iterable[EndedAlias], *, ahead: float = 0.0) -> None:
        """Take over what a store kept.

        Args:
            ahead: of the clock that the store's times are on, in seconds, is this one.
        """
        self._ended.load(replace(each, seen=each.seen + ahead) for each in ended)
        now, wall = self.now(), self._clock.wall()
        for each in sorted(kept, key=_first_used_first):
            if each.seen is None:  # of an older schema
                self._table.put(each, seen=now - min(max(0.0, wall - each.last_used), _OLDEST_SECONDS))
            else:
                seen = each.seen + ahead
                self._table.put(replace(each, seen=seen), seen=max(seen, now - _OLDEST_SECONDS))

    def all(self) -> tuple[KeptConnection, ...]:
        """Return what is kept of every conversation, longest unused first."""
        return tuple(self._table)

    def ended(self) -> tuple[EndedAlias, ...]:
        """Return which conversations were ended by their clients, first ended first."""
        return tuple(self._ended)

    def unknown(
        self, kept: Iterable[KeptConnection], ended: Iterable[EndedAlias]
    ) -> tuple[list[KeptConnection], list[EndedAlias]]:
        """Return what of a store's rows is about conversations that are not known here."""

        def is_unknown(name: ConversationName) -> bool:
            return name not in self._table and name not in self._ended

        return (
            [each for each in kept if is_unknown((each.owner, each.alias))],
            [each for each in ended if is_unknown((each.owner, each.alias))],
        )

    def get(self, owner: Owner, alias: Alias) -> KeptConnection | None:
        """Return what is kept of a conversation, or None if nothing is."""
        return self._table.get((owner, alias))

    def is_over(self, owner: Owner, alias: Alias, *, begun_at: float) -> bool:
        """Tell whether a conversation has ended: by its client, or because it was unused for too long.

        Args:
            begun_at: on the idle clock, as `now` says it.
        """
        name = (owner, alias)
        if name in self._ended:
            return True
        return self.now() - self._table.used(name, begun_at) > EXPIRY_SECONDS

    async def note_use(self, owner: Owner, alias: Alias, *, begun_at: float) -> None:
        """Keep that a conversation is used, once a day: most are over before, and leave nothing behind."""
        name, now = (owner, alias), self.now()
        self._table.use(name, now=now)
        kept = self._table.get(name)
        kept_at = kept.seen if kept is not None and kept.seen is not None else begun_at
        if now - kept_at <= _USE_SECONDS or name in self._noting:
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
        if (owner, alias) in self._table:
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
            ended = EndedAlias(owner, alias, self._clock.wall(), self.now())

            def show() -> None:
                self._hide((owner, alias))
                self._ended.add(ended)

            await self._keep(self._ended.planned(ended), show)

    async def housekeep(self) -> None:
        """Forget what nobody will come back to.

        Raises:
            StoreUnavailableError: it stays until the next time.
        """
        now = self.now()
        gone: list[ConversationName] = []
        for kept in list(self._table):
            name = (kept.owner, kept.alias)
            if self.is_live(*name):
                self._table.see(name, seen=now)
                self._away.pop(name, None)
            elif kept.is_resumable:
                if now - self._table.seen(name, now) > EXPIRY_SECONDS:
                    gone.append(name)
            elif now - self._away.setdefault(name, now) >= _AWAY_SECONDS:
                gone.append(name)
        changes: list[Change] = [ConnectionForgotten(*name) for name in gone]
        before = now - EXPIRY_SECONDS
        if self._ended.has_any(before=before):
            changes.append(EndedAliasesForgotten(before))

        def show() -> None:
            for name in gone:
                self._hide(name)
            self._ended.forget(before=before)

        if changes:
            await self._keep(changes, show)

    async def _change(self, owner: Owner, alias: Alias, edit: Callable[[KeptConnection], KeptConnection]) -> None:
        """Keep a conversation as *edit* makes it, or nothing of it if that is nothing worth keeping."""
        name = (owner, alias)
        async with self._turns.take(name):
            wall, now = self._clock.wall(), self.now()
            before = self._table.get(name) or KeptConnection(owner=owner, alias=alias, last_used=wall)
            after = replace(edit(before), last_used=wall, seen=now)
            if not (after.subscriptions or after.log_level or after.is_resumable):
                await self._keep([ConnectionForgotten(owner, alias)], lambda: self._hide(name))
                return
            victims = self._table.in_the_way_of(after, self.is_live, now=now)

            def show() -> None:
                for victim in victims:
                    self._hide(victim)
                self._table.put(after, seen=self.now())

            await self._keep([*(ConnectionForgotten(*victim) for victim in victims), ConnectionSaved(after)], show)

    def _hide(self, name: ConversationName) -> None:
        self._table.drop(name)
        self._away.pop(name, None)


def _first_used_first(kept: KeptConnection) -> tuple[bool, float]:
    return (False, kept.last_used) if kept.seen is None else (True, kept.seen)
