"""The sessions as they are shown, in step with the store: plan, persist, publish.

Every change of a session goes through here: worked out from the table, kept by the store, and only
then shown in the table and told to listeners, all of it or nothing. Callers hold the session's turn.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import anyio

from workroot.core.changes import (
    AliasBound,
    Change,
    EndedForgotten,
    SessionEnded,
    SessionSaved,
    StoredState,
)
from workroot.core.session_table import SessionTable
from workroot.core.sessions import (
    Alias,
    EndedSession,
    Ending,
    Owner,
    PinnedSign,
    SessionContext,
    SessionId,
)
from workroot.errors import NotStartedError, StoreUnavailableError
from workroot.events import EventBus, ProjectsChanged, SessionMoved
from workroot.events import SessionEnded as SessionEndedEvent
from workroot.housekeeping import WriteBehind
from workroot.kept_connections import KeptConnections
from workroot.project_notes import Note, PlaceOutdatedError, ProjectNotes
from workroot.registry import ProjectRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from workroot.core.identities import Identities
    from workroot.core.ports import Clock, SessionStore
    from workroot.core.projects import Place

__all__ = ["PlaceOutdatedError", "SessionLedger"]

logger = logging.getLogger(__name__)


class SessionLedger:
    """What is shown, what is kept, and the one way from here to there.

    Attributes:
        sessions: what is shown; reading it needs no waiting.
        projects: the projects that somebody has worked in.
        events: tells of each change, after it is kept.
        behind: what is written without anybody waiting.
        connections: what conversations of the handshake era asked for.

    Args:
        store: keeps the changes.
        clock: the time.
        state: what the store keeps, if it is loaded already.
        identities: under which ids projects are known, shared with the finder of places; None keeps none.
    """

    def __init__(
        self,
        store: SessionStore,
        clock: Clock,
        state: StoredState | None = None,
        identities: Identities | None = None,
    ) -> None:
        self._store, self._clock = store, clock
        self._state, self._is_loaded = state, False
        self.sessions = SessionTable()
        self.projects = ProjectRegistry()
        self._notes = ProjectNotes(self.projects, identities)
        self.events = EventBus()
        self.behind = WriteBehind(store)
        self.connections = KeptConnections(self._keep, clock)

    async def load(self) -> None:
        """Take over what the store keeps; the second time there is nothing to do.

        Raises:
            StoreUnavailableError: it cannot be read; nothing was taken over.
        """
        if self._is_loaded:
            return
        state = self._state if self._state is not None else await self._store.load()
        wall, awake = self._clock.wall(), self._clock.awake()
        seen = {session.key: awake - max(0.0, wall - session.last_used) for session in state.sessions}
        self.sessions.load(state, seen=seen)
        self._notes.load(state.projects, state.project_ids)
        self.connections.load(state.connections, state.ended_aliases)
        self._state, self._is_loaded = None, True
        logger.info("holding %d sessions", len(self.sessions))

    async def move(
        self,
        owner: Owner,
        session_id: SessionId,
        place: Place,
        *,
        signs: tuple[PinnedSign, ...],
        alias: Alias | None = None,
        is_asked_for: bool = False,
    ) -> tuple[SessionContext, SessionContext | None]:
        """Let a session work in *place*, and return it as it is now and as it was (None: it is new).

        Args:
            signs: what the pin has to remember.
            alias: stands for the session from now on, if the session is new.
            is_asked_for: a caller asked for this; listeners are told.

        Raises:
            PlaceOutdatedError: the place has to be looked at again; nothing changed.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        async with self._notes.turn(place):
            self._notes.check(place)
            session, before = self.sessions.planned(owner, session_id, place, now=self._clock.wall(), signs=signs)
            changes: list[Change] = [SessionSaved(session)]
            if alias is not None and before is None:
                changes.append(AliasBound(owner, alias, session_id))
            note = self._notes.planned(owner, place, now=self._clock.wall())

            def tell() -> None:
                self._show(note)
                self.events.publish(SessionMoved(session, before, is_asked_for))
                logger.info("session %s works in %s", session_id, place.directory)

            await self._keep([*changes, *note.changes], tell)
        return session, before

    async def end(self, sessions: Iterable[SessionContext], ending: Ending) -> list[EndedSession]:
        """End sessions for good, all in one commit, and return how they ended."""
        ended_at = self._clock.wall()
        endings = [
            EndedSession(
                session_id=session.session_id,
                owner=session.owner,
                last_directory=session.working_directory,
                ending=ending,
                ended_at=ended_at,
            )
            for session in sessions
        ]

        def tell() -> None:
            for ended in endings:
                self.events.publish(SessionEndedEvent(ended))
                logger.info("session %s %s", ended.session_id, ended.ending)

        await self._keep([SessionEnded(ended) for ended in endings], tell)
        return endings

    async def forget_ended(self, *, before: float) -> None:
        """Forget how those sessions ended that did so before this time (seconds since the Unix epoch)."""
        await self._keep([EndedForgotten(before)], lambda: None)

    def touch(self, session: SessionContext) -> None:
        """Note that a session is used; that is written behind."""
        self.behind.note(self.sessions.touch(session.key, now=self._clock.wall(), seen=self._clock.awake()))

    async def note_project(self, owner: Owner, place: Place) -> bool:
        """Note that *owner* works in the project of *place*, if it has one; True: look there again, nothing was noted.

        A new project is kept at once, or, if the store is away, as soon as it is back; when somebody last
        worked in a known one is written behind.
        """
        async with self._notes.turn(place):
            try:
                self._notes.check(place)
            except PlaceOutdatedError:
                return True
            note = self._notes.planned(owner, place, now=self._clock.wall())
            if note.is_urgent:
                try:
                    await self._keep(note.changes, lambda: self._show(note))
                    return False
                except StoreUnavailableError:
                    logger.warning("a new project waits to be kept")
            for change in note.changes:
                self.behind.note(change)
            self._show(note)
        return False

    async def join(self, place: Place) -> bool:
        """Make the project of *place* one with the others that have the id its config claims.

        Returns:
            Whether that changed anything.

        Raises:
            JoinRefusedError: it claims no id; nothing changed.
            PlaceOutdatedError: the place has to be looked at again; nothing changed.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        async with self._notes.turn_to_join(place):
            self._notes.check(place)
            note = self._notes.planned_join(place)
            await self._keep(note.changes, lambda: self._show(note))
        return bool(note.ids)

    def _show(self, note: Note) -> None:
        self._notes.show(note)
        if note.news is not None:
            self.events.publish(ProjectsChanged(note.news.owner, note.news.project.project_id))

    async def _keep(self, changes: Sequence[Change], tell: Callable[[], None]) -> None:
        """Let the store keep changes, then show them and tell of them: all of it, cancelled or not, or nothing."""
        if not self._is_loaded:
            raise NotStartedError

        async def keep() -> None:
            await self._store.commit(changes)
            self.sessions.apply(changes, seen=self._clock.awake())
            tell()

        if changes:
            await _finish(keep())


async def _finish(work: Coroutine[object, object, None]) -> None:
    """Wait for the end of *work* even when cancelled, and only then be cancelled.

    A task of its own, since the shield of a cancel scope does not hold off `Task.cancel`, which
    `asyncio.timeout` and library users call: the store would keep what nobody is shown.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled from (task.exception() if not task.cancelled() else None)
    task.result()
