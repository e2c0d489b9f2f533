"""When requests of the Unix socket begin: one after the other, whoever sends them.

The event loop does a step of everything that is under way before it comes back to anybody. With 64 requests of one
client begun at once, each of the ten steps of another's waits for 64 others: 230 ms instead of 2. So a request has
the loop nearly to itself for some rounds, within which it is done or waits for something. Connections take turns:
however many requests one has sent, one of them stands in the line.
"""

from __future__ import annotations

import asyncio
from collections import deque

import anyio

__all__ = ["Pace", "Paces"]

_ROUNDS = 8  # of the event loop; a call that waits for nothing is answered within them


class Pace:
    """Says when the next may begin, of all connections.

    Args:
        rounds: of the event loop, which each has before the next.
    """

    def __init__(self, rounds: int = _ROUNDS) -> None:
        self._rounds = rounds
        self._line: deque[anyio.Event] = deque()
        self._is_taken = False

    async def turn(self) -> None:
        """Return when a request may begin; who came first is first, and nobody waits when nobody else is there."""
        if self._is_taken:
            mine = anyio.Event()
            self._line.append(mine)
            try:
                await mine.wait()
            except BaseException:
                self._leave(mine)
                raise
        self._is_taken = True
        self._pass_on(self._rounds)

    def _leave(self, mine: anyio.Event) -> None:
        if mine.is_set():  # it was this one's turn: it is the next one's now
            self._pass_on(0)
        else:
            self._line.remove(mine)

    def _pass_on(self, rounds: int) -> None:
        if rounds:
            asyncio.get_running_loop().call_soon(self._pass_on, rounds - 1)
        elif self._line:
            self._line.popleft().set()
        else:
            self._is_taken = False


class Paces:
    """What connections take turns for: to begin and to end, to have a line read, and to have a request begin."""

    def __init__(self) -> None:
        self.connecting, self.reading, self.beginning = Pace(), Pace(rounds=1), Pace()
