"""Changes of directory that somebody asked for: looked at, kept, and then answered."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workroot.core.answer import nowhere
from workroot.core.arrival import arrive
from workroot.core.pins import pinned_signs
from workroot.core.reach import check_reach
from workroot.core.reading import read
from workroot.core.resolution import claimed_session, decide, directories_of
from workroot.core.sessions import SessionKey
from workroot.errors import DirectoryError, DryRunError, ProjectUnknownError, SignsDisagreeError
from workroot.session_ledger import PlaceOutdatedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workroot.claims import Claims
    from workroot.core.answer import Resolution
    from workroot.core.arrival import Arrival
    from workroot.core.projects import Place
    from workroot.core.resolution import Around
    from workroot.core.sessions import Owner, SessionContext, SessionId
    from workroot.core.signs import Signs
    from workroot.follower import Follower
    from workroot.session_ledger import SessionLedger
    from workroot.surroundings import Surroundings
    from workroot.turns import Turns

__all__ = ["Entered", "Mover"]


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


class Mover:
    """Lets sessions work in other directories."""

    def __init__(
        self,
        ledger: SessionLedger,
        turns: Turns,
        claims: Claims,
        surroundings: Surroundings,
        follower: Follower,
    ) -> None:
        self._ledger, self._turns, self._claims = ledger, turns, claims
        self._surroundings, self._follower = surroundings, follower

    async def move(self, owner: Owner, session_id: SessionId, directory: str) -> SessionContext:
        """Let a session work in *directory*; see `SessionContextManager.set_working_directory`."""
        async with self._turns.take(SessionKey(owner.sandbox, session_id)):
            self._ledger.allocations.check_open(owner, session_id, now=self._ledger.idle.now())
            before = self._ledger.sessions.opened(owner, session_id)
            session = None
            while session is None:
                place = await self._surroundings.find(directory)
                arrival = arrive(before, place)
                if not arrival.is_made:
                    raise DryRunError(str(arrival.warning))
                with suppress(PlaceOutdatedError):  # another project took its id meanwhile: look again
                    session, _ = await self._ledger.move(owner, session_id, arrival.place, signs=(), is_asked_for=True)
        self._note_moved(session, place)
        return session

    async def enter(self, owner: Owner, signs: Signs, directory: str, *, project: str | None) -> Entered:
        """Let a call's session work in *directory*; see `SessionContextManager.enter`."""
        claim, signs = claimed_session(signs), replace(signs, directory=None)
        surroundings, around = self._surroundings, self._surroundings.around(owner)
        async with self._claims.turn(owner, claim) as (session_id, alias, before):
            session = None
            while session is None:
                place = await surroundings.find(directory)
                if project is not None:
                    _check_project(project, place)
                places = await surroundings.look_at_all(directories_of(signs, before))
                usable = read(signs, places, home=surroundings.home).usable
                check_reach(surroundings.reach, place, usable, around.known)
                arrival = arrive(before, place, is_asked_for=project is not None)
                if arrival.place is not place and await self._ledger.note_project(owner, place):
                    continue
                if not arrival.is_made:
                    return _only_reported(signs, before, places, arrival, around)
                with suppress(PlaceOutdatedError):  # another project took its id meanwhile: look again
                    session, _ = await self._ledger.move(
                        owner,
                        session_id,
                        arrival.place,
                        signs=pinned_signs(place, usable),
                        alias=alias,
                        is_asked_for=True,
                    )
        self._note_moved(session, place)
        now_in = replace(signs, session_id=session_id)
        resolution = decide(now_in, session, {**places, place.directory: place}, around)
        resolution = replace(
            resolution, claim=claim, is_default_session=claim.by == "alias", switch=None, previous=before
        )
        return Entered(resolution=resolution, before=before)

    def _note_moved(self, session: SessionContext, place: Place) -> None:
        self._follower.followed.note(session.owner, place, is_held=True)
        self._follower.forget_untold(session)


def _only_reported(
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


def _check_project(wanted: str, place: Place) -> None:
    """Check that the project at a root is still the one that was asked for: a config may have changed."""
    found = place.project
    if found is None or not (wanted in (found.name, found.root) or wanted.lower() == found.project_id):
        there = [(found.name, found.project_id, found.root)] if found is not None else []
        raise ProjectUnknownError(wanted, there)
