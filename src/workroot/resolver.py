"""Where a call works, decided anew from its signs.

The rules are `core/resolution.py`; here is what they are given, and what follows from the answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workroot.core.reading import read
from workroot.core.resolution import claimed_session, decide, directories_of
from workroot.core.signs import Signs, Source

if TYPE_CHECKING:
    from workroot.claims import Claims
    from workroot.core.answer import Resolution
    from workroot.core.sessions import Owner, SessionContext, SessionId
    from workroot.follower import Follower
    from workroot.session_ledger import SessionLedger
    from workroot.surroundings import Surroundings

__all__ = ["Resolver"]


class Resolver:
    """Answers calls; a session whose client has moved goes along."""

    def __init__(self, ledger: SessionLedger, claims: Claims, surroundings: Surroundings, follower: Follower) -> None:
        self._ledger, self._claims, self._surroundings, self._follower = ledger, claims, surroundings, follower

    async def resolve(self, owner: Owner, signs: Signs, *, is_told: bool) -> Resolution:
        """Return where a call works; see `SessionContextManager.resolve`."""
        claim, around = claimed_session(signs), self._surroundings.around(owner)
        while True:
            session = self._claims.session(owner, claim)
            places = await self._surroundings.look_at_all(directories_of(signs, session))
            if _version(self._claims.session(owner, claim)) != _version(session):
                continue  # it moved, began or ended meanwhile: look again
            resolution = decide(signs, session, places, around)
            seen = resolution.looked_at if signs.directory is None else None  # to ask about a place is not to be there
            if seen is not None and await self._ledger.note_project(owner, seen):
                continue
            if session is not None and resolution.switch is not None:
                moved = await self._follower.switch(session, resolution.switch)
                if moved is None:
                    continue
                resolution = replace(resolution, session=moved, switch=None, previous=session)
            break
        if session is not None and signs.directory is None and is_told:
            resolution = self._follower.told(resolution, session)
        if seen is not None:
            self._follower.followed.note(owner, seen, is_held=session is not None)
        if session is not None:
            self._ledger.touch(session)
        return resolution

    async def is_decided_by_meta(self, signs: Signs) -> bool:
        """Tell whether a call's `_meta` names where it works, so that no answer about roots could change that."""
        hints = tuple(hint for hint in signs.hints if hint.source is Source.META)
        if not hints:
            return False
        alone = Signs(hints=hints, traits=signs.traits)
        places = await self._surroundings.look_at_all(directories_of(alone, None))
        return bool(read(alone, places, home=self._surroundings.home).usable)


def _version(session: SessionContext | None) -> tuple[SessionId, int] | None:
    return (session.session_id, session.revision) if session is not None else None
