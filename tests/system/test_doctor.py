"""`workroot doctor` as a process, beside a real daemon that is well, ill or not there."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from real_daemon import WORKROOT, Home, Process, open_home

from workroot import rendezvous
from workroot.daemon import place_watch
from workroot.identity import TokenFile


def examined(home: Home, *options: str, code: int = 0, **environment: str) -> dict[str, Any]:
    """Run the doctor, and return its document."""
    result = subprocess.run(
        [WORKROOT, "doctor", "--json", *options],
        env={**home.environment, **environment},
        cwd=home.top,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stderr == ""
    assert result.returncode == code, result.stdout
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["state"] == "problem" if code else document["state"] != "problem"
    return document


def of(document: dict[str, Any], check: str) -> list[dict[str, Any]]:
    return [finding for finding in document["findings"] if finding["check"] == check]


def one(document: dict[str, Any], check: str) -> dict[str, Any]:
    (finding,) = of(document, check)
    return finding


def worst(document: dict[str, Any], check: str) -> dict[str, Any]:
    """Return the finding of a check that is worst."""
    order = ("problem", "warning", "note", "ok")
    return min(of(document, check), key=lambda finding: order.index(finding["state"]))


def tree(top: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return what is below *top*: mode, size and content of each, apart from what the kernel alone sees."""
    return {
        str(path.relative_to(top)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(top.rglob("*"))
        if not path.name.endswith("-shm")
    }


def test_without_a_daemon_it_starts_none_and_leaves_nothing_behind(home: Home) -> None:
    before = tree(home.top)

    document = examined(home)

    assert one(document, "daemon.answer")["state"] == "note"
    assert tree(home.top) == before
    assert not home.state.exists()


def test_of_a_daemon_that_is_well_nothing_is_a_problem_and_nothing_is_changed(home: Home) -> None:
    home.start()
    before = tree(home.state)

    document = examined(home)

    assert one(document, "daemon.answer")["state"] == "ok"
    assert one(document, "daemon.socket")["state"] in ("ok", "note")  # a note where the path had to be short
    for check in ("daemon.version", "daemon.database", "permissions.directories", "permissions.files"):
        assert [finding["state"] for finding in of(document, check)] == ["ok"], check
    after = tree(home.state)
    assert {name: kept for name, kept in after.items() if "log" not in name} == {
        name: kept for name, kept in before.items() if "log" not in name
    }


def test_after_a_daemon_was_killed_what_it_left_is_read_and_not_changed(home: Home) -> None:
    home.start()
    home.kill_daemon()
    before = tree(home.state)

    document = examined(home)

    assert one(document, "daemon.answer")["state"] == "note"
    assert one(document, "daemon.socket")["state"] == "note"
    assert one(document, "daemon.database")["state"] == "ok"
    assert tree(home.state) == before


def test_a_daemon_that_was_stopped_is_named_with_its_pid_and_its_cure_works(home: Home) -> None:
    started = home.start()
    daemon = Process(started.pid)
    daemon.signal(signal.SIGSTOP)
    try:
        document = examined(home, code=1)

        found = one(document, "daemon.answer")
        assert found["state"] == "problem"
        assert f"kill -CONT {started.pid}" in found["cure"]
        assert "(the daemon did not answer within 2 s)" in found["seen"]
        assert "start one" not in found["seen"]
    finally:
        daemon.signal(signal.SIGCONT)
        daemon.close()
    assert one(examined(home), "daemon.answer")["state"] == "ok"


def test_the_port_of_a_daemon_that_was_stopped_is_its_own() -> None:
    with open_home(WORKROOT_HTTP="1") as home:
        started = home.start()
        TokenFile(home.state / "tokens.json").create("x")
        os.kill(started.pid, signal.SIGSTOP)
        try:
            document = examined(home, code=1)
        finally:
            os.kill(started.pid, signal.SIGCONT)

    assert one(document, "daemon.answer")["state"] == "problem"
    assert [one(document, check)["state"] for check in ("http.port", "http.addresses")] == ["ok", "ok"]


def test_a_socket_that_was_deleted_is_told_from_a_daemon_that_hangs_and_its_cure_is_to_wait(home: Home) -> None:
    started = home.start()
    Path(home.socket_path).unlink()

    found = one(examined(home, code=1), "daemon.answer")

    assert "its socket is gone" in found["seen"]
    assert f"every {place_watch._CHECK_SECONDS:g} s" in found["cure"]
    assert f"`kill {started.pid}`" in found["cure"]
    home.wait_until(home.is_running, what="the socket is back")
    assert one(examined(home), "daemon.socket")["state"] in ("ok", "note")


def test_a_socket_that_lets_others_in_is_a_problem_that_its_cure_solves(home: Home) -> None:
    home.start()
    Path(home.socket_path).chmod(0o666)

    found = worst(examined(home, code=1), "daemon.socket")

    assert (found["state"], "0666" in found["seen"]) == ("problem", True)
    subprocess.run(["/bin/sh", "-c", found["cure"].split("`")[1]], check=True, timeout=10)
    assert worst(examined(home), "daemon.socket")["state"] in ("ok", "note")


def test_a_database_that_is_gone_is_called_so(home: Home) -> None:
    home.start()
    (home.state / "workroot.db").rename(home.state / "elsewhere.db")

    found = one(examined(home, code=1), "daemon.database")

    assert found["seen"].startswith("the database is gone")


def test_a_file_of_the_port_that_holds_none_is_a_problem_that_its_cure_solves(home: Home) -> None:
    home.state.mkdir(mode=0o700)
    (home.state / "http-port").write_text("7668 or so")
    (home.state / "http-port").chmod(0o600)

    found = one(examined(home, code=1), "http.port")

    subprocess.run(["/bin/sh", "-c", found["cure"].split("`")[1]], check=True, timeout=10)
    assert one(examined(home), "http.port")["state"] == "ok"


def test_settings_that_cannot_be_read_say_nothing_of_http() -> None:
    with open_home() as home:
        home.state.mkdir(mode=0o700)
        (home.state / "config.toml").write_text("http = true\n")
        home.start()
        TokenFile(home.state / "tokens.json").create("x")
        (home.state / "config.toml").write_text("http = tru\n")

        document = examined(home, code=1)

    assert one(document, "settings.values")["state"] == "problem"
    assert [one(document, check)["state"] for check in ("http.access", "http.port")] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("name", "mode", "check", "code"),
    [
        (".", 0o755, "permissions.directories", 1),
        ("run", 0o711, "permissions.directories", 1),
        ("tokens.json", 0o666, "permissions.files", 1),
        ("workroot.db", 0o644, "permissions.files", 0),
        ("config.toml", 0o666, "permissions.files", 1),
    ],
)
def test_a_wrong_mode_is_found_and_its_cure_solves_it(home: Home, name: str, mode: int, check: str, code: int) -> None:
    home.start()
    home.run("token", "create", "x")
    (home.state / "config.toml").write_text("")
    home.ask("stop")
    (home.state / name).chmod(mode)

    found = worst(examined(home, code=code), check)

    assert found["state"] == ("problem" if code else "warning")
    assert f"{mode:04o}" in found["seen"]
    subprocess.run(["/bin/sh", "-c", found["cure"].split("`")[1]], check=True, timeout=10)
    assert worst(examined(home), check)["state"] == "ok"


def test_broken_settings_are_found_with_their_place(home: Home) -> None:
    home.state.mkdir(mode=0o700)
    (home.state / "config.toml").write_text("http_port = 'secret-word'\n")

    found = one(examined(home, code=1), "settings.values")
    redacted = one(examined(home, "--redact", code=1), "settings.values")

    assert str(home.state / "config.toml") in found["seen"]
    assert "http_port" in found["seen"]
    assert "http_port" in redacted["seen"]
    assert "secret-word" not in redacted["seen"]
    assert one(examined(home, code=1, WORKROOT_HTPP="1"), "settings.variables")["state"] == "note"


def test_a_program_on_our_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with open_home(WORKROOT_HTTP="1", WORKROOT_HTTP_PORT=str(port)) as home:
            found = one(examined(home, code=1), "http.port")
            harmless = one(examined(home, WORKROOT_HTTP="0"), "http.port")

    assert found["state"] == "problem"
    assert f"port {port} is used by another program" in found["seen"]
    assert f"pid {os.getpid()}" in found["seen"]
    assert harmless["state"] == "note"


def test_the_daemons_own_port_is_fine_and_on_127_0_0_1_only() -> None:
    with open_home(WORKROOT_HTTP="1") as home:
        home.start()

        document = examined(home)
        without_token = one(document, "http.access")
        TokenFile(home.state / "tokens.json").create("x")
        with_token = one(examined(home), "http.access")

    assert one(document, "http.port")["state"] == "ok"
    assert "the daemon listens there" in one(document, "http.port")["seen"]
    assert one(document, "http.addresses")["seen"] == "1 TCP port, on 127.0.0.1 only"
    assert (without_token["state"], with_token["state"]) == ("note", "ok")


def test_a_low_limit_of_descriptors_is_found(home: Home) -> None:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))

    result = subprocess.run(
        [WORKROOT, "doctor", "--json"],
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lower,
    )

    assert worst(json.loads(result.stdout), "system.limits")["state"] == "warning"


def make_run_directory(home: Home) -> Path:
    path = Path(home.socket_path)
    path.parent.mkdir(parents=True, mode=0o700)
    for directory in (home.state, home.state / "run", path.parent):
        if directory.exists():
            directory.chmod(0o700)
    return path


def test_a_socket_that_a_service_manager_holds_is_not_connected_to(home: Home) -> None:
    path = make_run_directory(home)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        listener.setblocking(False)

        document = examined(home)

        with pytest.raises(BlockingIOError):
            listener.accept()
    assert "listens in its place" in one(document, "daemon.answer")["seen"]
    assert worst(document, "daemon.socket")["state"] in ("ok", "note")


def test_a_lock_that_is_no_file_of_ours_is_a_problem_that_its_cure_solves(home: Home) -> None:
    path = make_run_directory(home)
    lock = Path(rendezvous.instance_lock_path(str(home.state)))
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock.symlink_to(path.parent / "elsewhere")

    found = one(examined(home, code=1), "daemon.answer")

    assert found["state"] == "problem"
    subprocess.run(["/bin/sh", "-c", found["cure"].split("`")[1]], check=True, timeout=10)
    assert one(examined(home), "daemon.answer")["state"] == "note"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every directory")
@pytest.mark.parametrize("name", [".", "run"])
def test_nothing_is_to_be_moved_away_that_only_cannot_be_looked_at(home: Home, name: str) -> None:
    home.start()
    home.ask("stop")
    (home.state / name).chmod(0)
    try:
        document = examined(home, code=1)
    finally:
        (home.state / name).chmod(0o700)

    cures = [one["cure"] for one in document["findings"] if one["check"].startswith("daemon.") and one["cure"]]
    assert cures
    assert not [cure for cure in cures if "move it away" in cure]


def test_a_redacted_report_names_neither_user_nor_machine_nor_any_directory(home: Home) -> None:
    project = home.repository("Zq-customer/Zq-project")
    home.start()
    home.run("why", str(project))
    words = ("Zq-", "zquser", os.uname().nodename, str(home.top), home.top.name, str(Path.home()) + "/")

    said = json.dumps(examined(home, "--redact", USER="zquser", LOGNAME="zquser"))
    text = home.run("doctor", "--redact").stdout

    for word in words:
        assert word not in said + text, word


def test_the_text_for_people_says_the_same_and_ends_with_a_count(home: Home) -> None:
    document = examined(home)

    lines = home.run("doctor").stdout.splitlines()

    assert [line.split()[0] for line in lines[:-2] if "->" not in line] == [
        finding["state"] for finding in document["findings"]
    ]
    assert "note" in lines[-1]
