"""An attached server over Streamable HTTP: many clients of one process, who never meet."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from attached_clients import HttpServer, claiming, error_of, http_server, meta_of, open_http, text_of
from child_client import child_client
from mcp import Client
from real_daemon import ERAS, HANDSHAKE_VERSION, LEGACY, MODERN, MODERN_META, Home

_ROUNDS = 15


async def session_in(client: Client, directory: Path) -> str:
    """Open a session in *directory*, and return its handle."""
    opened = await client.call_tool("set_working_directory", {"directory": str(directory)})
    assert opened.structured_content is not None
    session: str = opened.structured_content["session_id"]
    return session


async def post(server: HttpServer, message: dict[str, Any], headers: list[tuple[str, str]]) -> httpx2.Response:
    accepted = [("Accept", "application/json, text/event-stream"), ("Content-Type", "application/json")]
    async with httpx2.AsyncClient() as http:
        return await http.post(server.url, content=json.dumps(message), headers=[*accepted, *headers])


def result_of(response: httpx2.Response) -> dict[str, Any]:
    """Return the result in an answer that is JSON or one event."""
    text = response.text
    line = next((line[6:] for line in text.splitlines() if line.startswith("data: {")), text)
    result: dict[str, Any] = json.loads(line)["result"]
    return result


def call_message(tool: str, arguments: dict[str, object], *, modern: bool) -> dict[str, Any]:
    meta = {"_meta": MODERN_META} if modern else {}
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, **meta},
    }


def head(tool: str, *, modern: bool) -> list[tuple[str, str]]:
    if not modern:
        return [("MCP-Protocol-Version", HANDSHAKE_VERSION)]
    return [("MCP-Protocol-Version", MODERN), ("Mcp-Method", "tools/call"), ("Mcp-Name", tool)]


@pytest.mark.row("S15", "B9")
async def test_clients_in_several_projects_never_see_each_others(home: Home) -> None:
    """Of both eras at once, by header and by session, all calls interleaved."""
    projects = [home.repository(f"project-{number}") for number in range(3)]
    wrong: list[str] = []

    async def work(url: str, mode: str, project: Path, *, by_session: bool) -> None:
        async with open_http(url, mode, directory=None if by_session else project) as client:
            arguments = {"session_id": await session_in(client, project)} if by_session else {}
            for _ in range(_ROUNDS):
                async with anyio.create_task_group() as calls:
                    for tool in ("where", "where_sync", "where_if_any"):
                        calls.start_soon(ask, client, tool, arguments, project)

    async def ask(client: Client, tool: str, arguments: dict[str, str], project: Path) -> None:
        answer = text_of(await client.call_tool(tool, arguments))
        if answer != f"{project.name} {project}":
            wrong.append(f"{tool} in {project}: {answer}")

    with http_server(home) as server:
        async with anyio.create_task_group() as clients:
            for mode in ERAS:
                for project in projects:
                    for by_session in (False, True):
                        clients.start_soon(
                            lambda u, m, p, b: work(u, m, p, by_session=b), server.url, mode, project, by_session
                        )

    assert wrong == []


@pytest.mark.parametrize("mode", ERAS)
async def test_the_directory_in_the_url_counts_as_the_header_does(home: Home, mode: str) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")

    with http_server(home) as server:
        async with open_http(f"{server.url}?directory={lab}", mode) as client:
            by_url = await client.call_tool("where")
        async with open_http(f"{server.url}?directory={lab}", mode, directory=shop) as client:
            disagreeing = error_of(await client.call_tool("where"))

    assert text_of(by_url) == f"lab {lab}"
    assert meta_of(by_url)["detail"] == "?directory="
    assert disagreeing[0] == "signs_disagree"


@pytest.mark.parametrize("mode", ERAS)
async def test_the_header_names_a_session_and_a_made_up_one_is_none(home: Home, mode: str) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")

    with http_server(home) as server:
        async with open_http(server.url, mode, directory=lab) as client:
            session = await session_in(client, shop)
        async with open_http(server.url, mode, directory=lab, headers={"Workroot-Session": session}) as client:
            by_header = text_of(await client.call_tool("who"))
            both = error_of(await client.call_tool("where", meta=claiming("another")))
        async with open_http(server.url, mode, directory=lab, headers={"Workroot-Session": "../../made-up"}) as client:
            made_up = error_of(await client.call_tool("who_if_any"))
            in_force = json.loads(text_of(await client.call_tool("in_force")))

    assert by_header == f"{session} {shop}"
    assert both[0] == "signs_disagree"
    assert made_up[0] == "invalid_session"
    assert in_force["session_id"] is None


async def test_the_process_at_the_other_end_is_a_sign_of_last_resort(home: Home) -> None:
    with http_server(home) as server:
        async with open_http(server.url, MODERN) as client:
            result = await client.call_tool("get_working_directory")

    assert result.structured_content is not None
    assert result.structured_content["working_directory"] == os.getcwd()
    assert result.structured_content["source"] == "process"


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.row("K7", "B25")
async def test_a_connection_id_that_nobody_gave_stands_for_nobody(home: Home, mode: str) -> None:
    """Two clients that send the same made-up `Mcp-Session-Id`, to a server that checks none."""
    lab, shop = home.repository("lab"), home.repository("shop")
    modern = mode == MODERN
    made_up = ("Mcp-Session-Id", "../../made-up")

    with http_server(home, stateless=True) as server:
        opening = call_message("set_working_directory", {"directory": str(shop)}, modern=modern)
        opened = result_of(await post(server, opening, [made_up, *head("set_working_directory", modern=modern)]))
        session = opened["structuredContent"]["session_id"]
        there = ("Workroot-Directory", str(lab))
        answers = [
            result_of(
                await post(server, call_message(tool, {}, modern=modern), [made_up, there, *head(tool, modern=modern)])
            )
            for tool in ("where", "who_if_any", "in_force")
        ]

    where, who, in_force = (answer["content"][0]["text"] for answer in answers)
    assert session.startswith("wr_")
    assert opened["_meta"]["workroot/resolution"]["is_default_session"] is False
    assert (where, who) == (f"lab {lab}", "nobody")
    assert json.loads(in_force)["session_id"] is None


async def test_a_connection_id_is_checked_by_a_server_that_gives_them(home: Home) -> None:
    with http_server(home) as server:
        message = call_message("in_force", {}, modern=False)
        response = await post(server, message, [("Mcp-Session-Id", "made-up"), *head("in_force", modern=False)])

    assert response.status_code == 404


async def test_a_header_that_comes_twice_with_different_values_is_refused(home: Home) -> None:
    twice = [("Workroot-Session", "one"), ("Workroot-Session", "two")]

    with http_server(home) as server:
        answer = result_of(
            await post(server, call_message("where", {}, modern=True), [*twice, *head("where", modern=True)])
        )

    assert answer["isError"] is True
    assert answer["_meta"]["workroot/error"]["code"] == "signs_disagree"
    assert answer["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "test"


async def test_connections_of_the_handshake_era_have_default_sessions_of_their_own(home: Home) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")

    with http_server(home) as server:
        async with open_http(server.url, LEGACY) as ada, open_http(server.url, LEGACY) as bob:
            of_ada, of_bob = await session_in(ada, lab), await session_in(bob, shop)
            answers = [text_of(await client.call_tool("who")) for client in (ada, bob)]

    assert answers == [f"{of_ada} {lab}", f"{of_bob} {shop}"]


@pytest.mark.row("B9")
async def test_a_session_outlives_the_connection_that_opened_it(home: Home) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")

    with http_server(home) as server:
        async with open_http(server.url, LEGACY, directory=lab) as client:
            session = await session_in(client, shop)
        for mode in ERAS:  # whoever connects anew has another connection, and the same session
            async with open_http(server.url, mode, directory=lab) as client:
                assert text_of(await client.call_tool("who", {"session_id": session})) == f"{session} {shop}"


@pytest.mark.row("B9")
async def test_connections_of_the_modern_era_stand_for_nobody(home: Home) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")

    with http_server(home) as server:
        async with open_http(server.url, MODERN, directory=lab) as client:
            await session_in(client, shop)
            assert text_of(await client.call_tool("who_if_any")) == "nobody"
            assert text_of(await client.call_tool("where")) == f"lab {lab}"


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.row("K7")
async def test_two_authenticated_users_of_one_server_never_meet(home: Home, mode: str) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")

    with http_server(home, users=["ada", "bob"]) as server:
        ada_there, bob_there = (open_http(server.url, mode, token=f"{user}-token") for user in ("ada", "bob"))
        async with ada_there as ada, bob_there as bob:
            session = await session_in(ada, lab)
            await session_in(bob, shop)
            stolen = error_of(await bob.call_tool("who", {"session_id": session}))
            closed = error_of(await bob.call_tool("close_session", {"session_id": session}))
            listed = (await bob.call_tool("list_projects")).structured_content
            own = text_of(await ada.call_tool("who", {"session_id": session}))
            in_force = json.loads(text_of(await ada.call_tool("in_force", meta=claiming(session))))
            by_bob = json.loads(text_of(await bob.call_tool("in_force", meta=claiming(session))))

    assert stolen[0] == closed[0] == "unknown_session"
    assert listed is not None
    assert [row["root"] for row in listed["projects"]] == [str(shop)]
    assert own == f"{session} {lab}"
    assert (in_force["user_id"], in_force["session_id"]) == ("subject::ada", session)
    assert (by_bob["user_id"], by_bob["session_id"]) == ("subject::bob", None)


async def test_another_users_process_is_no_sign(home: Home) -> None:
    """Who acts for somebody else is not spoken for by a process of the operating-system user."""
    with http_server(home, users=["ada"]) as server:
        async with open_http(server.url, MODERN, token="ada-token") as client:
            result = await client.call_tool("get_working_directory")

    assert result.structured_content is not None
    assert result.structured_content["working_directory"] is None


async def test_a_client_in_another_process_is_found_where_it_works(home: Home) -> None:
    lab = home.repository("lab")

    with http_server(home) as server, child_client(lab) as child:
        port = httpx2.URL(server.url).port
        assert port is not None
        headers = {
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            **dict(head("where", modern=True)),
        }
        # It answers with a status only; where it worked shows in what is known afterwards.
        message = call_message("where", {}, modern=True)
        assert await anyio.to_thread.run_sync(lambda: child.post(port, "/mcp", headers, message)) == 200
        async with open_http(server.url, MODERN) as client:
            listed = (await client.call_tool("list_projects")).structured_content

    assert listed is not None
    assert str(lab) in [row["root"] for row in listed["projects"]]
