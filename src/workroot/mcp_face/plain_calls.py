"""Tool calls that nobody has to be asked about: answered in the form that goes over the wire, made once.

The SDK reads a call's parameters twice and its result three times. Here the first reading is the SDK's own, so that
what is malformed is refused as ever, and the result is written down as the SDK would have left it. A test holds both
ways against each other.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from mcp.server.lowlevel.server import Server
from mcp_types import SERVER_INFO_META_KEY, CallToolResult, InputRequiredResult
from mcp_types.methods import serialize_server_result, validate_client_request
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from workroot.mcp_face.answers import RESOLUTION_META
from workroot.mcp_face.calls import ToolAnswer, ToolCalls

if TYPE_CHECKING:
    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

__all__ = ["PlainCalls"]

_CALL = "tools/call"
_VERSIONS = frozenset({"2025-06-18", "2025-11-25", *MODERN_PROTOCOL_VERSIONS})
"""In which a result has structured content."""
_NOT_PLAIN = ("inputResponses", "requestState", "task")


class PlainCalls:
    """Server middleware, the innermost: answers plain calls of tools in place of the SDK's last steps.

    Args:
        server: the one that this is a middleware of.
        calls: answers.
    """

    def __init__(self, server: Server[Any], calls: ToolCalls) -> None:
        self._server, self._calls = server, calls

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Answer a plain call; let the SDK answer whatever else it is."""
        params, version = ctx.params, ctx.protocol_version
        if ctx.method != _CALL or params is None or version not in _VERSIONS:
            return await call_next(ctx)
        is_modern = version in MODERN_PROTOCOL_VERSIONS
        if any(key in params for key in _NOT_PLAIN) or not (is_modern or ctx.session.client_params is not None):
            return await call_next(ctx)
        validate_client_request(_CALL, version, params)
        answer = await self._calls.answer(ctx, params["name"], params.get("arguments"))
        match answer:
            case InputRequiredResult():
                return await call_next(ctx)  # it has asked nobody yet
            case CallToolResult():
                dumped = answer.model_dump(by_alias=True, mode="json", exclude_none=True)
                wire = serialize_server_result(_CALL, version, dumped)
            case _:
                return self._wire_of(answer, is_modern=is_modern)
        if is_modern:
            wire["_meta"] = {**wire.get("_meta", {}), SERVER_INFO_META_KEY: self._server_info}
        return wire

    def _wire_of(self, answer: ToolAnswer, *, is_modern: bool) -> dict[str, Any]:
        resolution = answer.meta()
        meta = {RESOLUTION_META: resolution} if resolution is not None else {}
        if is_modern:
            meta[SERVER_INFO_META_KEY] = self._server_info
        return {
            **({"_meta": meta} if meta else {}),
            "content": [{"text": answer.text, "type": "text"}],
            "isError": False,
            **({"resultType": "complete"} if is_modern else {}),
            "structuredContent": answer.structured.model_dump(mode="json"),
        }

    @cached_property
    def _server_info(self) -> dict[str, Any]:
        return self._server.server_info_stamp  # has no parts that anybody could change
