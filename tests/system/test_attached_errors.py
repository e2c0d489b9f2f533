"""What a client hears when the body of a tool raises one of workroot's errors, and what the server's log does."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from fastmcp import FastMCP
from fastmcp.server.context import Context
from mcp import Client
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, TextContent
from real_daemon import ERAS
from test_attached_users import FRAMEWORKS, Framework, serving

from fakes import HOUR, ManualClock
from workroot import SessionManager, attach
from workroot.attached import channels
from workroot.attached import fastmcp as attached_fastmcp
from workroot.request_context import require_session_id, require_user_id


async def need_user() -> str:
    return require_user_id()


def need_session() -> str:
    return require_session_id()


async def count() -> str:
    return str(await SessionManager("errors").increment("nobody-allocated-it", "calls"))


async def ask() -> str:
    return str(await channels.list_roots())


async def crash() -> str:
    raise LookupError("the author's own secret")


TOOLS: tuple[Callable[..., Any], ...] = (need_user, need_session, count, ask, crash)


@asynccontextmanager
async def connected(framework: Framework, mode: str) -> AsyncIterator[Client]:
    if framework == "sdk":
        app: MCPServer[Any] = MCPServer("errors")
        attach(app)
        for tool in TOOLS:
            app.add_tool(tool)
        async with Client(app, mode=mode) as client:
            yield client
        return
    other: FastMCP[Any] = FastMCP("errors")
    attached_fastmcp.attach(other)
    for tool in TOOLS:
        other.tool(tool)
    async with serving(other.http_app()) as url, Client(url, mode=mode) as client:
        yield client


def told(result: CallToolResult) -> tuple[str, str, str]:
    """Return the code, the text and the next step of an error."""
    [content] = result.content
    assert isinstance(content, TextContent)
    assert result.is_error, content.text
    details: dict[str, str] = (result.meta or {})["workroot/error"]
    return details["code"], content.text, details["next"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.row("K4")
async def test_an_error_of_workroots_in_a_tools_body_reaches_the_client_as_it_is(
    mode: str, framework: Framework, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(framework, mode) as client:
        answers = {
            tool: told(await client.call_tool(tool, {})) for tool in ("need_user", "need_session", "count", "ask")
        }

    assert {tool: code for tool, (code, _, _) in answers.items()} == {
        "need_user": "user_required",
        "need_session": "session_required",
        "count": "unknown_session",
        "ask": "channel_unavailable",
    }
    assert "this needs a user and the request has none" in answers["need_user"][1]
    assert "this needs a session and the request has none" in answers["need_session"][1]
    assert "nobody-allocated-it" in answers["count"][1]
    assert all(following for _, _, following in answers.values())
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("mode", ERAS)
async def test_an_error_of_the_tools_own_stays_the_frameworks_affair(
    mode: str, framework: Framework, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(framework, mode) as client:
        result = await client.call_tool("crash", {})

    assert result.is_error
    assert "workroot/error" not in (result.meta or {})
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] != []
    caplog.clear()


Outcome = Literal["passed on", "goes on", "in other words"]


def finish(outcome: Outcome, error: Exception) -> str:
    """Do what a tool may do about the error of another one that it ran."""
    if outcome == "passed on":
        raise error
    if outcome == "in other words":
        raise ToolError("sign in first")
    return f"without: {'user' in str(error)}"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_tool_that_runs_another_decides_what_becomes_of_its_error(mode: str) -> None:
    app: MCPServer[Any] = MCPServer("errors")
    attach(app)
    app.add_tool(need_user)

    @app.tool()
    async def outer(outcome: Outcome) -> str:
        try:
            await app.call_tool("need_user", {})
        except ToolError as error:
            return finish(outcome, error)
        raise AssertionError("there is no user")

    async with Client(app, mode=mode) as client:
        passed_on = await client.call_tool("outer", {"outcome": "passed on"})
        went_on = await client.call_tool("outer", {"outcome": "goes on"})
        reworded = await client.call_tool("outer", {"outcome": "in other words"})
    with pytest.raises(ToolError):
        await app.call_tool("need_user", {})  # no client calls: the SDK's error, as without workroot

    assert told(passed_on)[0] == "user_required"
    assert went_on.structured_content == {"result": "without: True"}
    assert reworded.is_error
    assert "sign in first" in str(reworded.content)
    assert "workroot/error" not in (reworded.meta or {})


@pytest.mark.parametrize("mode", ERAS)
async def test_a_tool_of_fastmcp_that_runs_another_may_go_on_after_its_error(mode: str) -> None:
    app: FastMCP[Any] = FastMCP("errors")
    attached_fastmcp.attach(app)
    app.tool(need_user)

    @app.tool
    async def outer(ctx: Context) -> str:
        try:
            await ctx.fastmcp.call_tool("need_user", {})
        except Exception as error:
            return f"without: {error}"
        raise AssertionError("there is no user")

    async with serving(app.http_app()) as url, Client(url, mode=mode) as client:
        result = await client.call_tool("outer", {})

    assert str(result.structured_content).startswith("{'result': 'without: this needs a user")


@pytest.mark.parametrize("mode", ERAS)
async def test_what_cannot_be_done_is_told_by_code(mode: str, tmp_path: Path) -> None:
    app: MCPServer[Any] = MCPServer("errors")
    attachment = attach(app)
    manager = attachment.session_manager()
    app.add_tool(count)

    async with attachment, Client(app, mode=mode) as client:
        over = await manager.allocate_session()
        await manager.delete_session(over)
        calls: list[dict[str, Any]] = [
            {"directory": str(tmp_path / "nowhere")},
            {"project": "nobody-knows-it"},
            {"directory": str(tmp_path), "session_id": over},
        ]
        codes = [told(await client.call_tool("set_working_directory", each))[0] for each in calls]

    assert codes == ["invalid_directory", "unknown_project", "session_ended"]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_session_that_was_idle_for_too_long_is_told_from_an_unknown_one(mode: str, tmp_path: Path) -> None:
    clock, app = ManualClock(), MCPServer[Any]("errors")

    async with attach(app, clock=clock):
        async with Client(app, mode="2026-07-28") as client:
            opened = await client.call_tool("set_working_directory", {"directory": str(tmp_path)})
        assert opened.structured_content is not None
        session = {"session_id": opened.structured_content["session_id"]}
        async with Client(app, mode=mode) as client:
            with anyio.fail_after(5):
                while not (late := await client.call_tool("get_working_directory", session)).is_error:
                    for _ in range(26):  # it was used just now, and is swept a while after that
                        await anyio.wait_all_tasks_blocked()
                        clock.advance(HOUR)
            unknown = await client.call_tool("get_working_directory", {"session_id": "wr_never_opened"})

    assert told(late)[0] == "expired_session"
    assert str(tmp_path) in told(late)[1]
    assert told(unknown)[0] == "unknown_session"
