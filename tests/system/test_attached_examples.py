"""The examples for authors of servers, run as they are, by real clients of both eras."""

from __future__ import annotations

import os

import pytest
from attached_clients import EXAMPLES, error_of, http_server, open_http, stdio_client, text_of
from mcp import Client
from real_daemon import ERAS, LEGACY, MODERN, Home


async def list_of(client: Client, tool: str, arguments: dict[str, str]) -> list[str]:
    result = await client.call_tool(tool, arguments)
    assert result.structured_content is not None, result.content
    items: list[str] = result.structured_content["result"]
    return items


@pytest.mark.parametrize("mode", ERAS)
async def test_the_notes_are_apart_for_each_project(home: Home, mode: str) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")

    async with stdio_client(home, mode, lab, program=EXAMPLES / "notes.py") as client:
        first = text_of(await client.call_tool("add", {"text": "water the plants"}))
        second = text_of(await client.call_tool("add", {"text": "sell", "directory": str(shop)}))
        here = await list_of(client, "read", {})
        there = await list_of(client, "read", {"directory": str(shop)})
        everywhere = await list_of(client, "read", {"directory": str(home.directory("nobody's"))})
        nowhere, text = error_of(await client.call_tool("add", {"text": "x", "directory": str(home.top)}))

    assert (first, second) == ("lab has 1 notes", "shop has 1 notes")
    assert (here, there, everywhere) == (["water the plants"], ["sell"], ["water the plants", "sell"])
    assert nowhere == "project_needed"
    assert text.endswith(f"for example one of: {lab}")  # to name a directory in one call is not to work there


@pytest.mark.parametrize("mode", ERAS)
async def test_the_agenda_is_apart_for_each_conversation_and_survives_a_kill(home: Home, mode: str) -> None:
    lab = home.repository("lab")
    home.environment |= {"TODO_HOME": str(home.top / "todo"), "TODO_PORT": "0"}
    program = EXAMPLES / "todo_server.py"

    with http_server(home, program=program) as server:
        async with open_http(server.url, mode) as client:
            opened = [await client.call_tool("set_working_directory", {"directory": str(lab)}) for _ in range(2)]
            if mode == LEGACY:  # its connection has one session; a second one comes from another connection
                async with open_http(server.url, MODERN) as other:
                    opened[1] = await other.call_tool("set_working_directory", {"directory": str(lab)})
            mine, other_one = ({"session_id": (each.structured_content or {})["session_id"]} for each in opened)
            planned = text_of(await client.call_tool("plan", {"task": "sow", **mine}))
            assert await list_of(client, "agenda", other_one) == []
        async with open_http(server.url, mode) as client:
            code, _ = error_of(await client.call_tool("plan", {"task": "sow"}))
        server.kill()
    with http_server(home, program=program) as server:
        async with open_http(server.url, mode) as client:
            assert await list_of(client, "agenda", mine) == ["sow"]

    assert planned == f"noted for {lab}"
    assert code == "session_needed"


@pytest.mark.parametrize("mode", ERAS)
async def test_the_branches_server_shares_its_sessions_with_the_daemon(home: Home, mode: str) -> None:
    lab = home.repository("lab")
    tree = home.worktree(lab, "side")
    home.environment |= {"BRANCHES_PORT": "0"}
    home.start()

    with http_server(home, program=EXAMPLES / "branches.py") as server:
        async with home.open_client(MODERN, lab) as editor:
            opened = await editor.call_tool("set_working_directory", {"directory": str(tree)})
        session = {"session_id": (opened.structured_content or {})["session_id"]}
        async with open_http(server.url, mode, directory=lab) as client:
            here = text_of(await client.call_tool("current_branch"))
            in_session = text_of(await client.call_tool("current_branch", session))
            file = tree / ".git"  # git writes a relative path into it for submodules, and for worktrees if told so
            file.write_text(f"gitdir: {os.path.relpath(file.read_text().removeprefix('gitdir:').strip(), tree)}\n")
            relative = text_of(await client.call_tool("current_branch", session))

    assert (here, in_session, relative) == ("main", "side", "side")
