"""Connectors start the real daemon: one for all, however it goes, and none that nobody wants."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from installations import McpClient, daemons_of
from real_daemon import Home, Process, open_home

from workroot import rendezvous

CONNECT = (sys.executable, "-I", "-m", "workroot", "connect")


@pytest.fixture
def home() -> Iterator[Home]:
    with open_home() as home:
        yield home


def open_client(home: Home, directory: Path) -> McpClient:
    return McpClient(home.state, command=CONNECT, cwd=directory, environment=home.environment)


def serving(home: Home) -> list[int]:
    """Return the processes that were started as a daemon of *home*, ready or not."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            command = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            environment = Path(f"/proc/{entry}/environ").read_bytes()
        except OSError:
            continue
        if b"serve" in command and f"WORKROOT_HOME={home.state}\0".encode() in environment:
            found.append(int(entry))
    return found


def test_sixteen_connectors_at_once_over_a_stale_socket_start_one_daemon_and_none_fails(home: Home) -> None:
    one = home.repository("one")
    home.start()
    home.kill_daemon()
    assert Path(home.socket_path).is_socket(), "it died without tidying up"
    with ExitStack() as stack:
        clients = [stack.enter_context(open_client(home, one)) for _ in range(16)]
        for client in clients:
            client.initialize()
        for client in clients:
            assert client.result_of("get_working_directory")["working_directory"] == str(one)
        assert daemons_of(home) == [home.ask("status")["pid"]]
        assert home.ask("status")["connections"] == 16


PHASES: dict[str, Callable[[Home], bool]] = {
    "begun": lambda home: bool(serving(home)),
    "locked": lambda home: Path(rendezvous.instance_lock_path(str(home.state))).exists(),
    "database": lambda home: (home.state / "workroot.db").exists(),
    "schema": lambda home: (home.state / "workroot.db-wal").exists(),
    "listening": lambda home: Path(home.socket_path).exists(),
    "serving": lambda home: bool(daemons_of(home)) and home.is_running(),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_daemon_killed_at_any_phase_of_its_first_start_costs_nobody_anything(home: Home, phase: str) -> None:
    one = home.repository("one")
    with open_client(home, one) as client:
        home.wait_until(lambda: PHASES[phase](home) and bool(serving(home)), what=phase)
        for pid in serving(home):
            victim = Process(pid)
            victim.signal(signal.SIGKILL)
            victim.close()
        client.initialize()
        assert client.result_of("get_working_directory")["working_directory"] == str(one)
        assert daemons_of(home) == [home.ask("status")["pid"]]


def test_a_home_with_a_name_of_two_hundred_bytes_works(home: Home) -> None:
    one = home.repository("one")
    whole = home.top / "x" / ("\u00e9" * 80)
    state = Path(f"{whole}{'y' * (200 - len(os.fsencode(whole)))}")
    assert len(os.fsencode(state)) == 200
    home.environment["WORKROOT_HOME"] = str(state)
    try:
        with McpClient(state, command=CONNECT, cwd=one, environment=home.environment) as client:
            client.initialize()
            assert client.result_of("get_working_directory")["working_directory"] == str(one)
            shown = home.run("status", "--json")
            assert shown.returncode == 0, shown.stderr
        assert home.run("stop").returncode == 0
    finally:
        Path(rendezvous.socket_path(str(state))).unlink(missing_ok=True)
        Path(rendezvous.socket_path(str(state))).parent.rmdir()


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root can give itself another host name"
)
def test_a_home_that_another_host_uses_is_refused_with_the_name_of_that_host(home: Home) -> None:
    one = home.repository("one")
    home.start()
    script = 'hostname elsewhere && exec "$@"'
    other = ("unshare", "--uts", "sh", "-c", script, "sh", *CONNECT)
    if subprocess.run([*other[:5], "exec true"], check=False, capture_output=True).returncode:
        pytest.skip("this system gives nobody another host name")
    with McpClient(home.state, command=other, cwd=one, environment=home.environment) as client:
        assert client.wait() == 4
        said = client.read_errors()
    [pid] = daemons_of(home)
    assert f"process {pid} on host {os.uname().nodename!r}, this one is 'elsewhere'" in said
    assert "give each host a WORKROOT_HOME of its own" in said
    assert home.is_running()


def test_after_workroot_stop_the_daemon_stays_away_until_a_client_needs_it(home: Home) -> None:
    one, two = home.repository("one"), home.repository("two")
    with open_client(home, one) as client, open_client(home, one) as idle:
        for each in (client, idle):
            each.initialize()
        session = client.result_of("set_working_directory", directory=str(two))["session_id"]

        stopped = home.run("stop")

        assert stopped.returncode == 0, stopped.stderr
        assert home.run("status").returncode == 3
        assert serving(home) == []
        assert client.result_of("get_working_directory", session_id=session)["working_directory"] == str(two)
        assert idle.result_of("get_working_directory")["working_directory"] == str(one)
        assert daemons_of(home) == [home.ask("status")["pid"]]


def test_whoever_starts_a_daemon_takes_back_that_none_is_wanted(home: Home) -> None:
    home.start()
    assert home.run("stop").returncode == 0
    stopped = Path(rendezvous.stopped_path(str(home.state)))
    assert stopped.exists()
    home.start()
    assert not stopped.exists()
