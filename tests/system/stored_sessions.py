"""A session as stores keep it, and others like it."""

from __future__ import annotations

from dataclasses import replace

from workroot.core.projects import Directory
from workroot.core.sessions import Owner, SessionContext, SessionId

__all__ = ["ADA", "WORK", "numbered"]

ADA = Owner("uid:1000")
WORK = SessionContext(
    session_id=SessionId("wr_ada"),
    owner=ADA,
    working_directory=Directory("/home/ada/app"),
    given_directory="/home/ada/app",
    set_at=1.0,
    last_used=1.0,
)


def numbered(number: int) -> SessionContext:
    return replace(WORK, session_id=SessionId(f"wr_{number}"))
