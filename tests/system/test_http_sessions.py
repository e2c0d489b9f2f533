"""Sessions of the handshake era over HTTP outlive the daemon, idle hours and each other; what was ended stays ended.

Real daemons, killed and stopped between requests; raw requests, and the SDK's own client.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp_types as types
import pytest
from http_by_hand import Hand, hands, messages, serving
from mcp import Client
from mcp.client.session import IncomingMessage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from real_daemon import (
    DEADLINE_SECONDS,
    LEGACY,
    MODERN,
    MODERN_META,
    Home,
    answer_of,
    open_home,
)

from workroot.identity import TokenFile

PROJECTS = "workroot://projects"


@pytest.fixture
def web() -> Iterator[Home]:
    """A home whose daemon serves HTTP."""
    with serving() as made:
        yield made


def restart(home: Home, how: str) -> None:
    if how == "killed":
        home.kill_daemon()
    else:
        assert home.run("stop").returncode == 0
    home.start()


def rows(home: Home, table: str) -> int:
    with closing(sqlite3.connect(f"file:{home.state / 'workroot.db'}?mode=ro", uri=True)) as database:
        (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert isinstance(count, int)
    return count


def memory_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split(maxsplit=1)[0])


# A restart


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_call_goes_on_in_its_session_after_a_restart(web: Home, how: str) -> None:
    project = web.repository("goes-on")
    async with hands(web, 2) as (hand, other):
        await hand.open()
        await other.open()
        before = await hand.call("set_working_directory", directory=str(project))
        restart(web, how)
        after = await hand.call("get_working_directory")
        assert (await other.call("get_working_directory"))["session_id"] is None

    assert (after["session_id"], after["working_directory"]) == (before["session_id"], str(project))


async def test_the_sdks_client_notices_no_restart(web: Home) -> None:
    one, two = web.repository("unnoticed"), web.repository("unnoticed-two")
    send, receive = anyio.create_memory_object_stream[str](10)

    async def heard(message: IncomingMessage) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            send.send_nowait(str(message.params.uri))

    tokens = TokenFile(web.state / "tokens.json")
    headers = {"Authorization": f"Bearer {tokens.create('sdk')}"}
    url = web.ask("status")["http"]["url"]
    with anyio.fail_after(DEADLINE_SECONDS):
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            Client(streamable_http_client(url, http_client=http), mode=LEGACY, message_handler=heard) as client,
        ):
            before = await answer_of(client, "set_working_directory", directory=str(one))
            uri = f"workroot://sessions/{before['session_id']}"
            with pytest.warns(MCPDeprecationWarning):
                await client.subscribe_resource(uri)
            web.kill_daemon()
            web.start()
            after = await answer_of(client, "get_working_directory")
            assert await receive.receive() == uri  # it may have missed something
            await answer_of(client, "set_working_directory", directory=str(two))
            assert await receive.receive() == uri
    assert after["session_id"] == before["session_id"]
    send.close()
    receive.close()


async def test_a_stream_goes_on_after_a_restart_with_each_subscription_told_once(web: Home) -> None:
    one, two = web.repository("one"), web.repository("two")
    async with hands(web) as (hand,):
        await hand.open()
        session = (await hand.call("set_working_directory", directory=str(one)))["session_id"]
        uri = f"workroot://sessions/{session}"
        for address in (uri, PROJECTS, "workroot://sessions/other"):
            assert "result" in messages(await hand.ask("resources/subscribe", {"uri": address}))[0]
        await hand.ask("resources/unsubscribe", {"uri": "workroot://sessions/other"})
        restart(web, "killed")
        async with hand.listening() as stream:
            told = [(await stream.next())["params"]["uri"] for _ in range(2)]
            await hand.call("set_working_directory", directory=str(two))
            later = [await stream.next() for _ in range(2)]  # a move, to a project that is new

    assert sorted(told) == sorted([uri, PROJECTS])
    assert {message["method"] for message in later} == {"notifications/resources/updated"}
    assert sorted(message["params"]["uri"] for message in later) == sorted([uri, PROJECTS])


async def test_what_changes_while_no_stream_is_open_is_told_when_one_is(web: Home) -> None:
    one, two = web.repository("unheard"), web.repository("unheard-two")
    async with hands(web) as (hand,):
        await hand.open()
        session = (await hand.call("set_working_directory", directory=str(one)))["session_id"]
        uri = f"workroot://sessions/{session}"
        await hand.ask("resources/subscribe", {"uri": uri})
        await hand.call("set_working_directory", directory=str(two))
        async with hand.listening() as stream:
            assert (await stream.next())["params"]["uri"] == uri


async def test_roots_are_asked_for_after_a_restart_and_a_late_answer_is_not_taken_for_another(web: Home) -> None:
    old, new = web.repository("old-root"), web.repository("new-root")
    call = {"method": "tools/call", "params": {"name": "get_working_directory", "arguments": {}}}

    def roots(path: Path) -> dict[str, Any]:
        return {"roots": [{"uri": path.as_uri()}]}

    async with hands(web) as (hand,):
        await hand.open({"roots": {}})
        async with hand.posted({"id": 50, **call}) as stream:
            first = await stream.next()
            assert first["method"] == "roots/list"
            await hand.say({"id": first["id"], "result": roots(old)})
            assert (await stream.next())["result"]["structuredContent"]["working_directory"] == str(old)
        restart(web, "killed")
        async with hand.posted({"id": 51, **call}) as stream:
            second = await stream.next()
            assert second["method"] == "roots/list"
            assert (await hand.say({"id": first["id"], "result": roots(old)})).status_code == 202
            assert (await hand.say({"id": second["id"], "result": roots(new)})).status_code == 202
            assert (await stream.next())["result"]["structuredContent"]["working_directory"] == str(new)

    assert first["id"] != second["id"]


async def test_a_client_that_is_silent_about_its_roots_after_a_restart_is_not_placed_by_a_guess(web: Home) -> None:
    guessed = web.repository("guessed")
    call = {"method": "tools/call", "params": {"name": "get_working_directory", "arguments": {}}}
    async with hands(web) as (hand,):
        await hand.open({"roots": {}})
        restart(web, "killed")
        response = await hand.say({"id": 60, **call}, **{"Workroot-Directory": str(guessed)})

    assert messages(response)[-1]["result"]["structuredContent"]["working_directory"] is None


async def test_a_question_of_the_modern_era_is_answered_by_the_next_daemon(web: Home) -> None:
    project = web.repository("asked")
    meta = {**MODERN_META, "io.modelcontextprotocol/clientCapabilities": {"roots": {}}}
    params: dict[str, Any] = {"name": "get_working_directory", "arguments": {}, "_meta": meta}
    modern = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "get_working_directory"}
    async with hands(web) as (hand,):
        asked = messages(await hand.ask("tools/call", params, **modern))[-1]["result"]
        restart(web, "killed")
        given = {"inputResponses": {"roots": {"roots": [{"uri": project.as_uri()}]}}}
        answer = messages(await hand.ask("tools/call", {**params, **given}, **modern))[-1]["result"]

    assert asked["resultType"] == "input_required"
    assert "requestState" not in asked, "what a client carries for us would have to be sealed by a key that stays"
    assert answer["structuredContent"]["working_directory"] == str(project)


async def test_initialize_within_a_session_is_answered_and_the_session_goes_on(web: Home) -> None:
    project = web.repository("again")
    async with hands(web) as (hand,):
        await hand.open()
        before, session_id = await hand.call("set_working_directory", directory=str(project)), hand.session_id
        restart(web, "killed")
        await hand.open()
        assert hand.session_id == session_id
        after = await hand.call("get_working_directory")

    assert after["session_id"] == before["session_id"]


# Ids


async def test_ids_that_are_not_ones_own_are_unknown_and_nobody_learns_why(web: Home) -> None:
    async with hands(web) as (mine,), hands(web, user="eve") as (stranger,):
        await mine.open()
        await stranger.open()
        real, texts, codes = mine.session_id, set(), set()
        middle = len(real) // 2
        flipped = real[:middle] + ("A" if real[middle] != "A" else "B") + real[middle + 1 :]
        for forged in ("0" * 32, "wrh_", f"wrh_{'A' * 120}", flipped, real[:-1], f"{real}A", stranger.session_id):
            mine.session_id = forged
            for response in (await mine.ask("ping"), await mine.say({"method": "notifications/initialized"})):
                codes.add(response.status_code)
                texts.add(response.text)
            codes.add(await mine.delete())
        mine.session_id = real
        assert (await mine.ask("ping")).status_code == 200
        assert (await stranger.ask("ping")).status_code == 200

    assert codes == {404}
    assert len(texts) == 1
    assert len(real) < 300
    assert rows(web, "ended_aliases") == 0


async def test_an_id_is_unknown_once_another_key_is_used(web: Home) -> None:
    async with hands(web) as (hand,):
        await hand.open()
        web.run("stop")
        key = web.state / "daemon.key"
        assert key.stat().st_mode & 0o777 == 0o600
        key.unlink()
        web.start()
        assert (await hand.ask("ping")).status_code == 404


@pytest.mark.parametrize("is_used", [False, True])
async def test_an_ended_session_stays_ended_after_a_restart(web: Home, is_used: bool) -> None:
    project = web.repository("ended")
    async with hands(web) as (hand,):
        await hand.open()
        if is_used:
            await hand.call("set_working_directory", directory=str(project))
            await hand.ask("resources/subscribe", {"uri": PROJECTS})
            assert rows(web, "connections") == 1
        assert await hand.delete() == 200
        assert (await hand.ask("ping")).status_code == 404
        restart(web, "killed")
        assert (await hand.ask("ping")).status_code == 404
        assert await hand.delete() == 404

    assert (rows(web, "connections"), rows(web, "ended_aliases")) == (0, 1)


# Memory


async def test_a_thousand_bare_handshakes_leave_nothing_behind(web: Home) -> None:
    async with hands(web, 1000) as clients:
        pid = web.ask("status")["pid"]
        limit = anyio.CapacityLimiter(8)

        async def open_one(hand: Hand) -> None:
            async with limit:
                await hand.open()

        async def open_all(some: list[Hand]) -> None:
            async with anyio.create_task_group() as tasks:
                for hand in some:
                    tasks.start_soon(open_one, hand)

        await open_all(clients[:100])
        before = memory_kib(pid)
        await open_all(clients[100:])
        grown = memory_kib(pid) - before
        assert (await clients[-1].ask("ping")).status_code == 200

    assert len({hand.session_id for hand in clients}) == 1000
    for table in ("sessions", "aliases", "connections", "ended_aliases", "ended_sessions"):
        assert rows(web, table) == 0
    assert grown < 8 * 1024


async def test_more_sessions_than_are_held_all_go_on() -> None:
    with serving(WORKROOT_MAX_HTTP_SESSIONS="16") as home:
        project = home.repository("many")
        async with hands(home, 60) as clients:
            sessions = []
            for hand in clients:
                await hand.open()
                sessions.append((await hand.call("set_working_directory", directory=str(project)))["session_id"])
            again = [(await hand.call("get_working_directory"))["session_id"] for hand in clients]

    assert again == sessions
    assert len(set(sessions)) == 60


async def test_a_session_is_as_it_was_after_it_was_idle() -> None:
    with serving(WORKROOT_HTTP_SESSION_IDLE_SECONDS="0.3") as home:
        one, two = home.repository("idle"), home.repository("idle-two")
        async with hands(home, 2) as (hand, mover):
            await hand.open()
            session = (await hand.call("set_working_directory", directory=str(one)))["session_id"]
            uri = f"workroot://sessions/{session}"
            await hand.ask("resources/subscribe", {"uri": uri})
            await home.wait_until_async(
                lambda: not home.sessions()[session]["connected"], what="the session is not held any more"
            )
            await mover.open()
            await mover.call("set_working_directory", directory=str(two), session_id=session)
            async with hand.listening() as stream:
                told = await stream.next()
            after = await hand.call("get_working_directory")

    assert told["params"]["uri"] == uri
    assert (after["session_id"], after["working_directory"]) == (session, str(two))


# What a client of the handshake era asked for, over the socket


async def test_a_connectors_subscriptions_outlive_the_daemon_and_are_told_once(home: Home) -> None:
    one, two = home.repository("kept"), home.repository("kept-two")
    async with home.open_raw_connector(one) as client:
        await client.initialize()
        opened = await client.call(1, "set_working_directory", directory=str(one))
        uri = f"workroot://sessions/{opened['result']['structuredContent']['session_id']}"
        await client.send(id=2, method="resources/subscribe", params={"uri": uri})
        assert (await client.receive())["result"] == {}
        home.kill_daemon()
        await client.send(id=3, method="ping")
        answers = [await client.receive() for _ in range(2)]
        await client.send_call(4, "set_working_directory", directory=str(two))
        later = [await client.receive() for _ in range(2)]

    told = [message["params"]["uri"] for message in (*answers, *later) if "method" in message]
    assert told == [uri, uri]
    assert {message["id"] for message in (*answers, *later) if "id" in message} == {3, 4}


async def test_a_connector_without_a_default_session_has_nothing_kept(home: Home) -> None:
    async with home.open_raw_connector(home.repository("none"), "--no-default-session") as client:
        await client.initialize()
        await client.send(id=2, method="resources/subscribe", params={"uri": PROJECTS})
        assert (await client.receive())["result"] == {}
        assert rows(home, "connections") == 0


async def test_more_subscriptions_than_are_kept_are_refused(home: Home) -> None:
    async with home.open_raw_connector(home.repository("greedy")) as client:
        await client.initialize()
        answers = []
        for number in range(257):
            await client.send(
                id=number + 1, method="resources/subscribe", params={"uri": f"workroot://sessions/{number}"}
            )
            answers.append(await client.receive())
        await client.send(id=300, method="resources/subscribe", params={"uri": "workroot://" + "x" * 300})
        too_long = await client.receive()

    assert [number for number, answer in enumerate(answers) if "error" in answer] == [256]
    assert "may subscribe to 256 resources" in answers[256]["error"]["message"]
    assert "256 characters" in too_long["error"]["message"]


async def test_a_log_level_outlives_the_daemon_and_only_what_nobody_asked_for_is_told(home: Home) -> None:
    top = home.configured("logged", name="before", project_id="5b8f2f0e-6d1c-4b39-9f6e-0d2f4c1f7a11")
    config = top / ".workroot" / "config.toml"
    async with home.open_raw_connector(top) as client:
        answer = await client.initialize()
        assert answer["result"]["capabilities"]["logging"] == {}
        await client.call(1, "set_working_directory", directory=str(top))
        await client.send(id=2, method="logging/setLevel", params={"level": "info"})
        assert (await client.receive())["result"] == {}
        await client.call(3, "set_working_directory", directory=str(home.repository("asked-for")))
        await client.call(4, "set_working_directory", directory=str(top))
        home.kill_daemon()
        await client.send(id=5, method="ping")
        assert (await client.receive())["id"] == 5
        config.unlink()
        told = await client.receive()

    assert told["method"] == "notifications/message"
    assert (told["params"]["level"], told["params"]["logger"]) == ("warning", "workroot")
    assert str(top) in told["params"]["data"]


# Streams of the modern era


async def test_streams_above_the_limits_are_refused_by_name() -> None:
    listening = {"notifications": {"resourceSubscriptions": [PROJECTS]}, "_meta": MODERN_META}
    with open_home(WORKROOT_MAX_LISTENS="3", WORKROOT_MAX_LISTENS_PER_CLIENT="2") as home:
        project = home.repository("streams")
        async with home.open_raw_connector(project) as one, home.open_raw_connector(project) as other:
            said = []
            for client, count in ((one, 3), (other, 2)):
                for number in range(count):
                    await client.send(id=f"ear{number}", method="subscriptions/listen", params=listening)
                    said.append(await client.receive())
            many = {"resourceSubscriptions": [f"workroot://sessions/{number}" for number in range(257)]}
            await one.send(id="many", method="subscriptions/listen", params={**listening, "notifications": many})
            said.append(await one.receive())
            await one.send(id="long", method="subscriptions/listen", params={**listening, "padding": "x" * 65536})
            said.append(await one.receive())

    errors = [message["error"]["message"] if "error" in message else None for message in said]
    assert [error and error[error.find("(") :] for error in errors[:5]] == [
        None,
        None,
        "(setting max_listens_per_client)",
        None,
        "(setting max_listens)",
    ]
    assert "256 resources" in str(errors[5])
    assert "65536 bytes at most" in str(errors[6])


async def test_streams_over_http_are_counted_by_user() -> None:
    with serving(WORKROOT_MAX_LISTENS_PER_CLIENT="1") as home:
        async with (
            home.open_http_client(MODERN, "ada") as one,
            home.open_http_client(MODERN, "ada") as other,
            home.open_http_client(MODERN, "eve") as stranger,
            one.listen(resource_subscriptions=[PROJECTS]),
            stranger.listen(resource_subscriptions=[PROJECTS]),
        ):
            with pytest.raises(MCPError, match="setting max_listens_per_client"):
                async with other.listen(resource_subscriptions=[PROJECTS]):
                    pass


async def test_a_key_that_cannot_be_used_keeps_http_from_being_served_and_nothing_else(web: Home) -> None:
    web.run("stop")
    key = web.state / "daemon.key"
    key.write_bytes(bytes(32))
    key.chmod(0o644)

    async with web.open_client(MODERN, web.repository("shop")) as client:
        await client.list_tools()

    http = web.ask("status")["http"]
    assert http["url"] is None
    assert str(key) in http["problem"]
