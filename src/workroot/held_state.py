"""All that is held in memory, in step with the store: kept first and shown then, all of it or nothing.

Memory serves the reads. The store is told who holds what it keeps, so that a file which is lost can be written anew.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workroot.core.allocation_table import AllocationTable
from workroot.core.changes import AllocationSaved, IdleMarked, StoredState
from workroot.core.session_table import SessionTable
from workroot.errors import NotStartedError
from workroot.finishing import finish
from workroot.idle_clock import IdleClock
from workroot.kept_connections import KeptConnections
from workroot.project_notes import ProjectNotes
from workroot.registry import ProjectRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from workroot.core.allocations import AllocatedSession
    from workroot.core.changes import AliasBound, Change, ProjectSeen
    from workroot.core.connections import EndedAlias, KeptConnection
    from workroot.core.identities import Identities
    from workroot.core.ports import Clock, SessionStore
    from workroot.core.projects import KnownId
    from workroot.core.sessions import Alias, EndedSession, Owner, SessionContext

__all__ = ["HeldState", "Moment"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """All that was held at one moment, to be read once, as slowly as it may be: nothing changes it any more.

    The fields are those of `StoredState`, without the idle clock.
    """

    namespace: str
    sessions: Iterable[SessionContext]
    ended: Iterable[EndedSession]
    aliases: Iterable[AliasBound]
    projects: Iterable[ProjectSeen]
    project_ids: Iterable[KnownId]
    connections: Iterable[KeptConnection]
    ended_aliases: Iterable[EndedAlias]
    allocations: Iterable[AllocatedSession]


class HeldState:
    """What is shown, and the one way to change it.

    Attributes:
        sessions: who works where, and how sessions ended.
        allocations: who was given an id, and until when.
        projects: the projects that somebody has worked in.
        notes: plans and shows what is kept of projects.
        connections: what conversations of the handshake era asked for.
        idle: the clock that idle time is counted on.
        is_loaded: there is something to change.

    Args:
        store: keeps the changes.
        clock: the time.
        state: what the store keeps, if it is loaded already.
        identities: under which ids projects are known, shared with the finder of places; None keeps none.
    """

    def __init__(
        self, store: SessionStore, clock: Clock, state: StoredState | None, identities: Identities | None
    ) -> None:
        self._store, self._clock, self._state = store, clock, state
        self._namespace, self.is_loaded = "", False
        self._is_mark_kept = False  # since it is loaded, beside a time to live
        self.idle = IdleClock(clock)
        self.sessions = SessionTable()
        self.allocations = AllocationTable()
        self.projects = ProjectRegistry()
        self.notes = ProjectNotes(self.projects, identities)
        self.connections = KeptConnections(self.keep, clock, self.idle)

    async def load(self) -> None:
        """Take over what the store keeps; the second time there is nothing to do.

        Raises:
            StoreUnavailableError: it cannot be read; nothing was taken over.
        """
        if self.is_loaded:
            return
        state = self._state if self._state is not None else await self._store.load()
        self._namespace = state.namespace
        self.sessions.load(state, seen=self.idle.load(state))
        self.notes.load(state.projects, state.project_ids)
        self.connections.load(state.connections, state.ended_aliases)
        self.allocations.load(state.allocations)
        self._state, self.is_loaded = None, True
        self._store.attach(self.snapshot, self.adopt)
        logger.info("holding %d sessions, %d are allocated", len(self.sessions), len(self.allocations))

    async def keep(self, changes: Sequence[Change], tell: Callable[[], None]) -> None:
        """Let the store keep changes, then show them and tell of them: all of it, cancelled or not, or nothing.

        Raises:
            NotStartedError: nothing was loaded yet.
            StoreError: nothing changed.
        """
        if not self.is_loaded:
            raise NotStartedError
        if changes:
            await finish(self._keep(changes, tell))

    async def keep_unheard_of(self, allocation: AllocatedSession) -> None:
        """Let the store keep a new session whose id nobody has heard of until this returns, then show it.

        That spares the task that `keep` needs, a quarter of what a new id costs. Who is cancelled never learns the id,
        so it does not matter that it is shown although the store may not have kept it.

        Raises:
            NotStartedError: nothing was loaded yet.
            StoreError: nothing changed.
        """
        if not self.is_loaded:
            raise NotStartedError
        try:
            await self._commit((AllocationSaved(allocation),))
        except asyncio.CancelledError:  # else so much more might be kept than is held, and outlive a restart uncounted
            self.allocations.put(allocation)
            raise
        self.allocations.put(allocation)

    async def _keep(self, changes: Sequence[Change], tell: Callable[[], None]) -> None:
        await self._commit(changes)
        self.sessions.apply(changes, seen=self.idle.now())  # in this very step: whoever asks for a snapshot gets it
        self.allocations.apply(changes)
        for change in changes:
            if type(change) is AllocationSaved:
                self._look_anew(change.allocation)
        tell()

    async def _commit(self, changes: Sequence[Change]) -> None:
        """Let the store keep changes; with the first time to live, where the clock stands that it counts on.

        Else that is written behind, and a machine that fails before would give all sessions of a new store the time up
        to then anew, those that are over too.
        """
        if self._is_mark_kept or not any(type(each) is AllocationSaved for each in changes):
            await self._store.commit(changes)
            return
        await self._store.commit((*changes, IdleMarked(self.idle.peek())))
        self._is_mark_kept = True

    def _look_anew(self, allocation: AllocatedSession) -> None:
        """Let no reader pass by the allocation that a session has by now."""
        if (session := self.sessions.of_key(allocation.key)) is not None:
            self.sessions.leave_window(session)

    def of_alias(self, owner: Owner, alias: Alias) -> SessionContext | None:
        """Return the session that an alias stands for, or None if there is none, or its time has run out."""
        session = self.sessions.of_alias(owner, alias)
        if session is not None and self.allocations.is_over(session.key, now=self.idle.now()):
            return None
        return session

    def snapshot(self) -> StoredState:
        """Return all that is held."""
        return StoredState(
            namespace=self._namespace,
            sessions=tuple(self.sessions.all()),
            seen=self.sessions.seen_at(),
            ended=tuple(self.sessions.endings),
            aliases=self.sessions.aliases.all(),
            projects=self.projects.all(),
            project_ids=self.notes.known_ids(),
            connections=self.connections.all(),
            ended_aliases=self.connections.ended(),
            allocations=self.allocations.all(),
            idle_mark=self.idle.mark(),
        )

    def moment(self) -> Moment:
        """Return all that is held at this moment.

        References are copied, and nothing is made of them yet: of 100,000 sessions and as many endings that is one
        step of some 6 ms, where `snapshot` takes 90.
        """
        return Moment(
            namespace=self._namespace,
            sessions=self.sessions.as_of_now(),
            ended=tuple(self.sessions.endings),
            aliases=self.sessions.aliases.as_of_now(),
            projects=self.projects.as_of_now(),
            project_ids=self.notes.known_ids(),
            connections=self.connections.all(),
            ended_aliases=self.connections.ended(),
            allocations=self.allocations.all(),
        )

    def adopt(self, state: StoredState) -> None:
        """Take over what a store turns out to hold that could not be read at the start; what is known here stays.

        The store's idle clock is another one than this: all is as long ago here as it is there. Ids of projects derive
        from the store's namespace again after the next start; those that were given meanwhile are kept, and so stay.
        """
        theirs = IdleClock(self._clock)
        seen = theirs.load(state)
        ahead = self.idle.now() - theirs.now()
        self._namespace = state.namespace
        state = replace(state, ended=tuple(replace(each, seen=each.seen + ahead) for each in state.ended))
        self.sessions.load(state, seen={key: at + ahead for key, at in seen.items()})
        self.notes.load(*self.notes.unknown(state.projects, state.project_ids))
        self.connections.load(*self.connections.unknown(state.connections, state.ended_aliases), ahead=ahead)
        self.allocations.load(state.allocations, ahead=ahead)
        for allocation in state.allocations:
            self._look_anew(allocation)
        logger.info("taken over from the store: %d sessions are held now", len(self.sessions))
