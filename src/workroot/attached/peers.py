"""Who is at the other end of an attached server's connection, and what the transport tells of where that one works.

Over HTTP that is what the request says; over stdio, the place where the client started this server. No header value
is ever taken for a connection: one is told by what the SDK itself keeps of it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import weakref
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import principal_components
from starlette.requests import Request

from workroot.attached.client_processes import ClientProcesses
from workroot.core.sessions import Alias, Owner
from workroot.core.signs import ConnectorFacts, connector_hints
from workroot.errors import SignsDisagreeError
from workroot.mcp_face.evidence import is_handshake
from workroot.peer import Conversation, Peer
from workroot.rendezvous import ENVIRONMENT_SIGNS
from workroot.session_context import SessionContextManager
from workroot.transports.http_guard import OWNER_KEY
from workroot.transports.http_signs import PEER_PROCESS_KEY, header_of, hints_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp.server.auth.provider import AccessToken
    from mcp.server.context import ServerRequestContext
    from mcp_types import InitializeRequestParams
    from starlette.types import Scope

    from workroot.core.signs import Hint
    from workroot.session_service import SessionService
    from workroot.transports.peer_process import PeerProcesses

__all__ = ["Peers", "own_hints", "principal_of", "user_of"]

_SESSION, _DIRECTORY = b"workroot-session", b"workroot-directory"


class _Connection(NamedTuple):
    """What is kept of a connection of the handshake era for as long as it lasts."""

    params: weakref.ref[InitializeRequestParams]
    alias: Alias
    conversation: Conversation


class Peers:
    """Tells of each message who sent it.

    Args:
        owner: on whose behalf a call comes that is not authenticated.
        processes: finds the process at the other end of a loopback connection.
    """

    def __init__(self, owner: Owner, processes: PeerProcesses | None = None) -> None:
        self._owner = owner
        self._processes = ClientProcesses(processes)
        self._own_hints = own_hints()  # now, when the client has just started this process
        self._connections: dict[int, _Connection] = {}
        self._live: set[tuple[Owner, Alias]] = set()

    def owner_of(self, ctx: ServerRequestContext[Any, Any]) -> Owner:
        """Return on whose behalf a message comes: the token's user, or the one that this process runs as."""
        token = _token_of(ctx)
        return self._owner if token is None else Owner(principal_of(token), self._owner.sandbox)

    async def peer_of(self, ctx: ServerRequestContext[Any, Any], *, is_located: bool) -> Peer:
        """Return who sent a message.

        Args:
            ctx: of the message.
            is_located: say too what the transport tells of where that one works, which may take a while.

        Raises:
            SignsDisagreeError: a header came twice, with different values.
        """
        owner, connection = self.owner_of(ctx), self._connection_of(ctx)
        scope = ctx.request.scope if isinstance(ctx.request, Request) else None
        hints: tuple[Hint, ...] = ()
        if scope is not None and is_located:
            _check_headers(scope)
            hints = await hints_of(self._judged(scope, owner))
        elif ctx.request is None:
            hints = self._own_hints
        return Peer(
            owner=owner,
            alias=connection.alias if connection is not None else None,
            hints=hints,
            header_session=_session_named(scope) if scope is not None else None,
            conversation=connection.conversation if connection is not None else Conversation(),
        )

    def note_live(self, service: SessionService, peer: Peer) -> None:
        """Let the session that *peer*'s connection stands for not grow stale while the connection lasts.

        Only where this process keeps the sessions: to others it is idle between two calls.
        """
        if peer.alias is None or (peer.owner, peer.alias) in self._live:
            return
        if isinstance(service, SessionContextManager):
            self._live.add((peer.owner, peer.alias))
            stack = ExitStack()
            stack.enter_context(service.connected(peer.owner, peer.alias))
            peer.conversation.on_close(stack.close)

    def release(self) -> None:
        """The sessions are about to be closed: no connection holds on to one any more."""
        self._live.clear()
        for connection in self._connections.values():
            connection.conversation.close()

    def _connection_of(self, ctx: ServerRequestContext[Any, Any]) -> _Connection | None:
        """Return what is kept of a connection of the handshake era; None where there is none to speak of.

        The SDK offers no name of it; but it keeps the parameters of `initialize` as long as the connection, over
        HTTP for the session whose id it has checked, and keeps none where it serves each request by itself.
        """
        params = ctx.session.client_params if is_handshake(ctx) else None
        if params is None:
            return None
        key = id(params)
        if key not in self._connections:
            forget = weakref.ref(params, partial(self._forget, key, asyncio.get_running_loop()))
            self._connections[key] = _Connection(forget, Alias(f"attached:{secrets.token_hex(16)}"), Conversation())
        return self._connections[key]

    def _forget(self, key: int, loop: asyncio.AbstractEventLoop, _: object) -> None:
        """The connection has ended; called by the collector, so in whatever thread and at whatever step."""
        connection = self._connections.pop(key, None)
        if connection is not None:
            with suppress(RuntimeError):  # the loop is closed: nothing is live there any more
                loop.call_soon_threadsafe(self._end, connection)

    def _end(self, connection: _Connection) -> None:
        self._live = {each for each in self._live if each[1] != connection.alias}
        connection.conversation.close()

    def _judged(self, scope: Scope, owner: Owner) -> Scope:
        """Return *scope* with what the daemon's own guard would have put there."""
        state: dict[str, object] = {}
        # To look for the process takes 3 ms, and it decides only where the request itself names no directory.
        is_named = bool(_values(scope, _DIRECTORY)) or b"directory=" in scope["query_string"]
        if not is_named:
            state[PEER_PROCESS_KEY] = self._processes.of(scope)
        return {**scope, OWNER_KEY: owner, "state": state}


def own_hints(environment: Mapping[str, str] = os.environ) -> tuple[Hint, ...]:
    """Return what this process's surroundings suggest, best first: what a connector would tell of its own."""
    try:
        directory: str | None = os.getcwd()
    except OSError:  # it is gone
        directory = None
    seen = {name: environment[name] for name in ENVIRONMENT_SIGNS if name in environment}
    return connector_hints(ConnectorFacts(own_directory=directory, environment=seen))


def user_of(ctx: ServerRequestContext[Any, Any]) -> str | None:
    """Return the authenticated user of a request, told as `principal_of` tells it; None if nobody is authenticated.

    Never the subject alone: those of two issuers, and a client of that name, would be one user.
    """
    token = _token_of(ctx)
    return None if token is None else principal_of(token)


def _token_of(ctx: ServerRequestContext[Any, Any]) -> AccessToken | None:
    user = ctx.request.scope.get("user") if isinstance(ctx.request, Request) else None
    return user.access_token if isinstance(user, AuthenticatedUser) else get_access_token()


def principal_of(token: AccessToken) -> str:
    """Return who a token speaks for: `subject:ISSUER:SUBJECT`, or `client:CLIENT` where it names no subject.

    The parts are percent-encoded, so that no two users have one name. A subject is unique per issuer only, and its
    clients act for the same user.
    """
    client, issuer, subject = principal_components(token)
    if subject is None:
        return f"client:{quote(client, safe='')}"
    return f"subject:{quote(issuer or '', safe='')}:{quote(subject, safe='')}"


def _session_named(scope: Scope) -> str | None:
    """Return the session that the headers name; None if they name none, or several."""
    return header_of(scope, _SESSION) if len(_values(scope, _SESSION)) == 1 else None


def _values(scope: Scope, name: bytes) -> tuple[bytes, ...]:
    """Return the values that a header comes with, each once."""
    return tuple(dict.fromkeys(value for key, value in scope["headers"] if key == name))


def _check_headers(scope: Scope) -> None:
    for name, shown in ((_SESSION, "Workroot-Session"), (_DIRECTORY, "Workroot-Directory")):
        if len(values := _values(scope, name)) > 1:
            first, second = (value.decode("latin-1") for value in values[:2])
            what = "session" if name == _SESSION else "directory"
            raise SignsDisagreeError(what, (f"the first {shown}", first), (f"the second {shown}", second))
