"""The sessions as they are shown, in step with the store: plan, persist, publish.

Every change of a session goes through here: worked out from the table, kept by the store, and only
then shown in the table and told to listeners, all of it or nothing. Callers hold the session's turn.
"""

from __future__ import annotations

import logging
import math
from contextlib import nullcontext
from typing import TYPE_CHECKING

from workroot.core.changes import (
    AliasBound,
    Change,
    EndedForgotten,
    EndingForgotten,
    IdleMarked,
    SessionEnded,
    SessionSaved,
)
from workroot.core.sessions import (
    Alias,
    EndedSession,
    Ending,
    Owner,
    PinnedSign,
    SessionContext,
    SessionId,
)
from workroot.errors import StoreUnavailableError
from workroot.events import EventBus, ProjectsChanged, SessionMoved
from workroot.events import SessionEnded as SessionEndedEvent
from workroot.held_state import HeldState
from workroot.housekeeping import WriteBehind
from workroot.project_notes import PlaceOutdatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from workroot.core.changes import StoredState
    from workroot.core.identities import Identities
    from workroot.core.ports import Clock, SessionStore
    from workroot.core.projects import Place
    from workroot.project_notes import Note

__all__ = ["PlaceOutdatedError", "SessionLedger"]

logger = logging.getLogger(__name__)

_SLICE = 500  # endings forgotten in one commit
_MARK_SECONDS = 60.0  # how much idle time a crash may lose, where something is used


class SessionLedger(HeldState):
    """What is shown, what is kept, and every way from here to there.

    Attributes:
        events: tells of each change, after it is kept.
        behind: what is written without anybody waiting.
        room: yields who gives way to one session more, and keeps them from use meanwhile; set by whoever knows.
        max_ended: of so many sessions it is kept how they ended; may be set later.
        max_allocated: so many may be allocated at a time; may be set later.
        max_letters: of so many letters they may remember, all together; may be set later.
    """

    def __init__(
        self,
        store: SessionStore,
        clock: Clock,
        state: StoredState | None = None,
        identities: Identities | None = None,
    ) -> None:
        super().__init__(store, clock, state, identities)
        self.room: Callable[[], AbstractContextManager[Sequence[SessionContext]]] = lambda: nullcontext(())
        self.max_ended = self.max_allocated = 100_000
        self.max_letters = math.inf
        self.events = EventBus()
        self.behind = WriteBehind(store, self._due_mark)

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
        async with self.notes.turn(place):
            self.notes.check(place)
            session, before = self.sessions.planned(owner, session_id, place, now=self._clock.wall(), signs=signs)
            changes: list[Change] = [SessionSaved(session, self.idle.now())]
            if alias is not None and before is None:
                changes.append(AliasBound(owner, alias, session_id))
            note = self.notes.planned(owner, place, now=self._clock.wall())
            with self.room() if before is None else nullcontext(()) as giving_way:
                endings = self._endings(giving_way, Ending.EXPIRED) if giving_way else ()

                def tell() -> None:
                    self._show(note)
                    self._tell_ended(endings)
                    self.events.publish(SessionMoved(session, before, is_asked_for))
                    logger.info("session %s works in %s", session_id, place.directory)

                await self.keep([*changes, *note.changes, *self._changes_of(endings)], tell)
        return session, before

    async def end(
        self, sessions: Iterable[SessionContext], ending: Ending, beside: Sequence[Change] = ()
    ) -> list[EndedSession]:
        """End sessions for good, all in one commit with *beside*, and return how they ended."""
        endings = self._endings(sessions, ending)
        await self.keep([*beside, *self._changes_of(endings)], lambda: self._tell_ended(endings))
        return endings

    def _endings(self, sessions: Iterable[SessionContext], ending: Ending) -> list[EndedSession]:
        ended_at, seen = self._clock.wall(), self.idle.now()
        return [
            EndedSession(
                session_id=session.session_id,
                owner=session.owner,
                last_directory=session.working_directory,
                ending=ending,
                ended_at=ended_at,
                seen=seen,
            )
            for session in sessions
        ]

    def _changes_of(self, endings: Sequence[EndedSession]) -> Sequence[Change]:
        if not endings:
            return ()
        too_many = len(self.sessions.endings) + len(endings) - self.max_ended
        return [
            *(SessionEnded(ended) for ended in endings),
            *(EndingForgotten(key) for key in self.sessions.endings.oldest(too_many)),
        ]

    def _tell_ended(self, endings: Sequence[EndedSession]) -> None:
        # A line each at every level would hold up everybody else where thousands end.
        level = logging.INFO if len(endings) == 1 else logging.DEBUG
        for ended in endings:
            self.events.publish(SessionEndedEvent(ended))
            logger.log(level, "session %s %s", ended.session_id, ended.ending)

    async def forget_ended(self, *, before: float) -> None:
        """Forget how those sessions ended that did so before this time, on the idle clock; a slice at a time.

        Raises:
            StoreUnavailableError: some are forgotten, the others wait for the next time.
        """
        while (until := self.sessions.endings.forgettable(before=before, most=_SLICE)) is not None:
            await self.keep([EndedForgotten(until)], lambda: None)

    async def forget_endings(self, count: int) -> None:
        """Forget how the first *count* sessions ended; a slice at a time.

        Raises:
            StoreUnavailableError: as `forget_ended`.
        """
        while count > 0 and (keys := self.sessions.endings.oldest(min(count, _SLICE))):
            await self.keep([EndingForgotten(key) for key in keys], lambda: None)
            count -= len(keys)

    def see(self, session: SessionContext) -> None:
        """Note that a session, which is held, is in use though nobody passed it; that is written behind."""
        self.behind.note(self.sessions.see(session.key, seen=self.idle.now()))

    def note_idle_mark(self, *, after_seconds: float = 0.0) -> None:
        """Write behind where the idle clock stands, if that was last noted so long ago and there is need of it."""
        if self.idle.seconds_since_mark() > after_seconds and self.is_loaded and self._has_ages():
            self.behind.note(IdleMarked(self.idle.mark()))

    def _has_ages(self) -> bool:
        allocations = self.allocations
        counts = (len(self.sessions), len(self.sessions.endings), len(self.connections))
        return any((*counts, len(allocations), allocations.ended_count()))

    def _due_mark(self) -> IdleMarked | None:
        """Return what else to write, where something is written late anyway."""
        is_due = self.is_loaded and self.idle.seconds_since_mark() > _MARK_SECONDS
        return IdleMarked(self.idle.mark()) if is_due else None

    def touch(self, session: SessionContext) -> None:
        """Note that a session, which is held, is used; that is written behind, and once in a window of that.

        One that is allocated is in no window: its time runs out in the midst of one, and each reader is to see that.
        """
        if not self.sessions.is_recent(session):
            self.behind.note(self.sessions.touch(session.key, now=self._clock.wall(), seen=self.idle.now()))
            if self.allocations.entry(*session.key) is not None:
                self.sessions.leave_window(session)

    async def end_window(self) -> None:
        """Write what waits to be written behind; what is used from now on is noted anew."""
        self.sessions.end_window()
        self.allocations.end_window()
        await self.behind.flush()

    async def note_project(self, owner: Owner, place: Place) -> bool:
        """Note that *owner* works in the project of *place*, if it has one; True: look there again, nothing was noted.

        A new project is kept at once, or, if the store is away, as soon as it is back; when somebody last
        worked in a known one is written behind.
        """
        async with self.notes.turn(place):
            try:
                self.notes.check(place)
            except PlaceOutdatedError:
                return True
            note = self.notes.planned(owner, place, now=self._clock.wall())
            if note.is_urgent:
                try:
                    await self.keep(note.changes, lambda: self._show(note))
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
        async with self.notes.turn_to_join(place):
            self.notes.check(place)
            note = self.notes.planned_join(place)
            await self.keep(note.changes, lambda: self._show(note))
        return bool(note.ids)

    def _show(self, note: Note) -> None:
        self.notes.show(note)
        if note.news is not None:
            self.events.publish(ProjectsChanged(note.news.owner, note.news.project.project_id))
