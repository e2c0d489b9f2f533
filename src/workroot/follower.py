"""Sessions go where their client goes, and are in the project that owns their directory now, without being asked to.

What changed while nobody called is told with the next answer.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from workroot.core.answer import Switch
from workroot.core.arrival import arrive
from workroot.errors import DirectoryError, StoreUnavailableError
from workroot.followed_places import MOST_HELD
from workroot.session_ledger import PlaceOutdatedError

if TYPE_CHECKING:
    from workroot.core.answer import Resolution
    from workroot.core.projects import Directory
    from workroot.core.sessions import Owner, SessionContext, SessionKey
    from workroot.followed_places import FollowedPlaces
    from workroot.session_ledger import SessionLedger
    from workroot.surroundings import Surroundings
    from workroot.turns import Turns

__all__ = ["Follower"]

logger = logging.getLogger(__name__)

_LATEST = 5_000  # sessions looked through for places to look at again: 3 ms


class Follower:
    """Moves sessions along with their client and their project.

    Attributes:
        followed: the places where somebody has worked of late.
    """

    def __init__(
        self, ledger: SessionLedger, turns: Turns, surroundings: Surroundings, followed: FollowedPlaces
    ) -> None:
        self._ledger, self._turns, self._surroundings, self.followed = ledger, turns, surroundings, followed
        self._untold: dict[SessionKey, SessionContext] = {}  # as they were before a change that no answer has told

    async def switch(self, session: SessionContext, switch: Switch) -> SessionContext | None:
        """Move a session along with its client or project; None if it has changed meanwhile.

        If the store is away, the session stays as it was, and the next call tries again.
        """
        async with self._turns.take(session.key):
            now = self._ledger.sessions.of_key(session.key)
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

    async def refresh(self, owner: Owner, directory: Directory) -> None:
        """Look again at a directory where *owner* works, and move the sessions there along with its project.

        Raises:
            StoreUnavailableError: what changed could not be kept; the next call looks again.
        """
        is_done = False
        while not is_done:
            place = await self._surroundings.look(directory)
            if isinstance(place, DirectoryError):
                self.followed.forget(owner, directory)
                return  # calls that need it will say so
            if await self._ledger.note_project(owner, place):
                continue
            held = self._ledger.sessions.in_directory(owner, directory)
            self.followed.note(owner, place, is_held=bool(held))
            is_done = True
            for session in held:
                arrival = arrive(session, place)
                if arrival.is_made and not session.is_as(arrival.place):
                    moved = await self.switch(session, Switch(arrival.place, session.signs))
                    is_done = is_done and moved is not None
                    if moved is not None and moved.revision != session.revision:
                        self._keep_untold(session)

    async def refresh_all(self) -> None:
        """Look again at where the latest sessions work: what has changed while nobody looked is told."""
        latest = islice(self._ledger.sessions.latest(), _LATEST)
        places = dict.fromkeys((each.owner, each.working_directory) for each in latest)
        for owner, directory in islice(places, MOST_HELD):
            with suppress(StoreUnavailableError):
                await self.refresh(owner, directory)

    def told(self, resolution: Resolution, session: SessionContext) -> Resolution:
        """Return an answer that also tells what became of its session since the answer before, if anything did."""
        now, before = resolution.session, self._untold.pop(session.key, None)
        if before is None or now is None or before.is_in_project_of(now):
            return resolution
        was = f"project {before.project_name!r}" if before.project_name is not None else "no project"
        changed = f"{before.working_directory} was in {was} at the last call, and its config has changed since"
        return replace(resolution, previous=before, warnings=(changed, *resolution.warnings))

    def forget_untold(self, session: SessionContext) -> None:
        """What became of a session need not be told any more: its caller has moved it elsewhere."""
        self._untold.pop(session.key, None)

    def _keep_untold(self, before: SessionContext) -> None:
        self._untold.setdefault(before.key, before)
        if len(self._untold) > MOST_HELD:
            del self._untold[next(iter(self._untold))]
