"""When the time of each active session runs out: sorted, so that the effort is for what is over.

Nothing here reads a clock: callers pass in when, on the idle clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

from workroot.core.sessions import SessionId, SessionKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from workroot.core.allocations import AllocatedSession

__all__ = ["Deadlines"]

_Due: TypeAlias = tuple[float, str, SessionId]

_FEW = 8  # sessions that are dropped one by one: each takes as long as it takes to move all later ones up


class Deadlines:
    """The active sessions of a process, first deadline first."""

    def __init__(self) -> None:
        self._due: list[_Due] = []

    def __len__(self) -> int:
        return len(self._due)

    def load(self, sessions: Iterable[AllocatedSession]) -> None:
        """Take many sessions in at once."""
        self._due.extend(map(_due, sessions))
        self._due.sort()

    def add(self, session: AllocatedSession) -> None:
        """Take a session in."""
        due = _due(session)
        if not self._due or self._due[-1] < due:  # as most come: that spares the search
            self._due.append(due)
        else:
            insort(self._due, due)

    def drop(self, sessions: Sequence[AllocatedSession]) -> None:
        """Take sessions out, which are in."""
        gone = sorted(map(_due, sessions))
        if len(gone) > _FEW:
            start, end = bisect_left(self._due, gone[0]), bisect_right(self._due, gone[-1])
            if end - start <= _FEW * len(gone):  # they lie side by side, as those do whose time has run out
                those = frozenset(gone)
                self._due[start:end] = [due for due in self._due[start:end] if due not in those]
                return
        for due in gone:
            del self._due[bisect_left(self._due, due)]

    def over(self, now: float, sandbox: str | None, most: int) -> Iterator[list[SessionKey]]:
        """Yield which sessions have no time left, first deadline first, in slices; they may come and go meanwhile.

        Args:
            now: on the idle clock.
            sandbox: of this one alone, so that a slice may be empty; None for all.
            most: are looked at for a slice.
        """
        start = 0
        while some := self._due[start : min(start + most, self._end(now))]:
            last = some[-1]
            yield [SessionKey(there, session_id) for _, there, session_id in some if sandbox in (None, there)]
            start = bisect_right(self._due, last)

    def over_count(self, now: float, sandbox: str | None) -> int:
        """Return how many sessions of a sandbox have no time left, or of all (None), without a look at each."""
        end = self._end(now)
        return end if sandbox is None else sum(there == sandbox for _, there, _ in islice(self._due, end))

    def _end(self, now: float) -> int:
        return bisect_right(self._due, now, key=itemgetter(0))


def _due(session: AllocatedSession) -> _Due:
    return (session.deadline, session.owner.sandbox, session.session_id)
