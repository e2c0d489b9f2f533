"""A daemon that dies: clients go on as if nothing had been, and nothing that was acknowledged is lost."""

from __future__ import annotations

import pytest
from real_daemon import ERAS, LEGACY, MODERN, Home, answer_of


async def test_a_call_in_flight_fails_with_an_error_that_says_to_retry(home: Home) -> None:
    project = home.repository("in-flight")

    async with home.open_raw_connector(project) as client:
        await client.initialize(roots=True)
        await client.send_call(7, "get_working_directory")
        question = await client.receive()  # the daemon waits for our roots: the call is in flight
        home.kill_daemon()
        answer = await client.receive()
        await client.send(id=8, method="ping")
        pong = await client.receive()

    assert question["method"] == "roots/list"
    assert answer["id"] == 7
    assert answer["error"]["data"] == {"retry": True}
    assert "retry it" in answer["error"]["message"]
    assert pong["result"] == {}


@pytest.mark.parametrize("era", ERAS)
async def test_sessions_outlive_the_daemon(home: Home, era: str) -> None:
    one, two = home.repository("outlive-one"), home.repository("outlive-two")

    async with home.open_client(era, one) as client:
        moved = await answer_of(client, "set_working_directory", directory=str(two))
        session = moved["session_id"]
        kept = home.sessions()[session]
        home.kill_daemon()
        asked = await answer_of(client, "get_working_directory", session_id=session)
        after = home.sessions()[session]
        again = await answer_of(client, "set_working_directory", directory=str(one), session_id=session)

    unchanged = ("working_directory", "project_id", "project_root", "set_at", "revision")
    assert {name: after[name] for name in unchanged} == {name: kept[name] for name in unchanged}
    assert asked["working_directory"] == str(two)
    assert asked["project_info"] == moved["project_info"]
    assert again["previous"]["working_directory"] == str(two)


async def test_a_handshake_client_keeps_its_default_session_and_need_not_initialize_again(home: Home) -> None:
    one, two = home.repository("alias-one"), home.repository("alias-two")

    async with home.open_raw_connector(one) as client:
        await client.initialize()
        first = await client.call(1, "set_working_directory", directory=str(two))
        for number in (2, 3):  # twice: what was replayed once is replayed again
            home.kill_daemon()
            asked = await client.call(number, "get_working_directory")
            content = asked["result"]["structuredContent"]
            assert content["session_id"] == first["result"]["structuredContent"]["session_id"]
            assert (content["working_directory"], content["source"]) == (str(two), "pin")
        moved = await client.call(4, "set_working_directory", directory=str(one))

    assert moved["result"]["structuredContent"]["session_id"] == first["result"]["structuredContent"]["session_id"]
    assert moved["result"]["structuredContent"]["previous"]["working_directory"] == str(two)


@pytest.mark.parametrize("era", ERAS)
async def test_closed_stays_closed_after_the_daemon_was_killed(home: Home, era: str) -> None:
    project = home.repository("closed")

    async with home.open_client(era, project) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(project)))["session_id"]
        await answer_of(client, "close_session", session_id=session)
        home.kill_daemon()
        result = await client.call_tool("get_working_directory", {"session_id": session})

    assert result.is_error
    assert result.meta is not None
    assert result.meta["workroot/error"]["code"] == "closed_session"
    assert home.sessions() == {}


async def test_a_daemon_that_is_stopped_is_started_again_by_the_next_call(home: Home) -> None:
    project = home.repository("stopped")

    async with home.open_client(LEGACY, project) as client:
        await answer_of(client, "set_working_directory", directory=str(project))
        first = home.ask("status")["pid"]
        assert home.run("stop").returncode == 0
        asked = await answer_of(client, "get_working_directory")

    assert asked["source"] == "pin"
    assert home.ask("status")["pid"] != first


async def test_known_projects_and_their_ids_outlive_the_daemon(home: Home) -> None:
    project = home.repository("registry")

    async with home.open_client(MODERN) as client:
        before = await answer_of(client, "set_working_directory", directory=str(project))
        home.run("stop")
        after = await answer_of(client, "get_working_directory", directory=str(project))
        listed = await answer_of(client, "list_projects")

    assert after["project_info"]["id"] == before["project_info"]["id"]
    assert [row["root"] for row in listed["projects"]] == [str(project)]
