"""All sessions as the command line lists them: page by page, so that no other client waits for a long list."""

from __future__ import annotations

import secrets
from itertools import islice
from typing import TYPE_CHECKING, Any

from workroot.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workroot.core.sessions import SessionContext
    from workroot.session_reader import SessionReader

__all__ = ["SessionListing", "session_row"]

_PAGE_ROWS = 200  # some 3 ms of the daemon's time
_MOST_OPEN = 4  # lists that nobody has read to their end; the oldest gives way


class SessionListing:
    """Lists the sessions that are held."""

    def __init__(self, sessions: SessionReader) -> None:
        self._sessions = sessions
        self._open: dict[str, Iterator[SessionContext]] = {}

    def page(self, cursor: str | None = None) -> dict[str, Any]:
        """Return the first rows of all that is held at this moment, or those that follow; in no order.

        Raises:
            ControlError: nothing follows *cursor* any more.
        """
        if cursor is None:
            cursor = secrets.token_hex(8)
            self._open[cursor] = iter(self._sessions.sessions_of_now())
            if len(self._open) > _MOST_OPEN:
                del self._open[next(iter(self._open))]
        elif cursor not in self._open:
            raise ControlError("other lists were begun meanwhile, and this one was given up: begin it again")
        found = list(islice(self._open[cursor], _PAGE_ROWS))
        page: dict[str, Any] = {"sessions": [session_row(self._sessions, each) for each in found]}
        if len(found) == _PAGE_ROWS:
            page["cursor"] = cursor
        else:
            del self._open[cursor]
        return page


def session_row(sessions: SessionReader, session: SessionContext) -> dict[str, Any]:
    """Return what the command line is told of a session; the keys are an interface."""
    return {
        "session_id": session.session_id,
        "principal": session.owner.principal,
        "working_directory": session.working_directory,
        "given_directory": session.given_directory,
        "project_id": session.project_id,
        "project_root": session.project_root,
        "config_path": session.config_path,
        "set_at": session.set_at,
        "last_used": session.last_used,
        "revision": session.revision,
        "connected": sessions.is_connected(session),
    }
