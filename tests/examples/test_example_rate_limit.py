"""The documented examples that count and log in a session: rate limit of a gateway, tool calls of a conversation.

All is as documented. They read, add one and write back: one after another that works; of callers at the same time it
loses some, whoever keeps the session. `increment` and `append`, which are ours, lose none.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from examples.programs import conversations, rate_limit
from workroot.session_manager import SessionManager

CALLERS = 100


async def check_rate_limit_exactly(session_id: str) -> bool:
    """Check so that callers at the same time are counted one by one."""
    known: Any = await rate_limit.api_mgr.get_session_info(session_id)
    if not known:
        return False
    most: int = known["custom_metadata"]["rate_limit"]
    return await rate_limit.api_mgr.increment(session_id, "requests_made") <= most


async def metadata_of(manager: SessionManager, session_id: str) -> dict[str, Any]:
    info = await manager.get_session_info(session_id)
    assert info is not None
    return dict(info["custom_metadata"])


@pytest.mark.row("C13")
async def test_the_documented_rate_limit_lets_as_many_requests_pass_as_the_tier_allows() -> None:
    session_id = await rate_limit.setup_api_client("client-7", "free")
    assert [await rate_limit.check_rate_limit(session_id) for _ in range(103)] == [True] * 100 + [False] * 3
    metadata = await metadata_of(rate_limit.api_mgr, session_id)
    assert (metadata["requests_made"], metadata["client_id"]) == (100, "client-7")
    await rate_limit.api_mgr.delete_session(session_id)
    assert await rate_limit.check_rate_limit(session_id) is False


@pytest.mark.parametrize(("tier", "most"), [("free", 100), ("standard", 1000), ("premium", 10000), ("unheard-of", 100)])
async def test_each_tier_has_the_documented_limit(tier: str, most: int) -> None:
    session_id = await rate_limit.setup_api_client("client-7", tier)
    assert (await metadata_of(rate_limit.api_mgr, session_id))["rate_limit"] == most
    await rate_limit.api_mgr.update_session_metadata(session_id, {"requests_made": most - 1})
    assert [await rate_limit.check_rate_limit(session_id) for _ in range(2)] == [True, False]


async def test_the_requests_of_one_client_are_not_counted_for_another() -> None:
    one, other = [await rate_limit.setup_api_client(client, "free") for client in ("client-7", "client-8")]
    await rate_limit.api_mgr.update_session_metadata(one, {"requests_made": 100})
    assert await rate_limit.check_rate_limit(one) is False
    assert await rate_limit.check_rate_limit(other) is True


@pytest.mark.row("C13")
async def test_of_requests_at_the_same_time_exactly_as_many_pass_as_the_tier_allows() -> None:
    session_id = await rate_limit.setup_api_client("client-7", "free")
    await rate_limit.api_mgr.increment(session_id, "requests_made", 60)
    passed = await asyncio.gather(*(check_rate_limit_exactly(session_id) for _ in range(CALLERS)))
    assert passed.count(True) == 40
    assert (await metadata_of(rate_limit.api_mgr, session_id))["requests_made"] == 60 + CALLERS


async def test_a_hundred_callers_of_two_managers_count_to_a_hundred() -> None:
    session_id = await rate_limit.setup_api_client("client-7", "premium")
    both = (rate_limit.api_mgr, SessionManager(sandbox_id="api-gateway"))
    await asyncio.gather(*(both[n % 2].increment(session_id, "requests_made") for n in range(CALLERS)))
    assert (await metadata_of(rate_limit.api_mgr, session_id))["requests_made"] == CALLERS


async def test_the_documented_log_of_tool_calls_keeps_each_of_them() -> None:
    session_id = await conversations.handle_mcp_conversation_start("123")
    places = [await conversations.handle_mcp_tool_call(session_id, "file_write", f"report_{n}") for n in range(3)]

    assert places == [f"grid/mcp-server/{session_id}/report_{n}" for n in range(3)]
    metadata = await metadata_of(conversations.mcp_mgr, session_id)
    assert [each["artifact_id"] for each in metadata["tool_calls"]] == ["report_0", "report_1", "report_2"]
    assert metadata["tools_enabled"] == ["file_read", "file_write", "file_list"]


async def test_a_tool_call_of_a_conversation_that_is_over_is_refused() -> None:
    session_id = await conversations.handle_mcp_conversation_start("123")
    await conversations.mcp_mgr.delete_session(session_id)
    for bad in (session_id, "wr_unknown"):
        with pytest.raises(Exception, match="no such conversation"):
            await conversations.handle_mcp_tool_call(bad, "file_write", "report")


@pytest.mark.row("C13")
async def test_of_tool_calls_at_the_same_time_each_is_logged() -> None:
    session_id = await conversations.handle_mcp_conversation_start("123")
    keeper = conversations.mcp_mgr
    await asyncio.gather(*(keeper.append(session_id, "tool_calls", {"call": n}) for n in range(CALLERS)))
    logged = (await metadata_of(keeper, session_id))["tool_calls"]
    assert sorted(each["call"] for each in logged) == list(range(CALLERS))
