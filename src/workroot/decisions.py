"""The last decisions of each session, for `workroot why`: who asked, what was answered, and from which sign."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workroot.core.resolution import Resolution
    from workroot.core.sessions import Owner, SessionId

__all__ = ["Decision", "DecisionLog"]

_PER_SESSION = 20
_SESSIONS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One call that was told where it works.

    Attributes:
        at: in seconds since the Unix epoch.
        client: `clientInfo.name`, or None.
        tool: the tool or resource that was asked.
    """

    at: float
    owner: Owner
    client: str | None
    tool: str
    resolution: Resolution


class DecisionLog:
    """Keeps the last 20 decisions of each of the last 1,000 sessions; calls without a session share one place."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Owner, SessionId | None], deque[tuple[int, Decision]]] = OrderedDict()
        self._count = 0  # the order of decisions; the wall clock may jump

    def record(self, decision: Decision) -> None:
        """Keep a decision, and let go of the oldest."""
        session = decision.resolution.session
        key = (decision.owner, session.session_id if session else None)
        self._count += 1
        self._kept.setdefault(key, deque(maxlen=_PER_SESSION)).append((self._count, decision))
        self._kept.move_to_end(key)
        if len(self._kept) > _SESSIONS:
            self._kept.popitem(last=False)

    def of_owner(self, owner: Owner, *, client: str | None = None, last: int | None = None) -> list[Decision]:
        """Return the owner's decisions, newest last; with *client* that client's, at most *last* of them."""
        numbered = [
            (number, decision)
            for (whose, _), decisions in self._kept.items()
            if whose == owner
            for number, decision in decisions
            if client is None or decision.client == client
        ]
        found = [decision for _, decision in sorted(numbered, key=lambda each: each[0])]
        return found if last is None else found[-last:] if last > 0 else []
