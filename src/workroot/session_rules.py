"""What holds for every session: how far it may move, how long it lasts, and how many there may be.

One frozen value, for the start and for each change while it runs: nobody sees half of a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workroot.core.reach import Reach

__all__ = ["DEFAULT_RULES", "SessionRules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRules:
    """The rules of one `SessionContextManager`.

    Attributes:
        model_may_move: how far the argument of a call reaches.
        idle_seconds: a session idle for longer is stale.
        sweep_seconds: time between two sweeps.
        write_behind_seconds: how long "last used" may lag behind on disk; holds from the start to the end.
        ended_seconds: how long it is remembered how a session ended, counted as idle time is.
        max_sessions: held at a time; above it the longest idle one gives way.
        max_ended_sessions: of so many it is remembered how they ended; above it the first is forgotten.
        max_allocated_sessions: active at a time, in all sandboxes; above it no other is allocated.
        max_projects: known at a time, each root of each owner counted; above it the one seen longest ago is forgotten.
        max_store_bytes: on the disk; above it, at a sweep, endings are forgotten, then the longest idle sessions end.
    """

    model_may_move: Reach = "anywhere"
    idle_seconds: float = 24 * 3600
    sweep_seconds: float = 3600
    write_behind_seconds: float = 2
    ended_seconds: float = 30 * 24 * 3600
    max_sessions: int = 100_000
    max_ended_sessions: int = 100_000
    max_allocated_sessions: int = 100_000
    max_projects: int = 10_000
    max_store_bytes: float = 128 * 1024 * 1024


DEFAULT_RULES = SessionRules()
"""What holds where nothing else is said."""
