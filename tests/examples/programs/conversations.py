"""An MCP server that keeps a session for each conversation, and in it a log of the tools that were called."""

from __future__ import annotations

import time
from typing import Any

from workroot import SessionManager

mcp_mgr = SessionManager(
    sandbox_id="mcp-server",
    default_ttl_hours=24,
)


async def handle_mcp_conversation_start(conversation_id: str) -> str:
    """Keep a session for a conversation that begins."""
    return await mcp_mgr.allocate_session(
        user_id=f"claude_conversation_{conversation_id}",
        custom_metadata={
            "client": "claude",
            "conversation_id": conversation_id,
            "tools_enabled": ["file_read", "file_write", "file_list"],
            "safety_level": "standard",
            "start_time": time.time(),
        },
    )


async def handle_mcp_tool_call(session_id: str, tool_name: str, artifact_id: str) -> str:
    """Return where a tool puts what it makes, and log its call."""
    if not await mcp_mgr.validate_session(session_id):
        raise Exception("no such conversation")

    place = mcp_mgr.generate_artifact_key(session_id, artifact_id)

    known: Any = await mcp_mgr.get_session_info(session_id)
    calls = known["custom_metadata"].get("tool_calls", [])
    calls.append({"tool": tool_name, "artifact_id": artifact_id, "timestamp": time.time()})

    await mcp_mgr.update_session_metadata(session_id, {"tool_calls": calls, "last_activity": time.time()})

    return place
