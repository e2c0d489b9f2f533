"""Attached servers whose sessions the daemon keeps: which sandbox they are in, and whom they serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from attached_clients import error_of, http_server, open_http, stdio_client, text_of
from fastmcp import FastMCP
from mcp import Client
from mcp.server import MCPServer
from real_daemon import ERAS, MODERN, Home

import workroot
from workroot.attached import fastmcp
from workroot.core.sessions import Owner


async def enter(client: Client, directory: Path) -> str:
    """Open a session in *directory*, and return its handle."""
    opened = await client.call_tool("set_working_directory", {"directory": str(directory)})
    assert opened.structured_content is not None, opened.content
    session: str = opened.structured_content["session_id"]
    return session


def of_daemon(home: Home, sandbox: str) -> workroot.DaemonClient:
    return workroot.connect(home=str(home.state), sandbox=sandbox)


def test_a_server_is_in_the_sandbox_of_its_client_unless_it_was_given_another(home: Home) -> None:
    client = of_daemon(home, "a")

    assert workroot.attach(MCPServer("notes"), store=client).owner == client.owner
    assert fastmcp.attach(FastMCP("notes"), store=client).owner == client.owner
    assert workroot.attach(MCPServer("notes"), store=client, sandbox="b").owner == client.owner._replace(sandbox="b")
    assert workroot.attach(MCPServer("notes")).owner == client.owner._replace(sandbox="default")


@pytest.mark.parametrize("mode", ERAS)
async def test_servers_of_one_sandbox_share_sessions_and_those_of_two_never_meet(home: Home, mode: str) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")
    home.start()

    async with (
        stdio_client(home, mode, lab, store="daemon", sandbox="a") as one,
        stdio_client(home, mode, lab, store="daemon", sandbox="a") as same,
        stdio_client(home, mode, lab, store="daemon", sandbox="b") as other,
    ):
        session = await enter(one, shop)
        here = text_of(await same.call_tool("where", {"session_id": session}))
        there = error_of(await other.call_tool("where", {"session_id": session}))
        listed = (await other.call_tool("list_projects")).structured_content
        row = home.sessions()[session]
        closed = error_of(await other.call_tool("close_session", {"session_id": session}))

    assert here == f"shop {shop}"
    assert there[0] == closed[0] == "unknown_session"
    assert listed is not None
    assert str(shop) not in {each["root"] for each in listed["projects"]}
    assert row["working_directory"] == str(shop)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_session_that_was_opened_elsewhere_is_known_in_a_server_of_its_sandbox(home: Home, mode: str) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")
    home.start()
    async with home.open_client(MODERN, lab) as client:
        by_tool = await enter(client, shop)
    async with of_daemon(home, "a") as program:
        by_program = (await program.set_working_directory("wr_of_program", str(shop))).session_id

    async with stdio_client(home, mode, lab, store="daemon") as client:
        found = text_of(await client.call_tool("who", {"session_id": by_tool}))
        unknown = error_of(await client.call_tool("who", {"session_id": by_program}))
    async with stdio_client(home, mode, lab, store="daemon", sandbox="a") as client:
        swapped = error_of(await client.call_tool("who", {"session_id": by_tool}))
        also = text_of(await client.call_tool("who", {"session_id": by_program}))

    assert (found, also) == (f"{by_tool} {shop}", f"{by_program} {shop}")
    assert unknown[0] == swapped[0] == "unknown_session"


@pytest.mark.parametrize("mode", ERAS)
async def test_two_authenticated_users_of_a_server_never_meet_in_the_daemon(home: Home, mode: str) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")
    home.start()

    with http_server(home, users=["ada", "bob"], store="daemon", sandbox="a") as server:
        ada_there, bob_there = (open_http(server.url, mode, token=f"{user}-token") for user in ("ada", "bob"))
        async with ada_there as ada, bob_there as bob:
            session, other = await enter(ada, lab), await enter(bob, shop)
            stolen = error_of(await bob.call_tool("where", {"session_id": session}))
            closed = error_of(await bob.call_tool("close_session", {"session_id": session}))
            listed = (await bob.call_tool("list_projects")).structured_content
            own = text_of(await ada.call_tool("where", {"session_id": session}))
    async with of_daemon(home, "a") as program:
        of_user = await program.get_working_directory(session)
        of_ada = await program.get_working_directory(session, owner=Owner("subject::ada", "a"))

    assert stolen[0] == closed[0] == "unknown_session"
    assert listed is not None
    assert [row["root"] for row in listed["projects"]] == [str(shop)]
    assert own == f"lab {lab}"
    assert session != other
    assert (of_user, of_ada) == (None, str(lab))
