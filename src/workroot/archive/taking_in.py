"""What of an archive is not here yet, and how it becomes part of what is held.

What is here already stays as it is, so that taking the same archive in twice is taking it in once. A session counts as
used when it is taken in: for how long it was idle elsewhere says nothing about who will pass its handle here. What was
allocated for a time goes on for as long as it had left when the archive was written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from workroot.core.changes import (
    AliasBound,
    AliasEnded,
    AllocationSaved,
    Change,
    ConnectionSaved,
    ProjectIdKept,
    SessionEnded,
    SessionSaved,
)
from workroot.core.sessions import SessionKey

if TYPE_CHECKING:
    from collections.abc import Container, Hashable

    from workroot.core.allocations import AllocatedSession
    from workroot.core.changes import StoredState
    from workroot.core.sessions import Owner, SessionContext
    from workroot.held_state import HeldState

__all__ = ["TakingIn", "keys_of"]


def keys_of(found: StoredState) -> set[SessionKey]:
    """Return which sessions part of an archive is about."""
    return {
        *(session.key for session in found.sessions),
        *(ended.key for ended in found.ended),
        *(allocation.key for allocation in found.allocations),
        *(SessionKey(bound.owner.sandbox, bound.session_id) for bound in found.aliases),
    }


class TakingIn:
    """Part of an archive on its way in.

    Args:
        held: what is here.
        found: what the archive says; sessions come before what stands for them, in this part or an earlier one.
        free: those of its sessions that nobody else changes until this is kept.

    Attributes:
        changes: what to keep.
        taken: how many records are new here, by kind.
        known: how many change nothing: they are here already, or what they belong to is not.
    """

    def __init__(self, held: HeldState, found: StoredState, free: Container[Hashable]) -> None:
        self._held, self._free = held, free
        self.changes: list[Change] = []
        self.taken: Counter[str] = Counter()
        self.known: Counter[str] = Counter()
        self._owners: dict[SessionKey, Owner] = {}
        self._plan_sessions(found)
        self._plan_allocations(found)
        self._plan_aliases(found)
        now = held.idle.now()
        connections, ended = held.connections.unknown(found.connections, found.ended_aliases)
        self._connections = [replace(each, seen=now) for each in connections]
        self._ended = [replace(each, seen=now) for each in ended]
        self._add("connection", [ConnectionSaved(each) for each in self._connections], of=len(found.connections))
        self._add("ended_alias", [AliasEnded(each) for each in self._ended], of=len(found.ended_aliases))
        self.projects, ids = held.notes.unknown(found.projects, found.project_ids)
        self._ids = [known for known in ids if not held.notes.is_id_of_another(known)]
        self._add("project", list(self.projects), of=len(found.projects))
        self._add("project_id", [ProjectIdKept(each) for each in self._ids], of=len(found.project_ids))

    def show(self) -> None:
        """Show what is kept, but for sessions and their names: whoever keeps changes shows those."""
        held = self._held  # what has become known meanwhile stays
        held.connections.load(*held.connections.unknown(self._connections, self._ended))
        held.notes.load(*held.notes.unknown(self.projects, self._ids))

    def _add(self, kind: str, changes: list[Change], *, of: int) -> None:
        self.changes += changes
        self.taken[kind] += len(changes)
        self.known[kind] += of - len(changes)

    def _plan_sessions(self, found: StoredState) -> None:
        now, table = self._held.idle.now(), self._held.sessions

        def is_new(key: SessionKey) -> bool:
            return key in self._free and table.of_key(key) is None and key not in table.endings

        def may_be(session: SessionContext) -> bool:
            there = self._held.allocations.get(session.key)
            return there is None or (
                there.owner == session.owner and there.deadline > now and not there.status.is_final
            )

        new = [each for each in found.sessions if is_new(each.key) and may_be(each)]
        self._owners.update((each.key, each.owner) for each in new)
        self._add("session", [SessionSaved(each, now) for each in new], of=len(found.sessions))
        gone = [each for each in found.ended if is_new(each.key)]
        self._add("ended", [SessionEnded(replace(each, seen=now)) for each in gone], of=len(found.ended))

    def _plan_allocations(self, found: StoredState) -> None:
        """Place what is new here on the clock of here, with the time to live that it had left."""
        now, table = self._held.idle.now(), self._held.sessions

        def is_new(allocation: AllocatedSession) -> bool:
            key = allocation.key
            if key not in self._free or self._held.allocations.get(key) is not None:
                return False
            session = table.of_key(key)
            if session is not None and allocation.status.is_final:
                return False
            owner = session.owner if session is not None else self._owners.get(key)
            return owner in (None, allocation.owner)

        new = [
            replace(each, deadline=now + each.deadline, seen=now if each.status.is_final else 0.0)
            for each in found.allocations
            if is_new(each)
        ]
        self._add("allocation", [AllocationSaved(each) for each in new], of=len(found.allocations))

    def _plan_aliases(self, found: StoredState) -> None:
        table = self._held.sessions

        def is_new(bound: AliasBound) -> bool:
            key = SessionKey(bound.owner.sandbox, bound.session_id)
            there = table.of_key(key)
            owner = there.owner if there is not None else self._owners.get(key)
            return key in self._free and owner == bound.owner and table.of_alias(bound.owner, bound.alias) is None

        self._add("alias", [bound for bound in found.aliases if is_new(bound)], of=len(found.aliases))
