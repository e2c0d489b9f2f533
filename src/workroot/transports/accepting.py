"""Taking connections in, and going on doing so whatever the system refuses.

Who is not let in is told why and closed at once: no client hangs, and the log has a line in ten seconds.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
from anyio.abc import UNIXSocketStream

from workroot.logs.loop_errors import Seldom
from workroot.transports.places import say_last, since

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from anyio.abc import TaskGroup

    from workroot.counters import Counters
    from workroot.transports.places import Place, Places

    Handle: TypeAlias = Callable[[UNIXSocketStream, Place], Awaitable[None]]

__all__ = ["AcceptLoop"]

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.1  # when even the spare descriptor does not help
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class AcceptLoop:
    """Accepts clients from one listening socket.

    Args:
        listening: bound, listening; this loop owns it and closes it.
        handle: serves one client to its end, and closes it.
    """

    def __init__(self, listening: socket.socket, handle: Handle, *, places: Places, counters: Counters) -> None:
        listening.setblocking(False)
        self._listening, self._handle, self._places, self._counters = listening, handle, places, counters
        self._seldom = Seldom()
        self._spare = _spare_descriptor()
        self._closing = anyio.Event()

    async def serve(self, tasks: TaskGroup) -> None:
        """Serve each client by a task of *tasks*, until `aclose`; a failure to accept ends no one's service."""
        try:
            while not self._closing.is_set():
                await anyio.lowlevel.checkpoint()  # many newcomers hold up nobody who is here
                try:
                    connection, _ = self._listening.accept()
                except (BlockingIOError, InterruptedError):
                    await anyio.wait_readable(self._listening)
                except ConnectionAbortedError:
                    self._tell(errno.ECONNABORTED)
                except OSError as error:
                    if self._closing.is_set():
                        return
                    await self._do_without(error)
                else:
                    await self._let_in(connection, tasks)
        except anyio.ClosedResourceError:
            return
        finally:
            self._close()

    async def aclose(self) -> None:
        """Accept no more; those who are served are not touched. Safe to call twice."""
        self._close()
        await anyio.lowlevel.checkpoint()

    def _close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        anyio.notify_closing(self._listening)
        self._listening.close()
        self._drop_spare()

    async def _let_in(self, connection: socket.socket, tasks: TaskGroup) -> None:
        connection.setblocking(False)
        try:
            stream = await UNIXSocketStream.from_socket(connection)
        except (OSError, ValueError):  # it has left already, and some systems say so here
            connection.close()
            return
        if (place := self._places.take(connection)) is not None:
            tasks.start_soon(self._serve_one, stream, place)
        else:
            say_last(connection, self._places.farewell)
            await stream.aclose()

    async def _do_without(self, error: OSError) -> None:
        """Go on after the system refused to accept: with the spare descriptor, one client at least hears of it."""
        self._tell(error.errno)
        if error.errno in _NO_DESCRIPTOR and self._spare is not None:
            self._drop_spare()
            with suppress(OSError):
                connection, _ = self._listening.accept()
                with connection:
                    connection.setblocking(False)
                    say_last(connection, self._places.farewell)
            self._spare = _spare_descriptor()
            if self._spare is not None:
                return
        self._spare = self._spare if self._spare is not None else _spare_descriptor()
        with anyio.move_on_after(_PAUSE_SECONDS):  # else this would be a busy loop
            await self._closing.wait()

    async def _serve_one(self, stream: UNIXSocketStream, place: Place) -> None:
        with place.taken():
            await self._handle(stream, place)

    def _tell(self, number: int | None) -> None:
        self._counters.add("accept_failed")
        if (untold := self._seldom.is_due(number)) is not None:
            problem = os.strerror(number) if number is not None else "unknown"
            logger.error("a connection cannot be accepted (%s)%s", problem, since(untold))

    def _drop_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None


def _spare_descriptor() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
