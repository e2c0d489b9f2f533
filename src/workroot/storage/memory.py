"""A store without a disk: for tests, for library users, and for a machine whose disk cannot be written.

It follows the same rules as the one on disk, and a call that is refused leaves no trace.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from workroot.core.changes import (
    AliasBound,
    AliasEnded,
    AllocationSaved,
    AllocationsForgotten,
    AllocationTouched,
    Change,
    ConnectionForgotten,
    ConnectionSaved,
    EndedAliasesForgotten,
    EndedForgotten,
    EndingForgotten,
    IdleMark,
    IdleMarked,
    ProjectForgotten,
    ProjectIdKept,
    ProjectSeen,
    SessionEnded,
    SessionSaved,
    SessionTouched,
    StoredState,
)
from workroot.core.sessions import (
    Alias,
    EndedSession,
    Owner,
    SessionContext,
    SessionKey,
)
from workroot.errors import ChangeRefusedError
from workroot.storage.undo import Undo
from workroot.storage.unicode_text import check_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workroot.core.allocations import AllocatedSession
    from workroot.core.connections import EndedAlias, KeptConnection
    from workroot.core.projects import Directory, KnownId, ProjectKey

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps sessions for as long as the object lives; its namespace is as old as the object."""

    def __init__(self) -> None:
        self._namespace = str(uuid.uuid4())
        self._sessions: dict[SessionKey, SessionContext] = {}
        self._seen: dict[SessionKey, float] = {}
        self._idle_mark: dict[None, IdleMark] = {}  # of one, so that a change of it can be taken back like any other
        self._ended: dict[SessionKey, EndedSession] = {}
        self._aliases: dict[tuple[Owner, Alias], AliasBound] = {}
        self._aliases_of: dict[SessionKey, frozenset[tuple[Owner, Alias]]] = {}
        self._projects: dict[tuple[Owner, Directory], ProjectSeen] = {}
        self._project_ids: dict[ProjectKey, KnownId] = {}
        self._connections: dict[tuple[Owner, Alias], KeptConnection] = {}
        self._ended_aliases: dict[tuple[Owner, Alias], EndedAlias] = {}
        self._allocations: dict[SessionKey, AllocatedSession] = {}
        self._over: dict[SessionKey, float] = {}  # which of them ended, and when: the others need no look to forget

    async def load(self) -> StoredState:
        """Return all that is kept."""
        await checkpoint()
        return StoredState(
            namespace=self._namespace,
            sessions=tuple(self._sessions.values()),
            ended=tuple(self._ended.values()),
            aliases=tuple(self._aliases.values()),
            projects=tuple(self._projects.values()),
            project_ids=tuple(self._project_ids.values()),
            connections=tuple(self._connections.values()),
            ended_aliases=tuple(self._ended_aliases.values()),
            allocations=tuple(self._allocations.values()),
            seen=dict(self._seen),
            idle_mark=self._idle_mark.get(None),
        )

    async def commit(self, changes: Sequence[Change]) -> None:
        """Keep *changes*, all or none.

        Raises:
            ChangeRefusedError: as the port says; none was kept.
        """
        await checkpoint()
        undo = Undo()
        try:
            for change in changes:
                check_text(change)
                self._apply(change, undo)
        except ChangeRefusedError:
            undo.run()
            raise

    async def tidy(self) -> int:
        """Return 0: nothing is kept on a disk."""
        await checkpoint()
        return 0

    def attach(self, snapshot: Callable[[], StoredState], adopt: Callable[[StoredState], None]) -> None:
        """Do nothing: memory is not lost as a file can be."""

    def _apply(self, change: Change, undo: Undo) -> None:
        match change:
            case SessionSaved(session, seen):
                self._save(session, seen, undo)
            case SessionTouched():
                self._touch(change, undo)
            case SessionEnded(ended):
                self._end(ended, undo)
            case AliasBound():
                self._bind(change, undo)
            case ProjectSeen() | ProjectForgotten() | ProjectIdKept():
                self._apply_to_projects(change, undo)
            case ConnectionSaved() | ConnectionForgotten() | AliasEnded() | EndedAliasesForgotten():
                self._apply_to_connections(change, undo)
            case EndedForgotten(before):
                for key in [key for key, ended in self._ended.items() if ended.seen < before]:
                    undo.drop(self._ended, key)
            case EndingForgotten(key):
                undo.drop(self._ended, key)
            case IdleMarked(mark):
                undo.put(self._idle_mark, None, mark)
            case _:  # of allocated sessions
                self._apply_to_allocations(change, undo)

    def _apply_to_projects(self, change: ProjectSeen | ProjectForgotten | ProjectIdKept, undo: Undo) -> None:
        match change:
            case ProjectSeen(owner, project):
                known = self._projects.get((owner, project.root))
                if known is None or known.project.seen_at <= project.seen_at:
                    undo.put(self._projects, (owner, project.root), change)
            case ProjectForgotten(owner, root):
                undo.drop(self._projects, (owner, root))
            case _:  # ProjectIdKept
                undo.put(self._project_ids, change.known.key, change.known)

    def _apply_to_connections(
        self, change: ConnectionSaved | ConnectionForgotten | AliasEnded | EndedAliasesForgotten, undo: Undo
    ) -> None:
        match change:
            case ConnectionSaved(kept):
                if (kept.owner, kept.alias) in self._ended_aliases:
                    raise ChangeRefusedError("a conversation", "its client has ended it")
                undo.put(self._connections, (kept.owner, kept.alias), kept)
            case ConnectionForgotten(owner, alias):
                undo.drop(self._connections, (owner, alias))
            case AliasEnded(ended):
                undo.drop(self._connections, (ended.owner, ended.alias))
                if (ended.owner, ended.alias) not in self._ended_aliases:
                    undo.put(self._ended_aliases, (ended.owner, ended.alias), ended)
            case _:  # EndedAliasesForgotten
                for name in [name for name, ended in self._ended_aliases.items() if ended.seen < change.before]:
                    undo.drop(self._ended_aliases, name)

    def _apply_to_allocations(
        self, change: AllocationSaved | AllocationTouched | AllocationsForgotten, undo: Undo
    ) -> None:
        match change:
            case AllocationSaved(allocation):
                self._allocate(allocation, undo)
            case AllocationTouched(key, last_accessed):
                kept = self._allocations.get(key)
                if kept is not None and not kept.status.is_final and kept.last_accessed < last_accessed:
                    undo.put(self._allocations, key, replace(kept, last_accessed=last_accessed))
            case _:  # AllocationsForgotten
                for gone in [key for key, seen in self._over.items() if seen < change.before]:
                    undo.drop(self._over, gone)
                    undo.drop(self._allocations, gone)

    def _save(self, session: SessionContext, seen: float | None, undo: Undo) -> None:
        if session.key in self._ended:
            raise ChangeRefusedError(f"session {session.session_id!r}", "it has ended")
        kept = self._sessions.get(session.key)
        if kept is not None and kept.owner != session.owner:
            raise ChangeRefusedError(f"session {session.session_id!r}", "its id belongs to somebody else")
        if kept is None or kept.revision <= session.revision:
            undo.put(self._sessions, session.key, session)
            if seen is not None:
                undo.put(self._seen, session.key, seen)

    def _touch(self, touched: SessionTouched, undo: Undo) -> None:
        key, last_used, seen = touched.key, touched.last_used, touched.seen
        if (kept := self._sessions.get(key)) is None:
            return
        if kept.last_used < last_used:
            undo.put(self._sessions, key, replace(kept, last_used=last_used))
        if seen is not None and seen > self._seen.get(key, float("-inf")):
            undo.put(self._seen, key, seen)

    def _end(self, ended: EndedSession, undo: Undo) -> None:
        if ended.key in self._ended:
            return
        undo.put(self._ended, ended.key, ended)
        undo.drop(self._sessions, ended.key)
        undo.drop(self._seen, ended.key)
        for name in self._aliases_of.get(ended.key, ()):
            undo.drop(self._aliases, name)
        undo.drop(self._aliases_of, ended.key)

    def _bind(self, bound: AliasBound, undo: Undo) -> None:
        key, name = SessionKey(bound.owner.sandbox, bound.session_id), (bound.owner, bound.alias)
        session = self._sessions.get(key)
        if session is None or session.owner != bound.owner:
            raise ChangeRefusedError(
                f"an alias of session {bound.session_id!r}", "the owner has no such session that is kept"
            )
        if (before := self._aliases.get(name)) is not None:
            old = SessionKey(bound.owner.sandbox, before.session_id)
            undo.put(self._aliases_of, old, self._aliases_of[old] - {name})
        undo.put(self._aliases, name, bound)
        undo.put(self._aliases_of, key, self._aliases_of.get(key, frozenset()) | {name})

    def _allocate(self, allocation: AllocatedSession, undo: Undo) -> None:
        what, kept = f"allocated session {allocation.session_id!r}", self._allocations.get(allocation.key)
        if kept is not None and (kept.owner, kept.user_id) != (allocation.owner, allocation.user_id):
            raise ChangeRefusedError(what, "it belongs to somebody else")
        if kept is not None and kept.status.is_final and not allocation.status.is_final:
            raise ChangeRefusedError(what, "it has ended")
        if kept is None or not (kept.status.is_final or kept.revision > allocation.revision):
            undo.put(self._allocations, allocation.key, allocation)
            if allocation.status.is_final:
                undo.put(self._over, allocation.key, allocation.seen)
