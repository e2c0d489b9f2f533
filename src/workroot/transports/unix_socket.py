"""The daemon's Unix socket: who may connect, and what the first line makes of a connection.

A connection begins with one hello line each way (`workroot.rendezvous`). Role `mcp` is a connector and goes on with
MCP; role `control` is the command line, or a program that keeps its sessions here, and goes on with requests of its
own. One client's fault (hang-up, garbage, a huge line) ends that client's task and nobody else's.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import struct
import sys
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import SocketAttribute
from mcp.server.runner import serve_dual_era_loop
from pydantic import ValidationError

from workroot.core.sessions import Owner
from workroot.counters import Counters
from workroot.errors import RendezvousError, SocketTakenError
from workroot.limits import DEFAULT_LIMITS
from workroot.logs.loop_errors import Seldom
from workroot.peer import Peer
from workroot.rendezvous import parse_client_hello
from workroot.transports.accepting import AcceptLoop
from workroot.transports.control_requests import ControlRequests
from workroot.transports.lines import LineReader, LineTooLongError, LongLines
from workroot.transports.message_reader import MessageReader
from workroot.transports.message_writer import MessageWriter
from workroot.transports.pacing import Paces
from workroot.transports.places import Places
from workroot.transports.socket_calls import SocketCalls
from workroot.transports.socket_hello import Hello, greeting, peer_of_hello

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractContextManager

    from anyio.abc import SocketStream, TaskGroup
    from mcp.server.lowlevel.server import Server

    from workroot.limits import Limits
    from workroot.session_context import SessionContextManager
    from workroot.transports.places import Place

__all__ = ["UnixSocketTransport", "bind_unix_socket"]

logger = logging.getLogger(__name__)

_MOST_HELLO_BYTES = 64 * 1024
_BACKLOG = 512


def bind_unix_socket(path: str) -> socket.socket:
    """Listen at *path*, which only this user may reach; the caller holds the instance lock.

    A socket left by a daemon that died is replaced: whoever holds the lock owns the path. One where somebody
    listens is not: only a service manager can be that, and it gives its clients to the daemon that it starts.

    Raises:
        RendezvousError: something else than a socket of ours is in the way.
        SocketTakenError: somebody listens there.
    """
    with suppress(FileNotFoundError):
        status = os.lstat(path)
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
            raise RendezvousError(path, "is not a socket of this user", "remove it and try again")
        if _is_served(path):
            raise SocketTakenError(path)
        os.unlink(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_umask = os.umask(0o177)  # the mode must be right from the first moment, not after a chmod
    try:
        listening.bind(path)
    except OSError as error:
        listening.close()
        raise RendezvousError(path, f"cannot be bound ({error.strerror})", "check the directory") from error
    finally:
        os.umask(old_umask)
    listening.listen(_BACKLOG)
    listening.setblocking(False)
    return listening


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(path)
        except BlockingIOError:  # its queue is full
            return True
        except OSError:
            return False
    return True


class UnixSocketTransport:
    """Serves MCP and control connections on a socket.

    Args:
        boot: this daemon's boot id; part of the ids of our own requests.
        control: answers a control command, given its name and arguments.
        needed: held for as long as a connector, or a program that keeps its sessions here, is connected.
        limits: what one client, and all together, may take.
        counters: count what was refused.
    """

    def __init__(
        self,
        server: Server[None],
        sessions: SessionContextManager,
        *,
        owner: Owner,
        boot: str,
        control: Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]],
        needed: Callable[[], AbstractContextManager[None]] = nullcontext,
        limits: Limits = DEFAULT_LIMITS,
        counters: Counters | None = None,
    ) -> None:
        self._server, self._sessions, self._owner = server, sessions, owner
        self._boot, self._control, self._needed = boot, control, needed
        self._limits = limits
        self._counters = counters if counters is not None else Counters()
        self._places = Places(farewell=lambda problem: greeting(error=problem), counters=self._counters, limits=limits)
        self._long_lines = LongLines(seconds=limits.body_seconds)
        self._paces = Paces()
        self._seldom = Seldom()
        self._init_options = server.create_initialization_options()
        self._writers: set[MessageWriter] = set()
        self._programs: set[ControlRequests] = set()  # of those that keep their sessions here

    @property
    def connections(self) -> int:
        """How many clients are connected; those who only ask for the daemon's state do not count."""
        return len(self._writers) + len(self._programs)

    def listen_on(self, listening: socket.socket) -> AcceptLoop:
        """Return what accepts clients from a socket that listens, whoever bound it; closing that closes the socket."""
        return AcceptLoop(listening, self._serve_client, places=self._places, counters=self._counters)

    async def serve(self, listener: AcceptLoop, tasks: TaskGroup) -> None:
        """Accept clients until the listener is closed; each is served by a task of *tasks*."""
        await listener.serve(tasks)

    async def wait_idle(self) -> None:
        """Return when all clients have their answers; listen streams have to be told to end."""
        for writer in tuple(self._writers):
            await writer.unanswered.wait_none(with_listens=True)
        for requests in tuple(self._programs):
            await requests.finish()

    def give_up_writing(self) -> None:
        """Wait no longer for clients that do not read."""
        for writer in tuple(self._writers):
            writer.give_up()

    async def _serve_client(self, stream: SocketStream, place: Place) -> None:
        try:
            async with stream:
                if _peer_uid(stream) != os.geteuid():
                    self._counters.add("foreign_user")
                    self._note("it is another user's")
                    return
                await self._converse(stream, place)
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
            logger.debug("a client hung up")
        except Exception as error:  # a boundary: one client's fault ends that client's task only
            if self._seldom.is_due(type(error).__qualname__) is not None:
                logger.exception("a connection failed")

    async def _converse(self, stream: SocketStream, place: Place) -> None:
        lines = LineReader(stream, self._long_lines)
        try:
            with anyio.fail_after(self._limits.header_seconds):
                line = await lines.receive(most_bytes=_MOST_HELLO_BYTES)
            lines.done()
            hello = Hello.model_validate(parse_client_hello(line))
        except TimeoutError:
            self._note("it said nothing for too long")
            return
        except LineTooLongError as error:
            self._counters.add("line_too_long")
            await self._refuse(stream, str(error))
            return
        except ValueError as error:
            problem = "the hello line is not valid" if isinstance(error, ValidationError) else str(error)
            await self._refuse(stream, problem)
            return
        if not place.settle(is_control=hello.role == "control" and not hello.stays):
            await self._say(stream, self._places.farewell)
            return
        if hello.role == "mcp":
            await self._paces.connecting.turn()  # beginning and end of a connection cost as much as some calls
        await self._say(stream, greeting(boot=self._boot, pid=os.getpid()))
        if hello.role == "control":
            await self._serve_control(stream, lines, hello, place)
        else:
            await self._serve_mcp(stream, lines, hello, place)

    async def _refuse(self, stream: SocketStream, problem: str) -> None:
        self._note(problem)
        await self._say(stream, greeting(error=problem))

    def _note(self, problem: str) -> None:
        if (untold := self._seldom.is_due(problem)) is not None:
            more = f"; {untold} more since the last such line" if untold else ""
            logger.info("refused a connection: %s%s", problem, more)

    async def _say(self, stream: SocketStream, line: bytes) -> None:
        """Send a line to a client that has so long to take it.

        Raises:
            anyio.BrokenResourceError: it did not.
        """
        with anyio.move_on_after(self._limits.write_seconds):
            await stream.send(line)
            return
        self._counters.add("slow_reader")
        raise anyio.BrokenResourceError

    async def _serve_mcp(self, stream: SocketStream, lines: LineReader, hello: Hello, place: Place) -> None:
        peer = peer_of_hello(hello, self._owner)
        limits, counters = self._limits, self._counters
        writer = MessageWriter(
            stream,
            peer,
            self._boot,
            write_seconds=limits.write_seconds,
            counters=counters,
            raw=stream.extra(SocketAttribute.raw_socket),
        )
        unanswered = writer.unanswered
        lines.on_line, place.is_busy = place.note_asked, lambda: not unanswered.is_empty
        reader = MessageReader(lines, writer, peer, self._boot, paces=self._paces, limits=limits, counters=counters)
        logger.info("connection opened by %s, directory %s", _brief(peer), hello.directory)
        with ExitStack() as stack:
            stack.enter_context(self._needed())
            stack.enter_context(peer.conversation.open())
            if peer.alias is not None:
                stack.enter_context(self._sessions.connected(peer.owner, peer.alias))
            self._writers.add(writer)
            try:
                async with anyio.create_task_group() as tasks:
                    reader.take = SocketCalls(self._server, writer, peer, tasks).take
                    tasks.start_soon(reader.read_lines)
                    with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                        await serve_dual_era_loop(
                            self._server, reader, writer, lifespan_state=None, init_options=self._init_options
                        )
                    await self._paces.connecting.turn()
                    tasks.cancel_scope.cancel()
            finally:
                self._writers.discard(writer)
                writer.unanswered.forget()
                logger.info("connection of %s closed", _brief(peer))

    async def _serve_control(self, stream: SocketStream, lines: LineReader, hello: Hello, place: Place) -> None:
        requests = ControlRequests(
            lines, partial(self._say, stream), self._control, place=place, limits=self._limits, seldom=self._seldom
        )
        if not hello.stays:
            await requests.serve()
            return
        self._programs.add(requests)
        logger.info("connection opened by a program, workroot %s", hello.version)
        try:
            with self._needed():
                await requests.serve()
        finally:
            self._programs.discard(requests)
            logger.info("connection of a program closed")


def _peer_uid(stream: SocketStream) -> int | None:
    """Return the user at the other end, or None where the system does not tell."""
    raw = stream.extra(SocketAttribute.raw_socket)
    if sys.platform == "linux":
        _, uid, _ = struct.unpack("3i", raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return int(uid)
    if sys.platform == "darwin":
        # struct xucred of sys/ucred.h: version, uid, ...; SOL_LOCAL is 0, LOCAL_PEERCRED is 1
        _, uid = struct.unpack_from("Ii", raw.getsockopt(0, 1, 76))
        return int(uid)
    return None


def _brief(peer: Peer) -> str:
    return f"connector {peer.alias[:8]}" if peer.alias else "a connector without a default session"
