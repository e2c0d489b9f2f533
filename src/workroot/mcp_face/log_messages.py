"""What a client of the handshake era is told in `notifications/message`, if it asked for that by `logging/setLevel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, get_args

from mcp_types import LoggingLevel

from workroot.events import Event, SessionEnded, SessionMoved

if TYPE_CHECKING:
    from workroot.core.sessions import SessionId

__all__ = ["LogMessage", "message_about"]

_LEVELS: tuple[str, ...] = get_args(LoggingLevel)


class LogMessage(NamedTuple):
    """One message."""

    level: LoggingLevel
    text: str

    def is_wanted(self, level: str) -> bool:
        """Tell whether somebody wants it who wants messages from *level* on."""
        return _LEVELS.index(self.level) >= _LEVELS.index(level)


def message_about(event: Event, session_id: SessionId | None) -> LogMessage | None:
    """Return what there is to say about *event* to a client whose default session is *session_id*; None if nothing.

    What the client asked for itself, it was answered.
    """
    match event:
        case SessionMoved(session, before) if session.session_id == session_id and before is not None:
            if event.is_asked_for or session.project_id == before.project_id:
                return None
            if session.project_name is None:
                return LogMessage(
                    "warning",
                    f"{session.working_directory} is in no project any more, or it is not clear in which: "
                    f"ask get_working_directory",
                )
            return LogMessage("info", f"now in project {session.project_name!r}, root {session.project_root}")
        case SessionEnded(ended) if ended.session_id == session_id:
            return LogMessage(
                "warning",
                f"the session in {ended.last_directory} has ended ({ended.ending}): "
                f"set_working_directory opens another one",
            )
    return None
