"""The one middleware of an attached FastMCP server: what every request gets, and every call of a tool.

It works out who calls; a tool that asks where that one works finds it out when it is its turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastmcp.exceptions import ToolError
from fastmcp.prompts.base import InputRequiredPromptResult
from fastmcp.resources.base import InputRequiredResourceResult
from fastmcp.server.middleware.tool_injection import ToolInjectionMiddleware
from fastmcp.tools import InputRequiredToolResult, Tool, ToolResult
from fastmcp.utilities.versions import VersionSpec
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, CallToolResult, InputRequiredResult

from workroot.attached.call_facts import facts_of, own_session
from workroot.attached.calls import Call, current_call
from workroot.attached.channels import collected_links
from workroot.attached.current_request import current_request
from workroot.attached.fastmcp_parameters import check_parameters
from workroot.attached.fastmcp_requests import QuestionError, ServedCall, sdk_context, served_call, with_peer
from workroot.attached.fastmcp_tools import RefusedToolError, SessionTool, as_tool_result, is_asking
from workroot.attached.peers import user_of
from workroot.attached.request_scope import request_scope, session_in_force
from workroot.errors import WorkrootError
from workroot.mcp_face.answers import RESOLUTION_META, resolution_meta
from workroot.mcp_face.evidence import peer_of
from workroot.mcp_face.refusals import refusal
from workroot.mcp_face.tools import TOOLS, unknown_argument

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastmcp.prompts import PromptResult
    from fastmcp.resources import ResourceResult
    from fastmcp.server.middleware import CallNext, MiddlewareContext

    from workroot.attached.attachment import Attachment
    from workroot.attached.peers import Peers
    from workroot.attached.session_tools import SessionTools

__all__ = ["AttachedMiddleware"]


class AttachedMiddleware(ToolInjectionMiddleware):
    """Serves every message of one server, and brings our tools.

    They are brought by a middleware, not added as the author's are: so no filter hides them and no namespace renames
    them, and what is attached twice has them once.

    Args:
        attachment: the server's sessions.
        peers: tells who sends a message.
        tools: answers the tools that are ours.
    """

    def __init__(self, attachment: Attachment, peers: Peers, tools: SessionTools) -> None:
        super().__init__([SessionTool.of(tool, self._answer) for tool in TOOLS])
        self._attachment, self._peers, self._tools = attachment, peers, tools

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Serve a request inside of a `RequestContext`, if the caller does not ask too often."""
        ctx, outer = sdk_context(context), current_request.get()
        if ctx is None or (outer is not None and outer.session is ctx.session):
            return await call_next(context)  # a tool's own call of another one: still the same request
        if self._attachment.rate_limit is not None:
            try:
                self._attachment.rate_limit.check(self._peers.owner_of(ctx).principal)
            except WorkrootError as error:
                if context.method == "tools/call":
                    return as_tool_result(refusal(error))
                raise MCPError(INTERNAL_ERROR, str(error), {"code": error.code}) from error
        token = current_request.set(ctx)
        try:
            async with request_scope(ctx, user_id=user_of(ctx)):
                return await call_next(context)
        finally:
            current_request.reset(token)

    async def on_notification(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Take note of a client that says that its roots changed."""
        if (ctx := sdk_context(context)) is not None:
            await with_peer(ctx, self._peers, is_located=False)
        return await call_next(context)

    async def on_read_resource(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, ResourceResult]
    ) -> ResourceResult:
        """Serve a resource, inside of its caller's session."""
        try:
            async with self._served(context):
                return await super().on_read_resource(context, call_next)
        except QuestionError as error:
            return InputRequiredResourceResult(error.question)
        except WorkrootError as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from error

    async def on_get_prompt(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, PromptResult]
    ) -> PromptResult:
        """Serve a prompt, inside of its caller's session."""
        app = context.fastmcp_context.fastmcp if context.fastmcp_context is not None else None
        prompt = await app.get_prompt(context.message.name) if app is not None else None
        try:
            if prompt is not None:
                check_parameters(prompt)
            async with self._served(context):
                return await call_next(context)
        except QuestionError as error:
            return InputRequiredPromptResult(error.question)
        except WorkrootError as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from error

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, ToolResult]) -> ToolResult:
        """Serve a call of a tool, inside of its caller's session."""
        name, meta, is_inner = context.message.name, context.message.meta, served_call.get() is not None
        app = context.fastmcp_context.fastmcp if context.fastmcp_context is not None else None
        tool = await app.get_tool(name, version=_version_of(meta)) if app is not None else None
        try:
            if tool is not None and not isinstance(tool, SessionTool):
                check_parameters(tool)
                _check(tool, context.message.arguments or {})
            async with self._served(context, is_told=tool is not None and is_asking(tool)) as served:
                try:
                    return _finished(await call_next(context), served)
                except QuestionError as error:
                    return InputRequiredToolResult(error.question)
                except RefusedToolError as error:
                    if is_inner:
                        raise  # to the tool that called it
                    return as_tool_result(refusal(error.error))
                except ToolError:
                    if served is None or served.call.error is None or not served.call.is_refused:
                        raise
                    return as_tool_result(refusal(served.call.error))
        except WorkrootError as error:
            return as_tool_result(refusal(error))

    async def _answer(self) -> CallToolResult | InputRequiredResult:
        """Answer the call of one of our tools."""
        if (served := served_call.get()) is None:
            raise ToolError("the tools of workroot can be called by clients only")
        return await self._tools.answer(await self._attachment.ready(), await served.located())

    @asynccontextmanager
    async def _served(
        self, context: MiddlewareContext[Any], *, is_told: bool = False
    ) -> AsyncIterator[ServedCall | None]:
        """Let what is inside find out where the caller works, and serve it inside of the caller's session.

        Args:
            context: of the request; of one that no client sent nothing is known.
            is_told: what is inside looks for the session itself.

        Raises:
            WorkrootError: the sessions cannot be opened, or two headers disagree; nothing was served.
        """
        if (ctx := sdk_context(context)) is None:
            yield None
            return
        session, user, service = None, user_of(ctx), await self._attachment.ready()
        seen = await with_peer(ctx, self._peers, is_located=False)
        self._peers.note_live(service, peer_of(seen))
        if not is_told:
            given = context.message.arguments if context.method == "tools/call" else None
            facts = facts_of(seen, session_id=own_session(given))
            session = await session_in_force(service, facts, user, program=self._attachment.owner)
        call = Call(tool=getattr(context.message, "name", context.method or ""))
        served = ServedCall(attachment=self._attachment, peers=self._peers, tools=self._tools, ctx=ctx, call=call)
        tokens = served_call.set(served), current_call.set(call)
        try:
            async with request_scope(ctx, session_id=session, user_id=user):
                yield served
        finally:
            served_call.reset(tokens[0])
            current_call.reset(tokens[1])


def _check(tool: Tool, given: Mapping[str, Any]) -> None:
    """Refuse an argument that a tool does not take.

    Raises:
        ArgumentsError: names the near match.
    """
    if tool.parameters.get("additionalProperties", False) is not False or "patternProperties" in tool.parameters:
        return  # its author lets it take others
    known = tool.parameters.get("properties", {})
    for argument in given:
        if argument not in known:
            raise unknown_argument(tool.name, argument, sorted(known))


def _version_of(meta: Mapping[str, Any] | None) -> VersionSpec | None:
    """Return which version of a tool a call wants; FastMCP keeps it in `_meta`."""
    wanted = (meta or {}).get("fastmcp")
    version = wanted.get("version") if isinstance(wanted, Mapping) else None
    return VersionSpec(eq=version) if isinstance(version, str) else None


def _finished(result: ToolResult, served: ServedCall | None) -> ToolResult:
    """Return a tool's result with where it was made, and with the links that were added to it."""
    if served is None or isinstance(result, InputRequiredToolResult):
        return result
    resolution, links = served.call.resolution, collected_links()
    if resolution is None and not links:
        return result
    meta = {**(result.meta or {}), **({RESOLUTION_META: resolution_meta(resolution)} if resolution is not None else {})}
    changed = {"content": [*result.content, *links], "meta": meta or None}
    wire = result.to_mcp_result()
    if isinstance(wire, CallToolResult) and wire is result.to_mcp_result():  # the tool's own words, sent as they are
        return ToolResult.from_mcp_result(wire.model_copy(update=changed))
    return result.model_copy(update=changed)
