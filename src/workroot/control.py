"""What the command line, and programs of the same user, may ask a running daemon over the same socket.

The answers' keys are an interface: `--json` prints them as they are.
"""

from __future__ import annotations

import math
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio.lowlevel import checkpoint

from workroot import __version__
from workroot.core.sessions import DEFAULT_SANDBOX, SessionId
from workroot.decision_rows import decision_row, pinned_row
from workroot.decisions import SessionUnclearError, whole_session_id
from workroot.errors import ClosedSessionError, ExpiredSessionError, SessionError, WorkrootError
from workroot.session_listing import SessionListing, session_row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from workroot.archive.pages import Archive
    from workroot.core.projects import KnownProject
    from workroot.core.sessions import Owner, SessionContext
    from workroot.decisions import DecisionLog
    from workroot.session_commands.sessions import SessionCommands
    from workroot.session_context import SessionContextManager

__all__ = ["Control", "UnknownCommandError"]

_MOST_DECISIONS = 200  # in one answer
_SLICE = 2_000  # sessions looked at before others go on: half a millisecond


class UnknownCommandError(WorkrootError):
    """The command line asked for something that this daemon does not know."""

    code = "unknown_command"


class Control:
    """Answers control commands.

    Args:
        facts: what does not change while the daemon runs: paths, boot id, addresses.
        stop: begins the end of the daemon, given why; called by the command `stop`.
        status: answers the command `status`; None: what this class knows by itself.
        back_up: copies the database, and returns where the copy is; None: there is no such command.
        metrics: gives their media type and text; None: there is no such command.
        archive: gives and takes all that is held; None: there are no such commands.
        session_service: does what programs ask of the sessions; None: there is no such command.
    """

    def __init__(
        self,
        sessions: SessionContextManager,
        decisions: DecisionLog,
        *,
        owner: Owner,
        facts: Mapping[str, Any],
        stop: Callable[[str], object],
        connections: Callable[[], int],
        status: Callable[[], Awaitable[dict[str, Any]]] | None = None,
        back_up: Callable[[], Awaitable[dict[str, Any]]] | None = None,
        metrics: Callable[[], Awaitable[tuple[str, bytes]]] | None = None,
        archive: Archive | None = None,
        session_service: SessionCommands | None = None,
    ) -> None:
        self._sessions, self._decisions, self._owner = sessions, decisions, owner
        self._listing = SessionListing(sessions)
        self._facts, self._begin_end, self._connections = facts, stop, connections
        self._commands: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "status": status or self._status,
            "sessions": self._list_sessions,
            "projects": self._list_projects,
            "decisions": self._list_decisions,
            "join_project": self._join_project,
            "sweep": self._sweep,
            "stop": self._stop,
        }
        if metrics is not None:
            self._commands["metrics"] = lambda: _as_text(metrics)
        if back_up is not None:
            self._commands["backup"] = lambda: _with_way_back(back_up)
        if archive is not None:
            self._commands["export"] = partial(_export, archive)
            self._commands["import"] = partial(_import, archive)
        if session_service is not None:
            self._commands["session_service"] = partial(_operate, session_service)

    async def __call__(self, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one command.

        Raises:
            UnknownCommandError: there is none of that name.
            WorkrootError: it failed.
            TypeError: the arguments are not its.
        """
        if command not in self._commands:
            raise UnknownCommandError(f"this daemon ({__version__}) has no command {command!r}")
        return await self._commands[command](**arguments)

    async def _status(self) -> dict[str, Any]:
        return {
            **self._facts,
            "pid": os.getpid(),
            "version": __version__,
            "sessions": await self._sessions.get_session_count(),
            "ended_sessions": self._sessions.ended_count(),
            "connections": self._connections(),
            "projects": self._sessions.projects.count(),
        }

    async def _list_sessions(self, cursor: str | None = None) -> dict[str, Any]:
        _check(cursor, str)
        return self._listing.page(cursor)

    async def _list_projects(self, query: str | None = None) -> dict[str, Any]:
        _check(query, str)
        return {"projects": [_project(each) for each in self._sessions.projects.known(self._owner, query)]}

    async def _list_decisions(
        self, client: str | None = None, last: int | None = None, session: str | None = None
    ) -> dict[str, Any]:
        """Return the newest decisions; with *session*, a handle or its beginning, that one's, and where it works."""
        _check(client, str)
        _check(last, int)
        _check(session, str)
        last = _MOST_DECISIONS if last is None else min(last, _MOST_DECISIONS)
        if session is None:
            found = self._decisions.of_owner(self._owner, client=client, last=last)
            return {"decisions": [decision_row(each) for each in found]}
        live = await self._sessions_like(session)
        ended = None
        try:
            session_id = whole_session_id(session, {*live, *self._decisions.sessions_of(self._owner)})
        except SessionUnclearError:
            if (ended := self._ending_of(session)) is None:
                raise
            session_id = session
        now = live.get(SessionId(session_id))
        found = self._decisions.of_owner(self._owner, client=client, session_id=session_id, last=last)
        return {
            "session": pinned_row(now, session_row(self._sessions, now)) if now is not None else None,
            "ended": ended if now is not None else ended or self._ending_of(session_id),
            "decisions": [decision_row(each) for each in found],
        }

    async def _sessions_like(self, handle: str) -> dict[SessionId, SessionContext]:
        """Return the owner's sessions that *handle* is or begins, by handle; others go on meanwhile."""
        beginning, found = handle.removesuffix("..."), {}
        for looked_at, each in enumerate(self._sessions.sessions_of_now(), start=1):
            if each.session_id.startswith(beginning) and each.owner == self._owner:
                found[each.session_id] = each
            if looked_at % _SLICE == 0:
                await checkpoint()
        return found

    def _ending_of(self, session_id: str) -> dict[str, Any] | None:
        """Return how a session of the owner's ended, or None if nobody knows that it did."""
        try:
            self._sessions.get_session(session_id, owner=self._owner)
        except (ClosedSessionError, ExpiredSessionError) as error:
            return {"code": error.code, "last_directory": error.last_directory}
        except SessionError:
            return None
        return None

    async def _join_project(self, directory: str) -> dict[str, Any]:
        _check(directory, str)
        joined = await self._sessions.join_project(directory, owner=self._owner)
        project = joined.project
        return {
            "project": {"id": project.project_id, "name": project.name, "root": project.root},
            "joined": joined.was_needed,
        }

    async def _sweep(self) -> dict[str, Any]:
        removed = list(await self._sessions.sweep())
        if (postponed := self._sessions.postponed_sweep()) is None:
            return {"removed": removed}
        sessions, seconds = postponed
        return {"removed": removed, "postponed": {"sessions": sessions, "in_seconds": math.ceil(seconds)}}

    async def _stop(self) -> dict[str, Any]:
        self._begin_end("asked by `workroot stop`, or for an upgrade")
        return {"stopping": True}


async def _as_text(metrics: Callable[[], Awaitable[tuple[str, bytes]]]) -> dict[str, Any]:
    media_type, text = await metrics()
    return {"media_type": media_type, "text": text.decode()}


async def _with_way_back(back_up: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    return {**await back_up(), "version": __version__, "python": sys.executable}


async def _export(archive: Archive, cursor: str | None = None) -> dict[str, Any]:
    _check(cursor, str)
    page = archive.export(cursor)
    return {"lines": page.lines, "cursor": page.cursor}


async def _import(archive: Archive, lines: list[str]) -> dict[str, Any]:
    _check(lines, list)
    for line in lines:
        _check(line, str)
    took = await archive.take_in(lines)
    return {"taken": +took.taken, "known": +took.known}


async def _operate(
    commands: SessionCommands,
    operation: str,
    arguments: dict[str, Any],
    sandbox: str = DEFAULT_SANDBOX,
    principal: str | None = None,
) -> dict[str, Any]:
    _check(operation, str)
    _check(arguments, dict)
    _check(sandbox, str)
    _check(principal, str)
    return await commands(operation, sandbox, arguments, principal=principal)


def _check(argument: object, kind: type) -> None:
    if argument is not None and not isinstance(argument, kind):
        raise TypeError(f"{argument!r} is not {kind.__name__}")


def _project(project: KnownProject) -> dict[str, Any]:
    return {
        "id": project.project_id,
        "name": project.name,
        "root": project.root,
        "worktree_of": project.worktree_of,
        "seen_at": project.seen_at,
    }
