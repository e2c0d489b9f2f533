"""`Mcp-Session-Id` over HTTP: only issued ids count, ended ones end, and no message reaches another client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import httpx2
import pytest
from http_by_hand import Hand, hands, messages, serving
from real_daemon import HANDSHAKE_VERSION, Home

PROJECTS = "workroot://projects"


@pytest.fixture(scope="module")
def web() -> Iterator[Home]:
    """A home whose daemon serves HTTP."""
    with serving() as made:
        yield made


def initialize(version: str = HANDSHAKE_VERSION) -> dict[str, Any]:
    client = {"name": "hand", "version": "1"}
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": client}
    return {"id": 1, "method": "initialize", "params": params}


def code_of(response: httpx2.Response) -> int:
    (said,) = messages(response)
    code: int = said["error"]["code"]
    return code


@pytest.mark.row("M1", "B25")
async def test_an_id_is_issued_by_initialize_and_a_request_without_one_is_refused(web: Home) -> None:
    async with hands(web, 2) as (ada, bob):
        opened = await ada.say(initialize())
        for method in ("tools/list", "tools/call", "ping"):
            refused = await bob.ask(method)
            assert (refused.status_code, code_of(refused)) == (400, -32600)
            assert "send initialize first" in refused.text

        assert opened.status_code == 200
        assert len(opened.headers["Mcp-Session-Id"]) >= 32


@pytest.mark.row("M1", "B25")
@pytest.mark.parametrize("made_up", ["../../made-up", "1", "0" * 32, "x" * 4000, "wr_0123456789abcdef"])
async def test_an_id_that_nobody_issued_is_unknown_whatever_the_request(web: Home, made_up: str) -> None:
    async with hands(web) as (ada,):
        ada.session_id = made_up
        for said in (
            await ada.ask("tools/call", {"name": "get_working_directory", "arguments": {}}),
            await ada.ask("tools/list", Accept="text/event-stream"),
            await ada.say(initialize()),
            await ada.say({"method": "notifications/initialized"}),
        ):
            assert (said.status_code, code_of(said)) == (404, -32600)
            assert "send initialize again" in said.text
            assert made_up not in said.text
        assert await ada.delete() == 404


@pytest.mark.row("M3", "B27")
async def test_an_ended_session_is_over_for_good_and_a_second_end_finds_nothing(web: Home) -> None:
    async with hands(web, 2) as (ada, other):
        await ada.open()
        await ada.call("get_working_directory")
        other.session_id = ada.session_id

        assert await ada.delete() == 200
        assert await ada.delete() == 404
        for hand in (ada, other):
            assert (await hand.ask("tools/list")).status_code == 404

        ada.session_id = ""
        assert await ada.delete() == 400
        await ada.open()  # as a client does that reads 404
        assert "working_directory" in await ada.call("get_working_directory")


@pytest.mark.row("B27")
@pytest.mark.parametrize("asked", ["1999-01-01", "2026-07-28", ""])
async def test_a_protocol_that_is_not_spoken_is_not_promised(web: Home, asked: str) -> None:
    async with hands(web) as (ada,):
        (said,) = messages(await ada.say(initialize(asked)))
    assert said["result"]["protocolVersion"] == "2025-11-25"


@pytest.mark.row("B27")
@pytest.mark.parametrize("batch", [[], [initialize()], [1, 2]])
async def test_a_batch_is_refused_and_is_no_fault_of_ours(web: Home, batch: list[Any]) -> None:
    async with hands(web) as (ada,), httpx2.AsyncClient() as http:
        await ada.open()
        url = web.ask("status")["http"]["url"]
        refused = await http.post(url, json=batch, headers=ada.headers())
        assert (refused.status_code, code_of(refused)) in [(400, -32600), (400, -32700)]


@pytest.mark.row("B27")
async def test_no_other_site_is_answered_or_invited(web: Home) -> None:
    async with hands(web) as (ada,):
        await ada.open()
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            refused = await ada.ask("tools/list", None, **headers)
            assert refused.status_code in (403, 421)
            assert "access-control-allow-origin" not in refused.headers
        assert "access-control-allow-origin" not in (await ada.ask("tools/list")).headers


# Limits


@pytest.mark.row("M2", "B28")
async def test_of_more_sessions_than_are_held_the_longest_unused_gives_way_and_none_is_lost() -> None:
    with serving(WORKROOT_MAX_HTTP_SESSIONS="2", WORKROOT_HTTP_SESSION_IDLE_SECONDS="0.2") as home:
        async with hands(home, 5) as conversations:
            for number, hand in enumerate(conversations):
                await hand.open()
                await hand.call("set_working_directory", directory=str(home.repository(f"p{number}")))
            held = home.ask("status")["connections"]
            for number, hand in enumerate(conversations):
                where = (await hand.call("get_working_directory"))["working_directory"]
                assert where == str(home.top / f"p{number}")
            # Time alone lets go of those that nobody uses: nobody has to come for that.
            await home.wait_until_async(lambda: home.ask("status")["connections"] == 0, what="nothing held")
            assert (await conversations[0].call("get_working_directory"))["working_directory"] == str(home.top / "p0")
    assert held <= 2


@pytest.mark.row("B28")
async def test_one_initialize_makes_one_session_which_knows_what_its_client_can(web: Home) -> None:
    project = web.repository("rooted")
    async with hands(web) as (ada,):
        await ada.open({"roots": {}})
        call = {"id": 9, "method": "tools/call", "params": {"name": "get_working_directory", "arguments": {}}}
        async with ada.posted(call) as stream:
            question = await stream.next()
            await ada.say({"id": question["id"], "result": {"roots": [{"uri": project.as_uri()}]}})
            answer = await stream.next()
    assert question["method"] == "roots/list"
    assert answer["result"]["structuredContent"]["working_directory"] == str(project)


@pytest.mark.row("M6")
async def test_a_request_has_bounds_and_so_has_the_wait_for_a_clients_answer(web: Home) -> None:
    async with hands(web) as (ada,):
        await ada.open({"roots": {}})
        long = await ada.announce((1 << 20) + 1)
        wide = await ada.ask("tools/call", {"name": "list_projects", "arguments": {f"a{n}": 1 for n in range(10_001)}})
        call = {"id": 9, "method": "tools/call", "params": {"name": "get_working_directory", "arguments": {}}}
        async with ada.posted(call) as stream:
            question, taken_back, answer = [await stream.next() for _ in range(3)]  # nobody answers the question
    assert (long, wide.status_code) == (413, 400)
    assert (question["method"], taken_back["method"], answer["id"]) == ("roots/list", "notifications/cancelled", 9)
    assert taken_back["params"]["requestId"] == question["id"]


# Messages of several clients


@pytest.mark.row("B26")
async def test_questions_and_answers_of_clients_that_ask_at_once_do_not_cross(web: Home) -> None:
    count = 4
    projects = [web.repository(f"crossing-{number}") for number in range(count)]
    found: dict[int, str] = {}
    all_asked = anyio.Event()
    asked: list[int] = []

    async def ask(number: int, hand: Hand) -> None:
        await hand.open({"roots": {}})
        call = {"id": 5, "method": "tools/call", "params": {"name": "get_working_directory", "arguments": {}}}
        async with hand.posted(call) as stream:
            question = await stream.next()
            asked.append(number)
            if len(asked) == count:
                all_asked.set()
            await all_asked.wait()
            await hand.say({"id": question["id"], "result": {"roots": [{"uri": projects[number].as_uri()}]}})
            answer = await stream.next()
        found[number] = answer["result"]["structuredContent"]["working_directory"]

    async with hands(web, count) as conversations, anyio.create_task_group() as tasks:
        for number, hand in enumerate(conversations):
            tasks.start_soon(ask, number, hand)

    assert found == {number: str(project) for number, project in enumerate(projects)}


@pytest.mark.row("B26")
async def test_nobody_answers_for_another(web: Home) -> None:
    mine, theirs = web.repository("mine"), web.repository("theirs")
    async with hands(web, 2) as (ada, mallory):
        await ada.open({"roots": {}})
        await mallory.open({"roots": {}})
        call = {"id": 5, "method": "tools/call", "params": {"name": "get_working_directory", "arguments": {}}}
        async with ada.posted(call) as stream:
            question = await stream.next()
            forged = {"id": question["id"], "result": {"roots": [{"uri": theirs.as_uri()}]}}
            await mallory.say(forged)
            mallory.session_id = ""
            assert (await mallory.say(forged)).status_code == 400
            await ada.say({"id": question["id"], "result": {"roots": [{"uri": mine.as_uri()}]}})
            answer = await stream.next()
    assert answer["result"]["structuredContent"]["working_directory"] == str(mine)


@pytest.mark.row("B26")
async def test_what_is_told_unasked_reaches_those_whose_it_is_and_nobody_else(web: Home) -> None:
    async with hands(web, user="ada") as (ada,), hands(web, user="bob") as (bob,):
        sessions: list[str] = []
        for hand in (ada, bob):
            await hand.open()
            moved = await hand.call("set_working_directory", directory=str(web.repository(f"told-{len(sessions)}")))
            sessions.append(f"workroot://sessions/{moved['session_id']}")
        for hand in (ada, bob):  # everybody wishes to hear of both
            for session in sessions:
                await hand.ask("resources/subscribe", {"uri": session})
        async with ada.listening() as of_ada, bob.listening() as of_bob:
            for hand, name in ((ada, "ada-moves"), (bob, "bob-moves"), (ada, "ada-moves-again")):
                await hand.call("set_working_directory", directory=str(web.repository(name)))
            heard = [(await stream.next())["params"]["uri"] for stream in (of_ada, of_bob, of_ada)]
    assert heard == [sessions[0], sessions[1], sessions[0]]
