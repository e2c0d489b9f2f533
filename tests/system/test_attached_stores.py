"""Where an attached server keeps its sessions: over restarts and kills, beside a second process, with a daemon."""

from __future__ import annotations

from pathlib import Path

import pytest
from attached_clients import error_of, http_server, open_http, stdio_client, text_of
from mcp import Client
from real_daemon import ERAS, LEGACY, MODERN, Home


async def session_in(client: Client, directory: Path) -> str:
    """Open a session in *directory*, and return its handle."""
    opened = await client.call_tool("set_working_directory", {"directory": str(directory)})
    assert opened.structured_content is not None, opened.content
    session: str = opened.structured_content["session_id"]
    return session


@pytest.mark.parametrize("mode", ERAS)
async def test_a_file_keeps_sessions_over_a_kill(home: Home, mode: str) -> None:
    lab, file = home.repository("lab"), str(home.top / "notes.db")

    with http_server(home, store=file) as server:
        async with open_http(server.url, MODERN) as client:
            session = await session_in(client, lab)
        server.kill()
    with http_server(home, store=file) as server:
        async with open_http(server.url, mode) as client:
            assert text_of(await client.call_tool("who", {"session_id": session})) == f"{session} {lab}"


async def test_a_file_keeps_sessions_over_servers_that_clients_start_one_after_the_other(home: Home) -> None:
    lab, file = home.repository("lab"), str(home.top / "notes.db")

    async with stdio_client(home, MODERN, lab, store=file) as client:
        session = await session_in(client, lab)
        first = await client.call_tool("get_working_directory")
    assert not Path(f"{file}-wal").exists()  # it was closed in order
    async with stdio_client(home, LEGACY, lab, store=file) as client:
        assert text_of(await client.call_tool("who", {"session_id": session})) == f"{session} {lab}"
        second = await client.call_tool("get_working_directory")

    assert first.structured_content is not None
    assert second.structured_content is not None
    assert first.structured_content["project_info"] == second.structured_content["project_info"]  # the id, too


async def test_a_server_that_is_told_to_stop_closes_its_file_in_order(home: Home) -> None:
    lab, file = home.repository("lab"), home.top / "notes.db"

    with http_server(home, store=str(file)) as server:
        async with open_http(server.url, MODERN) as client:
            await session_in(client, lab)
            assert Path(f"{file}-wal").exists()

    assert file.exists()
    assert not Path(f"{file}-wal").exists()


async def test_memory_lasts_as_long_as_the_process(home: Home) -> None:
    lab = home.repository("lab")

    async with stdio_client(home, MODERN, lab) as client:
        session = await session_in(client, lab)
    async with stdio_client(home, MODERN, lab) as client:
        assert error_of(await client.call_tool("who", {"session_id": session}))[0] == "unknown_session"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_second_process_on_the_file_tells_every_call_to_be_a_client_instead(home: Home, mode: str) -> None:
    lab, file = home.repository("lab"), str(home.top / "notes.db")

    async with stdio_client(home, MODERN, lab, store=file) as first:
        await session_in(first, lab)
        async with stdio_client(home, mode, lab, store=file) as second:
            refused = [error_of(await second.call_tool(tool)) for tool in ("where", "list_projects", "in_force")]
            listed = [tool.name for tool in (await second.list_tools()).tools]
        still = text_of(await first.call_tool("where"))

    assert [code for code, _ in refused] == ["store_in_use"] * 3
    assert all(file in text and "workroot.connect()" in text for _, text in refused)
    assert all("workroot status" not in text for _, text in refused)
    assert "where" in listed
    assert still == f"lab {lab}"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_failed_start_is_told_and_tried_again(home: Home, mode: str) -> None:
    lab, there = home.repository("lab"), home.top / "later"

    async with stdio_client(home, mode, lab, store=str(there / "notes.db")) as client:
        first = error_of(await client.call_tool("where"))
        second = error_of(await client.call_tool("where"))
        there.mkdir()
        third = text_of(await client.call_tool("where"))

    assert first == second
    assert first[0] == "store_unavailable"
    assert str(there) in first[1]
    assert "workroot status" not in first[1]
    assert third == f"lab {lab}"


@pytest.mark.parametrize("mode", ERAS)
async def test_the_daemon_can_keep_the_sessions_of_an_attached_server(home: Home, mode: str) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")
    home.start()

    async with stdio_client(home, mode, lab, store="daemon") as client:
        session = await session_in(client, shop)
        seen_by_the_daemon = home.sessions()
        here = text_of(await client.call_tool("where", {"session_id": session}))
        known = (await client.call_tool("list_projects")).structured_content
    async with home.open_client(MODERN, lab) as client:
        there = await client.call_tool("get_working_directory", {"session_id": session})
    async with stdio_client(home, mode, lab, store="daemon") as client:
        again = text_of(await client.call_tool("who", {"session_id": session}))

    assert session in seen_by_the_daemon
    assert here == f"shop {shop}"
    assert known is not None
    assert {row["root"] for row in known["projects"]} >= {str(shop)}
    assert there.structured_content is not None
    assert there.structured_content["working_directory"] == str(shop)
    assert again == f"{session} {shop}"


@pytest.mark.parametrize("mode", ERAS)
async def test_without_a_daemon_every_call_says_so(home: Home, mode: str) -> None:
    lab = home.repository("lab")

    async with stdio_client(home, mode, lab, store="daemon") as client:
        code, text = error_of(await client.call_tool("where"))
        home.start()
        later = text_of(await client.call_tool("where"))

    assert code == "daemon_unavailable"
    assert "daemon" in text
    assert later == f"lab {lab}"
