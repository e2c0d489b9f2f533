"""What ends a call: its own client's word or going away, never another's, whatever ids the two use; and the end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from http_by_hand import Hand, hands
from mcp import Client
from parked_calls import Parking, parking
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, MODERN, MODERN_META, RawClient, text_of

from workroot.identity import TokenFile

SDK_READS = "application/json;q=1, text/event-stream"  # it means the same, and is left to the SDK to read


@pytest.fixture(scope="module")
def parked() -> Iterator[Parking]:
    with parking() as made:
        yield made


def call(name: str) -> dict[str, Any]:
    return {"name": "list_projects", "arguments": {"query": f"park {name}"}}


# Over the socket


@asynccontextmanager
async def on_the_socket(parked: Parking, era: str, alias: str, *, is_first: bool) -> AsyncIterator[RawClient]:
    """Connect; unless *is_first*, something has been asked before, since the first request has a way of its own."""
    async with parked.home.open_raw_socket(environment={}, alias=alias) as client:
        if era == LEGACY:
            await client.initialize()
        elif not is_first:
            await client.call(0, "get_working_directory", meta=MODERN_META)
        yield client


@pytest.mark.row("M9", "B30")
@pytest.mark.parametrize(("era", "is_first"), [(LEGACY, False), (MODERN, False), (MODERN, True)])
async def test_a_client_on_the_socket_cancels_its_own_call_and_not_the_one_of_the_same_id(
    parked: Parking, era: str, is_first: bool
) -> None:
    one, two = f"one-{era}-{is_first}", f"two-{era}-{is_first}"
    meta = {"_meta": MODERN_META} if era == MODERN else {}
    async with (
        on_the_socket(parked, era, one, is_first=is_first) as ada,
        on_the_socket(parked, era, two, is_first=is_first) as bob,
    ):
        await bob.send(id=1, method="tools/call", params=call(two) | meta)
        await parked.wait_under_way(two)
        await ada.send(
            id=1, method="tools/call", params=call(one) | meta
        )  # the later one, which an id alone would mean
        await parked.wait_under_way(one, two)

        await bob.send(method="notifications/cancelled", params={"requestId": 1} | meta)
        await parked.wait_under_way(one)
        parked.let_go(one)

        assert (await ada.receive())["id"] == 1
        await bob.send(id=2, method="tools/call", params={"name": "list_projects", "arguments": {}} | meta)
        assert (await bob.receive())["id"] == 2  # and nothing came for the first


# Over HTTP


@pytest.mark.row("M9", "B30")
@pytest.mark.parametrize("accept", ["application/json, text/event-stream", SDK_READS])
async def test_a_session_over_http_cancels_its_own_call_and_not_the_one_of_the_same_id(
    parked: Parking, accept: str
) -> None:
    one, two = f"one-{len(accept)}", f"two-{len(accept)}"
    said: dict[str, str] = {}
    async with hands(parked.home, 2) as (ada, bob), anyio.create_task_group() as tasks:
        await ada.open()
        await bob.open()

        async def park(hand: Hand, name: str) -> None:
            message = {"id": 7, "method": "tools/call", "params": call(name)}
            said[name] = (await hand.say(message, Accept=accept)).text

        tasks.start_soon(park, bob, two)
        await parked.wait_under_way(two)
        tasks.start_soon(park, ada, one)  # the later one, which an id alone would mean
        await parked.wait_under_way(one, two)
        cancelled = await bob.say({"method": "notifications/cancelled", "params": {"requestId": 7}})
        await parked.wait_under_way(one)
        parked.let_go(one)

    assert cancelled.status_code == 202
    assert '"id":7' in said[one].replace(" ", "")
    assert '"result"' not in said[two]  # nothing, or the SDK's error -32800


@pytest.mark.row("M9", "B30")
@pytest.mark.parametrize("accept", ["application/json, text/event-stream", SDK_READS])
async def test_who_hangs_up_cancels_its_own_call_and_not_the_one_of_the_same_id(parked: Parking, accept: str) -> None:
    one, two = f"one-hung-{len(accept)}", f"two-hung-{len(accept)}"
    token = TokenFile(parked.home.state / "tokens.json").create(f"hung-{len(accept)}")
    ada, bob = [await posted(parked, call(name), token, accept) for name in (one, two)]
    async with ada:
        async with bob:
            await parked.wait_under_way(one, two)
        await parked.wait_under_way(one)
        parked.let_go(one)
        answer = b""
        with anyio.fail_after(DEADLINE_SECONDS):
            while b"projects" not in answer:
                answer += await ada.receive()
    assert b'"id":1' in answer


async def posted(parked: Parking, params: dict[str, Any], token: str, accept: str) -> SocketStream:
    """Send a request of the modern era on a connection of its own."""
    port = int(parked.home.ask("status")["http"]["url"].rpartition(":")[2].partition("/")[0])
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params | {"_meta": MODERN_META}}
    body = json.dumps(message).encode()
    headers = {
        "Host": f"127.0.0.1:{port}",
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": accept,
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "list_projects",
        "Content-Length": str(len(body)),
    }
    head = "\r\n".join(["POST /mcp HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""])
    stream = await anyio.connect_tcp("127.0.0.1", port)
    await stream.send(head.encode() + body)
    return stream


# The SDK's clients


@asynccontextmanager
async def sdk_client(parked: Parking, era: str, way: str) -> AsyncIterator[Client]:
    if way == "connector":
        async with parked.home.open_client(era) as client:
            yield client
    else:
        async with parked.home.open_http_client(era) as client:
            yield client


@pytest.mark.row("M9")
@pytest.mark.parametrize("way", ["connector", "http"])
@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_the_sdks_client_gives_up_is_stopped_and_another_clients_goes_on(
    parked: Parking, era: str, way: str
) -> None:
    one, two = f"kept-{era}-{way}", f"given-up-{era}-{way}"
    answers: list[str] = []
    async with sdk_client(parked, era, way) as ada, sdk_client(parked, era, way) as bob:
        async with anyio.create_task_group() as tasks:

            async def keep() -> None:
                answers.append(text_of(await ada.call_tool("list_projects", {"query": f"park {one}"})))

            async with anyio.create_task_group() as given_up:
                given_up.start_soon(bob.call_tool, "list_projects", {"query": f"park {two}"})
                await parked.wait_under_way(two)
                tasks.start_soon(keep)
                await parked.wait_under_way(one, two)
                given_up.cancel_scope.cancel()
            await parked.wait_under_way(one)
            parked.let_go(one)
        assert "No known project matches" in answers[0]
        assert not (await bob.call_tool("list_projects", {})).is_error


# The end


@pytest.mark.row("M10")
@pytest.mark.parametrize("way", ["socket", "http"])
@pytest.mark.parametrize("era", ERAS)
async def test_a_daemon_that_is_told_to_end_lets_a_call_under_way_finish(era: str, way: str) -> None:
    with parking() as parked:
        async with asked(parked, era, way) as answer:
            await parked.wait_under_way("late")
            os.kill(parked.home.ask("status")["pid"], signal.SIGTERM)
            await parked.home.wait_until_async(lambda: '"stopping"' in parked.home.log, what="the end begun")
            parked.let_go("late")
            assert "No known project matches" in await answer()
        await parked.home.wait_until_async(lambda: '"stopped"' in parked.home.log, what="the end")


@pytest.mark.row("M10")
@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_does_not_finish_is_cut_off_in_time_and_its_client_is_told_to_send_it_again(era: str) -> None:
    with parking(WORKROOT_DRAIN_SECONDS="0.1") as parked:
        async with asked(parked, era, "http") as answer:
            await parked.wait_under_way("late")
            os.kill(parked.home.ask("status")["pid"], signal.SIGTERM)
            said = await answer()
        await parked.home.wait_until_async(lambda: '"stopped"' in parked.home.log, what="the end")
    assert "503" in said
    assert "send this again" in said


@asynccontextmanager
async def asked(parked: Parking, era: str, way: str) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Call a tool, and yield what waits for all that is said to that; over HTTP with the status before it."""
    if way == "socket":
        async with on_the_socket(parked, era, "late", is_first=False) as client:
            meta = {"_meta": MODERN_META} if era == MODERN else {}
            await client.send(id=1, method="tools/call", params=call("late") | meta)

            async def received() -> str:
                return json.dumps(await client.receive())

            yield received
    elif era == MODERN:
        token = TokenFile(parked.home.state / "tokens.json").create("late")
        async with await posted(parked, call("late"), token, "application/json, text/event-stream") as stream:

            async def streamed() -> str:
                return b"".join([part async for part in stream]).decode()

            yield streamed
    else:
        async with hands(parked.home) as (ada,), anyio.create_task_group() as tasks:
            await ada.open()
            said: list[str] = []

            async def keep() -> None:
                response = await ada.ask("tools/call", call("late"))
                said.append(f"{response.status_code} {response.text}")

            tasks.start_soon(keep)

            async def kept() -> str:
                await parked.home.wait_until_async(lambda: bool(said), what="an answer")
                return said[0]

            yield kept
