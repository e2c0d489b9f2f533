"""The operations of `AllocationService`, done with the daemon's own allocated sessions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workroot.session_commands.arguments import MAYBE_TEXT, Given, Operation
from workroot.wire_values.codec import BOOLEAN, INTEGER, JSON, NUMBER, OBJECT, REAL, optional, table_of
from workroot.wire_values.records import ALLOCATED, ALLOCATION

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from workroot.core.allocations import AllocatedSession, Allocation, JsonValue
    from workroot.core.sessions import Owner
    from workroot.session_service import AllocationService

__all__ = ["allocation_operations"]

_MAYBE_INTEGER = optional(INTEGER)


def allocation_operations(allocations: AllocationService) -> dict[str, Operation[Any]]:
    """Return each operation by its name."""
    commands = _AllocationCommands(allocations)
    return {
        "allocate": Operation(commands.allocate, ALLOCATION),
        "validate": Operation(commands.validate, BOOLEAN),
        "find": Operation(commands.find, optional(ALLOCATED)),
        "expires_at": Operation(commands.expires_at, REAL),
        "update": Operation(commands.update, ALLOCATED),
        "increment": Operation(commands.increment, NUMBER),
        "append": Operation(commands.append, INTEGER),
        "take": Operation(commands.take, JSON),
        "compare_and_set": Operation(commands.compare_and_set, BOOLEAN),
        "extend": Operation(commands.extend, ALLOCATED),
        "end": Operation(commands.end, BOOLEAN),
        "cleanup": Operation(commands.cleanup, INTEGER),
        "stats": Operation(commands.stats, table_of(INTEGER)),
    }


class _AllocationCommands:
    def __init__(self, allocations: AllocationService) -> None:
        self._allocations = allocations

    def allocate(self, owner: Owner, given: Given) -> Coroutine[Any, Any, Allocation]:
        values: dict[str, JsonValue] = given.take("values", OBJECT)
        return self._allocations.allocate(
            owner,
            session_id=given.take_or("session_id", MAYBE_TEXT, None),
            user_id=given.user_id,
            seconds=given.take("seconds", REAL),
            values=values,
        )

    def validate(self, owner: Owner, given: Given) -> Coroutine[Any, Any, bool]:
        return self._allocations.validate(owner, given.text("session_id"), user_id=given.user_id)

    def find(self, owner: Owner, given: Given) -> Coroutine[Any, Any, AllocatedSession | None]:
        return self._allocations.find(owner, given.text("session_id"), user_id=given.user_id)

    def expires_at(self, owner: Owner, given: Given) -> Coroutine[Any, Any, float]:
        return self._allocations.expires_at(replace(given.take("session", ALLOCATED), owner=owner))

    def update(self, owner: Owner, given: Given) -> Coroutine[Any, Any, AllocatedSession]:
        values: dict[str, JsonValue] = given.take("values", OBJECT)
        merge = given.take("merge", BOOLEAN)
        return self._allocations.update(owner, given.text("session_id"), values, user_id=given.user_id, merge=merge)

    def increment(self, owner: Owner, given: Given) -> Coroutine[Any, Any, int | float]:
        return self._allocations.increment(
            owner, given.text("session_id"), given.text("name"), given.take("by", NUMBER), user_id=given.user_id
        )

    def append(self, owner: Owner, given: Given) -> Coroutine[Any, Any, int]:
        return self._allocations.append(
            owner,
            given.text("session_id"),
            given.text("name"),
            given.take_or("value", JSON, None),
            user_id=given.user_id,
            most=given.take_or("most", _MAYBE_INTEGER, None),
        )

    def take(self, owner: Owner, given: Given) -> Coroutine[Any, Any, JsonValue]:
        return self._allocations.take(owner, given.text("session_id"), given.text("name"), user_id=given.user_id)

    def compare_and_set(self, owner: Owner, given: Given) -> Coroutine[Any, Any, bool]:
        return self._allocations.compare_and_set(
            owner,
            given.text("session_id"),
            given.text("name"),
            given.take_or("expected", JSON, None),
            given.take_or("value", JSON, None),
            user_id=given.user_id,
        )

    def extend(self, owner: Owner, given: Given) -> Coroutine[Any, Any, AllocatedSession]:
        return self._allocations.extend(
            owner, given.text("session_id"), given.take("seconds", REAL), user_id=given.user_id
        )

    def end(self, owner: Owner, given: Given) -> Coroutine[Any, Any, bool]:
        return self._allocations.end(
            owner, given.text("session_id"), user_id=given.user_id, is_deleted=given.take("is_deleted", BOOLEAN)
        )

    def cleanup(self, owner: Owner, _given: Given) -> Coroutine[Any, Any, int]:
        return self._allocations.cleanup(owner)

    async def stats(self, owner: Owner, _given: Given) -> dict[str, int]:
        return dict(await self._allocations.stats(owner))
