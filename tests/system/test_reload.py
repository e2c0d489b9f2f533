"""SIGHUP: settings are read again, and what can change at once does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from real_daemon import MODERN_META, Home, answer_of, error_of, open_home

from workroot.core.sessions import Owner
from workroot.daemon.settings_reload import LIVE_SETTINGS, RESTART_SETTINGS, LimitsInForce, SettingsReload
from workroot.limits import DEFAULT_LIMITS, Limits
from workroot.rendezvous import hello_line
from workroot.settings import Settings
from workroot.transports.http_rates import HttpRates


def write(home: Home, text: str) -> None:
    (home.state / "config.toml").write_text(text)


async def reload(home: Home, pid: int, text: str) -> str:
    """Let the daemon read *text*, and return what it logged about that."""
    write(home, text)
    before = len(home.log)
    os.kill(pid, signal.SIGHUP)

    def is_read() -> bool:
        said = home.log[before:]
        return "settings read again" in said or "the settings stay as they are" in said

    await home.wait_until_async(is_read, what="the settings are read")
    return home.log[before:]


def test_every_setting_is_either_live_or_waits_for_a_restart() -> None:
    names = set(Settings.model_fields) - {"state_directory"}

    assert set(LIVE_SETTINGS) | set(RESTART_SETTINGS) == names
    assert set(LIVE_SETTINGS) & set(RESTART_SETTINGS) == set()


async def test_a_file_with_a_mistake_changes_nothing_and_is_named(home: Home) -> None:
    pid = home.start().pid

    said = await reload(home, pid, "log_level = 'debug'\nhttpp = true\n")

    assert f"{home.state}/config.toml: httpp: is not a setting; did you mean http?" in said
    assert "settings read again" not in said
    async with home.open_client("2026-07-28") as client:
        await answer_of(client, "get_working_directory")
    assert '"DEBUG"' not in home.log


async def test_what_only_a_restart_changes_is_named_and_stays(home: Home) -> None:
    pid = home.start().pid

    said = await reload(home, pid, "http = true\nconfig_names = ['a.toml']\nwrite_behind_seconds = 5\n")

    assert "needs a restart: config_names, http, write_behind_seconds" in said
    assert home.ask("status")["http"] is None
    assert "needs a restart" in await reload(home, pid, "http = true\n"), "said again each time"
    assert "needs a restart" not in await reload(home, pid, "")


async def test_the_level_of_the_log_changes_at_once(home: Home) -> None:
    pid = home.start().pid
    assert "changed: log_level" in await reload(home, pid, "log_level = 'error'\n")
    before = len(home.log)

    async with home.open_raw_socket(environment={}) as client:
        await client.call(1, "get_working_directory", meta=MODERN_META)
    await home.wait_until_async(lambda: home.ask("status")["connections"] == 0, what="the client has left")

    assert home.log[before:] == ""


async def test_how_far_a_model_reaches_changes_from_the_next_call_on(home: Home) -> None:
    pid = home.start().pid
    project, other = home.repository("app"), home.repository("other")
    async with home.open_client("2026-07-28", project) as client:
        await answer_of(client, "get_working_directory")
        await answer_of(client, "get_working_directory", directory=str(other / ".git" / ".."))
        await reload(home, pid, "model_may_move = 'roots'\n")

        said = await error_of(client, "set_working_directory", directory=str(other))
        await reload(home, pid, "")
        moved = await answer_of(client, "set_working_directory", directory=str(other))

    assert "model_may_move = 'roots'" in said
    assert moved["working_directory"] == str(other)


async def test_recent_projects_are_withheld_from_the_next_call_on(home: Home) -> None:
    pid = home.start().pid
    async with home.open_client("2026-07-28", home.repository("app")) as client:
        await answer_of(client, "get_working_directory")
    async with home.open_raw_socket(environment={}) as client:
        shown = await client.call(1, "get_working_directory", meta=MODERN_META)
        await reload(home, pid, "show_recent_projects = false\n")
        withheld = await client.call(2, "get_working_directory", meta=MODERN_META)

    assert [len(each["result"]["structuredContent"]["alternatives"]) for each in (shown, withheld)] == [1, 0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
async def test_directories_of_others_are_trusted_from_the_next_call_on(home: Home) -> None:
    pid = home.start().pid
    project = home.repository("app")
    for path in (project, *project.rglob("*")):
        os.chown(path, 65534, 65534)

    async with home.open_raw_socket(environment={}) as client:

        async def project_at(number: int) -> object:
            answer = await client.call(number, "get_working_directory", meta=MODERN_META, directory=str(project))
            return answer["result"]["structuredContent"]["project_info"]

        before = await project_at(1)
        await reload(home, pid, f"trusted_directories = ['{project}']\n")
        during = await project_at(2)
        await reload(home, pid, "")
        after = await project_at(3)

    assert before is None
    assert during is not None
    assert after is None


async def test_the_time_until_it_leaves_changes_at_once(home: Home) -> None:
    daemon = home.start()

    await reload(home, daemon.pid, "idle_exit_seconds = 0.2\n")

    assert await anyio.to_thread.run_sync(daemon.wait, 10) == 0
    assert "no client was connected for 0.2 s" in home.log


async def test_one_that_must_not_leave_does_not_learn_it_by_a_reload() -> None:
    with open_home(WORKROOT_HTTP="1") as home:
        pid = home.start().pid
        await reload(home, pid, "idle_exit_seconds = 0.1\n")
        assert "no client was connected" not in await reload(home, pid, "idle_exit_seconds = 0.2\n")
        assert home.is_running()


async def test_sessions_idle_for_longer_than_the_new_time_end_at_the_next_sweep(home: Home) -> None:
    pid = home.start().pid
    async with home.open_client("2026-07-28", home.repository("app")) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(home.top / "app")))["session_id"]
    await home.wait_until_async(lambda: home.ask("status")["connections"] == 0, what="the client has left")
    assert home.ask("sweep")["removed"] == []

    await reload(home, pid, "session_idle_seconds = 0.001\n")

    assert home.ask("sweep")["removed"] == [session]


async def test_the_sweeps_come_at_the_new_interval(home: Home) -> None:
    pid = home.start().pid
    async with home.open_client("2026-07-28", home.repository("app")) as client:
        await answer_of(client, "set_working_directory", directory=str(home.top / "app"))

    await reload(home, pid, "session_idle_seconds = 0.001\nsweep_interval_seconds = 0.05\nended_session_days = 0\n")

    await home.wait_until_async(
        lambda: (home.ask("status")["sessions"], home.ask("status")["ended_sessions"]) == (0, 0),
        what="the session is swept, and that it ended is forgotten",
    )


async def test_the_time_to_drain_holds_at_the_end(home: Home) -> None:
    daemon = home.start()
    await reload(home, daemon.pid, "drain_seconds = 0\n")
    async with home.open_raw_connector(home.repository("app"), "--no-spawn") as client:
        await client.initialize(roots=True)
        await client.send_call(1, "get_working_directory")
        await client.receive()  # the question for our roots: the call is under way

        os.kill(daemon.pid, signal.SIGTERM)

        assert await anyio.to_thread.run_sync(daemon.wait, 2.5) == 0


def test_before_the_parts_are_there_nothing_is_read(tmp_path: Path) -> None:
    def read() -> Settings:
        raise AssertionError("too early")

    settings = Settings(state_directory=tmp_path)
    reload_settings: Callable[[], None] = SettingsReload(settings, read)
    reload_settings()


@pytest.mark.parametrize("key", Limits.model_fields)
def test_every_limit_changes_for_whoever_reads_it_each_time(tmp_path: Path, key: str) -> None:
    limits = LimitsInForce.of(Settings(state_directory=tmp_path))
    assert getattr(limits, key) == getattr(DEFAULT_LIMITS, key)

    changed: dict[str, Any] = {key: 7}
    limits.change(Settings(state_directory=tmp_path, **changed))

    assert getattr(limits, key) == 7
    assert key in LIVE_SETTINGS


async def test_fewer_connections_are_let_in_from_then_on(home: Home) -> None:
    pid = home.start().pid
    async with home.open_raw_socket(environment={}) as first:
        await reload(home, pid, "max_connections = 1\n")
        async with await anyio.connect_unix(home.socket_path) as second:
            await second.send(hello_line(role="mcp", version="1"))
            with anyio.fail_after(5):
                refused = await second.receive()
        assert "result" in await first.call(1, "get_working_directory", meta=MODERN_META), "who is here stays"

    assert b"too many connections" in refused


async def test_fewer_streams_are_opened_from_then_on(home: Home) -> None:
    pid = home.start().pid
    parameters = {"notifications": {"toolsListChanged": True}, "_meta": MODERN_META}
    async with home.open_raw_socket(environment={}) as client:
        await client.send(id="one", method="subscriptions/listen", params=parameters)
        assert (await client.receive())["method"] == "notifications/subscriptions/acknowledged"
        await reload(home, pid, "max_listens_per_client = 1\n")
        await client.send(id="two", method="subscriptions/listen", params=parameters)
        refused = await client.receive()

    assert (refused["id"], "error" in refused) == ("two", True)


def test_requests_are_let_through_at_the_rate_that_holds_now(tmp_path: Path) -> None:
    limits = LimitsInForce.of(Settings(state_directory=tmp_path, request_burst=2, requests_per_second=1))
    rates, ada = HttpRates(limits), Owner("ada")
    assert [rates.seconds_to_wait(ada, 0) for _ in range(3)] == [0, 0, 1]

    limits.change(Settings(state_directory=tmp_path, request_burst=9, requests_per_second=4))

    assert rates.seconds_to_wait(ada, 0) == 0.25
    assert [rates.seconds_to_wait(ada, 2) for _ in range(9)] == [0] * 8 + [0.25]
