from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_daemon import Answer, FakeDaemon, run_cli, short_directory

from workroot import __version__, rendezvous
from workroot.cli import daemon_commands, status_command
from workroot.cli.exit_codes import ExitCode
from workroot.cli.process_end import watch_process_end
from workroot.cli.tables import local_time, shown_user

STATUS = {
    "pid": 4711,
    "version": __version__,
    "boot": "b00t",
    "started_at": 1785229200.0,
    "state_directory": "/s",
    "socket": "/s/run/daemon.sock",
    "database": "/s/workroot.db",
    "log": "/s/log/daemon.log",
    "http": {"url": "http://127.0.0.1:7668/mcp"},
    "sessions": 2,
    "ended_sessions": 1,
    "connections": 3,
    "projects": 4,
}
FULL_STATUS = {
    **STATUS,
    "uptime_seconds": 93_784.0,
    "stale_sessions": 1,
    "clients": [
        {"name": "ada", "transport": "unix", "era": "modern", "connections": 2},
        {"name": None, "transport": "http", "era": "handshake", "connections": 1},
    ],
    "store": {"size_bytes": 3 << 20, "problem": None},
    "watching": {"watched": 7, "polled": 2, "is_working": True, "last_failure": None},
    "memory_bytes": 80 << 20,
    "descriptors": {"used": 26, "limit": 4096},
    "refusals": {"rate_limit": 3, "accept_failed": 1},
    "problems": [{"time": "t", "level": "ERROR", "logger": "x", "message": "odd \x1b[2J", "count": 5}],
    "unready": None,
}
SESSION = {
    "session_id": "wr_7Hq2kQ9-vXzLw_3bNf5TgYcD",
    "principal": "uid:1000",
    "working_directory": "/code/shop/src",
    "given_directory": "/code/shop/src",
    "project_id": "p-1",
    "project_root": "/code/shop",
    "config_path": None,
    "set_at": 1785229200.0,
    "last_used": 1785229200.0,
    "revision": 1,
    "connected": True,
}
PROJECT = {"id": "p-1", "name": "The Shop", "root": "/code/shop", "worktree_of": None, "seen_at": 1785229200.0}


@pytest.fixture
def state() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


def daemon(state: Path, **answers: Answer) -> FakeDaemon:
    return FakeDaemon(state, answers)


# status


async def test_status_shows_where_the_parts_are(state: Path) -> None:
    async with daemon(state, status=STATUS).running() as fake:
        result = await fake.run("status")

    assert result.exit_code == ExitCode.OK
    assert result.stderr == ""
    for fact in ("4711", __version__, "http://127.0.0.1:7668/mcp", "/s/workroot.db", "/s/log/daemon.log"):
        assert fact in result.stdout


async def test_status_shows_how_the_daemon_is_on_one_screen(state: Path) -> None:
    async with daemon(state, status=FULL_STATUS).running() as fake:
        shown = (await fake.run("status")).stdout

    assert len(shown.splitlines()) < 24
    for fact in (
        "yes, pid 4711, for 1 d 2 h (started ",
        "80.0 MB of memory, 26 of 4096 files open",
        "2, 1 of them idle for too long (1 ended ones remembered)",
        "2 x ada (by connector, modern era)",
        "without a name (by HTTP, handshake era)",
        "7 directories, and 2 by looking at them\n",
        "well, 3.0 MB",
        "accept_failed 1, rate_limit 3",
        r"  t  odd \x1b[2J (5 times)",
    ):
        assert fact in shown


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ({"is_refusing": False}, "changes are lost if the daemon ends; tried again every minute"),
        ({"is_refusing": True}, "changes are refused; tried again every minute"),
    ],
)
async def test_status_says_since_when_and_why_nothing_reaches_the_disk(
    state: Path, store: dict[str, object], said: str
) -> None:
    store = {"problem": "full", "memory_only_since": 1785229200.0, "memory_only_because": "the disk is full", **store}
    async with daemon(state, status={**FULL_STATUS, "store": store}).running() as fake:
        shown = (await fake.run("status")).stdout

    assert "memory only since 2026-07-28T09:00:00Z: the disk is full\n" in shown
    assert said in shown


async def test_status_names_another_journal_and_files_that_were_moved(state: Path) -> None:
    store = {"size_bytes": 0, "problem": None, "journal_warning": "it lies on nfs4", "moved_aside": ["/a", "/b"]}
    async with daemon(state, status={**FULL_STATUS, "store": store}).running() as fake:
        shown = (await fake.run("status")).stdout

    for fact in ("well, 0.0 MB\n", "it lies on nfs4\n", "could not be used was moved to /a\n", "was moved to /b\n"):
        assert fact in shown


async def test_status_shows_all_times_as_the_clock_on_the_wall_and_counts_only_what_repeats(state: Path) -> None:
    problem = {"time": "2026-07-28T09:00:00.123Z", "message": "odd", "count": 1}
    async with daemon(state, status={**FULL_STATUS, "problems": [problem]}).running() as fake:
        shown = (await fake.run("status")).stdout

    assert f"(started {local_time(1785229200.0)})" in shown  # that is 2026-07-28T09:00:00Z
    assert f"  {local_time(1785229200.0)}  odd\n" in shown


@pytest.mark.parametrize(
    ("watched", "polled", "said"),
    [(2, 0, "2 directories\n"), (1, 0, "1 directory\n"), (1, 3, "1 directory, and 3 by looking at them\n")],
)
async def test_status_leaves_out_directories_that_there_are_none_of(
    state: Path, watched: int, polled: int, said: str
) -> None:
    watching = {"watched": watched, "polled": polled, "is_working": True, "last_failure": None}
    async with daemon(state, status={**FULL_STATUS, "watching": watching}).running() as fake:
        assert f"watching     {said}" in (await fake.run("status")).stdout


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("unready", "store", "but cannot be used now: store"),
        ("store", {"size_bytes": 1, "problem": "the file was deleted"}, "store        the file was deleted"),
        ("watching", {"watched": 0, "polled": 9, "is_working": False, "last_failure": "ENOSPC"}, "it fails: ENOSPC"),
        ("http", {"url": None, "problem": "port 7668 is taken"}, "not served: port 7668 is taken"),
    ],
)
async def test_status_says_what_is_wrong(state: Path, field: str, value: object, said: str) -> None:
    async with daemon(state, status={**FULL_STATUS, field: value}).running() as fake:
        assert said in (await fake.run("status")).stdout


async def test_metrics_are_printed_as_they_are(state: Path) -> None:
    async with daemon(state, metrics={"text": "# HELP a\na 1.0\n"}).running() as fake:
        assert (await fake.run("status", "--metrics")).stdout == "# HELP a\na 1.0\n"


async def test_status_as_json_is_what_the_daemon_said(state: Path) -> None:
    async with daemon(state, status=STATUS).running() as fake:
        result = await fake.run("status", "--json")

    assert json.loads(result.stdout) == {"running": True, "answers": True, **STATUS}


async def test_status_says_when_the_daemon_is_another_version(state: Path) -> None:
    async with daemon(state, status={**STATUS, "version": "99.0"}).running() as fake:
        result = await fake.run("status")

    assert "the daemon is version 99.0" in result.stderr
    assert "workroot upgrade" in result.stderr


async def test_status_bears_a_daemon_that_says_little(state: Path) -> None:
    async with daemon(state, status={}).running() as fake:
        result = await fake.run("status")

    assert result.exit_code == ExitCode.OK
    assert "http         off" in result.stdout


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (["status"], "no daemon is running at "),
        (["sessions"], ""),
        (["projects"], ""),
        (["sweep"], ""),
        (["why", "--last"], ""),
    ],
)
def test_what_needs_a_daemon_exits_3_without_one(state: Path, command: list[str], out: str) -> None:
    result = run_cli(*command, state=state)

    assert result.exit_code == ExitCode.NOT_RUNNING
    assert result.stdout.startswith(out)
    assert "no daemon is running" in result.output


def test_a_stopped_daemon_is_one_json_document_too(state: Path) -> None:
    result = run_cli("status", "--json", state=state)

    assert result.exit_code == ExitCode.NOT_RUNNING
    assert json.loads(result.stdout) == {"running": False, "socket": rendezvous.socket_path(str(state))}


async def test_a_daemon_that_does_not_answer_runs_all_the_same(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_command, "_ANSWER_SECONDS", 0.05)
    async with FakeDaemon(state, {"status": b'{"result":'}).running() as fake:
        result = await fake.run("status", "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == ExitCode.FAILED
    assert (document["running"], document["answers"], document["error"]["code"]) == (True, False, "daemon_silent")
    assert "did not answer within 0.05 s" in document["error"]["message"]
    assert result.stderr == f"workroot: {document['error']['message']}\n"


async def test_a_daemon_whose_answer_is_none_runs_all_the_same(state: Path) -> None:
    async with daemon(state, status=b"garbage\n").running() as fake:
        document = json.loads((await fake.run("status", "--json")).stdout)

    assert (document["running"], document["answers"], document["error"]["code"]) == (True, False, "control")


def test_that_no_daemon_runs_is_said_in_the_same_words_by_all(state: Path) -> None:
    words = {run_cli(command, state=state).output.removeprefix("workroot: ") for command in ("status", "sessions")}

    assert len(words) == 1


def test_a_user_s_own_sessions_are_shown_as_theirs() -> None:
    assert shown_user(f"uid:{os.geteuid()}") == "you"
    assert shown_user(f"uid:{os.geteuid() + 1}") == f"uid:{os.geteuid() + 1}"
    assert shown_user("user:ada") == "user:ada"
    assert shown_user(None) is None


def test_a_socket_that_a_dead_daemon_left_is_no_daemon(state: Path) -> None:
    import socket

    path = Path(rendezvous.socket_path(str(state)))
    path.parent.mkdir(mode=0o700, parents=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    assert run_cli("status", state=state).exit_code == ExitCode.NOT_RUNNING


def test_a_failure_is_a_json_document_where_one_was_asked_for(state: Path) -> None:
    result = run_cli("sessions", "--json", state=state)

    assert json.loads(result.stdout)["error"]["code"] == "daemon_unavailable"
    assert result.stderr.startswith("workroot: no daemon is running")


# answers that are none


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (b'{"error":{"code":"store_unavailable","message":"the disk is full"}}\n', ExitCode.FAILED, "the disk is full"),
        (b'{"error":{}}\n', ExitCode.FAILED, "no reason given"),
        (b"garbage\n", ExitCode.FAILED, "what is not an answer"),
        (b"[1]\n", ExitCode.FAILED, "what is not an answer"),
        (b'{"result":3}\n', ExitCode.FAILED, "what is not an answer"),
        (b"[" * 100_000 + b"\n", ExitCode.FAILED, "what is not an answer"),
        (None, ExitCode.FAILED, "went away without an answer"),
    ],
)
async def test_an_answer_that_is_none_is_one_clear_line(
    state: Path, answer: bytes | None, code: ExitCode, said: str
) -> None:
    async with daemon(state, sweep=answer).running() as fake:
        result = await fake.run("sweep")

    assert result.exit_code == code
    assert result.stdout == ""
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


async def test_the_code_of_a_refusal_is_the_daemons(state: Path) -> None:
    refusal = b'{"error":{"code":"unknown_command","message":"no"}}\n'
    async with daemon(state, sweep=refusal).running() as fake:
        result = await fake.run("sweep", "--json")

    assert json.loads(result.stdout) == {"error": {"code": "unknown_command", "message": "no"}}


@pytest.mark.parametrize("hello", [b'{"workroot":"2","pid":1}\n', b"SSH-2.0-OpenSSH\n"])
async def test_a_listener_that_speaks_otherwise_is_not_asked(state: Path, hello: bytes) -> None:
    async with FakeDaemon(state, {}, hello=hello).running() as fake:
        result = await fake.run("status")

    assert result.exit_code == ExitCode.FAILED
    assert fake.asked == []


async def test_a_daemon_of_another_protocol_is_asked_all_the_same(state: Path) -> None:
    answers = {"sweep": b'{"result":{"removed":[]}}\n'}
    async with FakeDaemon(state, answers, hello=b'{"workroot":7,"oldest":7,"pid":1}\n').running() as fake:
        result = await fake.run("sweep")

    assert result.exit_code == ExitCode.OK
    assert [request["command"] for request in fake.asked] == ["sweep"]


async def test_a_daemon_that_does_not_answer_is_not_waited_for_without_end(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_commands, "_SWEEP_SECONDS", 0.05)

    async with daemon(state, sweep=b'{"result":').running() as fake:
        result = await fake.run("sweep")

    assert result.exit_code == ExitCode.FAILED
    assert "did not answer within 0.05 s" in result.stderr


@pytest.mark.parametrize(("command", "code"), [("status", ExitCode.NOT_RUNNING), ("stop", ExitCode.OK)])
async def test_a_service_manager_that_listens_need_not_start_a_daemon_to_be_told_that_none_runs(
    state: Path, command: str, code: ExitCode
) -> None:
    async with FakeDaemon(state, {}, has_lock=False).running() as fake:
        result = await fake.run(command)

        assert not fake.was_reached
    assert result.exit_code == code
    assert result.stdout.startswith("no daemon ")


async def test_what_a_daemon_has_to_answer_lets_a_service_manager_start_it(state: Path) -> None:
    async with FakeDaemon(state, {"sessions": {"sessions": []}, "projects": {}}, has_lock=False).running() as fake:
        assert (await fake.run("sessions")).stdout == "no sessions\n"


async def test_a_socket_where_others_may_write_is_not_trusted(state: Path) -> None:
    async with daemon(state, status=STATUS).running() as fake:
        fake.socket_path.parent.chmod(0o777)
        result = await fake.run("status")

    assert result.exit_code == ExitCode.FAILED
    assert f"chmod 700 {fake.socket_path.parent}" in result.stderr
    assert fake.asked == []


# sessions and projects


async def test_sessions_shows_who_is_where_with_short_handles(state: Path) -> None:
    async with daemon(state, sessions={"sessions": [SESSION]}, projects={"projects": [PROJECT]}).running() as fake:
        result = await fake.run("sessions")

    (line,) = [line for line in result.stdout.splitlines() if "/code/shop/src" in line]
    assert line.startswith("wr_7Hq2kQ9-...")
    assert "The Shop" in line
    assert "d ago" in line or "now" in line
    assert str(SESSION["session_id"]) not in result.stdout


async def test_sessions_as_json_are_what_the_daemon_said(state: Path) -> None:
    async with daemon(state, sessions={"sessions": [SESSION]}).running() as fake:
        result = await fake.run("sessions", "--json")

    assert json.loads(result.stdout) == {"sessions": [SESSION]}


async def test_sessions_are_asked_for_until_there_are_no_more(state: Path) -> None:
    another = {**SESSION, "working_directory": "/another"}
    answers: dict[str, Answer] = {"sessions": {"sessions": [SESSION], "cursor": "more"}}
    fake = FakeDaemon(state, answers, after={"sessions": lambda: answers.update(sessions={"sessions": [another]})})
    async with fake.running():
        result = await fake.run("sessions", "--json")

    assert json.loads(result.stdout) == {"sessions": [SESSION, another]}
    assert [each["arguments"] for each in fake.asked] == [{}, {"cursor": "more"}]


async def test_the_last_used_session_comes_first(state: Path) -> None:
    older = {**SESSION, "working_directory": "/older", "last_used": 5.0}
    async with daemon(state, sessions={"sessions": [older, SESSION]}, projects={}).running() as fake:
        result = await fake.run("sessions")

    assert result.stdout.index("/code/shop/src") < result.stdout.index("/older")


async def test_without_sessions_it_says_so(state: Path) -> None:
    async with daemon(state, sessions={"sessions": []}, projects={}).running() as fake:
        result = await fake.run("sessions")

    assert result.stdout == "no sessions\n"


async def test_a_name_from_a_repository_is_neither_markup_nor_an_escape_sequence(state: Path) -> None:
    project = {**PROJECT, "name": "[red]x[/red] \x1b[2J\nforged", "root": "/[bold]\u202e"}
    async with daemon(state, projects={"projects": [project]}).running() as fake:
        result = await fake.run("projects")

    assert r"[red]x[/red] \x1b[2J\nforged" in result.stdout
    assert r"/[bold]\u202e" in result.stdout


async def test_a_long_path_stays_on_one_line_where_no_terminal_is(state: Path) -> None:
    root = "/" + "a" * 300
    async with daemon(state, projects={"projects": [{**PROJECT, "root": root}]}).running() as fake:
        result = await fake.run("projects")

    assert root in result.stdout


async def test_projects_passes_on_the_query(state: Path) -> None:
    async with daemon(state, projects={"projects": [PROJECT]}).running() as fake:
        listed = await fake.run("projects", "sho")
        await fake.run("projects", "--json")

    assert "p-1" in listed.stdout
    assert [request["arguments"] for request in fake.asked] == [{"query": "sho"}, {}]


async def test_a_query_that_nothing_matches_is_named(state: Path) -> None:
    async with daemon(state, projects={"projects": []}).running() as fake:
        result = await fake.run("projects", "zebra")

    assert result.stdout == "no known project matches 'zebra'\n"


# sweep


async def test_sweep_says_what_it_postponed_and_until_when(state: Path) -> None:
    answer = {"removed": [], "postponed": {"sessions": 12345, "in_seconds": 60}}
    async with daemon(state, sweep=answer).running() as fake:
        result = await fake.run("sweep")
        as_json = await fake.run("sweep", "--json")

    assert result.stdout == (
        "ended none yet: 12345 sessions were idle for too long, which is very many at once; "
        "those that are still unused in 60 s end then\n"
    )
    assert json.loads(as_json.stdout) == answer


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        ([], "no session was idle for too long\n"),
        (["wr_7Hq2kQ9-vXzLw_3bNf5TgYcD"], "ended 1 idle session: wr_7Hq2kQ9-...\n"),
        (["a"] * 12, f"ended 12 idle sessions: {', '.join(['a'] * 10)} and 2 more\n"),
    ],
)
async def test_sweep_says_what_was_removed(state: Path, removed: list[str], said: str) -> None:
    async with daemon(state, sweep={"removed": removed}).running() as fake:
        result = await fake.run("sweep")

    assert result.stdout == said


# stop


class Process:
    """A process that ends when told to."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-I", "-c", "input()"], stdin=subprocess.PIPE)

    @property
    def hello(self) -> bytes:
        return json.dumps({"workroot": 1, "version": "0.1.0", "pid": self._process.pid}).encode() + b"\n"

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> None:
        assert self._process.stdin is not None
        if not self._process.stdin.closed:
            self._process.stdin.write(b"\n")
            self._process.stdin.close()


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    yield process
    process.end()
    process._process.wait(5)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the daemon's lock is looked at, which a fake has not")
async def test_stop_waits_until_the_daemons_process_is_gone(state: Path, process: Process) -> None:
    fake = FakeDaemon(state, {"stop": {"stopping": True}}, hello=process.hello, after={"stop": process.end})

    async with fake.running():
        result = await fake.run("stop")

    assert process.has_ended
    assert result.exit_code == ExitCode.OK
    assert result.stdout.startswith("stopped the daemon (pid ")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the daemon's lock is looked at, which a fake has not")
async def test_a_daemon_that_hangs_up_instead_of_answering_stop_is_waited_for_too(
    state: Path, process: Process
) -> None:
    fake = FakeDaemon(state, {"stop": None}, hello=process.hello, after={"stop": process.end})

    async with fake.running():
        result = await fake.run("stop", "--json")

    assert process.has_ended
    assert json.loads(result.stdout)["stopped"] is True


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the daemon's lock is looked at, which a fake has not")
async def test_stop_does_not_wait_without_end(state: Path, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_commands, "_STOP_SECONDS", 0.05)

    async with FakeDaemon(state, {"stop": {"stopping": True}}, hello=process.hello).running() as fake:
        result = await fake.run("stop", "--json")

    assert result.exit_code == ExitCode.FAILED
    assert json.loads(result.stdout)["stopped"] is False
    assert "still runs after 0.05 s" in result.stderr


@pytest.mark.parametrize(
    ("answer", "is_said"),
    [
        ({"stopping": True}, True),
        (None, False),
        (b"", False),
        (b'{"error": {"code": "unknown_command", "message": "no"}}\n', False),
    ],
    ids=["agrees", "hangs up", "is silent", "refuses"],
)
async def test_connectors_are_told_that_no_daemon_is_wanted_only_if_it_agreed_to_stop(
    state: Path, process: Process, monkeypatch: pytest.MonkeyPatch, answer: Answer, is_said: bool
) -> None:
    monkeypatch.setattr(daemon_commands, "_STOP_SECONDS", 0.3)

    async with FakeDaemon(state, {"stop": answer}, hello=process.hello).running() as fake:
        result = await fake.run("stop")

    assert fake.asked
    assert result.exit_code == ExitCode.FAILED
    assert os.path.exists(rendezvous.stopped_path(str(state))) == is_said


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the daemon's lock is looked at, which a fake has not")
async def test_connectors_are_told_so_where_the_daemon_is_gone_before_it_answers(state: Path, process: Process) -> None:
    fake = FakeDaemon(state, {"stop": None}, hello=process.hello, after={"stop": process.end})

    async with fake.running():
        result = await fake.run("stop")

    assert result.exit_code == ExitCode.OK
    assert os.path.exists(rendezvous.stopped_path(str(state)))


def test_stop_without_a_daemon_has_nothing_to_do(state: Path) -> None:
    result = run_cli("stop", state=state)
    as_json = run_cli("stop", "--json", state=state)

    assert (result.exit_code, result.stdout) == (ExitCode.OK, "no daemon was running\n")
    assert json.loads(as_json.stdout) == {"stopped": False, "running": False}


def test_stop_fails_where_a_daemon_holds_the_lock_and_does_not_listen(state: Path) -> None:
    run_directory = Path(rendezvous.run_directory(str(state)))
    run_directory.mkdir(mode=0o700, parents=True)
    with open(run_directory / "daemon.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run_cli("stop", state=state)

    assert result.exit_code == ExitCode.FAILED


def test_where_a_process_cannot_be_watched_its_lock_is(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    lock = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)

    with watch_process_end(None, path) as wait_end:
        held = wait_end(time.monotonic())
        os.close(lock)
        let_go = wait_end(time.monotonic() + 5)

    assert (held, let_go) == (False, True)


def test_a_process_that_is_gone_already_is_not_waited_for(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-I", "-c", ""])
    gone.wait(5)

    with watch_process_end(gone.pid, str(tmp_path / "lock")) as wait_end:
        assert wait_end(time.monotonic() + 5)
