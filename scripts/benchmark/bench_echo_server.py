"""What the benchmark compares with: the smallest stdio server that the SDK makes.

`echo` answers at once. `echo_with_roots` first asks the client for its roots, in the way of the call's
protocol era: the same work that workroot does for a client that declares roots.
"""

from __future__ import annotations

import sys
from typing import Any

import anyio
from mcp.server import Server, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

bare = MCPServer("bench")


@bare.tool()
def echo(text: str) -> str:
    """Return the text."""
    return text


async def list_tools(ctx: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name="echo", input_schema={"type": "object"})])


async def echo_with_roots(
    ctx: ServerRequestContext[Any], params: CallToolRequestParams
) -> CallToolResult | InputRequiredResult:
    if ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS:
        route = ServerMessageMetadata(related_request_id=ctx.request_id)
        await ctx.session.send_request(ListRootsRequest(), ListRootsResult, metadata=route)
    elif not params.input_responses:
        return InputRequiredResult(input_requests={"roots": ListRootsRequest()})
    return CallToolResult(content=[TextContent(text="done")])


async def serve_with_roots() -> None:
    server = Server[Any]("bench", on_list_tools=list_tools, on_call_tool=echo_with_roots)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    if sys.argv[1:] == ["--roots"]:
        anyio.run(serve_with_roots)
    else:
        bare.run("stdio")
