"""What the user sets, keeps secret, allows or has to decide."""

from __future__ import annotations

from workroot.errors.tree import WorkrootError

__all__ = [
    "ConfirmationError",
    "DaemonKeyError",
    "SettingsError",
    "TokenError",
    "TrustError",
]


class SettingsError(WorkrootError):
    """The user's settings cannot be used."""

    code = "invalid_settings"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class TokenError(WorkrootError):
    """A token command cannot be carried out."""

    code = "invalid_token"


class DaemonKeyError(WorkrootError):
    """The key that proves what the daemon said earlier cannot be read or made."""

    code = "invalid_daemon_key"


class TrustError(WorkrootError):
    """What the user allows cannot be read or changed; nothing was allowed."""

    code = "trust"


class ConfirmationError(WorkrootError):
    """Only a person at a terminal can decide this, and there is none; nothing was changed."""

    code = "confirmation_needed"

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(f"{what}, and nobody can be asked without a terminal: {cure}; nothing was changed")
