"""The clock that idle time is counted on: seconds that the machine was awake, over the life of a store.

It goes on with the machine's awake clock. Between two daemons nothing runs that could count, so there it goes on by
as much as *every* clock agrees has passed at least: a clock that is set, a sleep, a reboot or a new clock battery
can only make idle time too short. So a wrong clock ends no session that is in use; at worst one lives too long.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workroot.core.changes import IdleMark, StoredState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workroot.core.ports import Clock
    from workroot.core.sessions import SessionContext, SessionKey

__all__ = ["IdleClock"]

_STEP_SECONDS = 1.0  # a wall clock that differs by more was set; by less, it is kept in step


class IdleClock:
    """Counts from 0 in a new store, and from where the last daemon left it in an older one.

    Args:
        clock: the machine's clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._from_awake = -clock.awake()
        self._marked_at = -math.inf
        self._to_wall = -math.inf

    def load(self, state: StoredState) -> dict[SessionKey, float]:
        """Go on from where a store's last owner left it; return when each of its sessions was seen."""
        mark, awake = state.idle_mark, self._clock.awake()
        now = mark.idle + self._gap_since(mark) if mark is not None else 0.0
        # What was noted after the mark was seen no later than now.
        now = max(now, *_noted(state))
        self._from_awake, self._marked_at, self._to_wall = now - awake, -math.inf, -math.inf
        seen = dict(state.seen)
        if len(seen) < len(state.sessions):
            unseen = (session for session in state.sessions if session.key not in seen)
            seen |= {session.key: now - self._age(session) for session in unseen}
        return seen

    def now(self) -> float:
        """Return the time: never less than before, whatever becomes of the machine's clocks."""
        return self._clock.awake() + self._from_awake

    def wall_at(self, time: float) -> float:
        """Return what the wall clock shows at this time, past or to come, if nobody sets it and the machine is awake.

        Of one time it is the same again and again, until the wall clock is set or the machine has slept.
        """
        to_wall = self._clock.wall() - self._clock.awake() - self._from_awake
        if abs(to_wall - self._to_wall) > _STEP_SECONDS:
            self._to_wall = to_wall
        return time + self._to_wall

    def mark(self) -> IdleMark:
        """Return where it stands, to be kept."""
        mark = self.peek()
        self._marked_at = mark.idle
        return mark

    def peek(self) -> IdleMark:
        """Return the same as `mark`, without counting as one: it may come to nothing."""
        return IdleMark(self.now(), self._clock.wall(), self._clock.since_boot())

    def seconds_since_mark(self) -> float:
        """Return for how long no mark was made; without end if none was since the store was loaded."""
        return self.now() - self._marked_at

    def _gap_since(self, mark: IdleMark) -> float:
        """Return for how long the machine was awake since *mark*, at least."""
        since_boot = self._clock.since_boot()
        # Less than at the mark: it was booted since. More may be another boot too, and then counts too little.
        awake = since_boot - mark.since_boot if since_boot >= mark.since_boot else since_boot
        return min(awake, max(0.0, self._clock.wall() - mark.wall))

    def _age(self, session: SessionContext) -> float:
        """Return for how long a session of an older schema was idle at most."""
        return min(self._clock.since_boot(), max(0.0, self._clock.wall() - session.last_used))


def _noted(state: StoredState) -> Iterator[float]:
    """Yield the latest times of what a store keeps."""
    yield max(state.seen.values(), default=0.0)
    yield max((each.seen for each in state.connections if each.seen is not None), default=0.0)
    yield max((each.seen for each in state.ended_aliases), default=0.0)
    yield max((each.seen for each in state.ended), default=0.0)
    yield max((each.seen for each in state.allocations), default=0.0)
