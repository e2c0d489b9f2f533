"""`SessionContextManager`: who works where, asked and changed by many at once.

A change is made in its session's turn: worked out, kept by the store, and shown only then
(`session_ledger`); directory, config and project change together under one revision. Readers never
wait: they take the published, frozen `SessionContext`, and directories are looked at anew.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from workroot.allocating import LedgerAllocations
from workroot.allocation_ends import AllocationEnds
from workroot.claims import Claims
from workroot.clock import SystemClock
from workroot.core.sessions import (
    EndedSession,
    Ending,
    Owner,
    SessionContext,
    SessionId,
    SessionKey,
    check_session_id,
)
from workroot.counters import Counters
from workroot.errors import StoreUnavailableError
from workroot.followed_places import FollowedPlaces
from workroot.follower import Follower
from workroot.joining import Joined, join_project
from workroot.live_connections import LiveConnections
from workroot.mover import Entered, Mover
from workroot.resolver import Resolver
from workroot.session_ledger import SessionLedger
from workroot.session_reader import LOCAL_OWNER, SessionReader
from workroot.session_rules import DEFAULT_RULES, SessionRules
from workroot.surroundings import Surroundings
from workroot.turns import Turns
from workroot.upkeep import Upkeep

if TYPE_CHECKING:
    from types import TracebackType

    from workroot.core.answer import Resolution
    from workroot.core.changes import StoredState
    from workroot.core.identities import Identities
    from workroot.core.ports import Clock, PlaceFinder, SessionStore
    from workroot.core.projects import Directory
    from workroot.core.signs import Signs

__all__ = ["LOCAL_OWNER", "Entered", "SessionContextManager"]


class SessionContextManager(SessionReader):
    """Maps sessions to working directories and projects, and keeps that map.

    Use it as a context manager, or call `start` and `stop`.

    Args:
        store: where sessions are kept.
        places: finds the project that owns a directory.
        clock: the time.
        home: the user's home directory; as a hint it says nothing about a project.
        rules: how far sessions may move, how long they last, and how many there may be.
        counters: count the sessions that gave way.
        identities: the ids of projects, shared with *places*; None if that keeps none.
        state: what the store keeps, from a caller that has loaded it already; None lets `start` load it.
    """

    def __init__(
        self,
        store: SessionStore,
        places: PlaceFinder,
        *,
        clock: Clock | None = None,
        home: str = "",
        rules: SessionRules = DEFAULT_RULES,
        counters: Counters | None = None,
        identities: Identities | None = None,
        state: StoredState | None = None,
    ) -> None:
        clock = clock if clock is not None else SystemClock()
        counters = counters if counters is not None else Counters()
        ledger, turns = SessionLedger(store, clock, state, identities), Turns()
        live = LiveConnections(ledger)
        self._upkeep = Upkeep(ledger, turns, live, store=store, clock=clock, counters=counters, rules=rules)
        surroundings = Surroundings(places, ledger.projects, home=home, reach=rules.model_may_move)
        super().__init__(ledger, live, self._upkeep.sweeper, surroundings)
        self._turns, claims = turns, Claims(ledger, turns)
        self.followed = FollowedPlaces(ledger.events)
        self._follower = Follower(ledger, turns, self._surroundings, self.followed)
        self._resolver = Resolver(ledger, claims, self._surroundings, self._follower)
        self._mover = Mover(ledger, turns, claims, self._surroundings, self._follower)
        self._allocations, self._ends = LedgerAllocations(ledger, turns), AllocationEnds(ledger, turns)

    @property
    def turns(self) -> Turns:
        """One a session: whoever holds it may change the session."""
        return self._turns

    @property
    def is_started(self) -> bool:
        """Whether this was started, and goes on."""
        return self._upkeep.jobs.is_running

    @property
    def home_loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop in which this was started last: calls from others have to be passed on to it."""
        return self._upkeep.loop

    @property
    def is_ending(self) -> bool:
        """Whether this event loop is the one in which this was started, and ends: nothing is to begin there."""
        return self._upkeep.jobs.is_ending

    @property
    def home_pid(self) -> int | None:
        """The process in which this was started last: one that is forked from it has a copy that nobody keeps."""
        return self._upkeep.pid

    @property
    def allocations(self) -> LedgerAllocations:
        """Sessions that are allocated for a time, with small values of their own."""
        return self._allocations

    def change_rules(self, rules: SessionRules) -> None:
        """Go on with other rules, from now on or from the next sweep on; the time of late writes stays as it was."""
        self._surroundings.reach = rules.model_may_move
        self._upkeep.change(rules)

    # Life

    async def start(self) -> None:
        """Load what the store keeps, and begin to sweep. Idempotent; starts again after `stop`.

        Raises:
            StoreUnavailableError: the store cannot be read; nothing was started.
        """
        async with self._turns.take("start"):
            await self._ledger.load()
            self._upkeep.start()

    async def stop(self) -> None:
        """End the sweeper and write what was left to write. Idempotent; what is held stays readable."""
        await self._upkeep.stop()

    async def __aenter__(self) -> SessionContextManager:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, even when cancelled; bounded."""
        with anyio.move_on_after(5, shield=True):
            await self.stop()

    # The interface that people know

    async def set_working_directory(
        self, session_id: str, directory: str, *, owner: Owner = LOCAL_OWNER
    ) -> SessionContext:
        """Let a session work in *directory*; the first time, this opens it.

        Returns:
            The session as it is kept now.

        Raises:
            DirectoryError: the directory cannot be worked in; nothing changed.
            DryRunError: its project wants switches reported, not made; nothing changed.
            SessionError: the id cannot be one, or the session ended, or it is somebody else's.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        return await self._mover.move(owner, check_session_id(session_id), directory)

    # What it offers beyond

    async def current_session(self, session_id: str, *, owner: Owner = LOCAL_OWNER) -> SessionContext:
        """Return a session in the project that owns its directory as of now.

        Raises:
            SessionError: as `get_session`.
        """
        session = self.get_session(session_id, owner=owner)
        with suppress(StoreUnavailableError):
            await self.refresh(owner, session.working_directory)
        return self.get_session(session_id, owner=owner)

    async def is_decided_by_meta(self, signs: Signs) -> bool:
        """Tell whether a call's `_meta` names where it works, so that no answer about roots could change that."""
        return await self._resolver.is_decided_by_meta(signs)

    async def resolve(self, owner: Owner, signs: Signs, *, is_told: bool = True) -> Resolution:
        """Return where a call works, decided anew from its signs; its session follows if it has moved.

        Args:
            is_told: the caller is shown the answer, so what changed since the one before needs no telling again.

        Raises:
            DirectoryError: a directory that was named explicitly cannot be worked in.
            MoveRefusedError: the argument `directory` is out of a model's reach.
            SessionError: the handle cannot be used.
            SignsDisagreeError: signs of equal authority name different sessions or directories.
            StrictModeError: the project that the caller is in answers for no directory outside of it.
        """
        return await self._resolver.resolve(owner, signs, is_told=is_told)

    async def enter(self, owner: Owner, signs: Signs, directory: str, *, project: str | None = None) -> Entered:
        """Let the call's session work in *directory*; a call that is in none gets a new one.

        Args:
            directory: absolute.
            project: what the caller called the project there, by id, name or root; None if it named a directory.

        Raises:
            DirectoryError: the directory cannot be worked in; nothing changed.
            MoveRefusedError: it is out of a model's reach; nothing changed.
            ProjectUnknownError: another project than *project* is there now; nothing changed.
            SessionError: the handle cannot be used; nothing changed.
            SignsDisagreeError: signs of equal authority name different sessions.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        return await self._mover.enter(owner, signs, directory, project=project)

    async def refresh(self, owner: Owner, directory: Directory) -> None:
        """Look again at a directory where *owner* works, and move the sessions there along with its project.

        Raises:
            StoreUnavailableError: what changed could not be kept; the next call looks again.
        """
        await self._follower.refresh(owner, directory)

    async def refresh_all(self) -> None:
        """Look again at where the latest sessions work: what has changed while nobody looked is told."""
        await self._follower.refresh_all()

    async def join_project(self, directory: str, *, owner: Owner = LOCAL_OWNER) -> Joined:
        """Make the project at *directory* one with the others that have the id its config claims.

        Raises:
            DirectoryError: there is nothing to work in.
            JoinRefusedError: there is no project there whose config claims an id.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        return await join_project(self._ledger, self._surroundings, owner, directory)

    async def close_session(self, session_id: str, *, owner: Owner = LOCAL_OWNER) -> EndedSession:
        """Forget a session for good; if it was allocated, that is over too.

        Raises:
            SessionError: the handle cannot be used.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        known = check_session_id(session_id)
        async with self._turns.take(SessionKey(owner.sandbox, known)):
            session, beside = self._sessions.get(owner, known), self._ends.changes_of_closing(owner, known)
            [ended] = await self._ledger.end([session], Ending.CLOSED, beside)
        return ended

    async def make_room(self) -> None:
        """End so many sessions as are held above `max_sessions`, the longest idle ones first.

        Raises:
            StoreUnavailableError: the next sweep does it.
        """
        await self._upkeep.make_room()

    async def sweep(self) -> list[SessionId]:
        """End the sessions that were idle for too long, and return which.

        A session with a live connection, or in the middle of a change, is in use. Very many are looked at twice: the
        first time none ends, and `postponed_sweep` says when.
        """
        return await self._sweeper.sweep()
