"""All connections of the HTTP face: accepted here, counted in all and per user, and ended in order.

One that never showed a token gives way to the next, the oldest first, so that connections which only wait keep
nobody out; of one user's, one on which nothing is being done gives way.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
from functools import partial
from typing import TYPE_CHECKING

import anyio
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from workroot.logs.loop_errors import Seldom
from workroot.transports.http_protocol import CONNECTION_KEY, HttpConnection
from workroot.transports.http_refusal import RefusalLog

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.types import ASGIApp, Scope

    from workroot.core.sessions import Owner
    from workroot.counters import Counters
    from workroot.limits import Limits
    from workroot.transports.peer_process import PeerProcesses

__all__ = ["HttpConnections"]

logger = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS = 60  # longer than clients keep theirs, so that none writes into a connection we are closing
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE_SECONDS = 0.5  # clients wait in the backlog meanwhile
_SHARE_OF_DESCRIPTORS = 0.3  # the rest is for files, watches and the Unix socket
_LAST_LOOK_SECONDS = 0.25


class HttpConnections:
    """Accepts connections, and knows them all."""

    def __init__(
        self, limits: Limits, counters: Counters, processes: PeerProcesses, log: RefusalLog | None = None
    ) -> None:
        self._limits = limits
        self._counters = counters
        self._processes = processes
        self._log = log if log is not None else RefusalLog()
        self._state = ServerState()
        self._strangers: dict[HttpConnection, None] = {}  # those that showed no token; the oldest first
        self._known: dict[Owner, dict[HttpConnection, None]] = {}  # of each user; the one unused for longest first
        self._changed = asyncio.Event()
        self._seldom = Seldom()

    async def serve(self, app: ASGIApp, listener: socket.socket) -> None:
        """Accept connections until cancelled, and have *app* answer their requests; closes *listener* then."""
        connection = self._factory(app)
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    accepted, _ = await loop.sock_accept(listener)
                except OSError as error:
                    await self._wait_after(error)
                    continue
                if not self._make_room():
                    accepted.close()
                    continue
                try:
                    await loop.connect_accepted_socket(connection, accepted)
                except OSError:  # whoever it was is gone again
                    accepted.close()

    def belongs_to(self, scope: Scope, owner: Owner) -> bool:
        """Count the connection of a request as *owner*'s; False, and it is not, if that user has too many.

        One of the user's that is idle, or waits for a request's body, is closed in its favour, if there is one.
        """
        connection = scope.get("state", {}).get(CONNECTION_KEY)
        if not isinstance(connection, HttpConnection) or not self._is_open(connection):
            return True  # nobody's, or on its way out
        theirs = self._known.get(owner, {})
        if connection.owner != owner and len(theirs) >= self._limits.max_connections_per_user:
            self._counters.add("connection_limit")
            polite = sorted((one for one in theirs if one.may_give_way), key=lambda one: not one.is_idle)
            if not polite and scope["method"] != "GET":  # a stream is opened again, and a call is not
                polite = [one for one in theirs if one.is_standing]
            if not polite:
                return False
            self._forget(polite[0])
            polite[0].give_way()
        self._forget(connection)
        connection.owner = owner
        self._known.setdefault(owner, {})[connection] = None
        return True

    def close_idle(self) -> None:
        """Close every connection on which nothing is being answered; each other one closes with its answer."""
        for connection in tuple(self._state.connections):
            connection.shutdown()

    async def end(self, seconds: float) -> None:
        """Return when all connections are closed and everything that answered them has ended.

        After *seconds* connections are cut off; a little later whatever still answers is cancelled.
        """
        self.close_idle()
        with anyio.move_on_after(seconds):
            await self._wait_until_closed()
        for connection in tuple(self._state.connections):
            connection.transport.abort()
        with anyio.move_on_after(_LAST_LOOK_SECONDS):
            await self._wait_until_closed()
        for task in tuple(self._state.tasks):
            task.cancel()
        with anyio.move_on_after(_LAST_LOOK_SECONDS):
            await self._wait_until_closed()

    async def _wait_until_closed(self) -> None:
        while self._state.connections:
            self._changed.clear()
            await self._changed.wait()
        if self._state.tasks:
            await asyncio.wait(tuple(self._state.tasks))

    def _factory(self, app: ASGIApp) -> Callable[[], HttpConnection]:
        config = uvicorn.Config(
            app,
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        return partial(
            HttpConnection,
            config,
            self._state,
            limits=self._limits,
            counters=self._counters,
            processes=self._processes,
            log=self._log,
            on_made=self._add,
            on_lost=self._lose,
        )

    def _make_room(self) -> bool:
        """Return whether one more may be accepted; if need be, the oldest that showed no token is cut off for it."""
        are_open = len(self._strangers) + sum(map(len, self._known.values()))
        if are_open < self._most():
            return True
        self._counters.add("connection_limit")
        if self._seldom.is_due("full") is not None:
            logger.warning("%d connections are open over HTTP, and there is no place for more", are_open)
        if (oldest := next(iter(self._strangers), None)) is None:
            return False
        self._forget(oldest)
        oldest.transport.abort()
        return True

    def _most(self) -> int:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if descriptors == resource.RLIM_INFINITY:
            return self._limits.max_connections
        return min(self._limits.max_connections, max(1, int(descriptors * _SHARE_OF_DESCRIPTORS)))

    def _add(self, connection: HttpConnection) -> None:
        self._strangers[connection] = None

    def _lose(self, connection: HttpConnection) -> None:
        self._forget(connection)
        self._changed.set()

    def _forget(self, connection: HttpConnection) -> None:
        self._strangers.pop(connection, None)
        if connection.owner is not None and (theirs := self._known.get(connection.owner)) is not None:
            theirs.pop(connection, None)
            if not theirs:
                del self._known[connection.owner]

    def _is_open(self, connection: HttpConnection) -> bool:
        return connection in self._strangers or (
            connection.owner is not None and connection in self._known.get(connection.owner, {})
        )

    async def _wait_after(self, error: OSError) -> None:
        """Let a failure to accept pass; when no descriptor is left, that takes until somebody closes one."""
        if error.errno not in _OUT_OF_RESOURCES:
            return  # whoever it was is gone again
        self._counters.add("accept_failed")
        if self._seldom.is_due(error.errno) is not None:
            logger.error("no connection over HTTP can be accepted (%s); those that come wait", error.strerror)
        await asyncio.sleep(_PAUSE_SECONDS)
