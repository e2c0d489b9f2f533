"""Every error raised on purpose, as one tree.

Each says what happened, to what, and what to do about it. `code` is stable: scripts and
clients may rely on it. Nothing here imports anything else of the package.

What a connector or a daemon may raise while it starts is loaded at once, for a file may be gone when it is needed. What
only the library raises is loaded on first use: importing it would cost every connector some of its milliseconds.
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

TYPE_CHECKING = False  # not from typing: as in `tree`
if TYPE_CHECKING:
    from workroot.errors.allocations import (
        MetadataError,
        SessionEndedError,
        SessionTakenError,
        TimeToLiveError,
        TooManySessionsError,
        UserIdError,
    )
    from workroot.errors.names import GridPathError, IdFormatError
    from workroot.errors.providers import (
        NoFactoryError,
        NotTextError,
        ProviderFullError,
        ProviderInUseError,
        ProviderNotFoundError,
        ValueRefusedError,
    )
    from workroot.errors.requests import (
        ChannelUnavailableError,
        ClientRefusedError,
        SessionRequiredError,
        UserRequiredError,
    )

__all__ = [
    "AlreadyRunningError",
    "ArchiveError",
    "ChangeRefusedError",
    "ChannelUnavailableError",
    "ClientRefusedError",
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
    "GridPathError",
    "IdFormatError",
    "JoinRefusedError",
    "MetadataError",
    "MoveRefusedError",
    "NoFactoryError",
    "NotStartedError",
    "NotTextError",
    "ProjectNeededError",
    "ProjectUnknownError",
    "ProviderFullError",
    "ProviderInUseError",
    "ProviderNotFoundError",
    "RendezvousError",
    "ServiceError",
    "SessionEndedError",
    "SessionError",
    "SessionRequiredError",
    "SessionTakenError",
    "SettingsError",
    "SignsDisagreeError",
    "SocketTakenError",
    "StoreError",
    "StoreInUseError",
    "StoreTooNewError",
    "StoreUnavailableError",
    "StrictModeError",
    "TimeToLiveError",
    "TokenError",
    "TooManySessionsError",
    "TrustError",
    "UnknownSessionError",
    "UserIdError",
    "UserRequiredError",
    "ValueRefusedError",
    "WorkrootError",
]

_HOMES = {
    "ChannelUnavailableError": "workroot.errors.requests",
    "ClientRefusedError": "workroot.errors.requests",
    "GridPathError": "workroot.errors.names",
    "IdFormatError": "workroot.errors.names",
    "MetadataError": "workroot.errors.allocations",
    "NoFactoryError": "workroot.errors.providers",
    "NotTextError": "workroot.errors.providers",
    "ProviderFullError": "workroot.errors.providers",
    "ProviderInUseError": "workroot.errors.providers",
    "ProviderNotFoundError": "workroot.errors.providers",
    "SessionEndedError": "workroot.errors.allocations",
    "SessionRequiredError": "workroot.errors.requests",
    "SessionTakenError": "workroot.errors.allocations",
    "TimeToLiveError": "workroot.errors.allocations",
    "TooManySessionsError": "workroot.errors.allocations",
    "UserIdError": "workroot.errors.allocations",
    "UserRequiredError": "workroot.errors.requests",
    "ValueRefusedError": "workroot.errors.providers",
}
"""Where what is loaded on first use is defined."""


if not TYPE_CHECKING:  # a type checker has the imports above, and shall know a misspelt name for one

    def __getattr__(name: str) -> object:
        """Load an error that only the library raises from its module (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module 'workroot.errors' has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value  # the next use finds it without asking
        return value


def __dir__() -> list[str]:
    """Return the names of all errors, whether they are loaded or not."""
    return sorted({*globals(), *_HOMES})
