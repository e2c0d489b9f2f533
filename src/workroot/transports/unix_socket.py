"""The daemon's Unix socket: who may connect, and what the first line makes of a connection.

A connection begins with one hello line each way (`workroot.rendezvous`). Role `mcp` is a connector
and goes on with MCP; role `control` is the command line and goes on with requests of its own. One
client's fault (hang-up, garbage, a huge line) ends that client's task and nobody else's.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import struct
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Literal

import anyio
from anyio.abc import SocketAttribute
from mcp.server.runner import serve_dual_era_loop
from pydantic import BaseModel, ConfigDict, ValidationError

from workroot import __version__
from workroot.core.sessions import Alias, Owner
from workroot.core.signs import ConnectorFacts, connector_hints
from workroot.errors import RendezvousError, WorkrootError
from workroot.peer import Conversation, Peer, Resumption, RootsMemory
from workroot.rendezvous import ENVIRONMENT_SIGNS, hello_line, parse_hello
from workroot.transports.lines import LineReader, LineTooLongError
from workroot.transports.messages import MessageReader, MessageWriter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from anyio.abc import SocketListener, SocketStream, TaskGroup
    from mcp.server.lowlevel.server import Server

    from workroot.session_context import SessionContextManager

__all__ = ["UnixSocketTransport", "bind_unix_socket"]

logger = logging.getLogger(__name__)

_HELLO_SECONDS = 10.0
_BACKLOG = 512


class _Hello(BaseModel):
    """What a client says of itself in its first line."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    role: Literal["mcp", "control"]
    version: str = "unknown"
    alias: str | None = None
    directory: str | None = None
    option: str | None = None
    environment: dict[str, str] = {}
    default_session: bool = True
    reconnected: bool = False
    listens: list[str | int] = []


def bind_unix_socket(path: str) -> socket.socket:
    """Listen at *path*, which only this user may reach; the caller holds the instance lock.

    A socket left by a daemon that died is replaced: whoever holds the lock owns the path.

    Raises:
        RendezvousError: something else than a socket of ours is in the way.
    """
    with suppress(FileNotFoundError):
        status = os.lstat(path)
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
            raise RendezvousError(path, "is not a socket of this user", "remove it and try again")
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


class UnixSocketTransport:
    """Serves MCP and control connections on a socket.

    Args:
        boot: this daemon's boot id; part of the ids of our own requests.
        control: answers a control command, given its name and arguments.
    """

    def __init__(
        self,
        server: Server[None],
        sessions: SessionContextManager,
        *,
        owner: Owner,
        boot: str,
        control: Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]],
    ) -> None:
        self._server, self._sessions, self._owner = server, sessions, owner
        self._boot, self._control = boot, control
        self._init_options = server.create_initialization_options()
        self._writers: set[MessageWriter] = set()

    @property
    def connections(self) -> int:
        """How many clients are connected; those who only ask for the daemon's state do not count."""
        return len(self._writers)

    async def serve(self, listener: SocketListener, tasks: TaskGroup) -> None:
        """Accept clients until the listener is closed; each is served by a task of *tasks*."""
        with suppress(anyio.ClosedResourceError):
            await listener.serve(self._serve_client, tasks)

    async def wait_idle(self) -> None:
        """Return when all clients have their answers; listen streams have to be told to end."""
        for writer in tuple(self._writers):
            await writer.unanswered.wait_none(with_listens=True)

    def give_up_writing(self) -> None:
        """Wait no longer for clients that do not read."""
        for writer in tuple(self._writers):
            writer.give_up()

    async def _serve_client(self, stream: SocketStream) -> None:
        try:
            async with stream:
                if _peer_uid(stream) != os.geteuid():
                    logger.warning("refused a connection of another user")
                    return
                await self._converse(stream)
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
            logger.debug("a client hung up")
        except Exception:  # a boundary: one client's fault ends that client's task only
            logger.exception("a connection failed")

    async def _converse(self, stream: SocketStream) -> None:
        lines = LineReader(stream)
        try:
            with anyio.fail_after(_HELLO_SECONDS):
                hello = _Hello.model_validate(parse_hello(await lines.receive()))
        except TimeoutError:
            logger.info("a client said nothing for %s seconds", _HELLO_SECONDS)
            return
        except (ValueError, LineTooLongError) as error:
            problem = "the hello line is not valid" if isinstance(error, ValidationError) else str(error)
            logger.info("refused a connection: %s", problem)
            await stream.send(hello_line(version=__version__, error=problem or "the hello line is too long"))
            return
        await stream.send(hello_line(version=__version__, boot=self._boot, pid=os.getpid()))
        if hello.role == "control":
            await self._serve_control(stream, lines)
        else:
            await self._serve_mcp(stream, lines, hello)

    async def _serve_mcp(self, stream: SocketStream, lines: LineReader, hello: _Hello) -> None:
        peer = self._peer(hello)
        writer = MessageWriter(stream, peer, self._boot)
        reader = MessageReader(lines, writer, peer, self._boot)
        logger.info("connection opened by %s, directory %s", _brief(peer), hello.directory)
        with ExitStack() as stack:
            stack.enter_context(peer.conversation.open())
            if peer.alias is not None:
                stack.enter_context(self._sessions.connected(peer.owner, peer.alias))
            self._writers.add(writer)
            try:
                await serve_dual_era_loop(
                    self._server, reader, writer, lifespan_state=None, init_options=self._init_options
                )
            finally:
                self._writers.discard(writer)
                writer.unanswered.forget()
                logger.info("connection of %s closed", _brief(peer))

    def _peer(self, hello: _Hello) -> Peer:
        facts = ConnectorFacts(
            option=hello.option,
            own_directory=hello.directory,
            environment={name: value for name, value in hello.environment.items() if name in ENVIRONMENT_SIGNS},
        )
        return Peer(
            owner=self._owner,
            alias=Alias(hello.alias) if hello.alias and hello.default_session else None,
            hints=connector_hints(facts),
            resumption=Resumption(listens=frozenset(hello.listens)) if hello.listens else None,
            conversation=Conversation(roots=RootsMemory(resumed=hello.reconnected)),
        )

    async def _serve_control(self, stream: SocketStream, lines: LineReader) -> None:
        while True:
            try:
                request = json.loads(await lines.receive())
                answer: dict[str, Any] = {"result": await self._control(request["command"], request["arguments"])}
            except WorkrootError as error:
                answer = {"error": {"code": error.code, "message": str(error)}}
            except (ValueError, TypeError, KeyError):
                answer = {"error": {"code": "invalid_request", "message": "this is not a control request"}}
            await stream.send(json.dumps(answer).encode() + b"\n")


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
