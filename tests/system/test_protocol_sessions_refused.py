"""What this server refuses on purpose is said in words, nothing is kept of it, and what it has instead is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from http_by_hand import hands, messages, serving
from readme_document import code, find
from real_daemon import ERAS, LEGACY, MODERN, MODERN_META, Home, RawClient, answer_of

from workroot import __version__
from workroot.identity import TokenFile

OPERATIONS = "docs/operations.md"
METHODS = ["tasks/get", "tasks/result", "tasks/list", "tasks/cancel", "tasks/update"]


@pytest.fixture(scope="module")
def web() -> Iterator[Home]:
    """A home whose daemon serves HTTP."""
    with serving() as made:
        yield made


# Last-Event-ID


@pytest.mark.row("M4")
async def test_a_client_that_wants_events_again_hears_that_there_are_none_and_what_to_do(web: Home) -> None:
    project = web.repository("watched")
    async with hands(web) as (ada,), httpx2.AsyncClient() as http:
        await ada.open()
        await ada.call("set_working_directory", directory=str(project))
        await ada.ask("resources/subscribe", {"uri": "workroot://projects"})
        url = web.ask("status")["http"]["url"]
        refused = await http.get(url, headers=ada.headers(**{"Last-Event-ID": "7"}))
        await ada.call("get_working_directory", directory=str(web.repository("new-one")))
        await ada.call("set_working_directory", directory=str(web.top / "new-one"))
        async with ada.listening() as stream:  # as it was told
            told = await stream.next()

    assert refused.status_code == 400
    (said,) = messages(refused)
    assert "open the stream without Last-Event-ID" in said["error"]["message"]
    assert (told["method"], told["params"]["uri"]) == ("notifications/resources/updated", "workroot://projects")


@pytest.mark.row("M4")
async def test_no_event_has_an_id_so_no_client_of_the_sdk_asks_for_one_again(web: Home) -> None:
    async with hands(web) as (ada,):
        await ada.open()
        called = await ada.ask("tools/call", {"name": "get_working_directory", "arguments": {}})
        listed = await ada.ask("tools/list")
    for response in (called, listed):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert [line for line in response.text.splitlines() if line.startswith(("id:", "retry:"))] == []


@pytest.mark.row("M4")
async def test_in_the_modern_era_the_header_says_nothing_and_there_is_no_stream_to_resume(web: Home) -> None:
    async with hands(web) as (ada,), httpx2.AsyncClient() as http:
        url = web.ask("status")["http"]["url"]
        modern = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "list_projects"}
        params = {"name": "list_projects", "arguments": {}, "_meta": MODERN_META}
        called = await ada.ask("tools/call", params, **modern, **{"Last-Event-ID": "7"})
        refused = await http.get(url, headers=ada.headers(**{"MCP-Protocol-Version": MODERN, "Last-Event-ID": "7"}))
    assert "projects" in messages(called)[0]["result"]["structuredContent"]
    assert refused.status_code == 405


# Tasks


async def asked(client: RawClient, request_id: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
    await client.send(id=request_id, method=method, params=params)
    return await client.receive()


@pytest.mark.row("M7", "B29")
@pytest.mark.parametrize("era", ERAS)
async def test_whoever_asks_for_a_task_hears_that_there_are_none(shared: Home, era: str) -> None:
    meta = {"_meta": MODERN_META} if era == MODERN else {}
    async with shared.open_raw_socket(environment={}, alias=f"tasks-{era}") as client:
        if era == LEGACY:
            begun = await client.initialize()
            capabilities = begun["result"]["capabilities"]
        else:
            capabilities = (await asked(client, 0, "server/discover", meta))["result"]["capabilities"]
        for number, method in enumerate(METHODS, start=1):
            refused = (await asked(client, number, method, {"taskId": "t"} | meta))["error"]
            assert refused["code"] == -32601
            assert "keeps no tasks; every call is answered by its result" in refused["message"]
    assert "tasks" not in capabilities
    assert "io.modelcontextprotocol/tasks" not in capabilities.get("extensions", {})


@pytest.mark.row("M7")
@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_may_become_a_task_is_answered_by_its_result_all_the_same(shared: Home, era: str) -> None:
    capable: dict[str, Any] = {
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    }
    async with shared.open_raw_socket(environment={}, alias=f"may-{era}") as client:
        params: dict[str, Any] = {"name": "list_projects", "arguments": {}}
        if era == LEGACY:
            await client.initialize()
            params["task"] = {"ttl": 60_000}
        else:
            params["_meta"] = MODERN_META | capable
        said = await asked(client, 1, "tools/call", params)
    assert "projects" in said["result"]["structuredContent"]
    assert "task" not in said["result"]


@pytest.mark.row("M7", "B29")
async def test_over_http_a_task_is_refused_to_strangers_and_owners_alike(web: Home) -> None:
    async with hands(web, 2, user="ada") as (ada, eve):
        for hand in (ada, eve):
            await hand.open()
            (said,) = messages(await hand.ask("tasks/list"))
            assert said["error"]["code"] == -32601


@pytest.mark.row("B29")
@pytest.mark.parametrize("era", ERAS)
async def test_nothing_is_kept_of_calls_that_might_be_tasks_however_many(home: Home, era: str) -> None:
    pid = home.start().pid
    meta = {"_meta": MODERN_META} if era == MODERN else {}
    call = {"name": "list_projects", "arguments": {}, "task": {"ttl": 10**9}} | meta
    async with home.open_raw_socket(environment={}, alias="many") as client:
        if era == LEGACY:
            await client.initialize()

        async def ask(rounds: int) -> int:
            for number in range(rounds):
                assert "result" in await asked(client, 2 * number, "tools/call", call)
                assert "error" in await asked(client, 2 * number + 1, "tasks/get", {"taskId": str(number)} | meta)
            return memory_kib(pid)

        before = await ask(500)
        after = await ask(2000)
    assert after - before < 1024  # 1 KiB a call would be 2 MiB


def memory_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split(maxsplit=1)[0])


# Operations


@pytest.mark.row("M8")
async def test_what_other_servers_have_pages_for_is_there_under_one_name(web: Home) -> None:
    url = web.ask("status")["http"]["url"].removesuffix("/mcp")
    token = TokenFile(web.state / "tokens.json").create("operator")
    async with httpx2.AsyncClient() as http, web.open_http_client(MODERN) as client:
        await answer_of(client, "list_projects")
        alive, ready = [await http.get(url + page) for page in ("/healthz", "/readyz")]
        metrics = await http.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"})
        others = [code(page) for page, _ in find("table", "Health and metrics", 3, document=OPERATIONS).rows]
        missing = [(await http.get(url + page)).status_code for page in others]
    status = web.ask("status")

    assert (alive.status_code, ready.status_code) == (200, 200)
    assert "workroot_requests_total" in metrics.text
    assert {"/ping", "/version", "/health", "/health/ready", "/health/detailed", "/info"} <= set(others)
    assert missing == [404] * len(others)
    assert status["version"] == __version__
    assert {"uptime_seconds", "sessions", "connections", "refusals"} <= status.keys()


@pytest.mark.row("M8")
async def test_a_client_of_the_handshake_era_can_ping(web: Home) -> None:
    async with hands(web) as (ada,):
        await ada.open()
        (said,) = messages(await ada.ask("ping"))
    assert said["result"] == {}
