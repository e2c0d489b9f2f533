"""Sessions to measure with: as many as asked for, each as a real one would be."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from workroot.core.changes import AliasBound, Change, SessionSaved
from workroot.core.projects import Directory, ProjectId
from workroot.core.sessions import Alias, Owner, SessionContext, SessionId
from workroot.storage.sqlite import open_sqlite_store

__all__ = ["OWNER", "fill", "sessions"]

OWNER = Owner(f"uid:{os.getuid()}")

_SESSIONS_A_PROJECT = 20
_CHANGES_A_COMMIT = 2000


def sessions(count: int) -> list[SessionContext]:
    """Return sessions of many projects, some of which have a config, all of them used just now."""
    now = time.time()
    return [_session(number, now) for number in range(count)]


def alias_of(session: SessionContext) -> Alias:
    """Return the name that a connection has for a session."""
    return Alias(hashlib.blake2s(session.session_id.encode(), digest_size=16).hexdigest())


async def fill(database: Path, count: int) -> None:
    """Make a store with *count* sessions, each of them a connection's default."""
    async with open_sqlite_store(database) as store:
        waiting: list[Change] = []
        for session in sessions(count):
            waiting += [SessionSaved(session), AliasBound(OWNER, alias_of(session), session.session_id)]
            if len(waiting) >= _CHANGES_A_COMMIT:
                await store.commit(waiting)
                waiting = []
        await store.commit(waiting)


def _session(number: int, now: float) -> SessionContext:
    project = number // _SESSIONS_A_PROJECT
    root = f"/home/ada/work/project-{project:05}"
    directory = f"{root}/src/package-{number % 3}"
    return SessionContext(
        session_id=SessionId(f"wr_{hashlib.blake2s(str(number).encode(), digest_size=12).hexdigest()}"),
        owner=OWNER,
        working_directory=Directory(directory),
        given_directory=directory,
        config_path=f"{root}/.workroot/config.toml" if project % 2 else None,
        project_id=ProjectId(f"00000000-0000-4000-8000-{project:012}"),
        project_root=Directory(root),
        project_name=f"project-{project:05}",
        set_at=now,
        last_used=now,
    )
