"""A user's rate is the user's: no new connection, session, era or transport is a way round it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from http_by_hand import UNLIMITED, hands, messages
from mcp import Client
from mcp.shared.exceptions import MCPError
from real_daemon import ERAS, MODERN_META, Home, Process, answer_of, open_home

from workroot.mcp_face.rate_limits import RATE_LIMITED

CANCELLED = "notifications/cancelled"
SLOW = {"WORKROOT_RATE_LIMIT_PER_SECOND": "0.001", "WORKROOT_RATE_LIMIT_BURST": "8"}  # nothing comes back in a test


@contextmanager
def limited(**settings: str) -> Iterator[Home]:
    with open_home(WORKROOT_HTTP="1", **UNLIMITED, **settings) as home:
        home.start()
        yield home


@asynccontextmanager
async def client_of(home: Home, era: str, way: str, user: str | None = None) -> AsyncIterator[Client]:
    opened = home.open_client(era) if way == "connector" else home.open_http_client(era, user)
    async with opened as client:
        yield client


async def allowed(client: Client) -> int:
    """Return how many calls are answered until one is refused."""
    refused, count = None, -1
    while refused is None and count < 100:
        count += 1
        try:
            await answer_of(client, "get_working_directory")
        except MCPError as error:
            refused = error.code
    assert refused == RATE_LIMITED
    return count


@pytest.mark.row("M5", "B27")
@pytest.mark.parametrize("way", ["connector", "http"])
@pytest.mark.parametrize("era", ERAS)
async def test_a_user_who_asks_too_often_is_told_when_to_ask_again_on_whatever_connection(era: str, way: str) -> None:
    with limited(**SLOW) as home:
        async with client_of(home, era, way) as first:
            assert 0 < await allowed(first) <= 8  # to begin a conversation counts too
            with pytest.raises(MCPError, match=r"more than 0\.001 requests a second; nothing was done, ") as refused:
                await first.call_tool("set_working_directory", {"directory": str(home.top)})
        for other in ("connector", "http"):
            for its_era in ERAS:
                async with client_of(home, its_era, other) as another:  # to begin is never refused
                    assert await allowed(another) == 0
        counted = home.ask("status")["refusals"]["rate_limit"]
        metrics = home.run("status", "--metrics").stdout

        assert home.sessions() == {}
    assert refused.value.code == RATE_LIMITED
    assert refused.value.data["retryable"] is True
    assert 0 < refused.value.data["retry_after"] <= 1000
    assert counted == 6
    assert 'workroot_refusals_total{kind="rate_limit"} 6' in metrics


@pytest.mark.row("M5")
@pytest.mark.parametrize("era", ERAS)
async def test_one_users_rate_is_not_anothers(era: str) -> None:
    with limited(**SLOW) as home:
        async with client_of(home, era, "http", "ada") as ada, client_of(home, era, "http", "bob") as bob:
            assert await allowed(ada) > 0
            assert await allowed(bob) > 0


@pytest.mark.row("M5", "B27")
async def test_a_new_session_id_is_no_way_round_the_rate() -> None:
    with limited(**SLOW) as home:
        async with hands(home, 20) as conversations:
            answered = 0
            for hand in conversations:
                await hand.open()
                (said,) = messages(await hand.ask("tools/call", {"name": "list_projects", "arguments": {}}))
                answered += "result" in said
            await conversations[0].delete()
    assert answered < 8


@pytest.mark.row("M5")
async def test_no_rate_is_limited_unless_somebody_sets_one_and_that_is_felt_at_once(home: Home) -> None:
    pid = home.start().pid
    async with home.open_raw_socket(environment={}) as client:

        async def ask(count: int) -> list[dict[str, Any]]:
            return [await client.call(n, "get_working_directory", meta=MODERN_META) for n in range(count)]

        assert all("result" in answer for answer in await ask(300))
        (home.state / "config.toml").write_text("rate_limit_per_second = 0.001\n")
        process = Process(pid)
        process.signal(signal.SIGHUP)
        process.close()
        await home.wait_until_async(lambda: "settings read again" in home.log, what="the setting")
        answers = await ask(5)
        wanted = {"notifications": {"toolsListChanged": True}, "_meta": MODERN_META}
        await client.send(id="stream", method="subscriptions/listen", params=wanted)
        listening = await client.receive()

    assert ["result" in answer for answer in answers] == [True, False, False, False, False]
    assert 900 < answers[-1]["error"]["data"]["retry_after"] <= 1000
    assert listening["method"] == "notifications/subscriptions/acknowledged"  # a connector may have sent it by itself


async def test_a_call_can_be_taken_back_however_often_one_has_asked() -> None:
    with limited(WORKROOT_RATE_LIMIT_PER_SECOND="0.001", WORKROOT_RATE_LIMIT_BURST="2") as home:
        async with home.open_raw_socket(environment={}, alias="one") as client:
            await client.initialize(roots=True)
            await client.send_call(1, "get_working_directory")
            question = await client.receive()
            assert question["method"] == "roots/list"
            await client.send_call(2, "get_working_directory")
            assert (await client.receive())["error"]["code"] == RATE_LIMITED
            await client.send(method="notifications/cancelled", params={"requestId": 1})
            taken_back = await client.receive()
            assert (taken_back["method"], taken_back["params"]["requestId"]) == (CANCELLED, question["id"])
            await client.send(id=3, method="ping")
            assert (await client.receive()) == {"jsonrpc": "2.0", "id": 3, "result": {}}
