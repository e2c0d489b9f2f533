"""Where the process at the other end of a loopback TCP connection works.

Which process that is, is looked for once per connection, in a thread and for half a second at most; where it
works is read anew for every request. What cannot be told (a process that is gone, another user's, our own,
one behind a relay) gives no sign, and never an error.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

import anyio

from workroot.core.signs import Hint, Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workroot.transports.shared_processes import Program

__all__ = ["FoundProcess", "PeerProcess", "PeerProcesses", "ProcessFinder", "TcpEnds", "system_finder"]

logger = logging.getLogger(__name__)

_SEARCH_SECONDS = 0.5
_MAX_SEARCHES = 4  # at a time; a system that makes them wait gets no further threads
_MAX_RECENT = 16  # a client that opens another connection is found at once


class TcpEnds(NamedTuple):
    """The two ends of a connection: IPv4 address and port."""

    client: tuple[str, int]
    server: tuple[str, int]


class FoundProcess(Protocol):
    """A process that holds the other end."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def program(self) -> Program:
        """What it runs."""

    def directory(self) -> str | None:
        """Return where it works now, or None if that cannot be named; must not wait.

        Raises:
            OSError: it is gone, or is not the same process any more.
        """


class ProcessFinder(Protocol):
    """What the system tells of processes and their connections."""

    def find(self, ends: TcpEnds, likely: Iterable[int], deadline: float) -> FoundProcess | None:
        """Return the process of this user, and not this one, that holds the client's end, or None; may wait.

        Args:
            likely: processes to look at first.
            deadline: when to give up, on `time.monotonic`.
        """


def system_finder() -> ProcessFinder:
    """Return the finder for this system."""
    if sys.platform == "linux":
        from workroot.transports.peer_process_linux import LinuxProcesses

        return LinuxProcesses()
    from workroot.transports.peer_process_psutil import PsutilProcesses

    return PsutilProcesses()


class PeerProcesses:
    """Looks for the processes at the other ends of connections.

    Args:
        finder: None for this system's.
        search_seconds: how long one search may take.
    """

    def __init__(self, finder: ProcessFinder | None = None, *, search_seconds: float = _SEARCH_SECONDS) -> None:
        self._finder = finder if finder is not None else system_finder()
        self._search_seconds = search_seconds
        self._searches = anyio.CapacityLimiter(_MAX_SEARCHES)
        self._recent: OrderedDict[int, None] = OrderedDict()  # least recently found first

    def at(self, ends: TcpEnds) -> PeerProcess:
        """Return what is to be asked for the process at the other end, for as long as the connection lasts."""
        return PeerProcess(self, ends)

    async def find(self, ends: TcpEnds) -> FoundProcess | None:
        """Return the process at the client's end, or None if it was not found in time."""
        found = None
        with anyio.move_on_after(self._search_seconds):
            search = _Search(self._finder, ends, tuple(reversed(self._recent)), self._search_seconds)
            await self._searches.acquire_on_behalf_of(search)
            found = await search.start(self._searches)
        if found is not None:
            self._recent[found.pid] = None
            self._recent.move_to_end(found.pid)
            if len(self._recent) > _MAX_RECENT:
                self._recent.popitem(last=False)
        return found


class PeerProcess:
    """The process at the other end of one connection: which one is remembered, where it works never."""

    def __init__(self, processes: PeerProcesses, ends: TcpEnds) -> None:
        self._processes, self._ends = processes, ends
        self._is_searched = False
        self._found: FoundProcess | None = None
        self._detail = ""
        self._problem: str | None = None

    async def hint(self) -> Hint | None:
        """Return the directory that the process suggests, or None if nothing can be told.

        One that speaks for several windows or for others gives a hint that says so, and no directory.
        """
        if self._is_searched:
            try:
                return self._hint_of_found()
            except OSError:
                logger.debug("another process may hold a client's connection now")
        self._found, self._is_searched = await self._processes.find(self._ends), True
        if (found := self._found) is not None:
            self._detail = f"process {found.pid} ({found.program.name})"
            self._problem = found.program.problem
        with suppress(OSError):
            return self._hint_of_found()
        return None

    def _hint_of_found(self) -> Hint | None:
        if self._found is None:
            return None
        if self._problem is not None:
            return Hint(Source.PROCESS, self._detail, "", problem=self._problem)
        directory = self._found.directory()
        return Hint(Source.PROCESS, self._detail, directory) if directory else None


class _Search:
    """One search in a thread of its own, which ends with the program even if the system never answers it."""

    def __init__(self, finder: ProcessFinder, ends: TcpEnds, likely: tuple[int, ...], seconds: float) -> None:
        self._finder, self._ends, self._likely = finder, ends, likely
        self._deadline = time.monotonic() + seconds
        self._outcome: asyncio.Future[FoundProcess | None] = asyncio.get_running_loop().create_future()

    async def start(self, limiter: anyio.CapacityLimiter) -> FoundProcess | None:
        """Search; whoever waits may give up, but the place in *limiter* is free again only when this is over."""
        loop = asyncio.get_running_loop()

        def finish(found: FoundProcess | None) -> None:
            limiter.release_on_behalf_of(self)
            if not self._outcome.done():
                self._outcome.set_result(found)

        def run() -> None:
            found = self._find()
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(finish, found)

        try:
            threading.Thread(target=run, name="peer process", daemon=True).start()
        except RuntimeError as error:  # the system has no threads left
            logger.warning("a client's process is not looked for: %s", error)
            finish(None)
        return await self._outcome

    def _find(self) -> FoundProcess | None:
        try:
            return self._finder.find(self._ends, self._likely, self._deadline)
        except Exception:  # a boundary: no sign is an answer, an error would be none
            logger.exception("looking for a client's process failed")
            return None
