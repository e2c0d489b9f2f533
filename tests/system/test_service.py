"""The daemon as a service: started by whoever connects, from a socket that is not its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from real_daemon import DEADLINE_SECONDS, ERAS, MODERN, Home, answer_of
from service_manager import Activator, UserManager, why_no_user_manager


@pytest.fixture
def activator(home: Home) -> Iterator[Activator]:
    with Activator.at(home) as made:
        yield made


async def ask_from(home: Home, directory: Path, mode: str, answers: list[dict[str, object]]) -> None:
    async with home.open_client(mode, directory, "--no-spawn") as client:
        answers.append(await answer_of(client, "get_working_directory"))


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_that_comes_before_the_daemon_starts_it_and_is_answered(
    home: Home, activator: Activator, mode: str
) -> None:
    project = home.repository("app")
    answers: list[dict[str, object]] = []

    with anyio.fail_after(DEADLINE_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_from, home, project, mode, answers)
            daemon = await activator.start_when_needed()

    assert [answer["working_directory"] for answer in answers] == [str(project)]
    assert activator.hear() == "READY=1"
    assert home.ask("status")["pid"] == daemon.pid


@pytest.mark.parametrize("way", ["SIGTERM", "stop"])
async def test_the_socket_outlives_the_daemon_and_starts_the_next(home: Home, activator: Activator, way: str) -> None:
    project = home.repository("app")
    before = os.lstat(home.socket_path)
    pids = []
    for _ in range(2):
        answers: list[dict[str, object]] = []
        with anyio.fail_after(DEADLINE_SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask_from, home, project, MODERN, answers)
                daemon = await activator.start_when_needed()
        assert len(answers) == 1
        assert activator.hear() == "READY=1"

        if way == "stop":
            assert (await anyio.to_thread.run_sync(home.run, "stop")).returncode == 0
        else:
            daemon.send_signal(signal.SIGTERM)
        assert await anyio.to_thread.run_sync(activator.hear) == "STOPPING=1"
        assert await anyio.to_thread.run_sync(daemon.wait, DEADLINE_SECONDS) == 0
        pids.append(daemon.pid)

        after = os.lstat(home.socket_path)
        assert (after.st_dev, after.st_ino, after.st_mode) == (before.st_dev, before.st_ino, before.st_mode)
    assert pids[0] != pids[1]


async def test_a_connector_outlives_the_daemon_behind_the_socket(home: Home, activator: Activator) -> None:
    project = home.repository("app")
    first = activator.start()
    assert activator.hear() == "READY=1"

    with anyio.fail_after(DEADLINE_SECONDS):
        async with home.open_client(MODERN, project, "--no-spawn") as client:
            await answer_of(client, "get_working_directory")
            first.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(first.wait, DEADLINE_SECONDS) == 0
            second = await activator.start_when_needed()

            assert (await answer_of(client, "get_working_directory"))["working_directory"] == str(project)

    assert home.ask("status")["pid"] == second.pid


def test_reading_the_settings_again_is_announced(home: Home, activator: Activator) -> None:
    daemon = activator.start()
    assert activator.hear() == "READY=1"

    daemon.send_signal(signal.SIGHUP)

    state, _, when = activator.hear().partition("\nMONOTONIC_USEC=")
    assert (state, when.isdigit()) == ("RELOADING=1", True)
    assert activator.hear() == "READY=1"
    assert daemon.poll() is None


def test_a_service_takes_the_place_of_a_daemon_that_is_ending(home: Home) -> None:
    old = home.start()
    Path(home.socket_path).unlink()  # as a service manager does that binds its own there
    with Activator.at(home) as activator:
        daemon = activator.start()
        home.wait_until(lambda: _waits_for_lock(daemon, home), what="the service has come to the lock")

        old.send_signal(signal.SIGTERM)

        assert activator.hear() == "READY=1"
        assert old.wait(DEADLINE_SECONDS) == 0
        assert home.ask("status")["pid"] == daemon.pid


def test_a_daemon_started_by_hand_leaves_a_service_managers_socket_alone(home: Home, activator: Activator) -> None:
    before = os.lstat(home.socket_path)
    by_hand = home.serve()

    assert by_hand.wait(DEADLINE_SECONDS) == 1
    assert by_hand.stderr is not None
    assert b"most likely a service manager" in by_hand.stderr.read()
    assert os.path.samestat(os.lstat(home.socket_path), before)


def test_a_socket_that_is_not_where_clients_look_is_refused(home: Home) -> None:
    with Activator.at(home, str(home.top / "elsewhere.sock")) as activator:
        daemon = activator.start()

        assert daemon.wait(DEADLINE_SECONDS) == 1
        assert daemon.stderr is not None
        assert b"clients look for" in daemon.stderr.read()


@pytest.mark.skipif(why_no_user_manager() is not None, reason=str(why_no_user_manager()))
def test_under_systemd_a_service_starts_with_the_first_client_and_goes_without_a_trace(home: Home) -> None:
    project = home.repository("app")
    with UserManager.started(home) as manager:
        old = home.start().pid

        installed = manager.service("install")
        assert installed.returncode == 0, installed.stderr
        assert f"stopped the daemon that ran before (pid {old})" in installed.stdout
        assert manager.show("workroot.socket", "ActiveState") == "active"

        first = home.ask("status")["pid"]  # to connect is to start it
        assert manager.show("workroot.service", "MainPID") == str(first) != str(old)
        assert os.readlink(f"/proc/{first}/exe") == os.path.realpath(manager.python)
        assert manager.show("workroot.service", "NRestarts") == "0"
        told = manager.service("status")
        assert told.returncode == 0, told.stdout + told.stderr
        why = home.run("why", "--json", cwd=project)
        assert str(project) in why.stdout, why.stderr

        reload = manager.run(
            "env", f"XDG_RUNTIME_DIR=/run/user/{os.geteuid()}", "systemctl", "--user", "reload", "workroot.service"
        )
        assert reload.returncode == 0, reload.stderr
        assert home.run("stop").returncode == 0
        second = home.ask("status")["pid"]
        assert second != first
        assert manager.show("workroot.service", "MainPID") == str(second)

        gone = manager.service("uninstall")
        assert gone.returncode == 0, gone.stderr
        assert manager.show("workroot.socket", "LoadState") == "not-found"
        assert not Path(f"/proc/{second}").exists()
        left = [path for path in Path(home.environment["HOME"]).rglob("workroot*") if ".config" in path.parts]
        assert left == []


@pytest.mark.skipif(why_no_user_manager() is not None, reason=str(why_no_user_manager()))
@pytest.mark.parametrize("mode", ERAS)
async def test_under_systemd_a_connected_client_notices_neither_installing_nor_uninstalling(
    home: Home, mode: str
) -> None:
    project = home.repository("app")
    with UserManager.started(home) as manager:
        async with home.open_client(mode, project) as client:
            for command in ("install", "uninstall"):
                await answer_of(client, "get_working_directory")
                done = await anyio.to_thread.run_sync(manager.service, command)
                assert done.returncode == 0, done.stderr

                answer = await answer_of(client, "get_working_directory")
                assert answer["working_directory"] == str(project)
                of_service = manager.show("workroot.service", "MainPID") == str(home.ask("status")["pid"])
                assert of_service is (command == "install")
                assert manager.show("workroot.service", "NRestarts") == "0"


def _waits_for_lock(daemon: subprocess.Popen[bytes], home: Home) -> bool:
    """Tell whether a daemon has opened the lock's file; it does not have it yet, since another holds it."""
    lock = os.stat(Path(home.socket_path).with_name("daemon.lock"))
    for descriptor in Path(f"/proc/{daemon.pid}/fd").iterdir():
        try:
            if os.path.samestat(os.stat(descriptor), lock):
                return True
        except OSError:
            continue
    return False
