"""`workroot logs` against files that are written and rotated, and against a real daemon."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from real_daemon import DEADLINE_SECONDS, ERAS, WORKROOT, Home, answer_of, open_home

from workroot import logs
from workroot.cli.exit_codes import ExitCode
from workroot.logs import open_log

ours = logging.getLogger("workroot.tested")
SESSION = "wr_7Hq2kQ9-vXzLw_3bNf5TgYcD"


@pytest.fixture
def home() -> Iterator[Home]:
    with open_home() as home:
        yield home


@pytest.fixture
def path(home: Home) -> Path:
    return home.state / "log" / "daemon.log"


def messages(lines: str) -> list[str]:
    return [line.rpartition(": ")[2] for line in lines.splitlines()]


class Follower:
    """`workroot logs -f`, read line by line under a deadline."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._read = b""

    def line(self) -> str:
        assert self.process.stdout is not None
        deadline = time.monotonic() + DEADLINE_SECONDS
        while b"\n" not in self._read:
            assert select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0], self._read
            piece = os.read(self.process.stdout.fileno(), 65536)
            assert piece, "it ended"
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()


@contextmanager
def following(home: Home, *arguments: str) -> Iterator[Follower]:
    process = subprocess.Popen([WORKROOT, "logs", "-f", *arguments], env=home.environment, stdout=subprocess.PIPE)
    try:
        yield Follower(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait(DEADLINE_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def test_the_log_is_shown_for_people_and_as_it_is(home: Home, path: Path) -> None:
    with open_log(path):
        ours.info("one")
        ours.warning("two")

    assert messages(home.run("logs").stdout) == ["one", "two"]
    assert messages(home.run("logs", "-n", "1").stdout) == ["two"]
    assert messages(home.run("logs", "--level", "warning").stdout) == ["two"]
    assert home.run("logs", "--json").stdout == path.read_text()


def test_the_records_of_a_session_are_found_by_its_handle_or_its_beginning(home: Home, path: Path) -> None:
    with open_log(path):
        ours.info("session %s works in /a", SESSION)
        ours.info("session %s works in /b", "wr_7Hq2kQ8-vXzLw_3bNf5TgYcD")
        ours.info("two sessions, %s and %s", "wr_1111111111111111111111", SESSION)

    for given in (SESSION, "wr_7Hq2kQ9", "wr_7Hq2kQ9-..."):
        shown = home.run("logs", "--session", given).stdout.splitlines()
        assert [line[-10:] for line in shown] == ["works in /a"[-10:], "Hq2kQ9-..."], given
    assert home.run("logs", "--session", "wr_7").returncode == ExitCode.USAGE


def test_rotated_files_are_read_in_the_order_of_writing(
    home: Home, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 400)
    with open_log(path):
        for number in range(8):
            ours.info(f"record {number}")

    assert len(list(path.parent.iterdir())) > 2
    assert messages(home.run("logs").stdout) == [f"record {number}" for number in range(8)]
    assert messages(home.run("logs", "-n", "5").stdout) == [f"record {number}" for number in range(3, 8)]


def test_what_a_crash_wrote_is_shown_and_drives_no_terminal(home: Home, path: Path) -> None:
    with open_log(path):
        ours.info("one")
    with path.open("a") as file:
        file.write("Fatal Python error: \x1b[2J\n{broken\n")

    shown = home.run("logs", "--level", "error")

    assert shown.stdout == "Fatal Python error: \\x1b[2J\n{broken\n"
    assert json.loads(home.run("logs", "--json").stdout.splitlines()[1]) == {"message": r"Fatal Python error: \x1b[2J"}


def test_no_secret_is_shown_of_what_a_crash_wrote(home: Home, path: Path) -> None:
    with open_log(path):
        ours.info("one")
    with path.open("a") as file:
        file.write(f"Traceback: {SESSION} and wrt_{'A' * 43}\n")

    shown = home.run("logs").stdout + home.run("logs", "--json").stdout

    assert "Traceback: wr_7Hq2kQ9-... and wrt_#" in shown
    assert SESSION not in shown
    assert "AAAA" not in shown


def test_following_without_an_output_ends_at_once(home: Home, path: Path) -> None:
    with open_log(path):
        ours.info("one")

    ended = subprocess.run(
        ["/bin/sh", "-c", f"exec {WORKROOT} logs -f >&-"],
        env=home.environment,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (ExitCode.OK, b"")


def test_a_log_that_is_emptied_in_its_place_is_followed_from_its_beginning(home: Home, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("first\nhalf a li")
    with following(home) as follower:
        assert follower.line() == "first"
        path.write_text("")
        with path.open("a") as file:
            file.write("anew\n")

        assert follower.line() == "anew"


def test_a_last_line_without_an_end_is_shown_too(home: Home, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.with_name("daemon.log.1").write_text("Fatal Python er")
    path.write_text("begun\nSegmentation fa")

    assert home.run("logs").stdout == "Fatal Python er\nbegun\nSegmentation fa\n"


def test_a_line_without_end_is_shown_in_pieces_and_takes_no_memory_without_end(home: Home, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("x" * 5_000_000)

    shown = home.run("logs").stdout.splitlines()

    assert sum(map(len, shown)) == 5_000_000
    assert max(map(len, shown)) < 3_000_000


def test_without_a_log_it_says_so(home: Home, path: Path) -> None:
    ended = home.run("logs")

    assert (ended.returncode, ended.stdout) == (ExitCode.OK, "")
    assert str(path) in ended.stderr


def test_following_goes_on_across_rotations_and_ends_at_an_interrupt(
    home: Home, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 400)
    with open_log(path):
        ours.info("before")
        with following(home) as follower:
            assert follower.line().endswith("before")
            for number in range(8):
                ours.info(f"record {number}")
                assert follower.line().endswith(f"record {number}")

            follower.process.send_signal(signal.SIGINT)
            assert follower.process.wait(DEADLINE_SECONDS) == ExitCode.OK


def test_following_begins_before_there_is_a_log(home: Home, path: Path) -> None:
    with following(home) as follower, open_log(path):
        ours.info("first")
        assert follower.line().endswith("first")


def test_following_ends_when_nobody_reads_it(home: Home, path: Path) -> None:
    with open_log(path):
        ours.info("one")
        with following(home) as follower:
            follower.line()
            assert follower.process.stdout is not None
            follower.process.stdout.close()

            follower.process.wait(DEADLINE_SECONDS)


@pytest.mark.parametrize("mode", ERAS)
async def test_one_short_form_leads_from_the_log_and_the_table_to_why(home: Home, mode: str) -> None:
    home.start()
    shop = home.repository("shop")
    async with home.open_client(mode, shop) as client:
        answer = await answer_of(client, "set_working_directory", directory=str(shop))
    session = answer["session_id"]

    (shown,) = {json.loads(line)["session"] for line in home.log.splitlines() if '"session"' in line}

    assert session not in home.log
    assert shown in home.run("sessions").stdout
    why = home.run("why", shown)
    assert (why.returncode, shown in why.stdout) == (ExitCode.OK, True)
    assert shown in home.run("logs", "--session", shown).stdout
