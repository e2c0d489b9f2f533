"""`SessionContextManager`: who works where, asked and changed by many at once.

A change is made in its session's turn: worked out, kept by the store, and shown only then
(`session_ledger`); directory, config and project change together under one revision. Readers never
wait: they take the published, frozen `SessionContext`, and directories are looked at anew.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import anyio

from workroot.claims import Claims
from workroot.clock import SystemClock
from workroot.core.answer import Resolution, Switch, nowhere
from workroot.core.arrival import Arrival, arrive
from workroot.core.changes import StoredState
from workroot.core.pins import pinned_signs
from workroot.core.projects import Place
from workroot.core.reach import Reach, check_reach
from workroot.core.reading import read
from workroot.core.resolution import Around, claimed_session, decide, directories_of
from workroot.core.sessions import (
    Alias,
    EndedSession,
    Ending,
    Owner,
    SessionContext,
    SessionId,
    SessionKey,
    check_session_id,
)
from workroot.core.signs import Signs, Source
from workroot.errors import (
    DirectoryError,
    DryRunError,
    ProjectUnknownError,
    SessionError,
    SignsDisagreeError,
    StoreUnavailableError,
)
from workroot.followed_places import MOST_HELD, FollowedPlaces
from workroot.housekeeping import Housekeeping
from workroot.joining import Joined, join_project
from workroot.session_ledger import PlaceOutdatedError, SessionLedger
from workroot.sweeper import Sweeper
from workroot.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from workroot.core.identities import Identities
    from workroot.core.ports import Clock, PlaceFinder, SessionStore
    from workroot.core.projects import Directory
    from workroot.events import EventBus
    from workroot.kept_connections import KeptConnections
    from workroot.registry import ProjectRegistry

__all__ = ["LOCAL_OWNER", "Entered", "SessionContextManager"]

logger = logging.getLogger(__name__)

LOCAL_OWNER = Owner("local")
"""Whose sessions those are of a program that names no owner, such as a server with a single user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """What a change of directory did.

    Attributes:
        resolution: where the session works now.
        before: the session as it was, or the default session whose place it takes; None if there was none.
        is_made: False where the project only wants a switch reported (`dry_run`): nothing changed.
    """

    resolution: Resolution
    before: SessionContext | None
    is_made: bool = True


class SessionContextManager:
    """Maps sessions to working directories and projects, and keeps that map.

    Use it as a context manager, or call `start` and `stop`.

    Args:
        store: where sessions are kept.
        places: finds the project that owns a directory.
        clock: the time.
        home: the user's home directory; as a hint it says nothing about a project.
        model_may_move: how far the argument of a call reaches.
        idle_seconds: a session idle for longer is stale.
        sweep_seconds: time between two sweeps.
        write_behind_seconds: how long "last used" may lag behind on disk.
        ended_seconds: how long it is remembered how a session ended.
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
        model_may_move: Reach = "anywhere",
        idle_seconds: float = 24 * 3600,
        sweep_seconds: float = 3600,
        write_behind_seconds: float = 2,
        ended_seconds: float = 30 * 24 * 3600,
        identities: Identities | None = None,
        state: StoredState | None = None,
    ) -> None:
        self._places, self._home, self._reach = places, home, model_may_move
        self._clock = clock if clock is not None else SystemClock()
        self._ledger = SessionLedger(store, self._clock, state, identities)
        self._sessions = self._ledger.sessions
        self._turns = Turns()
        self.followed = FollowedPlaces(self._ledger.events)
        self._untold: dict[SessionKey, SessionContext] = {}  # as they were before a change that no answer has told
        self._claims = Claims(self._sessions, self._turns)
        self._sweeper = Sweeper(
            self._ledger, self._turns, self._clock, idle_seconds=idle_seconds, ended_seconds=ended_seconds
        )
        behind = self._ledger.behind
        self._housekeeping = Housekeeping(
            self._clock,
            every=((sweep_seconds, self._sweeper.housekeep),),
            after=((write_behind_seconds, behind.wait_noted, behind.flush),),
        )

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
        return self._reach != "anywhere"

    def change_settings(
        self, *, model_may_move: Reach, idle_seconds: float, ended_seconds: float, sweep_seconds: float
    ) -> None:
        """Go on with other values, from now on or from the next sweep on; see the class for what they mean."""
        self._reach = model_may_move
        self._sweeper.idle_seconds, self._sweeper.ended_seconds = idle_seconds, ended_seconds
        self._housekeeping.change_interval(self._sweeper.housekeep, sweep_seconds)

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
            DryRunError: its project wants switches reported, not made; nothing changed.
            SessionError: the id cannot be one, or the session ended, or it is somebody else's.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        known = check_session_id(session_id)
        async with self._turns.take(SessionKey(owner.sandbox, known)):
            before = self._sessions.get(owner, known) if self._sessions.is_taken(owner, known) else None
            session = None
            while session is None:
                place = await self._places.find(directory)
                arrival = arrive(before, place)
                if not arrival.is_made:
                    raise DryRunError(str(arrival.warning))
                with suppress(PlaceOutdatedError):  # another project took its id meanwhile: look again
                    session, _ = await self._ledger.move(owner, known, arrival.place, signs=(), is_asked_for=True)
        self.followed.note(owner, place, is_held=True)
        self._untold.pop(session.key, None)
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

    async def current_session(self, session_id: str, *, owner: Owner = LOCAL_OWNER) -> SessionContext:
        """Return a session in the project that owns its directory as of now.

        Raises:
            SessionError: as `get_session`.
        """
        session = self.get_session(session_id, owner=owner)
        with suppress(StoreUnavailableError):
            await self.refresh(owner, session.working_directory)
        return self.get_session(session_id, owner=owner)

    def all_sessions(self) -> list[SessionContext]:
        """Return everybody's sessions, least recently used first; for the user whose daemon this is."""
        return self._sessions.all()

    def ended_count(self) -> int:
        """Return of how many sessions it is kept how they ended."""
        return self._sessions.ended_count()

    def stale_count(self) -> int:
        """Return how many sessions have been idle for too long and are not swept yet."""
        return self._sweeper.stale_count()

    def is_connected(self, session: SessionContext) -> bool:
        """Tell whether a live connection stands for this session."""
        return self._sweeper.is_connected(session)

    def connected(self, owner: Owner, alias: Alias) -> AbstractContextManager[None]:
        """A connection named *alias* is live; the session that it stands for is not stale meanwhile."""
        return self._sweeper.connected(owner, alias)

    def default_session(self, owner: Owner, alias: Alias) -> SessionContext | None:
        """Return the session that a connection named *alias* stands for, or None if there is none."""
        return self._sessions.of_alias(owner, alias)

    async def look(self, directory: str) -> Place:
        """Return which project owns *directory*, as of now; nobody works there because of that.

        Raises:
            DirectoryError: it cannot be worked in.
        """
        return await self._places.find(directory)

    async def is_decided_by_meta(self, signs: Signs) -> bool:
        """Tell whether a call's `_meta` names where it works, so that no answer about roots could change that."""
        hints = [hint for hint in signs.hints if hint.source is Source.META]
        if not hints:
            return False
        alone = Signs(hints=tuple(hints), traits=signs.traits)
        places = {directory: await self._look(directory) for directory in directories_of(alone, None)}
        return bool(read(alone, places, home=self._home).usable)

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
        claim, around = claimed_session(signs), self._around(owner)
        while True:
            session = self._claims.session(owner, claim)
            places = {directory: await self._look(directory) for directory in directories_of(signs, session)}
            if _version(self._claims.session(owner, claim)) != _version(session):
                continue  # it moved, began or ended meanwhile: look again
            resolution = decide(signs, session, places, around)
            seen = resolution.looked_at if signs.directory is None else None  # to ask about a place is not to be there
            if seen is not None and await self._ledger.note_project(owner, seen):
                continue
            if session is not None and resolution.switch is not None:
                moved = await self._switched(session, resolution.switch)
                if moved is None:
                    continue
                resolution = replace(resolution, session=moved, switch=None, previous=session)
            break
        if session is not None and signs.directory is None and is_told:
            resolution = _told(resolution, self._untold.pop(session.key, None))
        if seen is not None:
            self.followed.note(owner, seen, is_held=session is not None)
        if session is not None:
            self._ledger.touch(session)
        return resolution

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
        claim, signs, around = claimed_session(signs), replace(signs, directory=None), self._around(owner)
        async with self._claims.turn(owner, claim) as (session_id, alias, before):
            session = None
            while session is None:
                place = await self._places.find(directory)
                if project is not None:
                    _check_project(project, place)
                places = {hinted: await self._look(hinted) for hinted in directories_of(signs, before)}
                usable = read(signs, places, home=self._home).usable
                check_reach(self._reach, place, usable, around.known)
                arrival = arrive(before, place, is_asked_for=project is not None)
                if arrival.place is not place and await self._ledger.note_project(owner, place):
                    continue
                if not arrival.is_made:
                    return self._only_reported(signs, before, places, arrival, around)
                with suppress(PlaceOutdatedError):  # another project took its id meanwhile: look again
                    session, _ = await self._ledger.move(
                        owner,
                        session_id,
                        arrival.place,
                        signs=pinned_signs(place, usable),
                        alias=alias,
                        is_asked_for=True,
                    )
        self.followed.note(owner, place, is_held=True)
        self._untold.pop(session.key, None)
        now_in = replace(signs, session_id=session_id)
        resolution = decide(now_in, session, {**places, place.directory: place}, around)
        resolution = replace(
            resolution, claim=claim, is_default_session=claim.by == "alias", switch=None, previous=before
        )
        return Entered(resolution=resolution, before=before)

    async def refresh(self, owner: Owner, directory: Directory) -> None:
        """Look again at a directory where *owner* works, and move the sessions there along with its project.

        Raises:
            StoreUnavailableError: what changed could not be kept; the next call looks again.
        """
        is_done = False
        while not is_done:
            place = await self._look(directory)
            if isinstance(place, DirectoryError):
                self.followed.forget(owner, directory)
                return  # calls that need it will say so
            if await self._ledger.note_project(owner, place):
                continue
            held = self._sessions.in_directory(owner, directory)
            self.followed.note(owner, place, is_held=bool(held))
            is_done = True
            for session in held:
                arrival = arrive(session, place)
                if arrival.is_made and not session.is_as(arrival.place):
                    moved = await self._switched(session, Switch(arrival.place, session.signs))
                    is_done = is_done and moved is not None
                    if moved is not None and moved.revision != session.revision:
                        self._keep_untold(session)

    def _keep_untold(self, before: SessionContext) -> None:
        self._untold.setdefault(before.key, before)
        if len(self._untold) > MOST_HELD:
            del self._untold[next(iter(self._untold))]

    async def refresh_all(self) -> None:
        """Look again at where the latest sessions work: what has changed while nobody looked is told."""
        places = dict.fromkeys((each.owner, each.working_directory) for each in reversed(self._sessions.all()))
        for owner, directory in islice(places, MOST_HELD):
            with suppress(StoreUnavailableError):
                await self.refresh(owner, directory)

    async def join_project(self, directory: str, *, owner: Owner = LOCAL_OWNER) -> Joined:
        """Make the project at *directory* one with the others that have the id its config claims.

        Raises:
            DirectoryError: there is nothing to work in.
            JoinRefusedError: there is no project there whose config claims an id.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        return await join_project(self._ledger, self._places, owner, directory)

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
        return await self._sweeper.sweep()

    # Within

    def _around(self, owner: Owner) -> Around:
        return Around(home=self._home, reach=self._reach, known=self.projects.seen_by(owner))

    async def _switched(self, session: SessionContext, switch: Switch) -> SessionContext | None:
        """Move a session along with its client or project; None if it has changed meanwhile.

        If the store is away, the session stays as it was, and the next call tries again.
        """
        async with self._turns.take(session.key):
            now = self._sessions.of_key(session.key)
            if now is None or now.revision != session.revision:
                return None
            is_same = switch.place.directory == session.working_directory
            place = replace(switch.place, given=session.given_directory) if is_same else switch.place
            try:
                moved, _ = await self._ledger.move(session.owner, session.session_id, place, signs=switch.signs)
            except PlaceOutdatedError:
                return None
            except StoreUnavailableError:
                logger.warning("session %s moved, and that is not kept yet", session.session_id)
                return session
        return moved

    def _only_reported(
        self,
        signs: Signs,
        session: SessionContext | None,
        places: Mapping[str, Place | DirectoryError],
        arrival: Arrival,
        around: Around,
    ) -> Entered:
        """Return where the caller stays, with what would have happened."""
        try:
            stays = decide(signs, session, places, around)
        except (DirectoryError, SignsDisagreeError) as error:  # where the caller is has nothing to do with it
            stays = nowhere(str(error))
        warnings = tuple(dict.fromkeys((str(arrival.warning), *stays.warnings)))
        return Entered(resolution=replace(stays, warnings=warnings, switch=None), before=None, is_made=False)

    async def _look(self, directory: str) -> Place | DirectoryError:
        try:
            return await self._places.find(directory)
        except DirectoryError as error:
            return error


def _told(resolution: Resolution, before: SessionContext | None) -> Resolution:
    """Return an answer that also tells what became of the session since the answer before, if anything did."""
    now = resolution.session
    if before is None or now is None or (now.project_id, now.project_root) == (before.project_id, before.project_root):
        return resolution
    was = f"project {before.project_name!r}" if before.project_name is not None else "no project"
    changed = f"{before.working_directory} was in {was} at the last call, and its config has changed since"
    return replace(resolution, previous=before, warnings=(changed, *resolution.warnings))


def _check_project(wanted: str, place: Place) -> None:
    """Check that the project at a root is still the one that was asked for: a config may have changed."""
    found = place.project
    if found is None or not (wanted in (found.name, found.root) or wanted.lower() == found.project_id):
        there = [(found.name, found.project_id, found.root)] if found is not None else []
        raise ProjectUnknownError(wanted, there)


def _version(session: SessionContext | None) -> tuple[SessionId, int] | None:
    return (session.session_id, session.revision) if session is not None else None
