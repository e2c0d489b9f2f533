"""Sessions move when their client or their project does, and those who may hear of it do: in both eras, unasked."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPDeprecationWarning
from real_daemon import DEADLINE_SECONDS, ERAS, MODERN, Home, answer_of
from test_roots import Window

SHOP_ID = "5b2f3f6e-8f0e-4a51-9d0c-3f7c1c0a9b11"
Next = Callable[[], Awaitable[str]]


@asynccontextmanager
async def subscribed(
    home: Home, era: str, directory: Path, uris: Callable[[dict[str, Any]], list[str]]
) -> AsyncIterator[tuple[Client, dict[str, Any], Next]]:
    """Open a client with a session in *directory* that hears of *uris*; yield it, the session, and what comes next."""
    send, receive = anyio.create_memory_object_stream[str](100)

    async def note(message: IncomingMessage) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            send.send_nowait(str(message.params.uri))

    async def heard() -> str:
        with anyio.fail_after(DEADLINE_SECONDS):
            return await receive.receive()

    async with home.open_client(era, directory, heard=note if era != MODERN else None) as client, send, receive:
        session = await answer_of(client, "set_working_directory", directory=str(directory))
        wanted = uris(session)
        if era != MODERN:
            for uri in wanted:
                with pytest.warns(MCPDeprecationWarning):
                    await client.subscribe_resource(uri)
            yield client, session, heard
            return
        async with client.listen(resource_subscriptions=wanted) as subscription, anyio.create_task_group() as tasks:

            async def pass_on() -> None:
                async for event in subscription:
                    if isinstance(event, ResourceUpdated):
                        send.send_nowait(event.uri)

            tasks.start_soon(pass_on)
            yield client, session, heard
            tasks.cancel_scope.cancel()


def session_uri(session: dict[str, Any]) -> list[str]:
    return [f"workroot://sessions/{session['session_id']}"]


def project_uri(session: dict[str, Any]) -> list[str]:
    return [f"workroot://projects/{session['project_info']['id']}"]


async def read(client: Client, uri: str) -> dict[str, Any]:
    [content] = (await client.read_resource(uri)).contents
    assert isinstance(content, types.TextResourceContents)
    found: dict[str, Any] = json.loads(content.text)
    return found


async def wait_for(client: Client, uri: str, heard: Next, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return what is at *uri* once it *is_so*; each look follows a notification."""
    while True:
        assert await heard() == uri
        if is_so(found := await read(client, uri)):
            return found


def write_config(root: Path, name: str, *, project_id: str = SHOP_ID, extra: str = "") -> Path:
    path = root / ".workroot" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'version = "1.0"\n{extra}[project]\nname = "{name}"\nid = "{project_id}"\n')
    return path


@pytest.mark.parametrize("era", ERAS)
async def test_a_config_that_is_created_edited_replaced_and_deleted_moves_the_session(home: Home, era: str) -> None:
    shop = home.repository("shop")

    async with subscribed(home, era, shop, session_uri) as (client, session, heard):
        uri = session_uri(session)[0]
        path = write_config(shop, "Created")
        created = await wait_for(client, uri, heard, lambda found: found["project_name"] == "Created")
        path.write_text(path.read_text().replace("Created", "Edited"))
        edited = await wait_for(client, uri, heard, lambda found: found["project_name"] == "Edited")
        saved = path.with_name("saved")
        saved.write_text(path.read_text().replace("Edited", "Replaced"))
        os.replace(saved, path)
        await wait_for(client, uri, heard, lambda found: found["project_name"] == "Replaced")
        shutil.rmtree(path.parent)
        deleted = await wait_for(client, uri, heard, lambda found: found["config_path"] is None)

    assert (created["project_id"], created["config_path"]) == (SHOP_ID, str(path))
    assert edited["revision"] == created["revision"] + 1
    assert deleted["project_id"] == SHOP_ID, "a repository keeps its id through branches without a config"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.row("B7")
async def test_a_config_that_moves_nearer_moves_only_who_is_below_it(home: Home, era: str) -> None:
    mono = home.repository("mono")
    path = write_config(mono, "Mono")
    (mono / "api").mkdir()

    async with subscribed(home, era, mono / "api", session_uri) as (client, session, heard):
        uri = session_uri(session)[0]
        (mono / "api" / ".workroot").mkdir()
        shutil.move(path, mono / "api" / ".workroot" / "config.toml")
        moved = await wait_for(client, uri, heard, lambda found: found["project_root"] == str(mono / "api"))

    assert moved["project_name"] == "Mono"


@pytest.mark.parametrize("era", ERAS)
async def test_those_who_look_at_a_project_hear_of_its_edits(home: Home, era: str) -> None:
    shop = home.repository("shop")
    path = write_config(shop, "Shop")

    async with subscribed(home, era, shop, project_uri) as (_, session, heard):
        write_config(shop, "Shop", extra='description = "Sells things"\n')
        assert [await heard()] == project_uri(session)
        path.write_text("broken")
        assert [await heard()] == project_uri(session)


@pytest.mark.parametrize("era", ERAS)
async def test_a_session_that_enters_a_worktree_tells_those_who_follow_it(home: Home, era: str) -> None:
    shop = home.repository("shop")
    worktree = home.worktree(shop, "shop-fix")
    window = Window([shop.as_uri()])

    async with home.open_client(era, home.directory("elsewhere"), roots=window) as agent:
        session = (await answer_of(agent, "set_working_directory", directory=str(shop)))["session_id"]
        async with subscribed(home, era, shop, lambda _: [f"workroot://sessions/{session}"]) as (client, _, heard):
            window.folders = [worktree.as_uri()]
            entered = await answer_of(agent, "get_working_directory", session_id=session)
            told = await heard()
            seen = await read(client, told)

    assert entered["working_directory"] == entered["project_info"]["root"] == str(worktree)
    assert entered["previous"]["working_directory"] == str(shop)
    assert "follows it" in entered["warnings"][0]
    assert (seen["working_directory"], seen["project_id"]) == (str(worktree), entered["project_info"]["id"])


@pytest.mark.parametrize("era", ERAS)
async def test_a_stranger_in_the_same_directory_hears_only_of_its_own_session(shared: Home, era: str) -> None:
    shop = shared.repository(f"shop-{era}")

    async with (
        subscribed(shared, era, shop, session_uri) as (client, mine, heard),
        shared.open_http_client(MODERN, "eve") as eve,
    ):
        hers = await answer_of(eve, "set_working_directory", directory=str(shop))
        async with eve.listen(resource_subscriptions=[*session_uri(mine), *session_uri(hers)]) as listening:
            write_config(shop, "Shop", project_id=str(uuid4()))
            await wait_for(client, session_uri(mine)[0], heard, lambda found: found["project_name"] == "Shop")
            with anyio.fail_after(DEADLINE_SECONDS):
                first = await anext(listening)

    assert isinstance(first, ResourceUpdated)
    assert first.uri == session_uri(hers)[0]
