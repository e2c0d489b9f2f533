"""MCP over Streamable HTTP on 127.0.0.1, both protocol eras on one path: what starts and ends when.

`http_guard` decides who comes in, `http_sessions` whose request it is, `http_in_flight` lets requests end in order.
"""

from __future__ import annotations

import logging
import socket
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from workroot.clock import SystemClock
from workroot.counters import Counters
from workroot.daemon_key import DaemonKey
from workroot.kept_connections import KeptConnections, keep_nowhere
from workroot.limits import DEFAULT_LIMITS
from workroot.transports.http_connections import HttpConnections
from workroot.transports.http_guard import MAX_BODY_BYTES, MCP_PATH, HttpGuard
from workroot.transports.http_handshake_ids import SessionIds
from workroot.transports.http_handshake_table import HandshakeTable
from workroot.transports.http_in_flight import HttpInFlight
from workroot.transports.http_modern import ModernCalls
from workroot.transports.http_port import HOST
from workroot.transports.http_refusal import RefusalLog
from workroot.transports.http_sessions import HttpEndpoint
from workroot.transports.peer_process import PeerProcesses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractContextManager

    from anyio.abc import TaskStatus
    from mcp.server.lowlevel import Server

    from workroot.core.sessions import Alias, Owner
    from workroot.identity import TokenFile
    from workroot.limits import Limits
    from workroot.transports.http_guard import Page

    Drain = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]

__all__ = ["serve_http"]

logger = logging.getLogger(__name__)


async def serve_http(
    server: Server[Any],
    *,
    listener: socket.socket,
    tokens: TokenFile,
    drain_seconds: float = 1.5,
    drain: Drain | None = None,
    key: DaemonKey | None = None,
    kept: KeptConnections | None = None,
    connected: Callable[[Owner, Alias], AbstractContextManager[None]] | None = None,
    processes: PeerProcesses | None = None,
    pages: Mapping[str, Page] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    counters: Counters | None = None,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve MCP on *listener* until cancelled; reports its URL as started.

    When cancelled it takes no new connections, ends standing streams, lets requests in flight finish for
    *drain_seconds*, then ends them too; all of it is over 1.5 s after that at most. A request whose body has not
    arrived by then is not waited for.

    Args:
        server: answers; finds its `Peer` in `ctx.request.scope[workroot.peer.PEER_KEY]`.
        listener: from `bind_port`; closed at the end.
        drain: waits for what it is given, as long as that may take at the end; None: for *drain_seconds*.
        key: signs `Mcp-Session-Id`; None for one that ends with this call, and all ids with it.
        kept: knows what handshake-era clients asked for and which have ended their session
            (`SessionContextManager.connections`); None keeps that as long as this call lasts.
        connected: held while a handshake-era session is held in memory, for whoever must know that its alias is in
            use (`SessionContextManager.connected`); None if nobody must.
        processes: finds the processes at the other ends of connections; None for this system's.
        pages: what is served beside MCP, by path.
        counters: counts what is refused.
    """
    stopping = anyio.Event()
    async with anyio.create_task_group() as tasks:
        serving = _Serving(
            server,
            listener,
            tokens,
            drain=drain if drain is not None else partial(_drain_for, drain_seconds),
            key=key if key is not None else DaemonKey.random(),
            kept=kept if kept is not None else KeptConnections(keep_nowhere, SystemClock()),
            connected=connected if connected is not None else lambda owner, alias: nullcontext(),
            processes=processes if processes is not None else PeerProcesses(),
            pages=pages,
            limits=limits,
            counters=counters if counters is not None else Counters(),
        )
        try:
            task_status.started(await tasks.start(serving.run, stopping))
            await anyio.sleep_forever()
        finally:
            stopping.set()  # the task is shielded: it ends by itself, in order


async def _drain_for(seconds: float, wait_idle: Callable[[], Awaitable[None]]) -> None:
    with anyio.move_on_after(seconds):
        await wait_idle()


class _Serving:
    """The order in which the parts of the HTTP face start and end."""

    def __init__(
        self,
        server: Server[Any],
        listener: socket.socket,
        tokens: TokenFile,
        *,
        drain: Drain,
        key: DaemonKey,
        kept: KeptConnections,
        connected: Callable[[Owner, Alias], AbstractContextManager[None]],
        processes: PeerProcesses,
        pages: Mapping[str, Page] | None,
        limits: Limits,
        counters: Counters,
    ) -> None:
        port: int = listener.getsockname()[1]
        self._url = f"http://{HOST}:{port}{MCP_PATH}"
        self._listener = listener
        self._drain = drain
        # For the modern era only: of the other it could not answer an id that an earlier daemon issued.
        self._modern = StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=MAX_BODY_BYTES)
        self._table = HandshakeTable(server, limits=limits, connected=connected)
        endpoint = HttpEndpoint(
            ModernCalls(server, self._modern.handle_request),
            ids=SessionIds(key, kept.now),
            table=self._table,
            kept=kept,
            counters=counters,
        )
        log = RefusalLog()
        self._connections = HttpConnections(limits, counters, processes, log)
        self._in_flight = HttpInFlight(
            HttpGuard(
                endpoint,
                port=port,
                owner_of=tokens.owner_of,
                belongs_to=self._connections.belongs_to,
                pages=pages,
                limits=limits,
                counters=counters,
                log=log,
            )
        )

    async def run(self, stopping: anyio.Event, *, task_status: TaskStatus[str]) -> None:
        with anyio.CancelScope(shield=True) as scope:
            async with self._modern.run(), self._table.running():
                async with anyio.create_task_group() as accepting:
                    accepting.start_soon(self._connections.serve, self._in_flight, self._listener)
                    logger.info("serving MCP at %s", self._url)
                    task_status.started(self._url)
                    await stopping.wait()
                    accepting.cancel_scope.cancel()
                self._connections.close_idle()
                self._in_flight.end(open_ended_only=True)
                await self._drain(self._in_flight.wait_idle)
                scope.deadline = anyio.current_time() + 1.25
                self._in_flight.end()  # first: who waits for an answer hears that there will be none
                await self._table.drop_all()
                await self._connections.end(0.25)
        logger.info("no longer serving MCP at %s", self._url)
