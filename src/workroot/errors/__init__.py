"""Every error raised on purpose, as one tree.

Each says what happened, to what, and what to do about it. `code` is stable: scripts and
clients may rely on it. Nothing here imports anything else of the package.
"""

from __future__ import annotations

from workroot.errors.daemon import (
    AlreadyRunningError,
    ControlError,
    DaemonSilentError,
    DaemonStartError,
    DaemonUnavailableError,
    RendezvousError,
    ServiceError,
    SocketTakenError,
)
from workroot.errors.projects import (
    ConfigError,
    DirectoryError,
    DryRunError,
    JoinRefusedError,
    MoveRefusedError,
    ProjectNeededError,
    ProjectUnknownError,
    StrictModeError,
)
from workroot.errors.sessions import (
    ClosedSessionError,
    ExpiredSessionError,
    NotStartedError,
    SessionError,
    SignsDisagreeError,
    UnknownSessionError,
)
from workroot.errors.store import (
    ArchiveError,
    ChangeRefusedError,
    StoreError,
    StoreInUseError,
    StoreTooNewError,
    StoreUnavailableError,
)
from workroot.errors.tree import WorkrootError
from workroot.errors.user import (
    ConfirmationError,
    DaemonKeyError,
    SettingsError,
    TokenError,
    TrustError,
)

__all__ = [
    "AlreadyRunningError",
    "ArchiveError",
    "ChangeRefusedError",
    "ClosedSessionError",
    "ConfigError",
    "ConfirmationError",
    "ControlError",
    "DaemonKeyError",
    "DaemonSilentError",
    "DaemonStartError",
    "DaemonUnavailableError",
    "DirectoryError",
    "DryRunError",
    "ExpiredSessionError",
    "JoinRefusedError",
    "MoveRefusedError",
    "NotStartedError",
    "ProjectNeededError",
    "ProjectUnknownError",
    "RendezvousError",
    "ServiceError",
    "SessionError",
    "SettingsError",
    "SignsDisagreeError",
    "SocketTakenError",
    "StoreError",
    "StoreInUseError",
    "StoreTooNewError",
    "StoreUnavailableError",
    "StrictModeError",
    "TokenError",
    "TrustError",
    "UnknownSessionError",
    "WorkrootError",
]
