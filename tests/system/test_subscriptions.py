"""Changes reach those who asked for them, in both eras, and nobody else; a daemon's death does not end that."""

from __future__ import annotations

import signal
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import ResourceUpdated, Subscription
from mcp.shared.exceptions import MCPDeprecationWarning
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, MODERN, MODERN_META, Home, Process, RawClient, answer_of

PROJECTS = "workroot://projects"


class Heard:
    """What a handshake-era client was notified of."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[str](100)

    async def __call__(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            self._send.send_nowait(str(message.params.uri))

    async def next(self) -> str:
        with anyio.fail_after(DEADLINE_SECONDS):
            return await self._receive.receive()

    def waiting(self) -> int:
        return self._receive.statistics().current_buffer_used

    def close(self) -> None:
        self._send.close()
        self._receive.close()


async def next_uri(subscription: Subscription) -> str:
    with anyio.fail_after(DEADLINE_SECONDS):
        event = await anext(subscription)
    assert isinstance(event, ResourceUpdated)
    return event.uri


async def test_a_modern_client_hears_of_its_session_s_moves_and_end(shared: Home) -> None:
    one, two = shared.repository("heard-one"), shared.repository("heard-two")

    async with shared.open_client(MODERN, one) as listener, shared.open_client(MODERN, one) as mover:
        session = (await answer_of(mover, "set_working_directory", directory=str(one)))["session_id"]
        uri = f"workroot://sessions/{session}"
        async with listener.listen(resource_subscriptions=[uri]) as subscription:
            assert subscription.honored.resource_subscriptions == [uri]
            await answer_of(mover, "set_working_directory", directory=str(two), session_id=session)
            moved = await next_uri(subscription)
            await answer_of(mover, "close_session", session_id=session)
            closed = await next_uri(subscription)

    assert moved == closed == uri


async def test_a_handshake_client_hears_of_its_session_s_moves_until_it_unsubscribes(shared: Home) -> None:
    one, two = shared.repository("old-heard-one"), shared.repository("old-heard-two")
    heard = Heard()

    async with (
        shared.open_client(LEGACY, one, heard=heard) as client,
        shared.open_client(MODERN, one) as mover,
    ):
        session = (await answer_of(client, "set_working_directory", directory=str(one)))["session_id"]
        uri = f"workroot://sessions/{session}"
        with pytest.warns(MCPDeprecationWarning):
            await client.subscribe_resource(uri)
        await answer_of(mover, "set_working_directory", directory=str(two), session_id=session)
        first = await heard.next()
        with pytest.warns(MCPDeprecationWarning):
            await client.unsubscribe_resource(uri)
        with pytest.warns(MCPDeprecationWarning):
            await client.subscribe_resource(PROJECTS)
        await answer_of(mover, "set_working_directory", directory=str(one), session_id=session)
        await answer_of(
            mover, "get_working_directory", meta={"workroot/directory": str(shared.repository("old-heard-new"))}
        )
        second = await heard.next()

    assert (first, second) == (uri, PROJECTS)
    assert heard.waiting() == 0
    heard.close()


@pytest.mark.parametrize("era", ERAS)
async def test_a_new_project_is_told_of(shared: Home, era: str) -> None:
    heard = Heard()
    project = shared.repository(f"new-{era}")

    async with shared.open_client(MODERN) as mover, shared.open_client(era, heard=heard) as client:
        if era == MODERN:
            async with client.listen(resource_subscriptions=[PROJECTS]) as subscription:
                await answer_of(mover, "get_working_directory", meta={"workroot/directory": str(project)})
                told = await next_uri(subscription)
        else:
            with pytest.warns(MCPDeprecationWarning):
                await client.subscribe_resource(PROJECTS)
            await answer_of(mover, "get_working_directory", meta={"workroot/directory": str(project)})
            told = await heard.next()

    assert told == PROJECTS
    heard.close()


@pytest.mark.parametrize("era", ERAS)
async def test_nobody_hears_of_somebody_else_s_session_or_projects(shared: Home, era: str) -> None:
    mine = shared.repository(f"mine-{era}")
    news = f"workroot://sessions/{'own-' + era}"

    async with (
        shared.open_client(MODERN, mine) as owner,
        shared.open_http_client(MODERN, f"eve-{era}") as stranger,
        shared.open_http_client(MODERN, f"eve-{era}") as accomplice,
    ):
        session = (await answer_of(owner, "set_working_directory", directory=str(mine)))["session_id"]
        theirs = (await answer_of(accomplice, "set_working_directory", directory=str(mine)))["session_id"]
        uris = [f"workroot://sessions/{session}", PROJECTS, news, f"workroot://sessions/{theirs}"]
        async with stranger.listen(resource_subscriptions=uris) as subscription:
            fresh = shared.repository(f"fresh-{era}")
            await answer_of(owner, "set_working_directory", directory=str(fresh), session_id=session)
            await answer_of(owner, "close_session", session_id=session)
            await answer_of(accomplice, "set_working_directory", directory=str(mine), session_id=theirs)
            told = await next_uri(subscription)

    assert told == f"workroot://sessions/{theirs}"


async def _listen(client: RawClient, request_id: str, *uris: str) -> dict[str, Any]:
    await client.send(
        id=request_id,
        method="subscriptions/listen",
        params={
            "notifications": {"toolsListChanged": True, "resourceSubscriptions": list(uris)},
            "_meta": MODERN_META,
        },
    )
    return await client.receive()


async def test_a_listen_stream_survives_the_daemon_and_every_honoured_kind_is_told_once(home: Home) -> None:
    project = home.repository("survivor")

    async with home.open_raw_connector(project) as client:
        opened = await client.call(1, "set_working_directory", meta=MODERN_META, directory=str(project))
        session = opened["result"]["structuredContent"]["session_id"]
        uri = f"workroot://sessions/{session}"
        acknowledged = await _listen(client, "ear", uri, PROJECTS)
        home.kill_daemon()
        await client.send(id=2, method="tools/list", params={"_meta": MODERN_META})
        told = [await client.receive() for _ in range(4)]
        moved = await client.call(3, "get_working_directory", meta=MODERN_META, session_id=session)
        await client.send_call(4, "set_working_directory", meta=MODERN_META, session_id=session, directory=str(project))
        later = [await client.receive() for _ in range(2)]

    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    notified = [message for message in told if "method" in message]
    assert [message["id"] for message in told if "id" in message] == [2]
    assert sorted((message["method"], message["params"].get("uri")) for message in notified) == sorted(
        [
            ("notifications/tools/list_changed", None),
            ("notifications/resources/updated", uri),
            ("notifications/resources/updated", PROJECTS),
        ],
        key=str,
    )
    key = "io.modelcontextprotocol/subscriptionId"
    assert {message["params"]["_meta"][key] for message in notified} == {"ear"}
    assert moved["result"]["structuredContent"]["working_directory"] == str(project)
    (update,) = [message for message in later if "method" in message]
    assert (update["params"]["uri"], update["params"]["_meta"][key]) == (uri, "ear")


async def test_the_sdk_s_listen_loop_goes_on_after_the_daemon_was_killed(home: Home) -> None:
    one, two = home.repository("loop-one"), home.repository("loop-two")

    async with home.open_client(MODERN, one) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(one)))["session_id"]
        uri = f"workroot://sessions/{session}"
        async with client.listen(resource_subscriptions=[uri]) as subscription:
            home.kill_daemon()
            await next_uri(subscription)  # it may have missed something meanwhile
            await answer_of(client, "set_working_directory", directory=str(two), session_id=session)
            told = await next_uri(subscription)

    assert told == uri


async def test_a_listen_stream_goes_on_after_a_daemon_that_ended_in_order(home: Home) -> None:
    project = home.repository("orderly")

    async with home.open_raw_connector(project) as client:
        await _listen(client, "ear", PROJECTS)
        daemon = Process(home.ask("status")["pid"])
        daemon.signal(signal.SIGTERM)
        told = [await client.receive() for _ in range(2)]
        daemon.close()

    methods = {"notifications/tools/list_changed", "notifications/resources/updated"}
    assert {message["method"] for message in told} == methods, "it may have missed something meanwhile"
    assert {message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] for message in told} == {"ear"}


async def test_a_listen_stream_ends_with_its_result_when_the_user_stops_the_daemon(home: Home) -> None:
    project = home.repository("graceful")

    async with home.open_raw_connector(project) as client:
        await _listen(client, "ear", PROJECTS)
        home.run("stop")
        ended = await client.receive()

    assert ended["id"] == "ear"
    assert ended["result"]["resultType"] == "complete"


async def test_a_listen_that_the_dead_daemon_never_served_is_acknowledged_by_the_next(home: Home) -> None:
    async with home.open_raw_connector(home.repository("unserved")) as client:
        await client.call(1, "get_working_directory", meta=MODERN_META)
        daemon = Process(home.ask("status")["pid"])
        daemon.signal(signal.SIGSTOP)  # from here on it takes requests and answers none
        ear = {"notifications": {"toolsListChanged": True}, "_meta": MODERN_META}
        await client.send(id="ear", method="subscriptions/listen", params=ear)
        await client.send(id=2, method="tools/list", params={"_meta": MODERN_META})
        daemon.signal(signal.SIGKILL)
        daemon.close()
        first = await client.receive()
        second = await client.receive()

    methods = {message.get("method", message.get("id")) for message in (first, second)}
    assert methods == {"notifications/subscriptions/acknowledged", 2}
