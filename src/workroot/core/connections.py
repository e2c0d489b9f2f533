"""What a conversation of the handshake era asked for, kept by its alias: it outlives the connection it came by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workroot.core.sessions import Alias, Owner

__all__ = ["EndedAlias", "KeptConnection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptConnection:
    """One conversation, as far as it has to be known when its client comes back.

    Attributes:
        subscriptions: addresses of resources whose changes it wants to hear of.
        log_level: from which level on it wants messages; None if it never said.
        is_resumable: its client may come back long after its last connection ended, as one with an
            `Mcp-Session-Id`; a connector comes back at once or never.
        last_used: in seconds since the Unix epoch, and about a day behind at most.
        seen: the same on the idle clock; None if it was kept before there was that.
    """

    owner: Owner
    alias: Alias
    subscriptions: frozenset[str] = frozenset()
    log_level: str | None = None
    is_resumable: bool = False
    last_used: float
    seen: float | None = None


@dataclass(frozen=True, slots=True)
class EndedAlias:
    """An alias whose client has ended the conversation: it stands for nothing any more.

    Attributes:
        ended_at: in seconds since the Unix epoch.
        seen: the same on the idle clock, which decides for how long this is remembered.
    """

    owner: Owner
    alias: Alias
    ended_at: float
    seen: float = 0.0
