"""Sessions that cannot be used, and calls that do not say clearly where they work."""

from __future__ import annotations

from workroot.errors.tree import WorkrootError

__all__ = [
    "ClosedSessionError",
    "ExpiredSessionError",
    "NotStartedError",
    "SessionError",
    "SignsDisagreeError",
    "UnknownSessionError",
]

_OPEN_ONE = (
    "call set_working_directory without session_id to open a new one, and pass on the session_id that it returns"
)


class SessionError(WorkrootError):
    """A session handle cannot be used.

    Attributes:
        session_id: the handle as it was given.
    """

    code = "invalid_session"

    def __init__(self, session_id: str, message: str) -> None:
        self.session_id = session_id
        super().__init__(message)


class NotStartedError(WorkrootError):
    """A manager was used before it knew what its store keeps; nothing changed."""

    code = "not_started"

    def __init__(self) -> None:
        super().__init__("the session manager is not started: call start(), or use it as a context manager")


class UnknownSessionError(SessionError):
    """Nobody opened this session, or somebody else did: a stranger learns no more than that."""

    code = "unknown_session"

    def __init__(self, session_id: str, cure: str = _OPEN_ONE) -> None:
        super().__init__(session_id, f"unknown session {session_id!r}: {cure}")


class ClosedSessionError(SessionError):
    """The owner closed this session; it does not come back."""

    code = "closed_session"

    def __init__(self, session_id: str, last_directory: str) -> None:
        self.last_directory = last_directory
        super().__init__(
            session_id,
            f"session {session_id!r} was closed (it worked in {last_directory}): "
            f"call set_working_directory(directory={last_directory!r}) without session_id to open a new one",
        )


class ExpiredSessionError(SessionError):
    """This session was idle for too long; it does not come back."""

    code = "expired_session"

    def __init__(self, session_id: str, last_directory: str) -> None:
        self.last_directory = last_directory
        super().__init__(
            session_id,
            f"session {session_id!r} expired after being idle (it worked in {last_directory}): "
            f"call set_working_directory(directory={last_directory!r}) without session_id, "
            f"then repeat this call with the session_id that it returns",
        )


class SignsDisagreeError(WorkrootError):
    """Two signs of equal authority name different things; neither was followed."""

    code = "signs_disagree"

    def __init__(self, what: str, first: tuple[str, str], second: tuple[str, str]) -> None:
        super().__init__(
            f"two signs of equal authority name a different {what}: "
            f"{first[0]} says {first[1]!r}, {second[0]} says {second[1]!r}; send only one of them"
        )
