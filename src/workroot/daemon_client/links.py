"""The connections of one program to the daemon: one for each event loop that asks, opened when it does.

A program has one event loop, as a rule, or several one after another; none may use what another one opened.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from workroot import __version__
from workroot.control_client import check_socket_owner
from workroot.daemon_client.link import Link, LinkClosedError
from workroot.errors import DaemonUnavailableError
from workroot.rendezvous import hello_line, installation

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Links"]

_RETRY_SECONDS = 0.01


class _OfLoop:
    """The connection of one event loop."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.pid = os.getpid()
        self.connecting = anyio.Lock(fast_acquire=True)

    def close(self) -> None:
        if self.link is not None:
            self.link.close()
            self.link = None


class Links:
    """Carries calls to the daemon, over the connection of the event loop that asks.

    Args:
        path: of the daemon's socket.
        answer_seconds: how long one call may take, connecting included.
    """

    def __init__(self, path: str, answer_seconds: float) -> None:
        self.path, self._answer_seconds = path, answer_seconds
        self._of_loops: dict[asyncio.AbstractEventLoop, _OfLoop] = {}
        self._closings = 0

    async def ask(self, command: str, arguments: Mapping[str, object], *, what: str) -> Mapping[str, Any]:
        """Return the daemon's result for a command; connects first, or anew if the daemon has been restarted.

        Raises:
            ControlError: the daemon does not understand, or is not understood.
            DaemonUnavailableError: none runs, it went away, or it did not answer in time.
            RendezvousError: others could have put its socket there.
            WorkrootError: it refused.
        """
        loop = asyncio.get_running_loop()
        until, closings = loop.time() + self._answer_seconds, self._closings
        while self._closings == closings:
            link = await self._open(loop, until)
            with suppress(LinkClosedError):  # nothing was begun: there may be another daemon by now
                return await link.ask(command, arguments, what=what, until=until)
        raise DaemonUnavailableError(self.path, "this program closed the connection")

    @property
    def is_open(self) -> bool:
        """Whether an event loop that goes on has a connection, or opens one."""
        return any(not _is_over(loop, of_loop) for loop, of_loop in tuple(self._of_loops.items()))

    def close(self) -> None:
        """Close all connections; what is in flight fails. The next call opens one anew. Idempotent."""
        here = asyncio.get_running_loop()
        self._closings += 1
        for loop, of_loop in list(self._of_loops.items()):
            if loop is here or _is_over(loop, of_loop):
                of_loop.close()
            else:
                with suppress(RuntimeError):  # it closed just now, and its connection with it
                    loop.call_soon_threadsafe(of_loop.close)
        self._of_loops.clear()

    async def _open(self, loop: asyncio.AbstractEventLoop, until: float) -> Link:
        if (of_loop := self._of_loops.get(loop)) is None:
            self._forget_loops_that_are_over()
            of_loop = self._of_loops[loop] = _OfLoop()
        if of_loop.link is not None and of_loop.link.is_open:
            return of_loop.link
        with anyio.move_on_after(until - loop.time()):
            async with of_loop.connecting:
                if of_loop.link is None or not of_loop.link.is_open:  # who came before us had no success
                    self._check_not_closed(loop, of_loop)
                    of_loop.link = await self._connect(until)
                self._check_not_closed(loop, of_loop)  # this one was not there yet
                return of_loop.link
        raise DaemonUnavailableError(self.path, f"the daemon did not answer within {self._answer_seconds:g} s")

    def _check_not_closed(self, loop: asyncio.AbstractEventLoop, of_loop: _OfLoop) -> None:
        if self._of_loops.get(loop) is not of_loop:
            of_loop.close()
            raise DaemonUnavailableError(self.path, "this program closed the connection")

    def _forget_loops_that_are_over(self) -> None:
        for loop, of_loop in tuple(self._of_loops.items()):  # other threads may be at this as well
            if _is_over(loop, of_loop):
                self._of_loops.pop(loop, None)
                of_loop.close()

    async def _connect(self, until: float) -> Link:
        check_socket_owner(self.path)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            while not _is_connected(connection, self.path):  # noqa: ASYNC110 -- nothing tells
                await anyio.sleep(_RETRY_SECONDS)  # its queue is full
            link = Link(connection, self.path, self._answer_seconds)
        except BaseException:
            connection.close()
            raise
        try:
            hello = hello_line(role="control", stays=True, version=__version__, installation=installation())
            await link.greet(hello, until=until)
        except BaseException:
            link.close()
            raise
        return link


def _is_over(loop: asyncio.AbstractEventLoop, of_loop: _OfLoop) -> bool:
    """Tell whether a loop asks no more: it is closed, or its process is the one that this one was forked from."""
    return loop.is_closed() or of_loop.pid != os.getpid()


def _is_connected(connection: socket.socket, path: str) -> bool:
    """Connect, and tell whether that was possible now.

    Raises:
        DaemonUnavailableError: nobody listens, or nobody can be reached.
    """
    try:
        connection.connect(path)
    except BlockingIOError:
        return False
    except (FileNotFoundError, ConnectionRefusedError):
        raise DaemonUnavailableError(path, "no daemon is running") from None
    except OSError as error:
        raise DaemonUnavailableError(path, f"no daemon can be reached ({error.strerror or error})") from None
    return True
