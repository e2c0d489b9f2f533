"""The small values that a program's sessions remember, changed by many at once without a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.allocating.access import checked_id
from workroot.allocating.grid_keys import GridKeys
from workroot.allocating.reached import acting_user, is_text
from workroot.allocating.values import checked_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workroot.allocating.reached import ReachedSessions
    from workroot.core.allocations import JsonValue
    from workroot.core.sessions import Owner

__all__ = ["RememberedValues"]


class RememberedValues(GridKeys):
    """The part of `workroot.SessionManager` that is about values.

    Args:
        owner: on whose behalf, and in which sandbox.
        reached: the way to whoever keeps the sessions.
    """

    def __init__(self, owner: Owner, reached: ReachedSessions) -> None:
        super().__init__(owner.sandbox)
        self.owner, self._reached = owner, reached

    async def update_session_metadata(
        self, session_id: str, custom_metadata: Mapping[str, object], merge: bool = True, *, user_id: str | None = None
    ) -> bool:
        """Let a session remember values, beside what it does or instead; False: there is no active one.

        Raises:
            MetadataError: it cannot remember that; nothing changed.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        user_id = acting_user(user_id)
        return is_text(session_id) and await self._reached.is_done(
            lambda kept: kept.update(self.owner, session_id, custom_metadata, user_id=user_id, merge=merge)
        )

    async def increment(self, session_id: str, name: str, by: float = 1, *, user_id: str | None = None) -> int | float:
        """Add to a number that a session remembers, 0 where there is none, and return the sum; none is ever lost.

        Raises:
            MetadataError: what is there is no number, or the sum cannot be remembered.
            SessionError: there is no active session of that id.
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        user_id, known = acting_user(user_id), checked_id(session_id)
        return await self._reached.call(lambda kept: kept.increment(self.owner, known, name, by, user_id=user_id))

    async def append(
        self, session_id: str, name: str, value: JsonValue, *, most: int | None = None, user_id: str | None = None
    ) -> int:
        """Add to the end of a list that a session remembers, empty where there is none, and return its length.

        Args:
            session_id: whose.
            name: of the list.
            value: what to add.
            most: of so many the first give way; None keeps all.
            user_id: the acting user.

        Raises:
            MetadataError: what is there is no list, or it cannot be remembered.
            SessionError: as `increment`.
        """
        user_id, known = acting_user(user_id), checked_id(session_id)
        return await self._reached.call(
            lambda kept: kept.append(self.owner, known, name, value, user_id=user_id, most=most)
        )

    async def take(self, session_id: str, name: str, *, user_id: str | None = None) -> JsonValue:
        """Forget a value and return it, None where there is none: of many who ask at once, one gets it.

        Raises:
            MetadataError: the name is not text.
            SessionError: as `increment`.
        """
        user_id, known = acting_user(user_id), checked_id(session_id)
        checked_name(name)
        return await self._reached.call(lambda kept: kept.take(self.owner, known, name, user_id=user_id))

    async def compare_and_set(
        self, session_id: str, name: str, expected: JsonValue, value: JsonValue, *, user_id: str | None = None
    ) -> bool:
        """Replace a value if it is *expected* (None: if there is none); False: it is not, and nothing changed.

        Raises:
            MetadataError: *value* cannot be remembered.
            SessionError: as `increment`.
        """
        user_id, known = acting_user(user_id), checked_id(session_id)
        return await self._reached.call(
            lambda kept: kept.compare_and_set(self.owner, known, name, expected, value, user_id=user_id)
        )
