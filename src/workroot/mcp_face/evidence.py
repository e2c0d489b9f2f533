"""What one MCP call carries: its peer, its signs, and the client's answer about its roots."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import REQUEST_TIMEOUT, InputRequiredResult, ListRootsRequest, Result
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import BaseModel, ValidationError, field_serializer

from workroot.client_profiles import traits_of
from workroot.core.meta_signs import conversation_of, meta_hints, meta_session
from workroot.core.signs import Roots, RootsAnswer, Signs
from workroot.peer import PEER_KEY, Peer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp_types import InputResponses

    from workroot.peer import RootsMemory
    from workroot.session_service import SessionService

__all__ = [
    "ROOTS_KEY",
    "client_name",
    "declares_roots",
    "is_handshake",
    "keep_all_roots",
    "peer_of",
    "roots_if_needed",
    "roots_of",
    "signs_of_call",
]

logger = logging.getLogger(__name__)

_ROOTS_SECONDS = 2.0  # how long a client may take to name its roots
_ROOTS_CHANGED = "notifications/roots/list_changed"
ROOTS_KEY = "roots"
"""Under which the modern era asks for the roots, and answers."""

_ALL_ROOTS = "workroot/roots"  # in the parameters of a call, beyond what the client sent: all URIs that it named
_MAX_ROOTS = 64  # each is looked at in every call; further ones are left out

_NO_ROOTS = Roots()

# Editors also name roots of other kinds, such as `vscode-remote:`. The SDK takes an answer with one of them for
# malformed as a whole, and the roots that are directories here would be lost with it, in both eras.


class _Root(BaseModel):
    uri: str


class _AnyRoots(Result):
    """The answer to `roots/list`, whatever the kinds of its roots."""

    roots: list[_Root]


class _AnyRootsRequest(ListRootsRequest):
    """`roots/list` as the client sees it; the SDK checks an answer by a method's name, and knows no such method."""

    @field_serializer("method")
    def _as_sent(self, _: str) -> str:
        return "roots/list"


_ANY_ROOTS_REQUEST = _AnyRootsRequest.model_construct(method="workroot/any_roots")


def peer_of(ctx: ServerRequestContext[Any, Any]) -> Peer:
    """Return the other end of the connection that a message came by."""
    if isinstance(ctx.request, Peer):
        return ctx.request
    peer = ctx.request.scope[PEER_KEY] if ctx.request is not None else None
    if not isinstance(peer, Peer):
        raise TypeError("the transport attached no peer to the message")
    return peer


def is_handshake(ctx: ServerRequestContext[Any, Any]) -> bool:
    """Tell whether the call came in the era of `initialize`."""
    return ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS


def client_name(ctx: ServerRequestContext[Any, Any]) -> str | None:
    """Return `clientInfo.name`, or None if the client did not say."""
    params = ctx.session.client_params
    return params.client_info.name if params is not None else None


def signs_of_call(
    ctx: ServerRequestContext[Any, Any],
    *,
    session_id: str | None = None,
    directory: str | None = None,
    roots: Roots = _NO_ROOTS,
) -> Signs:
    """Gather the signs of a call.

    Args:
        session_id: the tool argument.
        directory: the tool argument.
        roots: the answer of `roots_of`.
    """
    peer, meta, traits = peer_of(ctx), _meta(ctx), traits_of(client_name(ctx))
    return Signs(
        session_id=session_id,
        directory=directory,
        meta_session=meta_session(meta),
        header_session=peer.header_session,
        conversation=conversation_of(meta, traits),
        alias=peer.alias if is_handshake(ctx) else None,
        hints=(*meta_hints(meta), *peer.hints),
        roots=roots,
        traits=traits,
    )


def declares_roots(ctx: ServerRequestContext[Any, Any]) -> bool:
    """Tell whether the client says that it can be asked for its roots."""
    capabilities = ctx.session.client_capabilities
    return capabilities is not None and capabilities.roots is not None


async def roots_of(
    ctx: ServerRequestContext[Any, Any], responses: InputResponses | None
) -> Roots | InputRequiredResult:
    """Return the client's roots as of this call, or the question to answer the call with.

    The modern era asks through the result, and the client repeats its call with the answer; the
    handshake era asks within the call.

    Args:
        responses: what a repeated call of the modern era brought.
    """
    if not declares_roots(ctx):
        return _NO_ROOTS
    if not is_handshake(ctx):
        if responses is None or ROOTS_KEY not in responses:
            return InputRequiredResult(input_requests={ROOTS_KEY: ListRootsRequest()})
        return _given((ctx.params or {}).get(_ALL_ROOTS, ()))
    if not ctx.session.can_send_request:
        return _NO_ROOTS
    return await _asked(ctx, peer_of(ctx).conversation.roots)


async def roots_if_needed(
    ctx: ServerRequestContext[Any, Any], sessions: SessionService, signs: Signs, responses: InputResponses | None
) -> Roots | InputRequiredResult:
    """Return what `roots_of` does, unless *signs* tell by `_meta` where the caller works: no answer could change that.

    Raises:
        WorkrootError: as `SessionService.is_decided_by_meta`.
    """
    if not declares_roots(ctx):
        return _NO_ROOTS
    if not sessions.is_reach_bounded and await sessions.is_decided_by_meta(signs):
        return _NO_ROOTS
    return await roots_of(ctx, responses)


async def _asked(ctx: ServerRequestContext[Any, Any], memory: RootsMemory) -> Roots:
    """Ask within the call; calls of one connection that overlap share the question."""
    while memory.asking is not None:
        await memory.asking.wait()
        if memory.answer is not None:
            return memory.answer
        # Whoever asked was cancelled before the answer came: ask again.
    if memory.refused:
        return _NO_ROOTS
    memory.asking, memory.answer = anyio.Event(), None
    try:
        memory.answer = await _ask(ctx, memory)
        return memory.answer
    finally:
        asking, memory.asking = memory.asking, None
        asking.set()


async def _ask(ctx: ServerRequestContext[Any, Any], memory: RootsMemory) -> Roots:
    try:
        result = await ctx.session.send_request(
            _ANY_ROOTS_REQUEST,
            _AnyRoots,
            request_read_timeout_seconds=_ROOTS_SECONDS,
            metadata=ServerMessageMetadata(related_request_id=ctx.request_id),
        )
    except (MCPError, ValidationError) as error:
        is_silence = isinstance(error, MCPError) and error.code == REQUEST_TIMEOUT
        how = "in time" if is_silence else f"with roots ({type(error).__name__})"
        if memory.answered or (memory.resumed and is_silence):
            logger.warning("a client that may have named its roots before does not answer %s now", how)
            memory.resumed = False
            return Roots(RootsAnswer.SILENT)
        logger.info("a client does not answer %s; it is not asked for its roots again on this connection", how)
        memory.refused = True
        return _NO_ROOTS
    memory.answered = True
    return _given([root.uri for root in result.roots])


async def keep_all_roots(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Server middleware: note what a client says of its roots unasked.

    These are the roots that a repeated call of the modern era brings, of which the SDK sees none, and that they
    changed: who says so knows of roots, and is asked again.
    """
    if ctx.method == _ROOTS_CHANGED:
        peer_of(ctx).conversation.roots.refused = False
    if ctx.params is None or not (_ALL_ROOTS in ctx.params or "inputResponses" in ctx.params):
        return await call_next(ctx)
    params = {name: value for name, value in ctx.params.items() if name != _ALL_ROOTS}
    responses = params.get("inputResponses")
    if isinstance(responses, dict) and ROOTS_KEY in responses:
        answer = responses[ROOTS_KEY]
        roots = answer.get("roots") if isinstance(answer, dict) else None
        params["inputResponses"] = {**responses, ROOTS_KEY: {"roots": []}}
        params[_ALL_ROOTS] = [_uri_of(root) for root in roots] if isinstance(roots, list) else []
    return await call_next(replace(ctx, params=params))


def _uri_of(root: object) -> str:
    uri = root.get("uri") if isinstance(root, dict) else None
    return uri if isinstance(uri, str) else ""


def _given(uris: Sequence[str]) -> Roots:
    return Roots(RootsAnswer.GIVEN, tuple(uris[:_MAX_ROOTS]), left_out=max(0, len(uris) - _MAX_ROOTS))


def _meta(ctx: ServerRequestContext[Any, Any]) -> dict[str, object]:
    raw = (ctx.params or {}).get("_meta")
    return raw if isinstance(raw, dict) else {}
