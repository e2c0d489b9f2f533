"""A daemon that connectors started leaves when nobody needs it, and whoever comes at that moment is served."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import anyio
import pytest
from real_daemon import DEADLINE_SECONDS, ERAS, MODERN_META, Home, Process, answer_of, open_home

IDLE_SECONDS = 0.6


async def wait_gone(home: Home) -> None:
    await home.wait_until_async(lambda: not home.is_running(), what="the daemon has left")


@pytest.mark.parametrize("era", ERAS)
async def test_it_leaves_when_the_last_client_has_gone_and_the_next_one_starts_another(era: str) -> None:
    with open_home(WORKROOT_IDLE_EXIT_SECONDS=str(IDLE_SECONDS)) as home:
        project = home.repository("app")
        async with home.open_client(era) as client:
            opened = await answer_of(client, "set_working_directory", directory=str(project))
            daemon = Process(home.ask("status")["pid"])
            assert not await anyio.to_thread.run_sync(daemon.wait_end, 2 * IDLE_SECONDS), "somebody is connected"

        assert await anyio.to_thread.run_sync(daemon.wait_end)
        daemon.close()
        assert f"no client was connected for {IDLE_SECONDS} s" in home.log
        assert not Path(home.socket_path).exists()

        async with home.open_client(era) as client:
            again = await answer_of(client, "get_working_directory", session_id=opened["session_id"])
    assert again["working_directory"] == str(project)


async def test_a_listen_stream_keeps_it() -> None:
    with open_home(WORKROOT_IDLE_EXIT_SECONDS=str(IDLE_SECONDS)) as home:
        async with home.open_raw_connector(home.repository("app")) as client:
            parameters = {"notifications": {"toolsListChanged": True}, "_meta": MODERN_META}
            await client.send(id="ear", method="subscriptions/listen", params=parameters)
            await client.receive()
            daemon = Process(home.ask("status")["pid"])
            assert not await anyio.to_thread.run_sync(daemon.wait_end, 2 * IDLE_SECONDS)
            daemon.close()


@pytest.mark.parametrize("setting", [{"WORKROOT_HTTP": "1"}, {"WORKROOT_IDLE_EXIT_SECONDS": "0"}])
def test_one_with_http_and_one_that_is_told_never_to_stay(setting: dict[str, str]) -> None:
    with open_home(**{"WORKROOT_IDLE_EXIT_SECONDS": str(IDLE_SECONDS), **setting}) as home:
        daemon = home.start()
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.wait(2 * IDLE_SECONDS)
        assert home.is_running()


def test_one_that_somebody_started_himself_stays() -> None:
    with open_home(WORKROOT_IDLE_EXIT_SECONDS=str(IDLE_SECONDS)) as home:
        daemon = home.serve()
        home.wait_until(home.is_running, what="it serves")
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.wait(2 * IDLE_SECONDS)


def test_one_under_a_service_manager_stays() -> None:
    with open_home(WORKROOT_IDLE_EXIT_SECONDS=str(IDLE_SECONDS)) as home:
        home.environment["NOTIFY_SOCKET"] = "/nowhere"
        daemon = home.start()
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.wait(2 * IDLE_SECONDS)


async def test_whoever_comes_at_the_moment_of_leaving_is_served(is_full: bool) -> None:
    chance = random.Random(4)
    rounds, clients = (25, 12) if is_full else (4, 8)
    with open_home(WORKROOT_IDLE_EXIT_SECONDS=str(IDLE_SECONDS)) as home:
        project = home.repository("app")
        answers: list[dict[str, object]] = []

        async def visit(number: int, seconds: float) -> None:
            await anyio.sleep(seconds)  # the load: arrivals around the moment at which it leaves
            async with home.open_raw_connector(project) as client:
                answers.append(await client.call(number, "get_working_directory", meta=MODERN_META))

        for _ in range(rounds):
            await visit(0, 0)
            async with anyio.create_task_group() as tasks:
                for number in range(1, clients):
                    tasks.start_soon(visit, number, chance.uniform(0.95, 1.4) * IDLE_SECONDS)

        assert len(answers) == rounds * clients
        assert [answer for answer in answers if "result" not in answer] == []
        with anyio.fail_after(DEADLINE_SECONDS):
            await wait_gone(home)
        starts, ends = home.log.count('"serving, pid '), home.log.count("no client was connected for")
        assert starts == ends
        assert starts > 1, "it did leave in between"
        assert "Traceback" not in home.log
