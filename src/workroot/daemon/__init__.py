"""The composition root: knows the order in which the daemon's parts start and end.

Start, top to bottom: instance lock, log, signals, store, sessions, socket, HTTP. End, bottom to top: no new clients,
listen streams ended cleanly, drain, cancel, sessions, store, lock; all of it in bounded time, whatever hangs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio

from workroot import __version__, rendezvous
from workroot.auto_switching import switch_automatically
from workroot.daemon.ending import Deadline, Ending
from workroot.daemon.faces import http_face, socket_face
from workroot.daemon.parts import open_parts
from workroot.daemon.place_watch import watch_place
from workroot.daemon.settings_reload import SettingsReload
from workroot.daemon.signals import obey_signals
from workroot.errors import WorkrootError
from workroot.inherited_sockets import READY, STOPPING, Inherited, is_supervised, notify, take_inherited
from workroot.instance import hold_instance
from workroot.logs import open_log
from workroot.logs.loop_errors import QuietLoopErrors
from workroot.observation.tracing import open_tracing
from workroot.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

    from workroot.daemon.faces import SocketFace
    from workroot.daemon.http_face import HttpFace
    from workroot.daemon.parts import Parts
    from workroot.instance import Instance
    from workroot.logs import Log
    from workroot.settings import Settings

__all__ = ["serve"]

logger = logging.getLogger(__name__)

_DESCRIPTORS = 4096
_CLOSE_SECONDS = 1.9  # after the drain; with the usual drain of 3 s a daemon is gone within 5
_TAKE_OVER_SECONDS = 10.0  # for the daemon that a connector started before the service was there


@dataclass(frozen=True, slots=True)
class _Start:
    """What a daemon starts with.

    Attributes:
        may_leave: it may end by itself when nobody needs it.
        has_terminal: somebody started it in a terminal, and reads along.
        is_tracing: somebody takes spans of messages.
    """

    settings: SettingsReload
    instance: Instance
    lock_path: str
    inherited: Inherited
    log: Log
    ready_fd: int | None
    may_leave: bool
    has_terminal: bool
    ending: Ending
    deadline: Deadline
    is_tracing: bool

    async def drain(self, wait_idle: Callable[[], Awaitable[None]]) -> None:
        """Wait as long as requests under way may take."""
        await self.ending.drain(wait_idle, self.settings.current.drain_seconds)


def serve(
    settings: Settings, *, ready_fd: int | None = None, read_settings: Callable[[], Settings] = load_settings
) -> None:
    """Run the daemon until it is told to stop: SIGTERM, SIGINT or `workroot stop`, or until nobody needs it.

    Args:
        settings: what it starts with.
        ready_fd: a descriptor to write `ready` to when clients can connect; closed then. Given by a connector: a
            daemon that somebody started himself does not leave by itself.
        read_settings: reads the settings again, at SIGHUP.

    Raises:
        AlreadyRunningError: a daemon of this user runs.
        WorkrootError: it cannot start, or go on; the text says why and what to do.
    """
    _raise_descriptor_limit()
    os.chdir("/")  # no project's directory is ours, and none is kept from being removed
    state = str(settings.state_directory)
    rendezvous.make_private_directory(state)
    rendezvous.prepare_meeting_place(state)
    supervised = is_supervised()
    may_leave = ready_fd is not None and not settings.http and not supervised
    has_terminal, lock_path = sys.stderr.isatty(), rendezvous.instance_lock_path(state)
    deadline = Deadline()
    with (
        closing(deadline),
        hold_instance(lock_path, wait_seconds=_TAKE_OVER_SECONDS if supervised else 0.0) as instance,
        open_log(settings.log_path, settings.log_level, also_to=sys.stderr if has_terminal else None) as log,
        open_tracing(settings.otel_endpoint) as is_tracing,
    ):
        with suppress(OSError):
            os.unlink(rendezvous.stopped_path(state))  # whoever starts a daemon wants one
        if instance.left_by is not None:
            logger.warning("the daemon before this one (pid %d) did not end in order", instance.left_by)
        try:
            start = _Start(
                SettingsReload(settings, read_settings),
                instance,
                lock_path,
                take_inherited(rendezvous.socket_path(state), http_port=settings.http_port),
                log,
                ready_fd,
                may_leave,
                has_terminal,
                Ending(),
                deadline,
                is_tracing,
            )
            anyio.run(_serve, start, backend_options={"use_uvloop": True})
            log.say_folded()
            logger.info("stopped")
        except BaseException as error:
            cause = _only_cause(error)
            if not isinstance(cause, WorkrootError):
                logger.exception("the daemon fails")
                raise
            logger.error("the daemon cannot go on: %s", cause)
            raise cause from None
    if start.ending.failure is not None:
        raise start.ending.failure


async def _serve(start: _Start) -> None:
    settings, ending = start.settings.current, start.ending
    asyncio.get_running_loop().set_exception_handler(QuietLoopErrors())
    async with anyio.create_task_group() as signals:
        bound_end = partial(_bound_end, start, asyncio.get_running_loop())
        obey = partial(obey_signals, ending, start.deadline, start.settings, bound_end, has_terminal=start.has_terminal)
        await signals.start(obey)
        signals.start_soon(_bound_every_end, ending, bound_end)
        async with (
            open_parts(settings, may_leave=start.may_leave, log=start.log, tracing=start.is_tracing) as parts,
            anyio.create_task_group() as tasks,
        ):
            with ending.come_what_may():
                await _run(start, parts, tasks)
        start.deadline.set_harmless()  # the store is closed
        signals.cancel_scope.cancel()


async def _run(start: _Start, parts: Parts, tasks: TaskGroup) -> None:
    """Serve with *parts* until the end is asked for, and end all that goes on."""
    settings, ending = start.settings.current, start.ending
    start.settings.attach(parts.live(set_log_level=start.log.set_level, may_leave=start.may_leave))
    parts.face.subscriptions.serve(tasks)
    parts.sessions.events.subscribe(parts.face.subscriptions.publish)
    tasks.start_soon(switch_automatically, parts.sessions, parts.watcher)
    face = socket_face(settings, parts, tasks, ending, is_ours=start.inherited.unix is None)
    await face.listen(start.inherited.unix)
    http = None
    if settings.http:
        http = http_face(settings, parts, face.metrics, start.inherited.http, drain=start.drain)
        tasks.start_soon(http.run)
        await http.wait_clear()
    tasks.start_soon(_leave_when_idle, parts, face, ending)
    tasks.start_soon(_watch_place, start, face)
    logger.info("serving, pid %d, workroot %s, for %s", os.getpid(), __version__, settings.state_directory)
    _say_ready(start.ready_fd)

    await ending.stopping.wait()

    await _end(start, parts, face, http, tasks)


def _bound_end(start: _Start, loop: asyncio.AbstractEventLoop) -> None:
    start.deadline.begin(start.settings.current.drain_seconds + _CLOSE_SECONDS, loop)


async def _bound_every_end(ending: Ending, bound_end: Callable[[], None]) -> None:
    """See to it that the end does not take for ever, also where it is asked for before the start is done."""
    await ending.stopping.wait()
    bound_end()


async def _end(start: _Start, parts: Parts, face: SocketFace, http: HttpFace | None, tasks: TaskGroup) -> None:
    """End all that goes on, in order; leaving what `_serve` has entered is the rest: sessions, store, lock."""
    logger.info("stopping")
    notify(STOPPING)
    await face.stop_listening()  # 1. no new clients; over HTTP all of this happens beside, in the same order
    if face.path is not None:
        face.path.remove()
    if http is not None:
        http.stop()
    parts.face.subscriptions.close()  # 2. listen streams end with their result
    await start.drain(face.transport.wait_idle)  # 3. requests in flight may finish, and their answers arrive
    face.transport.give_up_writing()
    tasks.cancel_scope.cancel()  # 4. connections


async def _leave_when_idle(parts: Parts, face: SocketFace, ending: Ending) -> None:
    while True:
        await parts.idle.wait()
        if not face.has_waiting():
            ending.begin(f"no client was connected for {parts.idle.seconds:g} s")
            return
        await anyio.lowlevel.checkpoint()  # whoever waits is let in, and counts then


async def _watch_place(start: _Start, face: SocketFace) -> None:
    await watch_place(
        start.instance, face.path, lock_path=start.lock_path, listen_anew=face.listen, lose=start.ending.fail
    )


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


def _say_ready(descriptor: int | None) -> None:
    notify(READY)
    if descriptor is None:
        return
    with suppress(OSError):  # whoever started us may have given up waiting
        os.write(descriptor, b"ready\n")
    os.close(descriptor)
