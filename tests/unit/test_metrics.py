from __future__ import annotations

from dataclasses import replace

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, InputRequiredResult
from observed_daemon import ADA, EVE, STORE, World, context, pass_through

from fakes import DAY
from workroot.mcp_face.meter import DURATION_BOUNDS, Client, Durations, Meter
from workroot.observation.metrics import Metrics
from workroot.peer import Conversation, Peer

# Sessions


async def test_sessions_are_counted_by_user_as_they_come_and_go() -> None:
    world = World()
    async with world.sessions as sessions:
        for name in ("wr_one", "wr_two"):
            await sessions.set_working_directory(name, "/a", owner=ADA)
        await sessions.set_working_directory("wr_three", "/a", owner=EVE)
        await sessions.close_session("wr_one", owner=ADA)
        world.clock.advance(2 * DAY)
        assert (await world.samples())["workroot_stale_sessions"] == 2
        await sessions.sweep()

        samples = await world.samples()

    assert samples["mcp_sessions_created_total/uid:1000"] == 2
    assert samples["mcp_sessions_closed_total/uid:1000"] == 1
    assert samples["mcp_sessions_expired_total/uid:1000"] == 1
    assert samples["mcp_sessions_expired_total/user:eve"] == 1
    assert samples["mcp_sessions_active/uid:1000"] == samples["mcp_sessions_active/user:eve"] == 0


async def test_sessions_of_those_whom_a_users_programs_serve_are_counted_as_the_users() -> None:
    world = World()
    async with world.sessions as sessions:
        for name in ("eve", "bob"):
            served = ADA._replace(principal=f"{ADA.principal}/subject:{name}")
            await sessions.set_working_directory(f"wr_{name}", "/a", owner=served)
        await sessions.close_session("wr_bob", owner=served)

        samples = await world.samples()

    assert {name: value for name, value in samples.items() if name.startswith("mcp_sessions_active")} == {
        "mcp_sessions_active/uid:1000": 1
    }
    assert samples["mcp_sessions_closed_total/uid:1000"] == 1


async def test_what_has_not_happened_to_a_user_s_sessions_is_nought_and_not_missing() -> None:
    world = World()
    async with world.sessions as sessions:
        await sessions.set_working_directory("wr_one", "/a", owner=ADA)

        samples = await world.samples()

    assert samples["mcp_sessions_closed_total/uid:1000"] == samples["mcp_sessions_expired_total/uid:1000"] == 0


async def test_a_session_that_moves_is_not_a_new_one() -> None:
    world = World()
    async with world.sessions as sessions:
        for _ in range(3):
            await sessions.set_working_directory("wr_one", "/a", owner=ADA)

        assert (await world.samples())["mcp_sessions_created_total/uid:1000"] == 1


async def test_sessions_that_were_kept_are_active_and_not_created() -> None:
    world = World()
    async with world.sessions as sessions:
        await sessions.set_working_directory("wr_one", "/a", owner=ADA)
        world.metrics = Metrics(world.status, world.meter, sessions)

        samples = await world.samples()

    assert samples["mcp_sessions_active/uid:1000"] == 1
    assert samples["mcp_sessions_created_total/uid:1000"] == 0


# Requests


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (CallToolResult(content=[]), "ok"),
        ({}, "ok"),
        (CallToolResult(content=[], is_error=True), "tool_error"),
        (InputRequiredResult(request_state="x"), "input_required"),
        ({"isError": True, "content": []}, "tool_error"),
        ({"resultType": "input_required"}, "input_required"),
        (MCPError(-32602, "no"), "refused"),
        (RuntimeError("no"), "failed"),
        (anyio.ClosedResourceError(), "failed"),
        (KeyboardInterrupt(), "cancelled"),
    ],
)
async def test_a_request_is_counted_by_how_it_ended(result: object, outcome: str) -> None:
    world = World()

    if isinstance(result, BaseException):
        with pytest.raises(type(result)):
            await pass_through(world.meter, context(), result)
    else:
        await pass_through(world.meter, context(), result)

    samples = await world.samples()
    assert samples[f"workroot_tool_calls_total/{outcome}/get_working_directory"] == 1
    assert samples[f"workroot_requests_total/tools/call/{outcome}"] == 1
    assert samples["workroot_tool_call_duration_seconds_count/get_working_directory"] == 1


async def test_a_notification_is_not_a_request() -> None:
    meter = Meter()

    await pass_through(meter, context(method="notifications/initialized", request_id=None), None)

    assert meter.requests() == {}


async def test_names_that_clients_make_up_do_not_become_metrics() -> None:
    meter = Meter()
    for number in range(100):
        await pass_through(meter, context(tool=f"tool {number}"), {})
        await pass_through(meter, context(method=f"method/{number}"), {})

    assert meter.calls() == {("other", "ok"): 100}
    assert meter.requests() == {("tools/call", "ok"): 100, ("other", "ok"): 100}


def test_durations_fall_into_classes() -> None:
    durations = Durations()
    for seconds in (0.0, DURATION_BOUNDS[0], 0.002, 1000.0):
        durations.add(seconds)

    assert durations.classes == [2, 0, 1, *[0] * (len(DURATION_BOUNDS) - 3), 1]
    assert durations.sum_seconds == pytest.approx(1000.0025)


# Clients


async def test_a_client_is_known_by_name_transport_and_era_until_its_connection_ends() -> None:
    meter, peer = Meter(), Peer(owner=ADA)
    with peer.conversation.open():
        for _ in range(2):
            await pass_through(meter, context(peer), {})
        assert meter.clients() == (Client("ada", "unix", "modern"),)

    assert meter.clients() == ()


async def test_a_client_of_the_handshake_era_is_known_when_it_has_said_its_name() -> None:
    meter, peer = Meter(), Peer(owner=ADA)
    await pass_through(meter, context(peer, method="initialize", name=None, version="2025-06-18"), {})
    assert meter.clients() == ()

    await pass_through(meter, context(peer, method="notifications/initialized", version="2025-06-18"), {})

    assert meter.clients() == (Client("ada", "unix", "handshake"),)


async def test_a_name_without_end_is_cut() -> None:
    meter = Meter()

    await pass_through(meter, context(name="x" * 10_000), {})

    (client,) = meter.clients()
    assert len(client.name or "") == 64


# Pages


async def test_a_process_that_lives_is_healthy_and_one_that_can_serve_is_ready() -> None:
    world = World()

    assert (await world.metrics.healthz())[0] == 200
    assert (await world.metrics.readyz())[::2] == (200, b"ok\n")


async def test_who_cannot_keep_anything_is_not_ready_and_says_why_in_a_word() -> None:
    world = World()
    world.store = replace(STORE, problem="/home/ada/workroot.db was deleted")

    assert (await world.metrics.readyz())[::2] == (503, b"store\n")
    assert (await world.metrics.healthz())[0] == 200
    assert (await world.samples())["workroot_store_usable"] == 0


async def test_a_store_in_memory_only_is_counted_as_such_and_clients_are_served_all_the_same() -> None:
    world = World()
    world.store = replace(
        STORE, memory_only_since=1.0, memory_only_because="the disk is full", moved_aside=("/a", "/b")
    )

    samples = await world.samples()

    assert (await world.metrics.readyz())[0] == 200
    assert (samples["workroot_store_memory_only"], samples["workroot_store_moved_aside"]) == (1, 2)
    assert samples["workroot_store_usable"] == 1


async def test_who_is_stopping_is_not_ready() -> None:
    world = World()
    world.is_stopping = True

    assert (await world.metrics.readyz())[::2] == (503, b"stopping\n")


async def test_the_rest_of_the_metrics_is_what_the_parts_say() -> None:
    world = World()
    world.counters.add("rate_limit", 3)

    samples = await world.samples()

    assert samples["workroot_refusals_total/rate_limit"] == 3
    assert samples["workroot_store_commits_total/kept"] == 5
    assert samples["workroot_store_memory_only"] == samples["workroot_store_moved_aside"] == 0
    assert samples["workroot_watched_directories/told"] == 2
    assert samples["workroot_log_records_total/ERROR"] == 3
    assert samples["workroot_connectors"] == 4
    assert samples["workroot_uptime_seconds"] >= 0
    assert [name for name in samples if name.startswith("workroot_build_info/")]
    assert samples["process_resident_memory_bytes"] > 1_000_000


async def test_metrics_have_the_media_type_of_their_form() -> None:
    status, media_type, _ = await World().metrics.metrics()

    assert status == 200
    assert media_type.startswith("text/plain; version=")


def test_a_conversation_is_let_go_of_when_it_ends() -> None:
    meter, conversation = Meter(), Conversation()
    with conversation.open():
        anyio.run(pass_through, meter, context(Peer(owner=ADA, conversation=conversation)), {})

    assert not meter._clients
