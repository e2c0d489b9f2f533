"""A client of the SDK's first generation (`mcp` 1.x), run by an interpreter that has it: prints what it was told.

python old_client.py stdio COMMAND DIRECTORY OTHER
python old_client.py http URL TOKEN OTHER
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def open_streams(arguments: list[str]) -> AsyncIterator[tuple[Any, Any]]:
    if arguments[0] == "stdio":
        environment = {"WORKROOT_HOME": os.environ["WORKROOT_HOME"], "HOME": os.environ["HOME"]}
        server = StdioServerParameters(command=arguments[1], args=["connect"], cwd=arguments[2], env=environment)
        async with stdio_client(server) as (read, write):
            yield read, write
    else:
        headers = {"Authorization": f"Bearer {arguments[2]}"}
        async with streamablehttp_client(arguments[1], headers=headers) as (read, write, _):
            yield read, write


async def main(arguments: list[str]) -> dict[str, Any]:
    roots: list[str] = []
    updated = asyncio.Event()

    async def name_roots(context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=uri) for uri in roots])

    async def hear(message: Any) -> None:
        if isinstance(message, types.ServerNotification) and isinstance(
            message.root, types.ResourceUpdatedNotification
        ):
            updated.set()

    async with (
        open_streams(arguments) as (read, write),
        ClientSession(read, write, list_roots_callback=name_roots, message_handler=hear) as session,
    ):
        initialized = await session.initialize()
        listed = await session.list_tools()
        unasked = await session.call_tool("get_working_directory", {})
        roots.append(f"file://{arguments[-1]}")
        rooted = await session.call_tool("get_working_directory", {})
        moved = await session.call_tool("set_working_directory", {"directory": arguments[-1]})
        await session.subscribe_resource(f"workroot://sessions/{moved.structuredContent['session_id']}")
        again = await session.call_tool("set_working_directory", {"directory": arguments[-1]})
        await asyncio.wait_for(updated.wait(), 10)
        default = await session.call_tool("get_working_directory", {})
        refused = await session.call_tool("set_working_directory", {"directory": "relative"})
    return {
        "version": initialized.protocolVersion,
        "tools_changed": initialized.capabilities.tools.listChanged,
        "tools": [tool.name for tool in listed.tools],
        "answers": [result.structuredContent for result in (unasked, rooted, moved, again, default)],
        "refused": [refused.isError, refused.content[0].text],
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1:]))))
