"""The documented examples that count and log in a session: rate limit of a gateway, tool calls of a conversation.

They read, add one and write back. One after another that works as documented; of callers at the same time it loses
some, whoever keeps the session. `increment` and `append` lose none.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from workroot.session_manager import SessionManager

CALLERS = 100


async def setup_api_client(manager: SessionManager, client_id: str, tier: str) -> str:
    rate_limits = {"free": 100, "standard": 1000, "premium": 10000}
    return await manager.allocate_session(
        user_id=client_id,
        ttl_hours=1,
        custom_metadata={
            "client_id": client_id,
            "tier": tier,
            "rate_limit": rate_limits.get(tier, 100),
            "requests_made": 0,
            "window_start": time.time(),
        },
    )


async def check_rate_limit(manager: SessionManager, session_id: str) -> bool:
    """Check as documented."""
    info = await manager.get_session_info(session_id)
    if not info:
        return False
    metadata: dict[str, Any] = info["custom_metadata"]
    requests_made = metadata.get("requests_made", 0)
    if requests_made >= metadata.get("rate_limit", 100):
        return False
    await manager.update_session_metadata(session_id, {"requests_made": requests_made + 1, "last_request": time.time()})
    return True


async def check_rate_limit_exactly(manager: SessionManager, session_id: str) -> bool:
    """Check so that callers at the same time are counted one by one."""
    info = await manager.get_session_info(session_id)
    if not info:
        return False
    rate_limit: int = info["custom_metadata"]["rate_limit"]  # type: ignore[assignment]  # as it was set up
    return await manager.increment(session_id, "requests_made") <= rate_limit


async def metadata_of(manager: SessionManager, session_id: str) -> dict[str, Any]:
    info = await manager.get_session_info(session_id)
    assert info is not None
    return dict(info["custom_metadata"])


@pytest.fixture
def gateway() -> SessionManager:
    return SessionManager(sandbox_id="api-gateway", default_ttl_hours=1)


@pytest.mark.row("C13")
async def test_the_documented_rate_limit_lets_as_many_requests_pass_as_the_tier_allows(gateway: SessionManager) -> None:
    session_id = await setup_api_client(gateway, "client-7", "free")
    assert [await check_rate_limit(gateway, session_id) for _ in range(103)] == [True] * 100 + [False] * 3
    assert (await metadata_of(gateway, session_id))["requests_made"] == 100
    await gateway.delete_session(session_id)
    assert await check_rate_limit(gateway, session_id) is False


@pytest.mark.row("C13")
async def test_of_requests_at_the_same_time_exactly_as_many_pass_as_the_tier_allows(gateway: SessionManager) -> None:
    session_id = await setup_api_client(gateway, "client-7", "free")
    await gateway.increment(session_id, "requests_made", 60)
    passed = await asyncio.gather(*(check_rate_limit_exactly(gateway, session_id) for _ in range(CALLERS)))
    assert passed.count(True) == 40
    assert (await metadata_of(gateway, session_id))["requests_made"] == 60 + CALLERS


async def test_a_hundred_callers_of_two_managers_count_to_a_hundred(gateway: SessionManager) -> None:
    session_id = await setup_api_client(gateway, "client-7", "premium")
    other = SessionManager(sandbox_id="api-gateway")
    await asyncio.gather(*((gateway, other)[n % 2].increment(session_id, "requests_made") for n in range(CALLERS)))
    assert (await metadata_of(gateway, session_id))["requests_made"] == CALLERS


async def handle_mcp_tool_call(manager: SessionManager, session_id: str, tool_name: str, artifact_id: str) -> str:
    """Log a call as documented."""
    if not await manager.validate_session(session_id):
        raise LookupError("Invalid MCP session")
    path = manager.generate_artifact_key(session_id, artifact_id)
    info = await manager.get_session_info(session_id)
    assert info is not None
    metadata: dict[str, Any] = info["custom_metadata"]
    tool_calls = metadata.get("tool_calls", [])
    tool_calls.append({"tool": tool_name, "artifact_id": artifact_id, "timestamp": time.time()})
    await manager.update_session_metadata(session_id, {"tool_calls": tool_calls, "last_activity": time.time()})
    return path


async def start_conversation(manager: SessionManager, conversation_id: str) -> str:
    return await manager.allocate_session(
        user_id=f"claude_conversation_{conversation_id}",
        custom_metadata={
            "client": "claude",
            "conversation_id": conversation_id,
            "tools_enabled": ["file_read", "file_write", "file_list"],
            "safety_level": "standard",
            "start_time": time.time(),
        },
    )


async def test_the_documented_log_of_tool_calls_keeps_each_of_them() -> None:
    manager = SessionManager(sandbox_id="mcp-server", default_ttl_hours=24)
    session_id = await start_conversation(manager, "123")
    paths = [await handle_mcp_tool_call(manager, session_id, "file_write", f"report_{n}") for n in range(3)]
    assert paths == [f"grid/mcp-server/{session_id}/report_{n}" for n in range(3)]
    metadata = await metadata_of(manager, session_id)
    assert [each["artifact_id"] for each in metadata["tool_calls"]] == ["report_0", "report_1", "report_2"]
    assert metadata["tools_enabled"] == ["file_read", "file_write", "file_list"]
    with pytest.raises(LookupError, match="Invalid MCP session"):
        await handle_mcp_tool_call(manager, "wr_unknown", "file_write", "report")


@pytest.mark.row("C13")
async def test_of_tool_calls_at_the_same_time_each_is_logged() -> None:
    manager = SessionManager(sandbox_id="mcp-server")
    session_id = await start_conversation(manager, "123")
    await asyncio.gather(*(manager.append(session_id, "tool_calls", {"call": n}) for n in range(CALLERS)))
    logged = (await metadata_of(manager, session_id))["tool_calls"]
    assert sorted(each["call"] for each in logged) == list(range(CALLERS))
