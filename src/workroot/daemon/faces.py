"""Builds the ways into the daemon: the Unix socket of connectors and the command line, and HTTP."""

from __future__ import annotations

import select
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from workroot import __version__, rendezvous
from workroot.archive.pages import Archive
from workroot.control import Control
from workroot.daemon.http_face import HttpFace
from workroot.daemon.place_watch import SocketPath
from workroot.daemon_key import load_daemon_key
from workroot.identity import TokenFile, os_owner
from workroot.observation.metrics import Metrics
from workroot.observation.status import DaemonStatus
from workroot.session_commands.sessions import SessionCommands
from workroot.transports.http_guard import Page
from workroot.transports.http_port import bind_port
from workroot.transports.streamable_http import serve_http
from workroot.transports.unix_socket import UnixSocketTransport, bind_unix_socket

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from workroot.daemon.ending import Ending
    from workroot.daemon.parts import Parts
    from workroot.settings import Settings
    from workroot.storage.sqlite import SqliteStore
    from workroot.transports.accepting import AcceptLoop
    from workroot.transports.streamable_http import Drain

__all__ = ["SocketFace", "http_face", "socket_face"]


class SocketFace:
    """The Unix socket: its path, who listens there, and whom it serves.

    Attributes:
        path: which file is ours; None if a service manager keeps it.
        metrics: answer how the daemon is, here and over HTTP.
    """

    def __init__(
        self, transport: UnixSocketTransport, tasks: TaskGroup, path: SocketPath | None, metrics: Metrics
    ) -> None:
        self.transport, self.path, self.metrics = transport, path, metrics
        self._tasks = tasks
        self._listener: AcceptLoop | None = None
        self._raw: socket.socket | None = None

    async def listen(self, inherited: socket.socket | None = None) -> None:
        """Let clients connect, at the path or at a socket that listens already; an earlier listener is closed.

        Raises:
            RendezvousError: something else is in the way.
        """
        if self.path is not None:
            inherited = self.path.bind()
        if inherited is None:
            return
        await self.stop_listening()
        self._raw, self._listener = inherited, self.transport.listen_on(inherited)
        self._tasks.start_soon(self.transport.serve, self._listener, self._tasks)

    def has_waiting(self) -> bool:
        """Tell whether a client waits to be let in."""
        if self._raw is None:
            return False
        poll = select.poll()
        poll.register(self._raw, select.POLLIN)
        return bool(poll.poll(0))

    async def stop_listening(self) -> None:
        """Let nobody connect any more."""
        if self._listener is not None:
            await self._listener.aclose()
            self._listener = self._raw = None


def socket_face(settings: Settings, parts: Parts, tasks: TaskGroup, ending: Ending, *, is_ours: bool) -> SocketFace:
    """Build the face that connectors and the command line use.

    Args:
        settings: name the state directory.
        parts: answer.
        tasks: serve the clients.
        ending: is told to begin by `workroot stop`.
        is_ours: the socket is bound here, and not handed over by a service manager.
    """
    owner = os_owner()
    status = DaemonStatus(
        facts=parts.facts,
        sessions=parts.sessions,
        connections=lambda: transport.connections,
        meter=parts.face.meter,
        store=parts.store.health,
        watching=parts.watcher.health,
        counters=parts.counters,
        log=parts.log,
        is_stopping=ending.stopping.is_set,
    )
    metrics = Metrics(status, parts.face.meter, parts.sessions)
    control = Control(
        parts.sessions,
        parts.decisions,
        owner=owner,
        facts=parts.facts,
        stop=ending.begin,
        connections=lambda: transport.connections,
        status=status,
        metrics=metrics.render,
        archive=Archive(
            parts.sessions.held,
            parts.sessions.events,
            principal=owner.principal,
            turns=parts.sessions.turns,
            make_room=parts.sessions.make_room,
        ),
        session_service=SessionCommands(parts.sessions, principal=owner.principal),
        back_up=partial(_back_up, parts.store, rendezvous.backup_directory(str(settings.state_directory))),
    )
    transport = UnixSocketTransport(
        parts.face,
        parts.sessions,
        owner=owner,
        boot=parts.facts["boot"],
        control=control,
        needed=parts.idle.needed,
        limits=parts.limits,
        counters=parts.counters,
    )
    path = rendezvous.socket_path(str(settings.state_directory))
    return SocketFace(transport, tasks, SocketPath(path, bind_unix_socket) if is_ours else None, metrics)


def http_face(
    settings: Settings, parts: Parts, metrics: Metrics, inherited: socket.socket | None, *, drain: Drain
) -> HttpFace:
    """Build the face for clients that speak HTTP.

    Args:
        settings: name the state directory and the port.
        parts: answer.
        metrics: answer how the daemon is.
        inherited: listens already; None if a port has to be found.
        drain: waits for what is under way at the end.
    """
    pages = {
        "/healthz": Page(answer=metrics.healthz, needs_token=False),
        "/readyz": Page(answer=metrics.readyz, needs_token=False),
        "/metrics": Page(answer=metrics.metrics),
    }

    key_path = settings.state_directory / "daemon.key"

    async def serve(listener: socket.socket, told: Callable[[str], None]) -> None:
        async with anyio.create_task_group() as serving:
            told(
                await serving.start(
                    partial(
                        serve_http,
                        parts.face,
                        listener=listener,
                        tokens=TokenFile(settings.token_path),
                        drain=drain,
                        key=load_daemon_key(key_path),
                        kept=parts.sessions.connections,
                        connected=parts.sessions.connected,
                        pages=pages,
                        limits=parts.limits,
                        counters=parts.counters,
                    )
                )
            )

    def bind() -> socket.socket:
        load_daemon_key(key_path)  # one that cannot be used keeps HTTP from being served, and nothing else
        return inherited if inherited is not None else bind_port(settings.state_directory, settings.http_port)

    return HttpFace(bind, serve, changed=partial(parts.facts.__setitem__, "http"))


async def _back_up(store: SqliteStore, directory: str) -> dict[str, Any]:
    made = await store.back_up(directory, version=__version__)
    return {"path": made.path, "schema": made.schema}
