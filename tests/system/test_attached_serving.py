"""The ways in which an author serves an attached server: over SSE, mounted on another app, from several event loops."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import uvicorn
from attached_clients import open_http, text_of
from http_by_hand import Hand
from mcp import Client
from mcp.client.sse import sse_client
from mcp.server import MCPServer
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, Home
from starlette.applications import Starlette
from starlette.routing import Mount

import workroot
from workroot import CurrentProject
from workroot.attached.attachment import Attachment
from workroot.errors import NotStartedError


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[str]:
    """Serve *app* over HTTP on loopback until the block is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(server.serve, sockets=[listener]))
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True


async def where(project: CurrentProject) -> str:
    return project.root


def attached(**options: Any) -> tuple[MCPServer[Any], Attachment]:
    app = MCPServer[Any]("notes")
    attachment = workroot.attach(app, **options)
    app.add_tool(where)
    return app, attachment


def mounted(app: MCPServer[Any], attachment: Attachment) -> Starlette:
    """Return an app of the author's that serves *app* below a path of its own, as the page for authors says."""
    served = app.streamable_http_app()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with attachment, app.session_manager.run():
            yield

    return Starlette(routes=[Mount("/notes", served)], lifespan=lifespan)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_server_mounted_on_another_app_knows_its_callers_and_closes_with_it(home: Home, mode: str) -> None:
    lab, shop, file = home.repository("lab"), home.repository("shop"), home.top / "notes.db"
    app, attachment = attached(store=file)

    async with serving(mounted(app, attachment)) as url:
        async with (
            open_http(f"{url}/notes/mcp", mode, directory=lab) as ada,
            open_http(f"{url}/notes/mcp", mode, directory=shop) as bob,
        ):
            roots = [text_of(await client.call_tool("where")) for client in (ada, bob)]
        is_open = os.path.exists(f"{file}-wal")

    assert roots == [str(lab), str(shop)]
    assert is_open
    assert not os.path.exists(f"{file}-wal")


async def test_a_mounted_server_without_events_tells_who_wants_them_again() -> None:
    app, attachment = attached()

    async with serving(mounted(app, attachment)) as url, httpx2.AsyncClient(timeout=DEADLINE_SECONDS) as http:
        hand = Hand(http, f"{url}/notes/mcp", "none")
        await hand.open()
        again = await http.get(f"{url}/notes/mcp", headers={**hand.headers(), "Last-Event-ID": "1"})

    assert again.status_code == 400, again.text


async def test_clients_over_sse_each_have_their_own_connection_and_the_app_ends_the_sessions(home: Home) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")
    app, attachment = attached()

    def client(url: str, directory: Path) -> Client:
        transport = sse_client(f"{url}/sse", headers={"Workroot-Directory": str(directory)})
        return Client(transport, mode=LEGACY, read_timeout_seconds=DEADLINE_SECONDS)

    async with serving(app.sse_app()) as url, client(url, lab) as ada, client(url, lab) as bob:
        before = text_of(await ada.call_tool("where"))
        await ada.call_tool("set_working_directory", {"directory": str(shop)})
        after = [text_of(await each.call_tool("where")) for each in (ada, bob)]

    assert before == str(lab)
    assert after == [str(shop), str(lab)]
    with pytest.raises(NotStartedError):
        _ = attachment.service


async def test_a_server_that_ends_in_an_event_loop_that_goes_on_closes_its_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app, attachment = attached()
    await attachment.ready()
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO()))
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(BytesIO()))

    with anyio.fail_after(DEADLINE_SECONDS):
        await app.run_stdio_async()  # its client has left already

    with pytest.raises(NotStartedError):
        _ = attachment.service


def test_one_event_loop_after_the_other_may_serve_a_server_with_a_file(home: Home) -> None:
    lab = home.repository("lab")
    app, _ = attached(store=home.top / "notes.db")

    async def serve_once() -> str:
        async with Client(app) as client:
            return text_of(await client.call_tool("where", {"directory": str(lab)}))

    assert [asyncio.run(serve_once()) for _ in range(2)] == [str(lab)] * 2
    assert not os.path.exists(home.top / "notes.db-wal")  # the first loop's end closed it in order
