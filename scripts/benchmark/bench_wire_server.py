"""What HTTP calls are compared with: the SDK's low-level server with one tool, on the daemon's loop and parser.

Listens on 127.0.0.1 at the descriptor that is its only argument. It checks nothing of its own: no token, no rate, no
strict JSON. The tool answers what `get_working_directory` would, so that both servers write as much.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

_ANSWER: dict[str, Any] = {
    "session_id": None,
    "working_directory": "/home/ada/projects/engine",
    "config_found": False,
    "config_path": None,
    "project_info": {
        "id": "6c1f5f0e-0c5e-4d7e-9d0b-0f6b1c9a4e11",
        "name": "engine",
        "root": "/home/ada/projects/engine",
        "worktree_of": None,
    },
    "source": "header",
    "authority": "client",
    "warnings": [],
    "alternatives": [],
    "previous": None,
}
_TEXT = (
    "Working directory: /home/ada/projects/engine (known by: header, Workroot-Directory)\n"
    "Project: engine (6c1f5f0e-0c5e-4d7e-9d0b-0f6b1c9a4e11), root /home/ada/projects/engine"
)


async def list_tools(ctx: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name="get_working_directory", input_schema={"type": "object"})])


async def call_tool(ctx: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=_TEXT)], structured_content=_ANSWER)


def main() -> None:
    """Serve until told to stop."""
    app = Server[Any]("bare", on_list_tools=list_tools, on_call_tool=call_tool).streamable_http_app()
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="warning", access_log=False)
    listener = socket.socket(fileno=int(sys.argv[1]))
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
