"""The one middleware of an attached server: what every request gets, and every call of a tool.

It works out who calls, and where a tool that asks works, before the tool is called; the SDK does the rest. What
is answered in a tool's place goes through a tool of ours, so that the SDK writes it as it writes any other answer.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, CallToolResult, InputRequiredResult

from workroot.attached.call_facts import facts_of, own_session, resolution_of, signs_given
from workroot.attached.calls import Call, current_call
from workroot.attached.current_request import current_request
from workroot.attached.peers import user_of
from workroot.attached.request_scope import request_scope, session_in_force
from workroot.attached.results import finished, on_wire
from workroot.attached.tool_table import ANSWERING_TOOL
from workroot.core.signs import Roots, RootsAnswer
from workroot.errors import WorkrootError
from workroot.mcp_face.evidence import ROOTS_KEY, is_handshake, keep_all_roots, peer_of, roots_if_needed
from workroot.mcp_face.refusals import refusal
from workroot.mcp_face.tools import unknown_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

    from workroot.attached.attachment import Attachment
    from workroot.attached.facts import CallFacts
    from workroot.attached.peers import Peers
    from workroot.attached.session_tools import SessionTools
    from workroot.attached.tool_table import ToolTable

__all__ = ["AttachedMiddleware"]

_CALL, _LIST = "tools/call", "tools/list"
_AUTHORS = frozenset({_CALL, "resources/read", "prompts/get", "completion/complete"})
"""Requests that are answered by what the server's author wrote."""


class AttachedMiddleware:
    """Serves every message of one server.

    Args:
        attachment: the server's sessions.
        peers: tells who sends a message.
        table: the server's tools.
        tools: answers those of ours.
    """

    def __init__(self, attachment: Attachment, peers: Peers, table: ToolTable, tools: SessionTools) -> None:
        self._attachment, self._peers, self._table, self._tools = attachment, peers, table, tools

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Serve one message."""
        token = current_request.set(ctx)
        try:
            if (error := self._over_rate(ctx)) is not None:
                if ctx.method != _CALL:
                    raise MCPError(INTERNAL_ERROR, str(error), {"code": error.code}) from error
                return await self._answered(ctx, call_next, Call(tool="", answer=partial(_refused, error)))
            if ctx.request_id is not None and ctx.method in _AUTHORS:
                return await self._authors(ctx, call_next)
            async with request_scope(ctx, user_id=user_of(ctx)):
                if ctx.method == _LIST:
                    return self._list(ctx, await call_next(ctx))
                return await self._roots_noted(ctx, call_next)
        finally:
            current_request.reset(token)

    def _over_rate(self, ctx: ServerRequestContext[Any, Any]) -> WorkrootError | None:
        """Return why a request is refused, if the author's own kind of rate limit says so in an error of ours.

        Raises:
            MCPError: it is refused, and this is what its client is to hear.
        """
        if ctx.request_id is not None and self._attachment.rate_limit is not None:
            try:
                self._attachment.rate_limit.check(self._peers.owner_of(ctx).principal)
            except WorkrootError as error:
                return error
        return None

    async def _roots_noted(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Pass on a message that says that the client's roots changed, or anything else."""
        peer = await self._peers.peer_of(ctx, is_located=False)

        async def passed(seen: ServerRequestContext[Any, Any]) -> HandlerResult:
            return await call_next(ctx)

        return await keep_all_roots(replace(ctx, request=peer), passed)

    def _list(self, ctx: ServerRequestContext[Any, Any], result: HandlerResult) -> HandlerResult:
        """Return the list of tools as the tools really are: closed, and with the arguments that we read."""
        wire = on_wire(result)
        if isinstance(rows := wire.get("tools"), list):
            wire["tools"] = [
                self._tools.listed(row["name"], ctx.protocol_version)
                if self._tools.has(row["name"])
                else self._table.listed(row)
                for row in rows
            ]
        return wire

    async def _authors(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Serve what the server's author wrote."""
        name = (ctx.params or {}).get("name") if ctx.method == _CALL else None
        is_located = isinstance(name, str) and (self._tools.has(name) or self._table.needs_of(name).is_resolved)
        try:
            peer = await self._peers.peer_of(ctx, is_located=is_located)
        except WorkrootError as error:
            return await self._answered(ctx, call_next, Call(tool=str(name), answer=partial(_refused, error)))
        is_call = ctx.method == _CALL

        async def serve(seen: ServerRequestContext[Any, Any]) -> HandlerResult:
            return await (self._call(ctx, seen, call_next) if is_call else self._other(ctx, seen, call_next))

        return await keep_all_roots(replace(ctx, request=peer), serve)

    async def _other(
        self, ctx: ServerRequestContext[Any, Any], seen: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Serve a resource, a prompt or a completion."""
        user = user_of(ctx)
        try:
            service, program = await self._attachment.ready(), self._attachment.owner
            session = await session_in_force(service, facts_of(seen), user, program=program)
        except WorkrootError as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from error
        async with request_scope(ctx, session_id=session, user_id=user):
            return await call_next(ctx)

    async def _call(
        self, ctx: ServerRequestContext[Any, Any], seen: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Serve a call of a tool.

        Args:
            ctx: of the call, as it came.
            seen: the same, with the `Peer` that sent it, and with all roots that it brings.
            call_next: the rest of the way to the tool.
        """
        params = dict(ctx.params or {})
        name, given = params.get("name"), params.get("arguments")
        if not isinstance(name, str) or not isinstance(given, dict | None):
            return await call_next(ctx)  # the SDK says what is wrong with it
        call, roots = Call(tool=name), Roots()
        session: str | None = None
        try:
            service = await self._attachment.ready()
            self._peers.note_live(service, peer_of(seen))
            facts = facts_of(seen)
            if self._tools.has(name):
                call.answer = partial(self._tools.answer, service, seen)
            elif (needs := self._table.needs_of(name)).is_resolved:
                await self._check(name, given or {})
                facts = facts_of(seen, **signs_given(name, given or {}, needs.added))
                asked = await roots_if_needed(seen, service, facts.signs(), (seen.params or {}).get("inputResponses"))
                if isinstance(asked, InputRequiredResult):
                    call.answer = partial(_given, asked)
                else:
                    roots = asked
                    await self._resolve(call, replace(facts, roots=roots))
                params["arguments"] = {key: value for key, value in (given or {}).items() if key not in needs.added}
            else:
                await self._check(name, given or {})
                facts = facts_of(seen, session_id=own_session(given))
            if call.resolution is not None and call.resolution.session is not None:
                session = call.resolution.session.session_id
            elif call.answer is None and call.error is None:
                session = await session_in_force(service, facts, user_of(ctx), program=self._attachment.owner)
        except WorkrootError as error:
            call.answer = partial(_refused, error)
        if call.answer is not None:
            return await self._answered(ctx, call_next, call, session)
        asks_roots = roots.answer is RootsAnswer.GIVEN and not is_handshake(ctx)
        if asks_roots and isinstance(responses := params.get("inputResponses"), dict):
            params["inputResponses"] = {key: value for key, value in responses.items() if key != ROOTS_KEY}
        token = current_call.set(call)
        try:
            async with request_scope(ctx, session_id=session, user_id=user_of(ctx)):
                return finished(await call_next(replace(ctx, params=params)), call, asks_roots=asks_roots)
        finally:
            current_call.reset(token)

    async def _resolve(self, call: Call, facts: CallFacts) -> None:
        try:
            call.resolution = await resolution_of(facts, self._attachment, self._tools)
        except WorkrootError as error:
            call.error = error  # the tool's parameters tell of it, after its arguments were checked

    async def _check(self, name: str, given: Mapping[str, Any]) -> None:
        """Refuse an argument that a tool does not take.

        Raises:
            ArgumentsError: names the near match.
        """
        known = await self._table.arguments_of(name)
        for argument in given:
            if known is not None and argument not in known:
                raise unknown_argument(name, argument, sorted(known))

    async def _answered(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext, call: Call, session: str | None = None
    ) -> HandlerResult:
        """Let the SDK send the answer that *call* has, by the tool of ours that returns it."""
        params: dict[str, Any] = {**(ctx.params or {}), "name": ANSWERING_TOOL, "arguments": {}}
        params.pop("inputResponses", None)
        token = current_call.set(call)
        try:
            async with request_scope(ctx, session_id=session, user_id=user_of(ctx)):
                return await call_next(replace(ctx, params=params))
        finally:
            current_call.reset(token)


async def _refused(error: WorkrootError) -> CallToolResult | InputRequiredResult:
    return refusal(error)


async def _given(answer: InputRequiredResult) -> CallToolResult | InputRequiredResult:
    return answer
