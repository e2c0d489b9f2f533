"""One daemon, wherever it starts and however the one before it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from real_daemon import DEADLINE_SECONDS, MODERN_META, WORKROOT, Home, Process, open_home

from workroot import rendezvous

HERE = Path(__file__).parent


@contextmanager
def suspended(process: Process) -> Iterator[None]:
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


# One of many


def test_one_beside_a_running_one_exits_1_and_names_its_pid(home: Home) -> None:
    pid = home.start().pid

    refused = home.run("serve")

    assert refused.returncode == 1
    assert f"a daemon runs already (pid {pid} holds " in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_many_who_stop_it_at_once_all_succeed(home: Home) -> None:
    daemon = home.start()
    results: list[subprocess.CompletedProcess[str]] = []
    stoppers = [threading.Thread(target=lambda: results.append(home.run("stop"))) for _ in range(6)]

    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()

    assert [result.returncode for result in results] == [0] * 6, [result.stderr for result in results]
    assert daemon.wait(5) == 0
    said = {result.stdout for result in results}
    assert said <= {f"stopped the daemon (pid {daemon.pid})\n", "no daemon was running\n"}


def test_a_suspended_daemon_does_not_answer_and_is_never_said_to_be_gone(home: Home) -> None:
    pid = home.start().pid
    process = Process(pid)
    try:
        with suspended(process), ThreadPoolExecutor() as commands:
            ways = (["status"], ["status", "--json"], ["stop"])
            asked = list(commands.map(lambda way: home.run(*way), ways))
    finally:
        process.close()
    assert home.ask("status")["pid"] == pid, "it goes on as if nothing had been"

    assert [each.returncode for each in asked] == [1, 1, 1]
    for each in asked:
        assert "not running" not in each.stdout + each.stderr
        assert f"the daemon with pid {pid} runs, for it holds " in each.stderr
        assert "and does not answer" in each.stderr
    assert json.loads(asked[1].stdout)["error"]["code"] == "daemon_silent"


# What is found


@pytest.mark.parametrize("junk", ["", "1\n", "99999999999999999999\n", "\0junk"])
def test_what_a_lock_file_says_signals_no_stranger_and_hinders_no_start(home: Home, junk: str) -> None:
    stranger = subprocess.Popen([sys.executable, "-I", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        rendezvous.make_private_directory(str(home.state))
        rendezvous.prepare_meeting_place(str(home.state))
        lock = Path(rendezvous.instance_lock_path(str(home.state)))
        lock.write_text(junk or f"{stranger.pid}\n")

        home.start()

        assert home.run("stop").returncode == 0
        assert stranger.poll() is None
    finally:
        stranger.communicate(b"\n", 5)


@pytest.mark.parametrize("place", ["state", "run", "host"])
def test_a_directory_that_others_may_enter_is_refused_with_the_cure(home: Home, place: str) -> None:
    rendezvous.make_private_directory(str(home.state))
    rendezvous.prepare_meeting_place(str(home.state))
    host = Path(rendezvous.run_directory(str(home.state)))
    directory = {"state": home.state, "run": host.parent, "host": host}[place]
    directory.chmod(0o750)

    refused = home.run("serve")

    assert refused.returncode == 1
    assert str(directory) in refused.stderr
    assert f"chmod 700 '{directory}'" in refused.stderr
    assert directory.stat().st_mode & 0o777 == 0o750, "nothing was changed"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)])
def test_what_is_no_lock_in_its_place_is_refused_with_the_cure(home: Home, make: Callable[[str], None]) -> None:
    rendezvous.make_private_directory(str(home.state))
    rendezvous.prepare_meeting_place(str(home.state))
    lock = rendezvous.instance_lock_path(str(home.state))
    make(lock)

    refused = home.run("serve")

    assert refused.returncode == 1
    assert refused.stderr == f"workroot: {lock} is not a plain file; move it away, and start again\n"


def test_a_pipe_as_the_settings_file_is_refused_and_not_waited_for(home: Home) -> None:
    home.state.mkdir(0o700)
    os.mkfifo(home.state / "config.toml")

    refused = home.run("serve")

    assert refused.returncode == 1
    assert "config.toml: cannot be read: it is not a plain file" in refused.stderr


def test_a_home_with_a_long_path_is_served(home: Home) -> None:
    long = home.top / "/".join(["d" * 50] * 4)
    long.mkdir(parents=True)
    home.environment["WORKROOT_HOME"] = str(long / "state")
    daemon = subprocess.Popen([WORKROOT, "serve"], env=home.environment, start_new_session=True)
    home.started.append(daemon)
    try:
        home.wait_until(lambda: home.run("status").returncode == 0, what="it serves")
    finally:
        daemon.terminate()
    assert daemon.wait(DEADLINE_SECONDS) == 0
    short = Path(rendezvous.socket_path(str(long / "state"))).parent
    assert list(short.iterdir()) == []
    short.rmdir()


# Again and again


def test_rounds_within_one_process_leave_descriptors_and_threads_as_they_were(home: Home, is_full: bool) -> None:
    rounds = 50 if is_full else 6

    done = subprocess.run(
        [sys.executable, str(HERE / "serve_rounds.py"), str(rounds)],
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    held: list[dict[str, Any]] = json.loads(done.stdout)
    assert held[1:] == [held[1]] * (rounds - 1)
    assert held[1]["threads"] == ["MainThread"]


def test_rounds_of_processes_leave_the_files_as_they_were(home: Home, is_full: bool) -> None:
    def files() -> list[str]:
        return sorted(str(path.relative_to(home.top)) for path in home.top.rglob("*"))

    seen = []
    for _ in range(50 if is_full else 4):
        daemon = home.start()
        assert home.run("stop").returncode == 0
        assert daemon.wait(DEADLINE_SECONDS) == 0
        seen.append(files())

    assert seen[1:] == [seen[0]] * (len(seen) - 1)


class Killed:
    """A daemon that is killed at a step of its life."""

    def __init__(self, home: Home, step: int) -> None:
        self._home, self._steps = home, home.top / "steps"
        said, saying = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "killed_serve.py"), str(step), str(self._steps), str(saying)],
            env=home.environment,
            pass_fds=[saying],
            stderr=subprocess.DEVNULL,
        )
        os.close(saying)
        home.started.append(self._process)
        with os.fdopen(said, "rb") as ready:
            self.is_serving = ready.readline() == b"ready\n"

    def wait_end(self) -> int:
        return self._process.wait(DEADLINE_SECONDS)

    def steps(self) -> int:
        return int(self._steps.read_text())


async def live(home: Home, project: Path) -> str | None:
    """Open a session, listen, and stop the daemon; return the session if it was acknowledged."""
    session = None
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, OSError):
        async with home.open_raw_socket(environment={}) as client:
            answer = await client.call(1, "set_working_directory", meta=MODERN_META, directory=str(project))
            session = str(answer["result"]["structuredContent"]["session_id"])
            parameters = {"notifications": {"toolsListChanged": True}, "_meta": MODERN_META}
            await client.send(id="ear", method="subscriptions/listen", params=parameters)
            await client.receive()
            with suppress(Exception):  # it may be killed before it has answered
                await anyio.to_thread.run_sync(home.ask, "stop")
            await client.wait_end()
    return session


async def test_killed_at_any_step_of_its_life_the_next_one_serves_and_knows_all_that_was_acknowledged(
    is_full: bool,
) -> None:
    with open_home() as home:
        project = home.repository("app")
        whole = Killed(home, 0)
        kept = {await live(home, project)}
        assert whole.wait_end() == 0
        steps = whole.steps()
        assert steps > 30, "enough moments to be killed at"
        most = steps if is_full else 10
        ended = []
        for number in range(most):
            killed = Killed(home, 1 + number * steps // most)
            if killed.is_serving:
                kept.add(await live(home, project))
            ended.append(killed.wait_end())

            daemon = home.start()
            assert {each for each in kept if each is not None} <= home.sessions().keys()
            home.ask("stop")
            assert daemon.wait(DEADLINE_SECONDS) == 0

        assert ended.count(-signal.SIGKILL) >= most - 2, "steps differ a little from one life to the next"
        left = {path.name for path in home.state.rglob("*") if path.is_file()}
        assert not [name for name in left if name.startswith(".")], "no half-written file"
