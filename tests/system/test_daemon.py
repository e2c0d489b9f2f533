"""One daemon per user, however many are started, and one that leaves nothing behind."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from real_daemon import DEADLINE_SECONDS, LEGACY, MODERN, MODERN_META, WORKROOT, Home, Process, answer_of


def test_of_daemons_started_at_once_over_a_stale_socket_one_is_left(home: Home, is_full: bool) -> None:
    for _ in range(25 if is_full else 3):
        Path(home.socket_path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        Path(home.socket_path).unlink(missing_ok=True)
        for directory in (home.state, home.state / "run", Path(home.socket_path).parent):
            directory.chmod(0o700)
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(home.socket_path)  # nobody listens there: its daemon was killed

        started = [home.serve() for _ in range(8)]
        home.wait_until(home.is_running, what="one of them serves")
        winner = home.ask("status")["pid"]
        for daemon in started:
            if daemon.pid != winner:
                assert daemon.wait(DEADLINE_SECONDS) == 1
                assert daemon.stderr is not None
                assert b"runs already" in daemon.stderr.read()

        assert home.ask("status")["pid"] == winner
        home.kill_daemon()


async def test_connectors_that_start_at_once_without_a_daemon_start_one(home: Home) -> None:
    project = home.repository("app")
    answers: list[dict[str, object]] = []

    async def connect(number: int) -> None:
        async with home.open_raw_connector(project) as client:
            answers.append(await client.call(number, "get_working_directory", meta=MODERN_META))

    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(connect, number)

    assert sorted(str(answer["id"]) for answer in answers) == sorted(str(number) for number in range(16))
    assert all("result" in answer for answer in answers)
    assert home.log.count('"serving, pid ') == 1


@pytest.mark.parametrize("way", ["SIGTERM", "stop"])
async def test_a_daemon_with_open_streams_ends_in_time(home: Home, way: str) -> None:
    daemon = home.start()
    async with home.open_raw_socket(environment={}) as client:
        await client.send(
            id="ear",
            method="subscriptions/listen",
            params={"notifications": {"toolsListChanged": True}, "_meta": MODERN_META},
        )
        assert (await client.receive())["method"] == "notifications/subscriptions/acknowledged"
        process = Process(daemon.pid)

        if way == "stop":
            assert (await anyio.to_thread.run_sync(home.run, "stop")).returncode == 0
        else:
            process.signal(signal.SIGTERM)

        assert await anyio.to_thread.run_sync(process.wait_end, 5.0)
        process.close()
        assert daemon.wait(5) == 0
        assert not home.is_running()
        assert (await client.receive())["id"] == "ear", "the stream ended with its result"


def test_what_is_in_the_socket_s_place_and_is_not_ours_is_left_alone(home: Home) -> None:
    home.start()
    home.kill_daemon()
    Path(home.socket_path).unlink()
    Path(home.socket_path).write_text("somebody's")

    refused = home.serve()

    assert refused.wait(DEADLINE_SECONDS) == 1
    assert refused.stderr is not None
    assert b"is not a socket of this user; remove it" in refused.stderr.read()
    assert Path(home.socket_path).read_text() == "somebody's"


async def test_clients_that_come_and_go_leave_nothing_behind(home: Home, is_full: bool) -> None:
    project = home.repository("app")
    pid = home.start().pid

    async def visit() -> None:
        async with home.open_raw_socket(directory=str(project), environment={}) as client:
            await client.call(1, "get_working_directory", meta=MODERN_META)

    def held() -> tuple[int, int]:
        return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))

    def is_watching() -> bool:
        links = Path(f"/proc/{pid}/fd").iterdir()
        return any("inotify" in os.readlink(link) for link in links if link.is_symlink())

    await visit()
    await home.wait_until_async(is_watching, what="the project is watched")
    before = held()
    for _ in range(500 if is_full else 50):
        await visit()

    await home.wait_until_async(lambda: home.ask("status")["connections"] == 0, what="all have left")
    await home.wait_until_async(lambda: held()[0] <= before[0], what="no more descriptors than before")
    assert held()[1] <= before[1], "no more threads than before"


def test_a_daemon_may_open_more_files_than_its_starter(home: Home) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
        pid = home.start().pid

    allowed = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    assert allowed == (4096 if hard == resource.RLIM_INFINITY else min(hard, 4096))


def test_a_daemon_can_be_started_and_stopped_again_and_again(home: Home, is_full: bool) -> None:
    for _ in range(50 if is_full else 3):
        daemon = home.start()
        assert home.run("stop").returncode == 0
        assert daemon.wait(DEADLINE_SECONDS) == 0
    assert [entry.name for entry in home.state.iterdir() if entry.name.endswith(("-wal", "-shm"))] == []


async def test_only_this_user_can_reach_the_socket_and_the_state(home: Home) -> None:
    with ExitStack() as stack:
        stack.callback(os.umask, os.umask(0))
        home.start()

    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (home.state, *home.state.rglob("*"))}
    directories = {path.name for path in (home.state, *home.state.rglob("*")) if path.is_dir()}
    assert {name: mode for name, mode in modes.items() if mode != ("0o700" if name in directories else "0o600")} == {}


@pytest.mark.parametrize("era", [LEGACY, MODERN])
async def test_a_relative_state_directory_is_the_same_for_connector_and_daemon(home: Home, era: str) -> None:
    home.environment["WORKROOT_HOME"] = os.path.relpath(home.state, home.directory("here"))
    async with home.open_client(era, home.top / "here") as client:
        await answer_of(client, "get_working_directory")

    assert home.is_running()


def test_a_port_that_somebody_else_uses_is_said_and_the_socket_is_served(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        home.environment.update(WORKROOT_HTTP="1", WORKROOT_HTTP_PORT=str(port))

        home.start()
        http = home.ask("status")["http"]

    assert http["url"] is None
    assert f"127.0.0.1:{port} is used by another program" in http["problem"]
    assert f"127.0.0.1:{port} is used by another program" in home.log
    assert "Traceback" not in home.log


def test_a_daemon_works_in_the_root_directory_wherever_it_was_started(home: Home) -> None:
    project = home.repository("app")
    daemon = subprocess.Popen([WORKROOT, "serve"], env=home.environment, cwd=project)
    home.started.append(daemon)

    home.wait_until(home.is_running, what="it serves")

    assert os.readlink(f"/proc/{daemon.pid}/cwd") == "/"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_not_answered_even_where_the_modes_let_him_in(home: Home) -> None:
    home.start()
    path = Path(home.socket_path)
    opened = {
        each: each.stat().st_mode & 0o777 for each in (home.top, home.state, home.state / "run", path.parent, path)
    }
    stranger = (
        "import os, socket, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "with socket.socket(socket.AF_UNIX) as client:\n"
        "    client.connect(sys.argv[1])\n"
        "    print(client.recv(100))\n"
    )
    try:
        for each in opened:
            each.chmod(0o777)
        told = subprocess.run(
            [sys.executable, "-c", stranger, str(path)], capture_output=True, text=True, timeout=30, check=False
        )
    finally:
        for each, mode in opened.items():
            each.chmod(mode)

    assert (told.stdout.strip(), told.stderr) == ("b''", "")
    assert home.is_running()
