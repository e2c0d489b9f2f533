"""Requests that lack what the code serving them needs: a user, a session, a way to the client."""

from __future__ import annotations

from workroot.errors.tree import WorkrootError

__all__ = ["ChannelUnavailableError", "ClientRefusedError", "SessionRequiredError", "UserRequiredError"]


class UserRequiredError(WorkrootError, PermissionError):
    """Nobody is known to have sent this request, and what it asks for belongs to somebody."""

    code = "user_required"

    def __init__(self) -> None:
        super().__init__(
            "this needs a user and the request has none: sign in, or enter RequestContext(user_id=...) around the call"
        )


class SessionRequiredError(WorkrootError, RuntimeError):
    """The request belongs to no session, and what it asks for is kept per session."""

    code = "session_required"

    def __init__(self) -> None:
        super().__init__(
            "this needs a session and the request has none: pass the session_id of one, "
            "or enter RequestContext(session_id=...) around the call"
        )


class ChannelUnavailableError(WorkrootError, RuntimeError):
    """The client of this request cannot be asked; nothing was sent.

    Attributes:
        channel: what it cannot be asked for (`roots`, `sampling`, `elicitation`).
    """

    code = "channel_unavailable"

    def __init__(self, channel: str, why: str) -> None:
        self.channel = channel
        super().__init__(f"{channel} is not available: {why}")


class ClientRefusedError(WorkrootError, RuntimeError):
    """The client was asked, and did not do what it was asked for.

    Attributes:
        channel: what it was asked for (`roots`, `sampling`, `elicitation`).
    """

    code = "client_refused"

    def __init__(self, channel: str, why: str) -> None:
        self.channel = channel
        super().__init__(f"the client was asked for {channel} and refused: {why}; do without it, or ask again later")
