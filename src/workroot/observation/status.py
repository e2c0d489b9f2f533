"""What the daemon says of itself: `workroot status`, and what the metrics are made of.

A look is cheap and never waits: numbers that the parts have anyway, and a few `stat` calls.
"""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import psutil

from workroot import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workroot.counters import Counters, Refusal
    from workroot.logs import Log
    from workroot.mcp_face.meter import Client, Meter
    from workroot.session_context import SessionContextManager
    from workroot.storage.health import StoreHealth
    from workroot.watching.health import WatchHealth

__all__ = ["DaemonStatus", "Vitals"]

_STATM = "/proc/self/statm"
_DESCRIPTORS = "/proc/self/fd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """The daemon at a moment.

    Attributes:
        uptime_seconds: since this daemon was built, the time that the machine slept left out.
        sessions: that are held, stale ones included.
        stale_sessions: idle for too long, and not swept yet.
        ended_sessions: of which it is remembered how they ended.
        connections: connectors on the Unix socket, and programs that keep their sessions here.
        clients: those of which it is known what they call themselves, over HTTP too.
        projects: that somebody has worked in.
        memory_bytes: that are resident.
        descriptors: that are open, and how many may be.
        refusals: by kind.
        log_records: by level, folded ones included.
        log_failed: records that could not be written.
        problems: the last kinds of warnings and errors, newest last.
    """

    uptime_seconds: float
    sessions: int
    stale_sessions: int
    ended_sessions: int
    connections: int
    clients: Sequence[Client]
    projects: int
    store: StoreHealth
    watching: WatchHealth
    memory_bytes: int
    descriptors: tuple[int, int]
    refusals: Mapping[Refusal, int]
    log_records: Mapping[str, int]
    log_failed: int
    problems: Sequence[Mapping[str, str | int]]


class DaemonStatus:
    """Looks at the parts of a daemon; called, it answers the control command `status`.

    Args:
        facts: what does not change while the daemon runs: paths, boot id, addresses.
        connections: how many connectors there are.
        store: how the store is.
        watching: how the watching is.
        is_stopping: tells whether the daemon was asked to stop.
    """

    def __init__(
        self,
        *,
        facts: Mapping[str, Any],
        sessions: SessionContextManager,
        connections: Callable[[], int],
        meter: Meter,
        store: Callable[[], StoreHealth],
        watching: Callable[[], WatchHealth],
        counters: Counters,
        log: Log,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._facts, self._sessions, self._connections = facts, sessions, connections
        self._meter, self._store, self._watching = meter, store, watching
        self._counters, self._log, self._is_stopping = counters, log, is_stopping
        self._begun = time.monotonic()

    async def __call__(self) -> dict[str, Any]:
        """Return all of it; the keys are an interface, and `null` or a missing key means that nobody knows."""
        vitals = await self.look()
        store, watching = asdict(vitals.store), asdict(vitals.watching)
        store["moved_aside"] = list(vitals.store.moved_aside)
        return {
            **self._facts,
            "pid": os.getpid(),
            "version": __version__,
            "uptime_seconds": round(vitals.uptime_seconds, 3),
            "sessions": vitals.sessions,
            "stale_sessions": vitals.stale_sessions,
            "ended_sessions": vitals.ended_sessions,
            "connections": vitals.connections,
            "clients": _clients(vitals.clients),
            "projects": vitals.projects,
            "store": store,
            "watching": watching,
            "memory_bytes": vitals.memory_bytes,
            "descriptors": {"used": vitals.descriptors[0], "limit": vitals.descriptors[1]},
            "refusals": dict(vitals.refusals),
            "log_records": dict(vitals.log_records),
            "log_failed": vitals.log_failed,
            "problems": [dict(problem) for problem in vitals.problems],
            "unready": self.unready(),
        }

    async def look(self) -> Vitals:
        """Return how the daemon is now."""
        return Vitals(
            uptime_seconds=time.monotonic() - self._begun,
            sessions=await self._sessions.get_session_count(),
            stale_sessions=self._sessions.stale_count(),
            ended_sessions=self._sessions.ended_count(),
            connections=self._connections(),
            clients=self._meter.clients(),
            projects=self._sessions.projects.count(),
            store=self._store(),
            watching=self._watching(),
            memory_bytes=_resident_bytes(),
            descriptors=(_open_descriptors(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
            refusals=self._counters.counts(),
            log_records=self._log.counts(),
            log_failed=self._log.failed,
            problems=self._log.problems(),
        )

    def unready(self) -> str | None:
        """Return in a word why clients had better wait, `stopping` or `store`, or None."""
        if self._is_stopping():
            return "stopping"
        return "store" if self._store().problem is not None else None


def _clients(clients: Sequence[Client]) -> list[dict[str, Any]]:
    """Return how many connections there are of each kind of client, most first."""
    return [{**client._asdict(), "connections": connections} for client, connections in Counter(clients).most_common()]


def _resident_bytes() -> int:
    try:
        with open(_STATM, "rb") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except FileNotFoundError:  # not Linux
        return int(psutil.Process().memory_info().rss)


def _open_descriptors() -> int:
    try:
        return len(os.listdir(_DESCRIPTORS)) - 1  # without the one that lists
    except FileNotFoundError:
        return int(psutil.Process().num_fds())
