"""What readers of the sessions see, without waiting: the published, frozen records.

A use is noted once in a window of late writes; within it, reading is one look into a dictionary. A record is taken
from there in the very step in which its session moves or ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.core.sessions import Owner, check_session_id
from workroot.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from workroot.core.projects import Directory, KnownProject, Place
    from workroot.core.sessions import Alias, SessionContext
    from workroot.events import EventBus
    from workroot.held_state import HeldState
    from workroot.kept_connections import KeptConnections
    from workroot.live_connections import LiveConnections
    from workroot.registry import ProjectRegistry
    from workroot.session_ledger import SessionLedger
    from workroot.surroundings import Surroundings
    from workroot.sweeper import Sweeper

__all__ = ["LOCAL_OWNER", "SessionReader"]

LOCAL_OWNER = Owner("local")
"""Whose sessions those are of a program that names no owner, such as a server with a single user."""


class SessionReader:
    """The half of `SessionContextManager` that changes nothing but when a session was last used."""

    def __init__(
        self, ledger: SessionLedger, live: LiveConnections, sweeper: Sweeper, surroundings: Surroundings
    ) -> None:
        self._ledger, self._live, self._sweeper, self._surroundings = ledger, live, sweeper, surroundings
        self._sessions, self._recent = ledger.sessions, ledger.sessions.recent

    @property
    def held(self) -> HeldState:
        """All that is held, for whoever moves it elsewhere."""
        return self._ledger

    @property
    def projects(self) -> ProjectRegistry:
        """The projects that somebody has worked in."""
        return self._ledger.projects

    @property
    def events(self) -> EventBus:
        """Tells of each change, after it is kept."""
        return self._ledger.events

    @property
    def connections(self) -> KeptConnections:
        """What conversations of the handshake era asked for."""
        return self._ledger.connections

    @property
    def is_reach_bounded(self) -> bool:
        """Tell whether an argument may not reach everywhere, so that all that the client names counts."""
        return self._surroundings.reach != "anywhere"

    async def look(self, directory: str) -> Place:
        """Return which project owns *directory*, as of now; nobody works there because of that.

        Raises:
            DirectoryError: it cannot be worked in.
        """
        return await self._surroundings.find(directory)

    async def known_projects(self, owner: Owner, query: str | None = None) -> list[KnownProject]:
        """Return the projects that *owner* has worked in, latest first; see `ProjectRegistry.known`."""
        return self._ledger.projects.known(owner, query)

    async def root_of_project(self, owner: Owner, project: str) -> Directory:
        """Return the root of a project that is known by this id, unique name or root.

        Raises:
            ProjectUnknownError: no project is meant, or several may be; it names the candidates.
        """
        return self._ledger.projects.root_of(owner, project)

    async def get_working_directory(self, session_id: str, *, owner: Owner = LOCAL_OWNER) -> str | None:
        """Return where a session works, or None if there is none of that id; `get_session` says why."""
        session = self._recent.get(session_id)  # as in `get_session`, without the 60 ns of that call
        if session is None or (session.owner is not owner and session.owner != owner):
            try:
                session = self.get_session(session_id, owner=owner)
            except SessionError:
                return None
        return session.working_directory

    async def get_session_count(self) -> int:
        """Return how many sessions are held, stale ones included until they are swept."""
        return len(self._sessions)

    def get_session(self, session_id: str, *, owner: Owner = LOCAL_OWNER) -> SessionContext:
        """Return a session; reading it keeps it alive.

        Raises:
            UnknownSessionError: nobody opened it, or somebody else did.
            ClosedSessionError: it was closed.
            ExpiredSessionError: it was idle for too long.
            SessionEndedError: it was allocated for a time, and that is over.
        """
        recent = self._recent.get(session_id)
        if recent is not None and recent.owner == owner:
            return recent
        known = check_session_id(session_id)
        session = self._sessions.get(owner, known)
        self._ledger.allocations.check_open(owner, known, now=self._ledger.idle.now())
        self._ledger.touch(session)
        return self._sessions.get(owner, known)

    def default_session(self, owner: Owner, alias: Alias) -> SessionContext | None:
        """Return the session that a connection named *alias* stands for, or None if there is none."""
        return self._ledger.of_alias(owner, alias)

    def all_sessions(self) -> list[SessionContext]:
        """Return everybody's sessions, least recently used first; for the user whose daemon this is."""
        return self._sessions.all()

    def sessions_of_now(self) -> Iterable[SessionContext]:
        """Return everybody's sessions of this moment, in no order; for the user whose daemon this is."""
        return self._sessions.as_of_now()

    def ended_count(self) -> int:
        """Return of how many sessions it is kept how they ended."""
        return len(self._sessions.endings)

    def stale_count(self) -> int:
        """Return how many sessions have been idle for too long and are not swept yet."""
        return self._sweeper.stale_count()

    def postponed_sweep(self) -> tuple[int, float] | None:
        """Return how many sessions a sweep found to end and did not end yet, and in how many seconds it does."""
        postponed = self._sweeper.postponed
        return (postponed.sessions, self._sweeper.postponed_seconds()) if postponed is not None else None

    def is_connected(self, session: SessionContext) -> bool:
        """Tell whether a live connection stands for this session."""
        return self._live.is_connected(session)

    def connected(self, owner: Owner, alias: Alias) -> AbstractContextManager[None]:
        """A connection named *alias* is live; the session that it stands for is not stale meanwhile."""
        return self._live.connected(owner, alias)
