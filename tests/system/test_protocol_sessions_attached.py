"""What an attached server has of the protocol's sessions: all that the SDK has, and what workroot adds to it."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from attached_clients import HttpServer, error_of, http_server, open_http, stdio_client, text_of
from http_by_hand import Hand, messages
from mcp import Client
from mcp.shared.exceptions import MCPError
from parked_calls import Parking
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, MODERN, MODERN_META, Home, open_home

from workroot.mcp_face.rate_limits import RATE_LIMITED

HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "hand", "version": "1"}}
PROGRAM = Path(__file__).with_name("attached_protocol_server.py")


class Attached:
    """An attached server over HTTP, with calls that stay under way."""

    def __init__(self, home: Home, server: HttpServer) -> None:
        self.parked, self.url, self.process = Parking(home), server.url, server.process

    @asynccontextmanager
    async def hands(self, count: int = 1) -> AsyncIterator[list[Hand]]:
        async with httpx2.AsyncClient(timeout=DEADLINE_SECONDS) as http:
            yield [Hand(http, self.url, "none") for _ in range(count)]


@contextmanager
def attached(**options: object) -> Iterator[Attached]:
    with open_home() as home, http_server(home, program=PROGRAM, **options) as server:
        yield Attached(home, server)


@pytest.fixture(scope="module")
def served() -> Iterator[Attached]:
    with attached() as made:
        yield made


# Session ids


@pytest.mark.row("M1", "B25")
async def test_only_an_id_that_initialize_issued_is_known(served: Attached) -> None:
    async with served.hands(2) as (ada, bob):
        without = await ada.ask("tools/list")
        bob.session_id = "../../made-up"
        made_up = [await bob.ask("tools/list"), await bob.ask("tools/list", None, Accept="text/event-stream, */*")]
        await ada.open()
        listed = await ada.ask("tools/list")
    assert without.status_code == 400
    assert "Missing session ID" in messages(without)[0]["error"]["message"]
    assert [response.status_code for response in made_up] == [404, 404]
    assert listed.status_code == 200
    assert len(ada.session_id) == 32  # 122 random bits, of the SDK


@pytest.mark.row("M3", "B27")
async def test_a_deleted_session_is_over_and_what_came_over_it_is_no_way_in(served: Attached) -> None:
    async with served.hands() as (ada,):
        await ada.open()
        assert await ada.delete() == 200
        assert await ada.delete() == 404
        assert (await ada.ask("tools/list")).status_code == 404
        ada.session_id = ""
        assert await ada.delete() == 400


@pytest.mark.row("M2", "B28")
async def test_sessions_have_a_most_and_an_end() -> None:
    with attached(max_sessions=2, session_idle_timeout=1.5) as served:
        async with served.hands(3) as (ada, bob, eve):
            await ada.open()
            await bob.open()
            refused = await eve.ask("initialize", HELLO)

            begun = {"method": "notifications/initialized"}
            with anyio.fail_after(DEADLINE_SECONDS):
                # A stranger's request keeps nobody's session alive; the server writes a line of each, and nobody reads.
                while (opened := await eve.ask("initialize", HELLO)).status_code == 503:  # noqa: ASYNC110 -- the SDK tells nobody when it ends one
                    await anyio.sleep(0.1)
                assert 404 in [(await hand.say(begun)).status_code for hand in (ada, bob)]
    assert opened.status_code == 200
    assert refused.status_code == 503
    assert "Too many open sessions" in refused.text


@pytest.mark.row("B28")
async def test_a_session_knows_what_its_client_can(served: Attached) -> None:
    project = served.parked.home.repository("rooted")
    async with open_http(served.url, LEGACY, roots=lambda: [project.as_uri()]) as client:
        found = await client.call_tool("get_working_directory", {})
    assert found.structured_content is not None
    assert found.structured_content["working_directory"] == str(project)


@pytest.mark.row("B27")
async def test_an_unknown_protocol_is_not_promised_and_a_batch_and_other_sites_are_refused(served: Attached) -> None:
    async with served.hands() as (ada,), httpx2.AsyncClient() as http:
        client = {"protocolVersion": "1999-01-01", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
        (said,) = messages(await ada.ask("initialize", client))
        await ada.open()
        batch = await http.post(served.url, json=[{"jsonrpc": "2.0", "id": 1, "method": "ping"}], headers=ada.headers())
        hosts = [
            await ada.ask("ping", None, Host="evil.example"),
            await ada.ask("ping", None, Origin="http://e.example"),
        ]
    assert said["result"]["protocolVersion"] == "2025-11-25"
    assert batch.status_code == 400
    assert [response.status_code for response in hosts] == [421, 403]
    assert all("access-control-allow-origin" not in response.headers for response in hosts)


# Events that are sent again


@pytest.mark.row("M4")
async def test_where_the_author_keeps_events_a_client_gets_those_that_it_missed() -> None:
    with attached(events=True) as served:
        async with served.hands() as (ada,), httpx2.AsyncClient(timeout=DEADLINE_SECONDS) as http:
            await ada.open()
            call = {"name": "count", "arguments": {"name": "ada"}, "_meta": {"progressToken": 1}}
            whole = await ada.ask("tools/call", call)
            ids = [line.removeprefix("id: ") for line in whole.text.splitlines() if line.startswith("id: ")]
            again, lines = {"Last-Event-ID": ids[2], "MCP-Protocol-Version": "2025-11-25"}, []
            async with http.stream("GET", served.url, headers=ada.headers(**again)) as response:
                with anyio.fail_after(DEADLINE_SECONDS):
                    async for line in response.aiter_lines():
                        lines.append(line)
                        if '"result"' in line:
                            break
    said = [line for line in whole.text.splitlines() if line.startswith("data: {")]
    assert [line for line in lines if line.startswith("data: {")] == said[3:]
    assert len(said) == 6


@pytest.mark.row("M4")
async def test_where_nobody_keeps_events_a_client_that_wants_them_is_told_so(served: Attached) -> None:
    async with served.hands() as (ada,), httpx2.AsyncClient(timeout=DEADLINE_SECONDS) as http:
        await ada.open()
        refused = await http.get(served.url, headers=ada.headers(**{"Last-Event-ID": "3"}))
        async with ada.listening():
            pass
    assert refused.status_code == 400
    assert "open the stream without Last-Event-ID" in messages(refused)[0]["error"]["message"]


# How often


@pytest.mark.row("M5", "B27")
@pytest.mark.parametrize("era", ERAS)
async def test_a_users_rate_is_the_same_on_every_connection_and_not_anothers(era: str) -> None:
    with attached(users=["ada", "bob"], per_second=0.001, burst=8) as served:
        async with open_http(served.url, era, token="ada-token") as first:
            refused = await until_refused(first)
        async with httpx2.AsyncClient(timeout=DEADLINE_SECONDS) as http:
            another = await Hand(http, served.url, "ada-token").ask("initialize", HELLO)
        async with open_http(served.url, era, token="bob-token") as other:
            assert text_of(await other.call_tool("let_go", {})) == "all go on"
    assert refused.code == RATE_LIMITED
    assert refused.data["retry_after"] > 0
    assert messages(another)[0]["error"]["code"] == RATE_LIMITED


async def until_refused(client: Client) -> MCPError:
    for _ in range(20):
        try:
            await client.call_tool("let_go", {})
        except MCPError as error:
            return error
    raise AssertionError("nothing was refused")


# Lists


@pytest.mark.row("M6")
@pytest.mark.parametrize("era", ERAS)
async def test_projects_are_listed_page_by_page(era: str) -> None:
    with open_home() as home:
        projects = [str(home.repository(f"p{number:03}")) for number in range(105)]
        async with stdio_client(home, era, Path(projects[0]), program=PROGRAM) as client:
            for project in projects:
                text_of(await client.call_tool("set_working_directory", {"directory": project}))
            first = (await client.call_tool("list_projects", {})).structured_content
            second = (await client.call_tool("list_projects", {"cursor": first["next_cursor"]})).structured_content
            code, text = error_of(await client.call_tool("list_projects", {"cursor": "100"}))
    assert [row["root"] for row in first["projects"] + second["projects"]] == projects[::-1]
    assert (len(first["projects"]), second["next_cursor"]) == (100, None)
    assert (code, "is not a cursor of this list" in text) == ("invalid_arguments", True)


@pytest.mark.row("M6")
async def test_a_request_has_bounds(served: Attached) -> None:
    async with served.hands() as (ada,):
        await ada.open()
        long = await ada.announce((4 << 20) + 1)
        (wide,) = messages(
            await ada.ask("tools/call", {"name": "let_go", "arguments": {f"a{n}": n for n in range(101)}})
        )
    assert long == 413
    assert wide["result"]["isError"] is True  # an argument that the tool does not take is one too many


# Tasks


@pytest.mark.row("M7", "B29")
async def test_there_are_no_tasks(served: Attached) -> None:
    async with served.hands() as (ada,):
        await ada.open()
        for method in ("tasks/get", "tasks/result", "tasks/list", "tasks/cancel"):
            (said,) = messages(await ada.ask(method, {"taskId": "t"}))
            assert said["error"]["code"] == -32601
        (called,) = messages(await ada.ask("tools/call", {"name": "let_go", "arguments": {}, "task": {"ttl": 1000}}))
    assert called["result"]["content"][0]["text"] == "all go on"


# What ends a call, and what a call keeps from others


@pytest.mark.row("M9", "B30")
async def test_of_two_sessions_that_use_one_id_each_cancels_its_own_call(served: Attached) -> None:
    said: dict[str, str] = {}
    async with served.hands(2) as (ada, bob), anyio.create_task_group() as tasks:
        await ada.open()
        await bob.open()

        async def park(hand: Hand, name: str) -> None:
            call = {"id": 7, "method": "tools/call", "params": {"name": "park", "arguments": {"name": name}}}
            said[name] = (await hand.say(call)).text

        tasks.start_soon(park, bob, "two")
        await served.parked.wait_under_way("two")
        tasks.start_soon(park, ada, "one")  # the later one, which an id alone would mean
        await served.parked.wait_under_way("one", "two")
        await bob.say({"method": "notifications/cancelled", "params": {"requestId": 7}})
        await served.parked.wait_under_way("one")
        served.parked.let_go("one")
    assert "one went on" in said["one"]
    assert '"result"' not in said["two"]


@pytest.mark.row("M9", "B30")
@pytest.mark.parametrize("way", ["stdio", "http"])
@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_a_client_gives_up_is_stopped_and_another_of_its_goes_on(
    served: Attached, era: str, way: str
) -> None:
    one, two = f"kept-{era}-{way}", f"given-up-{era}-{way}"
    home = served.parked.home
    opened: Callable[[], Any] = (
        (lambda: stdio_client(home, era, home.top, program=PROGRAM))
        if way == "stdio"
        else (lambda: open_http(served.url, era))
    )
    answers: list[str] = []
    async with opened() as ada, opened() as bob:
        async with anyio.create_task_group() as tasks:

            async def keep() -> None:
                answers.append(text_of(await ada.call_tool("park", {"name": one})))

            async with anyio.create_task_group() as given_up:
                given_up.start_soon(bob.call_tool, "park", {"name": two})
                await served.parked.wait_under_way(two)
                tasks.start_soon(keep)
                await served.parked.wait_under_way(one, two)
                given_up.cancel_scope.cancel()
            await served.parked.wait_under_way(one)
            served.parked.let_go(one)
        assert answers == [f"{one} went on"]
        assert text_of(await bob.call_tool("let_go", {})) == "all go on"


@pytest.mark.row("M9", "B30")
@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_that_is_a_plain_function_holds_up_nobody(era: str) -> None:
    answers: list[str] = []
    with attached() as served:
        async with (
            open_http(served.url, era) as ada,
            open_http(served.url, era) as bob,
            anyio.create_task_group() as tasks,
        ):

            async def hold() -> None:
                answers.append(text_of(await ada.call_tool("hold", {"name": "held"})))

            tasks.start_soon(hold)
            await served.parked.wait_under_way("held")
            assert answers == []
            assert text_of(await bob.call_tool("let_go", {})) == "all go on"  # while the other still waits
    assert answers == ["held went on"]


@pytest.mark.row("B26")
@pytest.mark.parametrize("era", ERAS)
async def test_progress_reaches_the_client_that_asked_and_no_other(served: Attached, era: str) -> None:
    heard: dict[str, list[str | None]] = {name: [] for name in ("ada", "bob", "eve")}

    async def count(name: str) -> None:
        async def hear(progress: float, total: float | None, message: str | None) -> None:
            heard[name].append(message)

        async with open_http(served.url, era) as client:
            await client.call_tool("count", {"name": name}, progress_callback=hear)

    async with anyio.create_task_group() as tasks:
        for name in heard:
            tasks.start_soon(count, name)
    assert heard == {name: [f"{name} {number}" for number in range(5)] for name in heard}


# The end


@pytest.mark.row("M10")
@pytest.mark.parametrize("era", ERAS)
async def test_a_server_that_is_told_to_end_lets_a_call_under_way_finish(era: str) -> None:
    params: dict[str, Any] = {"name": "park", "arguments": {"name": "late"}}
    said: list[str] = []
    with attached() as served:
        async with served.hands() as (ada,), anyio.create_task_group() as tasks:
            headers: dict[str, str] = {}
            if era == MODERN:
                headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "park"}
                params["_meta"] = MODERN_META
            else:
                await ada.open()

            async def keep() -> None:
                said.append((await ada.ask("tools/call", params, **headers)).text)

            tasks.start_soon(keep)
            await served.parked.wait_under_way("late")
            served.process.send_signal(signal.SIGTERM)
            served.parked.let_go("late")
        assert served.process.wait(DEADLINE_SECONDS) in (0, -signal.SIGTERM)
    assert "late went on" in said[0]
    assert json.dumps("late went on") in said[0]
