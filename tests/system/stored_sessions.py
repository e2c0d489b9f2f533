"""A session as stores keep it, and others like it; and what is kept at a path."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workroot.core.allocations import AllocatedSession, SessionStatus
from workroot.core.projects import Directory
from workroot.core.sessions import Owner, SessionContext, SessionId
from workroot.storage.sqlite import open_sqlite_store

if TYPE_CHECKING:
    from pathlib import Path

    from workroot.core.changes import StoredState

__all__ = ["ADA", "LENT", "OVER", "WORK", "ids", "kept", "numbered"]

ADA = Owner("uid:1000")
WORK = SessionContext(
    session_id=SessionId("wr_ada"),
    owner=ADA,
    working_directory=Directory("/home/ada/app"),
    given_directory="/home/ada/app",
    set_at=1.0,
    last_used=1.0,
)
LENT = AllocatedSession(
    session_id=SessionId("lent"),
    owner=ADA,
    user_id="bob",
    created_at=1.0,
    deadline=86_400.0,
    last_accessed=1.0,
    metadata='{"cart":[1]}',
)
OVER = replace(
    LENT, session_id=SessionId("over"), metadata="{}", status=SessionStatus.EXPIRED, ended_at=2.0, seen=2.0, revision=2
)


def numbered(number: int) -> SessionContext:
    return replace(WORK, session_id=SessionId(f"wr_{number}"))


async def kept(path: Path) -> StoredState:
    """Return what the next owner of the store at *path* finds there."""
    async with open_sqlite_store(path) as store:
        return await store.load()


def ids(state: StoredState) -> set[str]:
    return {session.session_id for session in state.sessions}
