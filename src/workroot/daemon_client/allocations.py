"""Sessions that the daemon allocates: an `AllocationService` whose every call is the daemon's to answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workroot.allocating.access import check_user, checked_id
from workroot.allocating.values import added, appended, checked_text
from workroot.core.allocations import checked_seconds
from workroot.wire_values.codec import BOOLEAN, INTEGER, JSON, NUMBER, REAL, optional, table_of
from workroot.wire_values.records import ALLOCATED, ALLOCATION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workroot.core.allocations import AllocatedSession, Allocation, JsonValue
    from workroot.core.sessions import Owner
    from workroot.daemon_client.operations import Operations

__all__ = ["DaemonAllocations"]

_MAYBE_ALLOCATED = optional(ALLOCATED)
_COUNTS = table_of(INTEGER)


class DaemonAllocations:
    """Keeps the promises of `AllocationService` as the daemon does; beside its errors there are those of any call.

    What cannot be remembered, and what can be no id or time to live, is refused before anything is sent.
    """

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def allocate(
        self,
        owner: Owner,
        *,
        session_id: str | None,
        user_id: str | None,
        seconds: float,
        values: Mapping[str, object],
    ) -> Allocation:
        """Make a session, or return the one of that id if it is the caller's already."""
        checked_text(values)
        if session_id is not None:
            checked_id(session_id)
        if user_id is not None:
            check_user(user_id)
        return await self._operations.do(
            "allocate",
            ALLOCATION,
            owner,
            session_id=session_id,
            user_id=user_id,
            seconds=checked_seconds(seconds),
            values=values,
        )

    async def validate(self, owner: Owner, session_id: str, *, user_id: str | None) -> bool:
        """Tell whether a session is active, and the caller's; that is a use of it."""
        return await self._operations.do("validate", BOOLEAN, owner, session_id=session_id, user_id=user_id)

    async def find(self, owner: Owner, session_id: str, *, user_id: str | None) -> AllocatedSession | None:
        """Return a session in whatever state it is, as long as its end is remembered; that is no use of it."""
        return await self._operations.do("find", _MAYBE_ALLOCATED, owner, session_id=session_id, user_id=user_id)

    async def expires_at(self, session: AllocatedSession) -> float:
        """Return when a session ends or ended, in seconds since the Unix epoch."""
        asked = ALLOCATED.write(replace(session, metadata="{}"))  # that has nothing to do with it
        return await self._operations.do("expires_at", REAL, session.owner, session=asked)

    async def update(
        self, owner: Owner, session_id: str, values: Mapping[str, object], *, user_id: str | None, merge: bool
    ) -> AllocatedSession:
        """Let a session remember *values* beside what it does, or instead."""
        checked_text(values)
        return await self._operations.do(
            "update", ALLOCATED, owner, session_id=session_id, values=values, user_id=user_id, merge=merge
        )

    async def increment(
        self, owner: Owner, session_id: str, name: str, by: float, *, user_id: str | None
    ) -> int | float:
        """Add to a number, 0 where there is none, and return the sum."""
        checked_text({name: added({}, name, by)})
        return await self._operations.do(
            "increment", NUMBER, owner, session_id=session_id, name=name, by=by, user_id=user_id
        )

    async def append(
        self, owner: Owner, session_id: str, name: str, value: JsonValue, *, user_id: str | None, most: int | None
    ) -> int:
        """Add to the end of a list, empty where there is none, and return its length."""
        checked_text({name: appended({}, name, value, most=most)})
        return await self._operations.do(
            "append", INTEGER, owner, session_id=session_id, name=name, value=value, user_id=user_id, most=most
        )

    async def take(self, owner: Owner, session_id: str, name: str, *, user_id: str | None) -> JsonValue:
        """Forget a value and return it, None where there is none: of many who ask at once, one gets it."""
        return await self._operations.do("take", JSON, owner, session_id=session_id, name=name, user_id=user_id)

    async def compare_and_set(
        self, owner: Owner, session_id: str, name: str, expected: JsonValue, value: JsonValue, *, user_id: str | None
    ) -> bool:
        """Replace a value if it is *expected* (None: if there is none); False: it is not, and nothing changed."""
        checked_text({name: expected})
        checked_text({name: value})
        return await self._operations.do(
            "compare_and_set",
            BOOLEAN,
            owner,
            session_id=session_id,
            name=name,
            expected=expected,
            value=value,
            user_id=user_id,
        )

    async def extend(self, owner: Owner, session_id: str, seconds: float, *, user_id: str | None) -> AllocatedSession:
        """Let a session live so much longer than it would have."""
        return await self._operations.do(
            "extend", ALLOCATED, owner, session_id=session_id, seconds=checked_seconds(seconds), user_id=user_id
        )

    async def end(self, owner: Owner, session_id: str, *, user_id: str | None, is_deleted: bool) -> bool:
        """End a session for good, as deleted or as invalid; False: there is no active one that is the caller's."""
        return await self._operations.do(
            "end", BOOLEAN, owner, session_id=session_id, user_id=user_id, is_deleted=is_deleted
        )

    async def cleanup(self, owner: Owner) -> int:
        """End those of the sandbox whose time has run out, and return how many had not been ended yet."""
        return await self._operations.do("cleanup", INTEGER, owner)

    async def stats(self, owner: Owner) -> Mapping[str, int]:
        """Return `active` sessions of the sandbox, `hits`, `misses`, `expired` and `ended`, and `most`."""
        return await self._operations.do("stats", _COUNTS, owner)
