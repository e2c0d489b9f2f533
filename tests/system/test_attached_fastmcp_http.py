"""What an attached FastMCP server refuses over HTTP before anything of it is read."""

from __future__ import annotations

import socket
from typing import Any

import httpx2
import pytest
from anyio import create_task_group
from fastmcp import FastMCP
from mcp import Client
from real_daemon import DEADLINE_SECONDS, ERAS
from test_attached_users import serving

from workroot.attached.fastmcp import attach

_ACCEPT = {"Accept": "application/json, text/event-stream"}
_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "hand", "version": "1"}},
}


def attached() -> FastMCP[Any]:
    app: FastMCP[Any] = FastMCP("refusing")
    attach(app)
    return app


async def hello(url: str, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=DEADLINE_SECONDS) as http:
        return await http.post(url, json=_HELLO, headers={**_ACCEPT, **headers})


async def again(url: str) -> httpx2.Response:
    """Open a session, and ask in it for events that were sent before."""
    session = (await hello(url)).headers["mcp-session-id"]
    headers = {**_ACCEPT, "Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25", "Last-Event-ID": "3"}
    async with httpx2.AsyncClient(timeout=DEADLINE_SECONDS) as http:
        return await http.get(url, headers=headers)


@pytest.mark.row("M4")
async def test_where_nobody_keeps_events_a_client_that_wants_them_is_told_so() -> None:
    async with serving(attached().http_app()) as url:
        refused = await again(url)

    assert refused.status_code == 400
    assert "open the stream without Last-Event-ID" in refused.json()["error"]["message"]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.row("B27")
async def test_a_foreign_host_or_origin_is_refused_on_loopback_and_clients_are_served(era: str) -> None:
    async with serving(attached().http_app()) as url:
        codes = [
            (await hello(url)).status_code,
            (await hello(url, Host="evil.example")).status_code,
            (await hello(url, Origin="https://evil.example")).status_code,
        ]
        async with Client(url, mode=era) as client:
            listed = await client.list_tools()

    assert codes == [200, 421, 403]
    assert len(listed.tools) == 4


@pytest.mark.parametrize("is_checked", [True, False])
@pytest.mark.row("B27")
async def test_the_same_holds_for_run_and_who_said_otherwise_is_not_overruled(*, is_checked: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        options: dict[str, Any] = {} if is_checked else {"host_origin_protection": False}
        async with create_task_group() as tasks:
            tasks.start_soon(run, attached(), listener, options)
            code = (await hello(url, Host="evil.example")).status_code
            tasks.cancel_scope.cancel()

    assert code == (421 if is_checked else 200)


async def run(app: FastMCP[Any], listener: socket.socket, options: dict[str, Any]) -> None:
    await app.run_http_async(show_banner=False, sockets=[listener], log_level="warning", **options)
