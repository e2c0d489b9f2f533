from __future__ import annotations

import json
import os

import pytest
from observed_daemon import ADA, World, context, pass_through

from fakes import DAY
from workroot.peer import Peer


async def test_the_status_is_a_json_document_with_all_that_is_known() -> None:
    world = World()
    world.counters.add("accept_failed")
    async with world.sessions as sessions:
        await sessions.set_working_directory("wr_one", "/a", owner=ADA)
        world.clock.advance(2 * DAY)
        await sessions.set_working_directory("wr_two", "/a", owner=ADA)

        status = await world.status()

    assert json.loads(json.dumps(status)) == status
    assert (status["boot"], status["pid"]) == ("b00t", os.getpid())
    assert (status["sessions"], status["stale_sessions"], status["ended_sessions"]) == (2, 1, 0)
    assert (status["connections"], status["projects"]) == (4, 1)
    assert status["store"]["journal_mode"] == "wal"
    assert status["watching"]["watched"] == 2
    assert status["memory_bytes"] > 1_000_000
    assert 3 < status["descriptors"]["used"] < status["descriptors"]["limit"]
    assert status["refusals"] == {"accept_failed": 1}
    assert status["problems"] == [{"time": "t", "level": "ERROR", "logger": "x", "message": "m", "count": 3}]
    assert status["unready"] is None


async def test_clients_of_a_kind_are_counted_together() -> None:
    world = World()
    for name in ("ada", "eve", "ada"):
        await pass_through(world.meter, context(Peer(owner=ADA), name=name), {})

    assert (await world.status())["clients"] == [
        {"name": "ada", "transport": "unix", "era": "modern", "connections": 2},
        {"name": "eve", "transport": "unix", "era": "modern", "connections": 1},
    ]


@pytest.mark.row("S4")
async def test_a_session_that_is_used_again_is_not_stale() -> None:
    world = World()
    async with world.sessions as sessions:
        await sessions.set_working_directory("wr_one", "/a", owner=ADA)
        world.clock.advance(2 * DAY)
        assert sessions.stale_count() == 1

        sessions.get_session("wr_one", owner=ADA)

        assert sessions.stale_count() == 0
