"""Sessions that an attached server gives out itself: kept with its others, and the request's where one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attached_clients import claiming, open_http
from fastmcp import FastMCP
from mcp import Client
from mcp.server import MCPServer
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl
from real_daemon import ERAS, text_of
from test_attached_users import FRAMEWORKS, Framework, OfFastMCP, OfSdk, serving

from workroot import CurrentProject, SessionManager, attach
from workroot.attached import fastmcp as attached_fastmcp
from workroot.request_context import get_session_id, get_user_id


def tools_of(manager: SessionManager) -> list[Any]:
    """Return tools that give out sessions, and say in which a call is."""

    async def give(name: str) -> str:
        return await manager.allocate_session(name)

    async def mine() -> str:
        return str(get_session_id())

    async def count(session_id: str) -> str:
        assert get_session_id() in (session_id, None)
        if get_session_id() is None:
            return "not yours"
        return str(await manager.increment(session_id, "calls"))

    return [give, mine, count]


def served(framework: Framework, file: Path) -> Any:
    """Return the ASGI app of a server with users."""
    if framework == "fastmcp":
        other: FastMCP[Any] = FastMCP("giving", auth=OfFastMCP())
        for tool in tools_of(attached_fastmcp.attach(other, store=file).session_manager()):
            other.tool(tool)
        return other.http_app()
    url = AnyHttpUrl("http://127.0.0.1")
    auth = AuthSettings(issuer_url=url, resource_server_url=url, validate_token_resource=False)
    app: MCPServer[Any] = MCPServer("giving", token_verifier=OfSdk(), auth=auth)
    for tool in tools_of(attach(app, store=file).session_manager()):
        app.add_tool(tool)
    return app.streamable_http_app()


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.row("C1", "K3")
async def test_a_session_that_the_server_gave_its_user_is_that_users_request_over_a_restart(
    mode: str, framework: Framework, tmp_path: Path
) -> None:
    file = tmp_path / "sessions.db"

    async with serving(served(framework, file)) as url, open_http(url, mode, token="of-one") as alice:
        given = text_of(await alice.call_tool("give", {"name": "order-1"}))
        by_meta = text_of(await alice.call_tool("mine", {}, meta=claiming(given)))
        by_argument = text_of(await alice.call_tool("count", {"session_id": given}))
    async with serving(served(framework, file)) as url:
        async with open_http(url, mode, token="of-one") as alice:
            again = text_of(await alice.call_tool("count", {"session_id": given}))
        async with open_http(url, mode, token="of-two") as other:
            stolen = text_of(await other.call_tool("mine", {}, meta=claiming(given)))
            counted = text_of(await other.call_tool("count", {"session_id": given}))

    assert (given, by_meta, by_argument, again) == ("order-1", "order-1", "1", "2")
    assert (stolen, counted) == ("None", "not yours")


@pytest.mark.parametrize("mode", ERAS)
async def test_a_session_of_a_server_without_users_is_its_callers_and_may_work_somewhere(
    mode: str, tmp_path: Path
) -> None:
    app: MCPServer[Any] = MCPServer("giving")
    attachment = attach(app)
    manager = attachment.session_manager(default_ttl_hours=2)
    for tool in tools_of(manager):
        app.add_tool(tool)

    @app.tool()
    async def where(project: CurrentProject) -> str:
        return f"{get_session_id()} {get_user_id()} {project.root}"

    (tmp_path / ".git").mkdir()
    async with attachment, Client(app, mode=mode) as client:
        given = text_of(await client.call_tool("give", {"name": "order-1"}))
        mine = text_of(await client.call_tool("mine", {}, meta=claiming(given)))
        await client.call_tool("set_working_directory", {"directory": str(tmp_path), "session_id": given})
        there = text_of(await client.call_tool("where", {"session_id": given}))
        await manager.delete_session(given)
        after = text_of(await client.call_tool("mine", {}, meta=claiming(given)))

    assert (given, mine, after) == ("order-1", "order-1", "None")
    assert there == f"order-1 None {tmp_path}"


async def test_without_users_every_caller_reaches_what_the_program_gave_anybody() -> None:
    app: MCPServer[Any] = MCPServer("giving")
    attachment = attach(app)
    manager = attachment.session_manager()

    @app.tool()
    async def reach(session: str, user: str | None = None) -> bool:
        return await manager.validate_session(session, user_id=user)

    async with attachment, Client(app, mode="2026-07-28") as client:
        given = await manager.allocate_session(user_id="alice")
        anybody = await client.call_tool("reach", {"session": given})
        named = await client.call_tool("reach", {"session": given, "user": "mallory"})

    assert anybody.structured_content == {"result": True}
    assert named.structured_content == {"result": False}


async def test_a_manager_opens_the_servers_sessions_and_they_end_with_the_server() -> None:
    app: MCPServer[Any] = MCPServer("giving")
    attachment = attach(app)
    manager = attachment.session_manager()

    given = await manager.allocate_session()
    found = await attachment.service.allocations.find(attachment.owner, given, user_id=None)
    await attachment.aclose()

    assert found is not None
    assert manager.sandbox_id == attachment.owner.sandbox
    assert await manager.validate_session(given)  # opened anew: memory outlasts an opening
    await attachment.aclose()
