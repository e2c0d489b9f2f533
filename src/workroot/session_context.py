"""`SessionContextManager`: who works where, asked and changed by many at once.

A change is made in its session's turn: worked out, kept by the store, and shown only then
(`session_ledger`); directory, config and project change together under one revision. Readers never
wait: they take the published, frozen `SessionContext`, and directories are looked at anew.
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import anyio

from workroot.clock import SystemClock
from workroot.core.changes import StoredState
from workroot.core.projects import Place
from workroot.core.resolution import Resolution, SessionClaim, claimed_session, decide, directories_of, pinned_signs
from workroot.core.sessions import (
    Alias,
    EndedSession,
    Ending,
    Owner,
    SessionContext,
    SessionId,
    SessionKey,
    check_session_id,
    mint_session_id,
)
from workroot.core.signs import Signs
from workroot.errors import DirectoryError, SessionError
from workroot.housekeeping import Housekeeping
from workroot.session_ledger import SessionLedger
from workroot.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType

    from workroot.core.ports import Clock, PlaceFinder, SessionStore
    from workroot.events import EventBus
    from workroot.registry import ProjectRegistry

__all__ = ["LOCAL_OWNER", "Entered", "SessionContextManager"]

_SWEEP_BATCH = 500  # sessions ended in one commit

LOCAL_OWNER = Owner("local")
"""Whose sessions those are of a program that names no owner, such as a server with a single user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """What a change of directory did.

    Attributes:
        resolution: where the session works now.
        before: the session as it was, or None if this call opened it.
    """

    resolution: Resolution
    before: SessionContext | None


class SessionContextManager:
    """Maps sessions to working directories and projects, and keeps that map.

    Use it as a context manager, or call `start` and `stop`.

    Args:
        store: where sessions are kept.
        places: finds the project that owns a directory.
        clock: the time.
        home: the user's home directory; as a hint it says nothing about a project.
        idle_seconds: a session idle for longer is stale.
        sweep_seconds: time between two sweeps.
        write_behind_seconds: how long "last used" may lag behind on disk.
        ended_seconds: how long it is remembered how a session ended.
        state: what the store keeps, from a caller that has loaded it already; None lets `start` load it.
    """

    def __init__(
        self,
        store: SessionStore,
        places: PlaceFinder,
        *,
        clock: Clock | None = None,
        home: str = "",
        idle_seconds: float = 24 * 3600,
        sweep_seconds: float = 3600,
        write_behind_seconds: float = 2,
        ended_seconds: float = 30 * 24 * 3600,
        state: StoredState | None = None,
    ) -> None:
        self._places, self._home = places, home
        self._clock = clock if clock is not None else SystemClock()
        self._idle_seconds, self._ended_seconds = idle_seconds, ended_seconds
        self._ledger = SessionLedger(store, self._clock, state)
        self._sessions = self._ledger.sessions
        self._turns = Turns()
        self._connected: Counter[tuple[Owner, Alias]] = Counter()
        self._housekeeping = Housekeeping(
            self._clock,
            every=((sweep_seconds, self._housekeep), (write_behind_seconds, self._ledger.behind.flush)),
        )

    @property
    def projects(self) -> ProjectRegistry:
        """The projects that somebody has worked in."""
        return self._ledger.projects

    @property
    def events(self) -> EventBus:
        """Tells of each change, after it is kept."""
        return self._ledger.events

    # Life

    async def start(self) -> None:
        """Load what the store keeps, and begin to sweep. Idempotent; starts again after `stop`.

        Raises:
            StoreUnavailableError: the store cannot be read; nothing was started.
        """
        async with self._turns.take("start"):
            await self._ledger.load()
            self._housekeeping.start()

    async def stop(self) -> None:
        """End the sweeper and write what was left to write. Idempotent; what is held stays readable."""
        await self._housekeeping.stop()
        await self._ledger.behind.flush()

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
            SessionError: the id cannot be one, or the session ended, or it is somebody else's.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        known = check_session_id(session_id)
        async with self._turns.take(SessionKey(owner.sandbox, known)):
            if self._sessions.is_taken(owner, known):
                self._sessions.get(owner, known)
            session, _ = await self._ledger.move(owner, known, await self._places.find(directory), signs=())
        return session

    async def get_working_directory(self, session_id: str, *, owner: Owner = LOCAL_OWNER) -> str | None:
        """Return where a session works, or None if there is none of that id; `get_session` says why."""
        try:
            return self.get_session(session_id, owner=owner).working_directory
        except SessionError:
            return None

    async def get_session_count(self) -> int:
        """Return how many sessions are held, stale ones included until they are swept."""
        return len(self._sessions)

    # What it offers beyond

    def get_session(self, session_id: str, *, owner: Owner = LOCAL_OWNER) -> SessionContext:
        """Return a session; reading it keeps it alive.

        Raises:
            UnknownSessionError: nobody opened it, or somebody else did.
            ClosedSessionError: it was closed.
            ExpiredSessionError: it was idle for too long.
        """
        self._ledger.touch(self._sessions.get(owner, check_session_id(session_id)))
        return self._sessions.get(owner, check_session_id(session_id))

    def all_sessions(self) -> list[SessionContext]:
        """Return everybody's sessions, least recently used first; for the user whose daemon this is."""
        return self._sessions.all()

    def ended_count(self) -> int:
        """Return of how many sessions it is kept how they ended."""
        return self._sessions.ended_count()

    def is_connected(self, session: SessionContext) -> bool:
        """Tell whether a live connection stands for this session."""
        return any((session.owner, alias) in self._connected for alias in self._sessions.aliases_of(session.key))

    @contextmanager
    def connected(self, owner: Owner, alias: Alias) -> Iterator[None]:
        """A connection named *alias* is live; the session that it stands for is not stale meanwhile."""
        name = (owner, alias)
        self._connected[name] += 1
        try:
            yield
        finally:
            self._connected[name] -= 1
            if not self._connected[name]:
                del self._connected[name]
            if (session := self._sessions.of_alias(owner, alias)) is not None:
                self._ledger.touch(session)

    async def resolve(self, owner: Owner, signs: Signs) -> Resolution:
        """Return where a call works, decided anew from its signs.

        Raises:
            DirectoryError: a directory that was named explicitly cannot be worked in.
            SessionError: the handle cannot be used.
            SignsDisagreeError: signs of equal authority name different sessions.
        """
        claim = claimed_session(signs)
        while True:
            session = self._claimed(owner, claim)
            places = {directory: await self._look(directory) for directory in directories_of(signs, session)}
            if _version(self._claimed(owner, claim)) == _version(session):
                break  # else it moved, began or ended meanwhile: look again
        resolution = decide(signs, session, places, home=self._home)
        if session is not None:
            self._ledger.touch(session)
        if resolution.place is not None:
            await self._ledger.note_project(owner, resolution.place)
        return resolution

    async def enter(self, owner: Owner, signs: Signs, directory: str) -> Entered:
        """Let the call's session work in *directory*; a call that is in none gets a new one.

        Raises:
            DirectoryError: the directory cannot be worked in; nothing changed.
            SessionError: the handle cannot be used; nothing changed.
            SignsDisagreeError: signs of equal authority name different sessions.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        claim, signs = claimed_session(signs), replace(signs, directory=None)
        async with self._claimed_turn(owner, claim) as (session_id, alias):
            place = await self._places.find(directory)
            places = {hinted: await self._look(hinted) for hinted in directories_of(signs, None)}
            pinned = pinned_signs(signs, places, home=self._home)
            session, before = await self._ledger.move(owner, session_id, place, signs=pinned, alias=alias)
        now_in = replace(signs, session_id=session_id)
        resolution = decide(now_in, session, {**places, place.directory: place}, home=self._home)
        return Entered(resolution=replace(resolution, is_default_session=alias is not None), before=before)

    async def close_session(self, session_id: str, *, owner: Owner = LOCAL_OWNER) -> EndedSession:
        """Forget a session for good.

        Raises:
            SessionError: the handle cannot be used.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        known = check_session_id(session_id)
        async with self._turns.take(SessionKey(owner.sandbox, known)):
            [ended] = await self._ledger.end([self._sessions.get(owner, known)], Ending.CLOSED)
        return ended

    async def sweep(self) -> list[SessionId]:
        """End the sessions that were idle for too long, and return which.

        A session with a live connection, or in the middle of a change, is in use.
        """
        swept: list[SessionId] = []
        looked_at: set[SessionKey] = set()
        while batch := self._next_stale(looked_at):
            looked_at.update(session.key for session in batch)
            with self._turns.take_free_nowait(session.key for session in batch) as free:
                unused = [each for each in batch if each.key in free and not self.is_connected(each)]
                swept.extend(ended.session_id for ended in await self._ledger.end(unused, Ending.EXPIRED))
        return swept

    # Within

    async def _housekeep(self) -> None:
        await self.sweep()
        await self._ledger.forget_ended(before=self._clock.wall() - self._ended_seconds)

    def _next_stale(self, looked_at: set[SessionKey]) -> list[SessionContext]:
        idle = self._sessions.idle(before=self._clock.awake() - self._idle_seconds)
        return list(islice((session for session in idle if session.key not in looked_at), _SWEEP_BATCH))

    def _claimed(self, owner: Owner, claim: SessionClaim) -> SessionContext | None:
        if claim.name is None:
            return None
        if claim.by == "alias":
            return self._sessions.of_alias(owner, Alias(claim.name))
        return self._sessions.get(owner, check_session_id(claim.name))

    @asynccontextmanager
    async def _claimed_turn(self, owner: Owner, claim: SessionClaim) -> AsyncIterator[tuple[SessionId, Alias | None]]:
        """Hold the turn of the session that a call claims, or of a new one; yield its id, and the alias to bind."""
        if claim.by == "handle":
            session_id, alias = check_session_id(str(claim.name)), None
            self._sessions.get(owner, session_id)
        else:
            session_id, alias = mint_session_id(), Alias(claim.name) if claim.name is not None else None
        # The alias' turn comes before the session's, always: two calls of one connection open one session.
        async with self._turns.take((owner, alias)) if alias is not None else nullcontext():
            session = self._sessions.of_alias(owner, alias) if alias is not None else None
            if session is not None:
                session_id = session.session_id
            async with self._turns.take(SessionKey(owner.sandbox, session_id)):
                # The session may have ended while this call waited.
                if claim.by == "handle":
                    self._sessions.get(owner, session_id)
                elif session is not None and not self._sessions.is_held(session.key):
                    session_id = mint_session_id()  # nobody knows it yet: it needs no turn
                yield session_id, alias

    async def _look(self, directory: str) -> Place | DirectoryError:
        try:
            return await self._places.find(directory)
        except DirectoryError as error:
            return error


def _version(session: SessionContext | None) -> tuple[SessionId, int] | None:
    return (session.session_id, session.revision) if session is not None else None
