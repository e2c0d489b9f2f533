"""Health and metrics for programs that watch over programs: what `/healthz`, `/readyz` and `/metrics` answer.

Nothing is kept for them but a few integers; the rest is looked up when somebody asks.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from anyio import to_thread

from workroot.core.sessions import Ending
from workroot.events import SessionEnded, SessionMoved

if TYPE_CHECKING:
    from workroot.core.sessions import Owner
    from workroot.events import Event
    from workroot.mcp_face.meter import Meter
    from workroot.observation.status import DaemonStatus
    from workroot.session_context import SessionContextManager

__all__ = ["Metrics", "PageAnswer", "SessionTally"]

PageAnswer: TypeAlias = tuple[int, str, bytes]
"""Status, media type and body."""

_TEXT = "text/plain; charset=utf-8"


class SessionTally:
    """Counts sessions by the user on whose behalf they are, as their events tell.

    Attributes:
        active: that are held.
        created: opened since the daemon's start.
        closed: ended by their clients since then.
        expired: ended because they were idle since then.
    """

    def __init__(self, sessions: SessionContextManager) -> None:
        self.active = Counter(_user_of(session.owner) for session in sessions.sessions_of_now())
        self.created: Counter[str] = Counter(dict.fromkeys(self.active, 0))
        self.closed, self.expired = self.created.copy(), self.created.copy()
        sessions.events.subscribe(self._take)

    def _take(self, event: Event) -> None:
        if isinstance(event, SessionMoved) and event.before is None:
            user = _user_of(event.session.owner)
            self.active[user] += 1
            self.created[user] += 1
            self.closed[user] += 0  # a rate begins at nought, not at one
            self.expired[user] += 0
        elif isinstance(event, SessionEnded):
            user = _user_of(event.ended.owner)
            self.active[user] -= 1
            (self.expired if event.ended.ending is Ending.EXPIRED else self.closed)[user] += 1


def _user_of(owner: Owner) -> str:
    """Return whose an owner is: those whom a user's programs serve are that user's, and there may be many."""
    return owner.principal.partition("/")[0]


class Metrics:
    """Answers what is asked of a daemon's health."""

    def __init__(self, status: DaemonStatus, meter: Meter, sessions: SessionContextManager) -> None:
        self._status, self._meter, self._tally = status, meter, SessionTally(sessions)

    async def render(self) -> tuple[str, bytes]:
        """Return the media type and the text of all metrics."""
        await to_thread.run_sync(_load)
        from workroot.observation.metrics_text import CONTENT_TYPE_LATEST, metrics_text

        return CONTENT_TYPE_LATEST, metrics_text(await self._status.look(), self._meter, self._tally)

    async def metrics(self) -> PageAnswer:
        """Answer `/metrics`."""
        return 200, *await self.render()

    async def healthz(self) -> PageAnswer:
        """Answer `/healthz`: this process is alive."""
        return 200, _TEXT, b"ok\n"

    async def readyz(self) -> PageAnswer:
        """Answer `/readyz`: clients can be served; if not, 503 and why in a word, `stopping` or `store`."""
        reason = self._status.unready()
        return (200, _TEXT, b"ok\n") if reason is None else (503, _TEXT, f"{reason}\n".encode())


def _load() -> None:
    import workroot.observation.metrics_text  # noqa: F401 -- in a thread, since it takes its time the first time
