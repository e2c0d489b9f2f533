"""Changes of allocated sessions, each in its session's turn: worked out, kept by the store, and shown only then.

So of a hundred that add to a number at once none is lost, and of many that take one value one gets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from workroot.allocating.access import Access, checked_id
from workroot.allocating.values import added, appended, checked_name, checked_text, is_same, updated
from workroot.core.allocation_table import AllocationEntry
from workroot.core.allocations import LONGEST_SECONDS, AllocatedSession, checked_seconds
from workroot.core.changes import AllocationSaved
from workroot.core.sessions import SessionKey
from workroot.errors import MetadataError, TimeToLiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workroot.core.allocations import JsonValue
    from workroot.core.sessions import Owner
    from workroot.session_ledger import SessionLedger
    from workroot.turns import Turns

__all__ = ["SessionChanges"]

_T = TypeVar("_T")


class SessionChanges:
    """The half of `LedgerAllocations` that changes sessions while they are active.

    Args:
        ledger: what is held, and the way into the store.
        turns: one a session; shared with whoever changes where sessions work.
    """

    def __init__(self, ledger: SessionLedger, turns: Turns) -> None:
        self._ledger, self._turns = ledger, turns
        self._table, self._idle = ledger.allocations, ledger.idle
        self._access = Access(ledger)

    async def update(
        self, owner: Owner, session_id: str, values: Mapping[str, object], *, user_id: str | None, merge: bool
    ) -> AllocatedSession:
        """Let a session remember *values* beside what it does, or instead; see `AllocationService.update`."""

        def plan(session: AllocatedSession) -> tuple[str, None]:
            return updated(session.metadata, values, is_merged=merge), None

        return (await self._change(owner, session_id, user_id, plan))[0]

    async def increment(
        self, owner: Owner, session_id: str, name: str, by: float, *, user_id: str | None
    ) -> int | float:
        """Add to a number, 0 where there is none, and return the sum; see `AllocationService.increment`."""

        def plan(session: AllocatedSession) -> tuple[str, int | float]:
            values = session.values()
            total = added(values, checked_name(name), by)
            return checked_text({**values, name: total}), total

        return (await self._change(owner, session_id, user_id, plan))[1]

    async def append(
        self, owner: Owner, session_id: str, name: str, value: JsonValue, *, user_id: str | None, most: int | None
    ) -> int:
        """Add to the end of a list, empty where there is none, and return its length."""

        def plan(session: AllocatedSession) -> tuple[str, int]:
            values = session.values()
            items = appended(values, checked_name(name), value, most=most)
            return checked_text({**values, name: items}), len(items)

        return (await self._change(owner, session_id, user_id, plan))[1]

    async def take(self, owner: Owner, session_id: str, name: str, *, user_id: str | None) -> JsonValue:
        """Forget a value and return it, None where there is none: of many who ask at once, one gets it."""

        def plan(session: AllocatedSession) -> tuple[str, JsonValue]:
            values = session.values()
            value = values.pop(checked_name(name), None)
            return checked_text(values), value

        return (await self._change(owner, session_id, user_id, plan))[1]

    async def compare_and_set(
        self, owner: Owner, session_id: str, name: str, expected: JsonValue, value: JsonValue, *, user_id: str | None
    ) -> bool:
        """Replace a value if it is *expected* (None: if there is none); False: it is not, and nothing changed."""

        def plan(session: AllocatedSession) -> tuple[str, bool]:
            values = session.values()
            if not is_same(values.get(checked_name(name)), expected):
                return session.metadata, False
            return checked_text({**values, name: value}), True

        return (await self._change(owner, session_id, user_id, plan))[1]

    async def extend(self, owner: Owner, session_id: str, seconds: float, *, user_id: str | None) -> AllocatedSession:
        """Let a session live so much longer than it would have; see `AllocationService.extend`."""
        more = checked_seconds(seconds)
        async with self._turns.take(SessionKey(owner.sandbox, checked_id(session_id))):
            entry = self._access.own(owner, session_id, user_id)
            deadline = entry.session.deadline + more
            if (lives := deadline - self._idle.now()) > LONGEST_SECONDS:
                raise TimeToLiveError(lives, "seconds from now")
            return await self._save(entry, entry.session.metadata, deadline)

    async def _change(
        self,
        owner: Owner,
        session_id: str,
        user_id: str | None,
        plan: Callable[[AllocatedSession], tuple[str, _T]],
    ) -> tuple[AllocatedSession, _T]:
        """Let an active session of the caller's remember what *plan* says; return it, and what else *plan* says."""
        async with self._turns.take(SessionKey(owner.sandbox, checked_id(session_id))):
            entry = self._access.own(owner, session_id, user_id)
            metadata, result = plan(entry.session)
            if metadata == entry.session.metadata:
                self._touch(entry)
                return entry.session, result
            return await self._save(entry, metadata, entry.session.deadline), result

    async def _save(self, entry: AllocationEntry, metadata: str, deadline: float) -> AllocatedSession:
        before = entry.session
        self._check_room(len(metadata) - len(before.metadata))
        changed = AllocatedSession(
            session_id=before.session_id,
            owner=before.owner,
            user_id=before.user_id,
            created_at=before.created_at,
            deadline=deadline,
            last_accessed=max(before.last_accessed, self._idle.wall_at(self._idle.now())),
            metadata=metadata,
            revision=before.revision + 1,
        )
        await self._ledger.keep([AllocationSaved(changed)], lambda: None)
        return changed

    def _check_room(self, letters: int) -> None:
        if letters > 0 and self._table.letters + letters > self._ledger.max_letters:
            raise MetadataError(
                f"all sessions together remember {self._table.letters} letters, and {letters} more are too many: "
                f"let them forget some, or delete some"
            )

    def _touch(self, entry: AllocationEntry) -> None:
        """Note that a session is used; that is written behind, and once in a window of that."""
        if self._table.recent.get(entry.session.session_id) is not entry:
            self._ledger.behind.note(self._table.touch(entry, now=self._idle.wall_at(self._idle.now())))
