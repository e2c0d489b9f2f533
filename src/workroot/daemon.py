"""The composition root: builds every part of the daemon, and knows the order of start and end.

Start, top to bottom: instance lock, store, sessions, listeners. End, bottom to top: no new clients,
listen streams ended cleanly, drain, cancel, sessions, store, lock.
"""

from __future__ import annotations

import logging
import os
import resource
import secrets
import signal
import sys
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import SocketListener, TaskStatus

from workroot import rendezvous
from workroot.auto_switching import switch_automatically
from workroot.client_profiles import client_profiles
from workroot.clock import SystemClock
from workroot.control import Control
from workroot.core.identities import Identities
from workroot.decisions import DecisionLog
from workroot.errors import WorkrootError
from workroot.identity import TokenFile, os_owner
from workroot.instance import hold_instance
from workroot.logs import open_log
from workroot.mcp_face import McpFace
from workroot.project_finder import ProjectFinder
from workroot.session_context import SessionContextManager
from workroot.storage.sqlite import open_sqlite_store
from workroot.transports.http_port import bind_port
from workroot.transports.streamable_http import serve_http
from workroot.transports.unix_socket import UnixSocketTransport, bind_unix_socket
from workroot.trust import TrustStore
from workroot.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import TaskGroup

    from workroot.settings import Settings

__all__ = ["serve"]

logger = logging.getLogger(__name__)

_DAY = 24 * 3600.0
_DESCRIPTORS = 4096


def serve(settings: Settings, *, ready_fd: int | None = None) -> None:
    """Run the daemon until it is told to stop: SIGTERM, SIGINT or `workroot stop`.

    Args:
        settings: read once.
        ready_fd: a descriptor to write `ready` to when clients can connect; closed then.

    Raises:
        AlreadyRunningError: a daemon of this user runs.
        WorkrootError: it cannot start; the text says why and what to do.
    """
    _raise_descriptor_limit()
    os.chdir("/")  # no project's directory is ours, and none is kept from being removed
    state = str(settings.state_directory)
    rendezvous.make_private_directory(state)
    rendezvous.prepare_meeting_place(state)
    with (
        hold_instance(rendezvous.instance_lock_path(state)),
        open_log(settings.log_path, settings.log_level, also_to=sys.stderr if sys.stderr.isatty() else None),
    ):
        try:
            anyio.run(_serve, settings, ready_fd, backend_options={"use_uvloop": True})
        except BaseException as error:
            cause = _only_cause(error)
            if not isinstance(cause, WorkrootError):
                logger.exception("the daemon fails")
                raise
            logger.error("the daemon cannot go on: %s", cause)
            raise cause from None


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the listeners share."""

    sessions: SessionContextManager
    decisions: DecisionLog
    face: McpFace
    stopping: anyio.Event


async def _serve(settings: Settings, ready_fd: int | None) -> None:
    async with _open_parts(settings) as parts, anyio.create_task_group() as tasks:
        await tasks.start(_stop_on_signal, parts.stopping)
        parts.face.subscriptions.serve(tasks)
        parts.sessions.events.subscribe(parts.face.subscriptions.publish)
        tasks.start_soon(switch_automatically, parts.sessions, Watcher(config_names=settings.config_names))
        http = anyio.CancelScope()
        address = await _start_http(settings, parts, tasks, http) if settings.http else None
        listener, transport = await _start_unix_socket(settings, parts, tasks, address)
        logger.info("serving, pid %d", os.getpid())
        if ready_fd is not None:
            _say_ready(ready_fd)

        await parts.stopping.wait()

        logger.info("stopping")
        await listener.aclose()  # 1. no new clients; over HTTP all of this happens beside, in the same order
        http.cancel()
        parts.face.subscriptions.close()  # 2. listen streams end with their result
        with anyio.move_on_after(settings.drain_seconds):
            await transport.wait_idle()  # 3. requests in flight may finish, and their answers arrive
        transport.give_up_writing()
        tasks.cancel_scope.cancel()  # 4. connections; then, leaving: sessions, store, lock
    logger.info("stopped")


@asynccontextmanager
async def _open_parts(settings: Settings) -> AsyncIterator[_Parts]:
    """Open what keeps the state, and build what answers from it."""
    clock, decisions = SystemClock(), DecisionLog()
    client_profiles()  # read now, so that no call waits for it
    async with open_sqlite_store(settings.database_path) as store:
        state, identities = await store.load(), Identities()
        finder = ProjectFinder(
            state.namespace,
            trusted_directories=settings.trusted_directories,
            identities=identities,
            config_names=settings.config_names,
        )
        async with SessionContextManager(
            store,
            finder,
            clock=clock,
            home=_real_home(),
            model_may_move=settings.model_may_move,
            idle_seconds=settings.session_idle_seconds,
            sweep_seconds=settings.sweep_interval_seconds,
            write_behind_seconds=settings.write_behind_seconds,
            ended_seconds=settings.ended_session_days * _DAY,
            identities=identities,
            state=state,
        ) as sessions:
            trust = TrustStore(settings.trust_path)
            face = McpFace(sessions, decisions, trust, clock, show_recent=settings.show_recent_projects)
            yield _Parts(sessions, decisions, face, anyio.Event())


async def _start_unix_socket(
    settings: Settings, parts: _Parts, tasks: TaskGroup, http_url: str | None
) -> tuple[SocketListener, UnixSocketTransport]:
    """Let clients connect; the path is ours alone, since this process holds the instance lock."""
    state = str(settings.state_directory)
    path, boot, owner = rendezvous.socket_path(state), secrets.token_hex(4), os_owner()
    facts: dict[str, Any] = {
        "boot": boot,
        "started_at": time.time(),
        "state_directory": state,
        "socket": path,
        "database": str(settings.database_path),
        "log": str(settings.log_path),
        "http": {"url": http_url} if http_url is not None else None,
    }
    control = Control(
        parts.sessions,
        parts.decisions,
        owner=owner,
        facts=facts,
        stopping=parts.stopping,
        connections=lambda: transport.connections,
    )
    transport = UnixSocketTransport(parts.face, parts.sessions, owner=owner, boot=boot, control=control)
    listener = await SocketListener.from_socket(bind_unix_socket(path))
    tasks.start_soon(transport.serve, listener, tasks)
    return listener, transport


async def _start_http(settings: Settings, parts: _Parts, tasks: TaskGroup, scope: anyio.CancelScope) -> str:
    async def run(*, task_status: TaskStatus[str]) -> None:
        with scope:
            await serve_http(
                parts.face,
                listener=bind_port(settings.state_directory, settings.http_port),
                tokens=TokenFile(settings.token_path),
                drain_seconds=settings.drain_seconds,
                connected=parts.sessions.connected,
                task_status=task_status,
            )

    url: str = await tasks.start(run)
    return url


async def _stop_on_signal(stopping: anyio.Event, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for received in signals:
            logger.info("received %s", received.name)
            stopping.set()


def _raise_descriptor_limit() -> None:
    """Allow as many open files as clients, streams and watches take; the usual soft limit is for small programs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _only_cause(error: BaseException) -> BaseException:
    """Return what went wrong, out of the groups that task groups put around it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _real_home() -> str:
    return os.path.realpath(rendezvous.home_directory())


def _say_ready(descriptor: int) -> None:
    with suppress(OSError):  # whoever started us may have given up waiting
        os.write(descriptor, b"ready\n")
    os.close(descriptor)
