"""A daemon is started when none answers: one, whoever asks, with nothing of the client that asked."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from connector_fakes import DEADLINE_SECONDS, Client, FakeDaemon, call, connect_with, fake_serve

from workroot import rendezvous
from workroot.connector.starting import SERVE_COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Yield a state directory; daemons that were started for it are ended."""
    state = tmp_path / "state"
    yield state
    for start in starts(state):
        pid = start["pid"]
        if isinstance(pid, int) and str(state.parent) in environment_of(pid):
            os.kill(pid, signal.SIGKILL)


def starts(state: Path) -> list[dict[str, object]]:
    try:
        lines = (state / "starts").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def environment_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text()
    except OSError:
        return ""


def kill_and_wait(pid: int) -> None:
    handle = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        assert select.select([handle], [], [], DEADLINE_SECONDS)[0]
    finally:
        os.close(handle)


def pid_of_daemon(client: Client, request_id: int = 1) -> int:
    client.send(call(request_id))
    result = client.read_message()["result"]
    assert isinstance(result, dict)
    return int(result["pid"])


def test_sixteen_connectors_started_at_once_start_one_daemon(state: Path) -> None:
    with ExitStack() as stack:
        command = connect_with(fake_serve())
        clients = [stack.enter_context(Client(state, command=command)) for _ in range(16)]
        daemons = {pid_of_daemon(client) for client in clients}
        assert len(daemons) == 1
        assert len(starts(state)) == 1


def test_when_it_is_killed_all_connectors_find_the_same_new_one(state: Path) -> None:
    with ExitStack() as stack:
        command = connect_with(fake_serve())
        clients = [stack.enter_context(Client(state, command=command)) for _ in range(8)]
        [first] = {pid_of_daemon(client) for client in clients}
        kill_and_wait(first)
        [second] = {pid_of_daemon(client, 2) for client in clients}
        assert second != first
        assert len(starts(state)) == 2


def test_the_daemon_has_nothing_of_the_client_that_needed_it(state: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "json.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\n")
    (repository / "sitecustomize.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\n")
    environment = {"PYTHONPATH": str(repository), "TOKEN": "secret", "WORKROOT_LOG_LEVEL": "debug"}
    command = connect_with(fake_serve())
    with Client(state, command=command, cwd=repository, environment=environment) as client:
        pid = pid_of_daemon(client)
        [start] = starts(state)
        parent_of_connector = client.pid
    assert start["pid"] == pid
    assert start["cwd"] == "/"
    assert start["isolated"] == 1
    assert start["umask"] == 0o077
    assert start["session"] != os.getsid(0), "a terminal that closes must not take the daemon with it"
    assert start["parent"] != parent_of_connector
    assert str(repository) not in start["path"]  # type: ignore[operator]  # a list
    environment_seen = start["environment"]
    assert isinstance(environment_seen, dict)
    assert set(environment_seen) - {"LC_CTYPE"} == {"HOME", "PATH", "WORKROOT_HOME", "WORKROOT_LOG_LEVEL"}
    assert start["descriptors"] == [0, 1, 2, 3], "the log is 2, and 3 is where it says that it is ready"
    assert start["streams"] == ["/dev/null", "/dev/null", rendezvous.log_path(str(state))]
    assert not (tmp_path / "marker").exists()


def test_the_daemon_survives_its_connector_and_leaves_no_remains_with_it(state: Path) -> None:
    command = connect_with(fake_serve())
    with Client(state, command=command) as client, Client(state, command=command) as other:
        first = pid_of_daemon(client)
        client.signal(signal.SIGKILL)
        client.wait()
        assert pid_of_daemon(other) == first
        kill_and_wait(first)
        assert pid_of_daemon(other, 2) != first
        children = Path(f"/proc/{other.pid}/task/{other.pid}/children").read_text()
        assert children == "", "a daemon must not be a child of a connector, or it stays as a zombie"


def test_what_is_made_for_the_daemon_is_its_user_s_alone(state: Path) -> None:
    before = os.umask(0)
    try:
        with Client(state, command=connect_with(fake_serve())) as client:
            pid_of_daemon(client)
    finally:
        os.umask(before)
    for path in (state, state / "run", state / "log"):
        assert path.stat().st_mode & 0o777 == 0o700, path
    run = Path(rendezvous.run_directory(str(state)))
    assert run.stat().st_mode & 0o777 == 0o700
    assert (run / "spawn.lock").stat().st_mode & 0o777 == 0o600
    assert Path(rendezvous.log_path(str(state))).stat().st_mode & 0o777 == 0o600


def test_the_daemon_of_this_installation_is_started_isolated() -> None:
    assert (sys.executable, "-I", "-m", "workroot", "serve", "--ready-fd") == SERVE_COMMAND


def test_without_spawning_a_missing_daemon_is_an_error_of_its_own(state: Path) -> None:
    with Client(state, "--no-spawn") as client:
        assert client.wait() == 3
        assert "workroot serve" in client.read_errors()
    assert not state.exists(), "nothing was made"


@pytest.mark.parametrize(
    ("behaviour", "message"), [("fail", "SettingsError: config.toml is?broken"), ("silent", "it wrote nothing")]
)
def test_a_daemon_that_does_not_come_up_is_reported_with_its_last_words(
    state: Path, behaviour: str, message: str
) -> None:
    log = Path(rendezvous.log_path(str(state)))
    log.parent.mkdir(parents=True, mode=0o700)
    state.chmod(0o700)
    log.write_text("an older line\n")
    with Client(state, command=connect_with(fake_serve(behaviour))) as client:
        client.send(call(1))
        error = client.read_message()
        assert error["id"] == 1
        assert message in json.dumps(error)
        assert client.wait() == 4
        said = client.read_errors()
    assert message in said
    assert str(log) in said


def test_a_command_that_does_not_exist_is_reported(state: Path) -> None:
    with Client(state, command=connect_with(("/no/such/python",))) as client:
        assert client.wait() == 4
        assert "/no/such/python cannot be started" in client.read_errors()


def test_a_daemon_that_is_stopping_is_waited_for(state: Path) -> None:
    rendezvous.prepare_meeting_place(str(state))
    os.mkfifo(state / "started")
    started = os.open(state / "started", os.O_RDWR)
    lock = os.open(rendezvous.instance_lock_path(str(state)), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with Client(state, command=connect_with(fake_serve())) as client:
            client.send(call(1))
            assert not select.select([started], [], [], 0.5)[0], "no second daemon while the first one has not ended"
            os.close(lock)
            assert "result" in client.read_message()
        assert len(starts(state)) == 1
    finally:
        os.close(started)


def test_a_client_that_leaves_while_the_daemon_starts_is_not_waited_for(state: Path) -> None:
    with Client(state, command=connect_with(fake_serve("mute"))) as client:
        client.close_output()
        assert client.wait() == 0


def test_a_socket_that_nobody_serves_any_more_does_not_stop_the_next_daemon(state: Path) -> None:
    daemon = FakeDaemon(state)
    daemon.abandon()
    with Client(state, command=connect_with(fake_serve())) as client:
        assert pid_of_daemon(client) == starts(state)[0]["pid"]


@pytest.mark.parametrize("options", [(), ("--no-spawn",)])
def test_a_meeting_place_that_others_may_enter_is_refused(state: Path, options: tuple[str, ...]) -> None:
    daemon = FakeDaemon(state)
    run = Path(rendezvous.run_directory(str(state)))
    run.chmod(0o755)
    try:
        with Client(state, *options) as client:
            assert client.wait() == 4
            assert f"chmod 700 '{run}'" in client.read_errors()
    finally:
        daemon.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_daemon_of_another_user_is_refused(state: Path) -> None:
    daemon = FakeDaemon(state, uid=12345)
    try:
        with Client(state, "--no-spawn") as client:
            assert client.wait() == 4
            assert "served by the user with id 12345" in client.read_errors()
    finally:
        daemon.stop()


def test_a_state_directory_with_a_long_name_works(tmp_path: Path) -> None:
    state = tmp_path / ("x" * 120) / "state"
    daemon = FakeDaemon(state)
    try:
        with Client(state) as client:
            client.send(call(1))
            assert daemon.accept().read_line() == call(1)
    finally:
        daemon.stop()
        Path(rendezvous.socket_path(str(state))).parent.rmdir()


@pytest.mark.parametrize("behaviour", ["killed-twice", "ready-and-killed"])
def test_a_daemon_that_is_killed_while_it_starts_is_started_again_and_nobody_notices(
    state: Path, behaviour: str
) -> None:
    with ExitStack() as stack:
        command = connect_with(fake_serve(behaviour))
        clients = [stack.enter_context(Client(state, command=command)) for _ in range(4)]
        [pid] = {pid_of_daemon(client) for client in clients}
        assert [start["pid"] for start in starts(state)][2:] == [pid]


def test_a_daemon_that_never_comes_up_is_started_three_times_and_no_more(state: Path) -> None:
    with Client(state, command=connect_with(fake_serve("silent"))) as client:
        assert client.wait() == 4
    assert len(starts(state)) == 3


def make_link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def make_directory(path: Path) -> None:
    path.mkdir()


def make_text(path: Path) -> None:
    path.write_text("what is this")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("daemon.sock", make_directory),
        ("daemon.sock", make_text),
        ("daemon.sock", make_link),
        ("spawn.lock", make_directory),
        ("spawn.lock", make_link),
        ("spawn.lock", os.mkfifo),
        ("daemon.lock", make_directory),
        ("daemon.lock", make_link),
        ("../../log/daemon.log", make_directory),
        ("../../log/daemon.log", make_link),
        ("../../log", make_text),
    ],
)
def test_what_is_in_the_way_is_named_with_the_cure_and_left_as_it_is(
    state: Path, name: str, make: Callable[[Path], None]
) -> None:
    rendezvous.prepare_meeting_place(str(state))
    if name.endswith(".log"):
        (state / "log").mkdir(mode=0o700)
    junk = Path(os.path.normpath(os.path.join(rendezvous.run_directory(str(state)), name)))
    make(junk)
    before = junk.lstat()
    with Client(state, command=connect_with(fake_serve())) as client:
        client.send(call(1))
        error = client.read_message()
        assert client.wait() == 4
        said = client.read_errors()
    for text in (said, json.dumps(error)):
        assert str(junk) in text
        assert any(cure in text for cure in ("rm -r", "move it away", "remove it")), text
    assert junk.lstat() == before
    assert starts(state) == [], "no daemon is started where none could serve"


@pytest.mark.parametrize("inner", ["", "run", "log"])
def test_a_directory_of_ours_that_others_may_enter_is_named_with_the_cure(state: Path, inner: str) -> None:
    rendezvous.prepare_meeting_place(str(state))
    (state / "log").mkdir(mode=0o700)
    (state / inner).chmod(0o777)
    with Client(state, command=connect_with(fake_serve())) as client:
        assert client.wait() == 4
        assert f"chmod 700 '{state / inner}'" in client.read_errors()
    assert starts(state) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["", "run", "spawn.lock", "daemon.lock"])
def test_what_belongs_to_another_user_is_named_and_not_used(state: Path, name: str) -> None:
    rendezvous.prepare_meeting_place(str(state))
    run = Path(rendezvous.run_directory(str(state)))
    theirs = run / name if name.endswith("lock") else state / name
    if name.endswith("lock"):
        theirs.touch(mode=0o600)
    os.chown(theirs, 12345, -1)
    with Client(state, command=connect_with(fake_serve())) as client:
        assert client.wait() == 4
        said = client.read_errors()
    assert str(theirs) in said
    assert "belongs to the user with id 12345" in said


def test_a_pid_that_is_somebody_else_s_by_now_means_nothing(state: Path) -> None:
    rendezvous.prepare_meeting_place(str(state))
    for name in ("daemon.lock", "daemon.pid", "spawn.lock", "workroot.pid"):
        Path(rendezvous.run_directory(str(state)), name).write_text(f"{os.getpid()}\n")
    with Client(state, command=connect_with(fake_serve())) as client:
        assert pid_of_daemon(client) == starts(state)[0]["pid"]


def test_a_daemon_that_is_held_up_is_waited_for(state: Path) -> None:
    with Client(state, command=connect_with(fake_serve())) as first:
        pid = pid_of_daemon(first)
        os.kill(pid, signal.SIGSTOP)
        with Client(state, command=connect_with(fake_serve())) as second:
            second.send(call(1))
            first.send(call(2))
            os.kill(pid, signal.SIGCONT)
            assert second.read_message()["id"] == 1
            assert first.read_message()["id"] == 2
    assert len(starts(state)) == 1


def test_a_daemon_that_stays_suspended_is_given_up_with_a_word_to_the_client(state: Path) -> None:
    with Client(state, command=connect_with(fake_serve())) as first:
        pid = pid_of_daemon(first)
        os.kill(pid, signal.SIGSTOP)
        with Client(state, command=connect_with(fake_serve(), 0.5, hello_seconds=0.3)) as second:
            second.send(call(1))
            error = second.read_message()
            assert error["id"] == 1
            assert "takes connections and does not answer" in json.dumps(error)
            assert second.wait() == 5
            assert "workroot stop" in second.read_errors()
        os.kill(pid, signal.SIGCONT)


def test_after_a_deliberate_stop_no_daemon_is_started_before_the_client_has_something_to_say(state: Path) -> None:
    command = connect_with(fake_serve())
    with Client(state, command=command) as client, Client(state, command=command) as other:
        first = pid_of_daemon(client)
        assert pid_of_daemon(other) == first
        stopped = Path(rendezvous.stopped_path(str(state)))
        stopped.touch()
        kill_and_wait(first)
        os.mkfifo(state / "started")
        started = os.open(state / "started", os.O_RDWR)
        try:
            assert not select.select([started], [], [], 0.5)[0], "nobody asked for one"
        finally:
            os.close(started)
            (state / "started").unlink()
        second = pid_of_daemon(client, 2)
        assert second != first
        assert not stopped.exists()
        assert pid_of_daemon(other, 2) == second
        assert len(starts(state)) == 2


def test_a_connector_that_waits_after_a_stop_joins_the_daemon_that_somebody_starts(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path / "state")
    try:
        with Client(daemon.state, command=connect_with(())) as client:
            client.send(call(1))
            assert daemon.accept().read_line() == call(1)
            stopped = Path(rendezvous.stopped_path(str(daemon.state)))
            stopped.touch()
            daemon.stop()
            assert "error" in client.read_message()
            daemon.start()
            stopped.unlink()
            assert daemon.accept().hello["reconnected"] is True
    finally:
        daemon.stop()


def test_a_client_may_leave_while_its_connector_waits_after_a_stop(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path / "state")
    with Client(daemon.state, command=connect_with(())) as client:
        client.send(call(1))
        assert daemon.accept().read_line() == call(1)
        Path(rendezvous.stopped_path(str(daemon.state))).touch()
        daemon.stop()
        assert "error" in client.read_message()
        client.close_input()
        assert client.wait() == 0
