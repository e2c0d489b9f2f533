"""One request of an attached FastMCP server, as the rest of workroot takes it: as the SDK would give it to a handler.

FastMCP hides the SDK's context of a request from its middleware, and shows all that is in it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from fastmcp.exceptions import FastMCPError
from fastmcp.server.dependencies import bind_request_context
from fastmcp.tools import InputRequiredToolResult
from mcp.server.context import ServerRequestContext
from mcp_types import InputRequiredResult, ListRootsRequest

from workroot.attached.call_facts import facts_of, resolution_of
from workroot.attached.calls import Call, current_call
from workroot.core.signs import RootsAnswer
from workroot.errors import WorkrootError
from workroot.mcp_face.evidence import ROOTS_KEY, is_handshake, keep_all_roots, roots_if_needed
from workroot.request_context import CLEAR, RequestContext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastmcp.server.middleware import MiddlewareContext
    from fastmcp.tools import ToolResult
    from mcp_types import RequestParamsMeta

    from workroot.attached.attachment import Attachment
    from workroot.attached.peers import Peers
    from workroot.attached.session_tools import SessionTools

__all__ = ["QuestionError", "ServedCall", "sdk_context", "served_call", "with_peer"]


_ASKING_BACK = frozenset({"tools/call", "resources/read", "prompts/get"})
"""Requests that may be answered with a question (MCP 2026-07-28), and come again with the answer."""


def sdk_context(context: MiddlewareContext[Any]) -> ServerRequestContext[Any, Any] | None:
    """Return the SDK's context of a message; None if no client sent it, but code of this process."""
    asked = context.fastmcp_context
    request = asked.request_context if asked is not None else None
    if asked is None or request is None:
        return None
    message = context.message
    if isinstance(message, Mapping):
        params: dict[str, Any] = dict(message)
    else:
        params = {name: getattr(message, name) for name in ("name", "arguments", "uri") if hasattr(message, name)}
    if context.method in _ASKING_BACK:
        if (answers := asked.input_responses) is not None:
            params["inputResponses"] = {
                name: answer.model_dump(mode="json", by_alias=True) for name, answer in answers.items()
            }
        if asked.request_state is not None:
            params["requestState"] = asked.request_state
    meta = request.meta or {}
    if request.meta is not None:
        params["_meta"] = request.meta
    return ServerRequestContext(
        session=request.session,
        lifespan_context=request.lifespan_context,
        protocol_version=request.protocol_version,
        method=context.method or "",
        params=params,
        request_id=request.request_id,
        meta=cast("RequestParamsMeta", meta),  # the SDK's has the fields that MCP names; ours has them, and the rest
        request=request.request,
        close_sse_stream=request.close_sse_stream,
    )


async def with_peer(
    ctx: ServerRequestContext[Any, Any], peers: Peers, *, is_located: bool
) -> ServerRequestContext[Any, Any]:
    """Return a request with the `Peer` that sent it, and with all roots that it brings.

    Raises:
        SignsDisagreeError: a header came twice, with different values.
    """
    found: list[ServerRequestContext[Any, Any]] = []

    async def keep(seen: ServerRequestContext[Any, Any]) -> None:
        found.append(seen)

    await keep_all_roots(replace(ctx, request=await peers.peer_of(ctx, is_located=is_located)), keep)
    return found[0]


class QuestionError(FastMCPError):
    """The client has to be asked first; whoever serves the request answers it with the question.

    It comes from within FastMCP's dependencies, which let no other kind of error pass.
    """

    def __init__(self, question: InputRequiredResult) -> None:
        self.question = question
        super().__init__("the client has to be asked first", log_level=logging.DEBUG)


@dataclass(slots=True, kw_only=True)
class ServedCall:
    """A request while what the author wrote is answering it.

    Attributes:
        attachment: the server's sessions.
        peers: tells who sent it.
        tools: answers the tools that are ours.
        ctx: of the request, as it came.
        call: what is known of it.
    """

    attachment: Attachment
    peers: Peers
    tools: SessionTools
    ctx: ServerRequestContext[Any, Any]
    call: Call
    _asked_roots: bool = False

    @contextmanager
    def begun(self, tool: str) -> Iterator[ServedCall]:
        """Begin the run of a tool that asks: it is decided for itself, since one call may run several, even at once."""
        run = replace(self, call=Call(tool=tool), _asked_roots=False)
        tokens = served_call.set(run), current_call.set(run.call)
        try:
            yield run
        finally:
            served_call.reset(tokens[0])
            current_call.reset(tokens[1])
            self.call.resolution, self.call.error = run.call.resolution, run.call.error
            self.call.is_refused = run.call.is_refused

    async def resolve(self, signs: Mapping[str, str]) -> None:
        """Find out where the caller works, unless that was found out already.

        Args:
            signs: the arguments by which the caller says so.

        Raises:
            QuestionError: its client has to be asked first.
        """
        if self.call.resolution is not None or self.call.error is not None:
            return
        try:
            service, seen = await self.attachment.ready(), await self.located()
            facts = facts_of(seen, **signs)
            roots = await roots_if_needed(seen, service, facts.signs(), (seen.params or {}).get("inputResponses"))
            if isinstance(roots, InputRequiredResult):
                raise QuestionError(roots)
            self._asked_roots = roots.answer is RootsAnswer.GIVEN and not is_handshake(seen)
            self.call.resolution = await resolution_of(replace(facts, roots=roots), self.attachment, self.tools)
        except WorkrootError as error:
            self.call.error = error  # what asks tells of it, after the arguments were checked

    async def located(self) -> ServerRequestContext[Any, Any]:
        """Return the context of the request with all that is known of who sent it.

        Raises:
            SignsDisagreeError: as `with_peer`.
        """
        return await with_peer(self.ctx, self.peers, is_located=True)

    @contextmanager
    def resolved(self) -> Iterator[None]:
        """Serve what is inside under the caller's session, and without our question to its client."""
        session = self.call.resolution.session if self.call.resolution is not None else None
        answered = bind_request_context(self._without_roots()) if self._asked_roots else nullcontext()
        with RequestContext(session.session_id if session is not None else CLEAR), answered:
            yield

    def with_roots_asked(self, result: ToolResult) -> ToolResult:
        """Return a tool's result; if it asks the client something itself, the roots are asked for again.

        The call that brings the answer is decided anew.
        """
        if not self._asked_roots or not isinstance(result, InputRequiredToolResult):
            return result
        asked = result.input_required
        requests = {**(asked.input_requests or {}), ROOTS_KEY: ListRootsRequest()}
        return InputRequiredToolResult(asked.model_copy(update={"input_requests": requests}))

    def _without_roots(self) -> ServerRequestContext[Any, Any]:
        params = dict(self.ctx.params or {})
        answers = {name: each for name, each in params.pop("inputResponses", {}).items() if name != ROOTS_KEY}
        return replace(self.ctx, params={**params, **({"inputResponses": answers} if answers else {})})


served_call: ContextVar[ServedCall | None] = ContextVar("workroot.served_call", default=None)
"""The call that is served in this task; None outside of calls by clients."""
