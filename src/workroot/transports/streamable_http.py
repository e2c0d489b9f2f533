"""MCP over Streamable HTTP on 127.0.0.1, both protocol eras on one path: what starts and ends when.

`http_guard` decides who comes in, `http_sessions` whose request it is, `http_in_flight` lets requests end in order.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import anyio
import uvicorn
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from workroot.transports.http_guard import MAX_BODY_BYTES, MCP_PATH, HttpGuard
from workroot.transports.http_in_flight import HttpInFlight
from workroot.transports.http_port import HOST
from workroot.transports.http_sessions import MAX_SESSIONS, HttpEndpoint
from workroot.transports.http_signs import PEER_PROCESS_KEY
from workroot.transports.peer_process import PeerProcesses, TcpEnds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from anyio.abc import TaskStatus
    from mcp.server.lowlevel import Server

    from workroot.core.sessions import Alias, Owner
    from workroot.identity import TokenFile

__all__ = ["serve_http"]

logger = logging.getLogger(__name__)

_MAX_CONNECTIONS = 512
_KEEP_ALIVE_SECONDS = 60  # longer than clients keep theirs, so that none writes into a connection we are closing


async def serve_http(
    server: Server[Any],
    *,
    listener: socket.socket,
    tokens: TokenFile,
    drain_seconds: float = 1.5,
    session_idle_seconds: float = 1800,
    connected: Callable[[Owner, Alias], AbstractContextManager[None]] | None = None,
    processes: PeerProcesses | None = None,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve MCP on *listener* until cancelled; reports its URL as started.

    When cancelled it takes no new connections, ends standing streams, lets requests in flight finish for
    *drain_seconds*, then ends them too; all of it is over 1.5 s after that at most.

    Args:
        server: answers; finds its `Peer` in `ctx.request.scope[workroot.peer.PEER_KEY]`.
        listener: from `bind_port`; closed at the end.
        session_idle_seconds: how long a handshake-era session without any request in flight is kept.
        connected: held while a handshake-era session is kept, for whoever must know that its alias is in use
            (`SessionContextManager.connected`); None if nobody must.
        processes: finds the processes at the other ends of connections; None for this system's.
    """
    stopping = anyio.Event()
    async with anyio.create_task_group() as tasks:
        serving = _Serving(
            server,
            listener,
            tokens,
            drain_seconds=drain_seconds,
            session_idle_seconds=session_idle_seconds,
            connected=connected if connected is not None else lambda owner, alias: nullcontext(),
            processes=processes if processes is not None else PeerProcesses(),
        )
        try:
            task_status.started(await tasks.start(serving.run, stopping))
            await anyio.sleep_forever()
        finally:
            stopping.set()  # the task is shielded: it ends by itself, in order


class _UvicornServer(uvicorn.Server):
    """uvicorn as a part of a larger program: it says when it serves, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _protocol_with(processes: PeerProcesses) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, with something that lasts as long as a connection: ports are used again."""

    class ConnectionProtocol(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(cast("asyncio.Transport", transport))
            client, server = self.client, self.server
            if client is not None and server is not None and server[1] is not None:
                process = processes.at(TcpEnds(client, (server[0], server[1])))
                self.app_state = {**self.app_state, PEER_PROCESS_KEY: process}  # copied into each request's `state`

    return ConnectionProtocol


class _Serving:
    """The order in which the parts of the HTTP face start and end."""

    def __init__(
        self,
        server: Server[Any],
        listener: socket.socket,
        tokens: TokenFile,
        *,
        drain_seconds: float,
        session_idle_seconds: float,
        connected: Callable[[Owner, Alias], AbstractContextManager[None]],
        processes: PeerProcesses,
    ) -> None:
        port: int = listener.getsockname()[1]
        self._url = f"http://{HOST}:{port}{MCP_PATH}"
        self._listener = listener
        self._drain_seconds = drain_seconds
        self._last_resort_seconds = math.ceil(drain_seconds + 0.25)
        # Sessions are ended here and not by the SDK, so that what they hold is let go of at that moment.
        self._manager = StreamableHTTPSessionManager(
            server, session_idle_timeout=None, max_request_body_size=MAX_BODY_BYTES, max_sessions=2 * MAX_SESSIONS
        )
        self._endpoint = HttpEndpoint(self._manager, idle_seconds=session_idle_seconds, connected=connected)
        self._in_flight = HttpInFlight(HttpGuard(self._endpoint, port=port, owner_of=tokens.owner_of))
        self._uvicorn = _UvicornServer(
            uvicorn.Config(
                self._in_flight,
                http=_protocol_with(processes),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=self._last_resort_seconds,
            )
        )

    async def run(self, stopping: anyio.Event, *, task_status: TaskStatus[str]) -> None:
        with anyio.CancelScope(shield=True) as scope:
            async with self._manager.run(), anyio.create_task_group() as housekeeping:
                with self._endpoint.running(housekeeping):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(self._uvicorn.serve, [self._listener])
                        await self._uvicorn.serving.wait()
                        logger.info("serving MCP at %s", self._url)
                        task_status.started(self._url)
                        await stopping.wait()
                        self._uvicorn.should_exit = True
                        scope.deadline = anyio.current_time() + self._last_resort_seconds + 0.75
                        self._in_flight.end(standing_only=True)
                        with anyio.move_on_after(self._drain_seconds):
                            await self._in_flight.wait_idle()
                        await self._endpoint.end_all_sessions()
                        self._in_flight.end()
                housekeeping.cancel_scope.cancel()
        logger.info("no longer serving MCP at %s", self._url)
