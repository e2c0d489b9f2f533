"""Sessions that are allocated for a time: ids that are taken or have ended, and what they cannot be given."""

from __future__ import annotations

from workroot.errors.sessions import SessionError
from workroot.errors.tree import WorkrootError

__all__ = [
    "MetadataError",
    "SessionEndedError",
    "SessionTakenError",
    "TimeToLiveError",
    "TooManySessionsError",
    "UserIdError",
]

_LONGEST = 100  # letters of what was given, in a message


class SessionTakenError(SessionError):
    """The id that was chosen for a new session belongs to somebody else; nothing changed."""

    code = "session_taken"

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id, f"session id {session_id!r} is taken: choose another, or leave it out")


class SessionEndedError(SessionError):
    """This allocated session is over; it does not come back, and its id is not given again."""

    code = "session_ended"

    def __init__(self, session_id: str, status: str) -> None:
        self.status = status
        super().__init__(session_id, f"session {session_id!r} is {status}: allocate another one, under another id")


class TimeToLiveError(WorkrootError, ValueError):
    """A session cannot live for so long; nothing changed."""

    code = "invalid_time_to_live"

    def __init__(self, time: object, unit: str = "seconds") -> None:
        super().__init__(f"a time to live must be above 0 and at most ten years, not {_shown(time)} {unit}")


class MetadataError(WorkrootError, ValueError):
    """A session cannot remember this; nothing changed."""

    code = "invalid_metadata"


class UserIdError(WorkrootError, ValueError):
    """A session cannot be of a user of this id; nothing changed."""

    code = "invalid_user"


class TooManySessionsError(WorkrootError):
    """So many sessions are allocated that no other can be; nothing changed."""

    code = "too_many_sessions"

    def __init__(self, most: int) -> None:
        self.most = most
        super().__init__(f"{most} sessions are allocated, which is the most there may be: delete some, or let them end")


def _shown(value: object) -> str:
    """Return what somebody gave, in a line."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python tells
        return "a number of thousands of digits in"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
