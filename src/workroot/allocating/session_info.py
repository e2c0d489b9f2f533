"""An allocated session as its program is told of it: times as text, values as copies."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from workroot.core.allocations import AllocatedSession, JsonValue

__all__ = ["SessionInfo", "SessionMetadata", "info_of", "metadata_of"]


class SessionInfo(TypedDict):
    """What `SessionManager.get_session_info` returns; times are ISO 8601 in UTC, ending in `Z`.

    Attributes:
        session_id: the id.
        sandbox_id: the tenant.
        user_id: whose session it is, or None.
        created_at: when it was allocated.
        expires_at: when its time runs out; of an ended one, when it ended.
        status: `active`, `expired`, `invalidated` or `terminated`.
        last_accessed: its last use, up to a few seconds late.
        custom_metadata: what it remembers: a copy.
    """

    session_id: str
    sandbox_id: str
    user_id: str | None
    created_at: str
    expires_at: str
    status: str
    last_accessed: str
    custom_metadata: dict[str, JsonValue]


@dataclass(kw_only=True)
class SessionMetadata:
    """The same as `SessionInfo`, with attributes. A copy: what is changed here changes nothing else."""

    session_id: str
    sandbox_id: str
    user_id: str | None
    created_at: str
    expires_at: str
    status: str
    last_accessed: str
    custom_metadata: dict[str, JsonValue]

    def is_expired(self) -> bool:
        """Tell whether the session was over when this copy was made, or its time has run out since."""
        return self.status != "active" or datetime.now(UTC) >= datetime.fromisoformat(self.expires_at)

    def to_dict(self) -> dict[str, object]:
        """Return all of it as a dictionary."""
        return asdict(self)


def info_of(session: AllocatedSession, *, expires_at: float) -> SessionInfo:
    """Return what a program is told of a session.

    Args:
        session: as it is now.
        expires_at: when it ends or ended, in seconds since the Unix epoch.
    """
    return {
        "session_id": session.session_id,
        "sandbox_id": session.owner.sandbox,
        "user_id": session.user_id,
        "created_at": _as_text(session.created_at),
        "expires_at": _as_text(expires_at),
        "status": session.status.value,
        "last_accessed": _as_text(session.last_accessed),
        "custom_metadata": session.values(),
    }


def metadata_of(session: AllocatedSession, *, expires_at: float) -> SessionMetadata:
    """Return the same as `info_of`, with attributes."""
    return SessionMetadata(**info_of(session, expires_at=expires_at))


@lru_cache(maxsize=4096)  # making the three anew takes half of what a look does
def _as_text(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")
