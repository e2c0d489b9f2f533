from __future__ import annotations

import errno
import io
import json
import logging
import os
import stat
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from workroot import logs
from workroot.core.sessions import mint_session_id
from workroot.decisions import whole_session_id
from workroot.logs import FILE_COUNT, JsonLines, open_log
from workroot.logs.folding import PER_WINDOW, WINDOW_SECONDS, FoldingHandler
from workroot.logs.lines import fields_of, parsed, readable

ours = logging.getLogger("workroot.tested")


def lines_of(path: Path) -> list[str]:
    return path.read_text().split("\n")[:-1]


def records_of(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in lines_of(path)]


def record(message: str, *arguments: object, level: int = logging.INFO, name: str = "workroot.x") -> logging.LogRecord:
    made = logging.LogRecord(name, level, __file__, 1, message, arguments, None)
    made.created = 1785229200.125
    return made


def formatted(message: str, *arguments: object) -> str:
    return JsonLines().format(record(message, *arguments))


# One record


def test_a_record_is_one_json_object_with_time_in_utc_level_logger_and_message() -> None:
    assert json.loads(formatted("listening at %s", "/run/x")) == {
        "time": "2026-07-28T09:00:00.125Z",
        "level": "INFO",
        "logger": "workroot.x",
        "message": "listening at /run/x",
    }


def test_a_newline_from_outside_does_not_forge_a_record(tmp_path: Path) -> None:
    with open_log(tmp_path / "d.log"):
        ours.warning("client %s", 'evil\n{"time":"2026-07-28T09:00:00.000Z","message":"all is well\x1b[2J\u202e"}')

    (found,) = records_of(tmp_path / "d.log")
    assert r"evil\n{" in found["message"]
    assert r"\x1b[2J\u202e" in found["message"]
    assert found["message"].isprintable()


def test_what_a_library_adds_to_a_record_is_left_out() -> None:
    extended = record("hello")
    extended.color_message = "\x1b[32mhello"  # as uvicorn does

    assert set(json.loads(JsonLines().format(extended))) == {"time", "level", "logger", "message"}


def test_a_traceback_stays_on_the_line_of_its_record(tmp_path: Path) -> None:
    with open_log(tmp_path / "d.log"):
        try:
            raise ValueError("broken\x1b[2J")
        except ValueError:
            ours.exception("it failed")

    (found,) = records_of(tmp_path / "d.log")
    assert found["message"] == "it failed"
    assert found["exception"].startswith("Traceback")
    assert found["exception"].endswith(r"ValueError: broken\x1b[2J")


def test_a_record_whose_arguments_do_not_fit_is_kept() -> None:
    assert "does not fit" not in formatted("%s", "x")
    assert "%d of them (its arguments do not fit)" in formatted("%d of them", "many")


@pytest.mark.parametrize(
    "secret",
    [
        "wrt_MrYDBeYsgYGu1Gw3nyMrqEFakU-Z1t-V6rxLbT96AHI",
        "wr_7Hq2kQ9-vXzLw_3bNf5TgYcD",
        "session_wr_7Hq2kQ9-vXzLw_3bNf5TgYcD",
        "workroot%3A%2F%2Fsessions%2Fwr_7Hq2kQ9-vXzLw_3bNf5TgYcD",
        r"'a line\nwr_7Hq2kQ9-vXzLw_3bNf5TgYcD'",
        r"'a line\nwrt_MrYDBeYsgYGu1Gw3nyMrqEFakU-Z1t-V6rxLbT96AHI'",
        "Mcp-Session-Id: wrh_AXJhbmRvbXJhbmRvbXJhbgAAAZqTq1h4ZGlnZXN0ZGlnZXMB",
        "Bearer c29tZS1vdGhlci10b2tlbg==",
        "Authorization: Bearer wrt_MrYDBeYsgYGu1Gw3nyMrqEFakU-Z1t-V6rxLbT96AHI",
    ],
)
def test_neither_a_token_nor_a_whole_handle_is_in_the_log(secret: str) -> None:
    assert secret[-15:] not in formatted("seen: %s, refused", secret)
    made = record("it failed")
    try:
        raise ValueError(secret)
    except ValueError:
        made.exc_info = sys.exc_info()
    assert secret[-15:] not in JsonLines().format(made)


def test_the_session_of_a_record_can_be_copied_into_why() -> None:
    session, other = mint_session_id(), mint_session_id()

    shown = json.loads(formatted("session %s works in %s", session, "/x"))["session"]

    assert len(shown) == len("wr_12345678...")
    assert whole_session_id(shown, [session, other]) == session


def test_a_record_can_name_its_session_without_a_word_in_the_message() -> None:
    named = record("moved")
    named.session = "wr_7Hq2kQ9-vXzLw_3bNf5TgYcD"

    assert json.loads(JsonLines().format(named))["session"] == "wr_7Hq2kQ9-..."


def test_a_message_without_end_is_cut() -> None:
    line = formatted("%s", "x" * 1_000_000)

    assert len(line) < 5_000
    assert "(1000000 characters)" in line


def test_a_traceback_without_end_keeps_its_beginning_and_its_end() -> None:
    made = record("it failed")
    try:
        raise ValueError("x" * 100_000 + "the end")
    except ValueError:
        made.exc_info = sys.exc_info()

    exception = fields_of(made)["exception"]

    assert exception.startswith("Traceback")
    assert exception.endswith("the end")
    assert len(exception) < 15_000


# For people


def test_people_read_local_time_level_place_and_message(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = readable(fields_of(record("listening at %s", "/run/x", level=logging.WARNING)))

    assert shown.endswith(" WARNING x: listening at /run/x")
    assert shown[4] == shown[7] == "-"


def test_no_line_of_an_exception_can_be_taken_for_a_record() -> None:
    made = record("it failed")
    try:
        raise ValueError("broken\n2026-07-28 09:00:00 INFO    x: all is well")
    except ValueError:
        made.exc_info = sys.exc_info()

    _, *rest = readable(fields_of(made)).split("\n")

    assert all(line.startswith("    ") for line in rest)
    assert "    2026-07-28 09:00:00 INFO    x: all is well" in rest


def test_a_line_of_the_log_can_be_read_back() -> None:
    assert parsed(formatted("at %s", "/home/\udcff")) == fields_of(record("at %s", "/home/\udcff"))


@pytest.mark.parametrize("line", ["", "Traceback (most recent call last):", "{", "[]", '{"a": 1}', "{" * 100_000])
def test_what_is_no_record_is_told_from_one(line: str) -> None:
    assert parsed(line) is None


def test_a_record_that_somebody_else_wrote_drives_no_terminal() -> None:
    fields = parsed('{"message": "\\u001b[2J", "exception": "a\\u001b\\nb", "level": "\\u202e"}')

    assert fields == {"message": r"\x1b[2J", "exception": "a\\x1b\nb", "level": r"\u202e"}


# Folding


class Written:
    """What a folding handler writes, and its clock."""

    def __init__(self, bytes_each: int = 100) -> None:
        self.seconds, self.bytes_each = 0.0, bytes_each
        self.fields: list[Mapping[str, str]] = []
        self.handler = FoldingHandler(self._take, now=lambda: self.seconds)

    def _take(self, fields: Mapping[str, str]) -> int:
        self.fields.append(fields)
        return self.bytes_each

    @property
    def messages(self) -> list[str]:
        return [fields["message"] for fields in self.fields]


def test_what_repeats_is_counted_and_said_by_the_next_record_after_its_time() -> None:
    written = Written()
    for number in range(PER_WINDOW + 4312):
        written.handler.handle(record("client %d left", number))
    assert len(written.messages) == PER_WINDOW

    written.seconds = WINDOW_SECONDS
    written.handler.handle(record("something else"))

    assert written.messages[PER_WINDOW:] == ["and 4,312 more like it within 10 s: client 0 left", "something else"]


def test_no_part_of_a_handle_is_in_what_was_folded() -> None:
    written = Written()
    for _ in range(PER_WINDOW + 1):
        written.handler.handle(record(f"{'x' * 105} wr_7Hq2kQ9-vXzLw_3bNf5TgYcD"))

    written.handler.close()

    assert "1 more like it" in written.messages[-1]
    assert not [message for message in written.messages if "7Hq2kQ9-vX" in message]


def test_what_is_shown_of_the_first_is_short_and_keeps_its_secrets() -> None:
    written = Written()
    for _ in range(PER_WINDOW + 1):
        written.handler.handle(record("seen: %s %s", "wr_7Hq2kQ9-vXzLw_3bNf5TgYcD", "100%s\n" * 1_000))

    written.handler.close()

    said = written.messages[-1]
    assert said.startswith(r"and 1 more like it within 10 s: seen: wr_7Hq2kQ9-... 100%s\n100%s")
    assert len(said) < 350


def test_what_was_folded_can_be_said_before_the_last_word(tmp_path: Path) -> None:
    with open_log(tmp_path / "d.log") as log:
        for number in range(PER_WINDOW + 2):
            ours.info("client %d left", number)
        log.say_folded()
        ours.info("stopped")

    said = [found["message"] for found in records_of(tmp_path / "d.log")]
    assert said[PER_WINDOW:] == ["and 2 more like it within 10 s: client 0 left", "stopped"]


def test_what_repeats_is_written_again_after_its_time() -> None:
    written = Written()
    for _ in range(2):
        for _ in range(PER_WINDOW):
            written.handler.handle(record("x"))
        written.seconds += WINDOW_SECONDS

    assert written.messages == ["x"] * (2 * PER_WINDOW)


def test_another_level_or_place_is_another_kind() -> None:
    written = Written()
    for _ in range(PER_WINDOW):
        written.handler.handle(record("x"))
    written.handler.handle(record("x", level=logging.ERROR))
    written.handler.handle(record("x", name="workroot.y"))
    written.handler.handle(record("x"))

    assert len(written.messages) == PER_WINDOW + 2


def test_what_was_folded_is_said_at_the_end() -> None:
    written = Written()
    for _ in range(PER_WINDOW + 1):
        written.handler.handle(record("x"))

    written.handler.close()

    assert written.messages[-1] == "and 1 more like it within 10 s: x"


def test_a_traceback_that_repeats_is_written_once() -> None:
    written = Written()
    for number in range(3):
        made = record("it failed", level=logging.ERROR)
        try:
            raise ValueError(f"number {number}")
        except ValueError:
            made.exc_info = sys.exc_info()
        written.handler.handle(made)

    first, *rest = [fields["exception"] for fields in written.fields]
    assert first.startswith("Traceback")
    assert rest == ["ValueError: number 1", "ValueError: number 2"]


def test_kinds_without_end_take_no_memory_without_end() -> None:
    written = Written(bytes_each=0)
    for number in range(10_000):
        written.handler.handle(record(f"kind {number}"))

    assert len(written.handler._windows) <= 256
    assert len(written.messages) == 10_000


def test_the_log_takes_less_than_a_megabyte_a_minute_whatever_comes() -> None:
    written = Written(bytes_each=4_000)
    for second in range(600):
        written.seconds = second / 10
        for number in range(50):
            written.handler.handle(record(f"kind {number} {second}", level=logging.ERROR))

    assert 0 < sum(written.bytes_each for _ in written.fields) < 1_000_000
    assert any("records were left out" in message for message in written.messages)


def test_a_warning_still_gets_into_a_log_that_is_full_of_information() -> None:
    written = Written(bytes_each=4_000)
    for number in range(1_000):
        written.handler.handle(record(f"kind {number}"))

    written.handler.handle(record("important", level=logging.WARNING))

    assert written.messages[-1] == "important"


# Problems


def test_the_last_warnings_and_errors_are_remembered_by_kind() -> None:
    written = Written()
    written.handler.handle(record("fine"))
    for number in range(100):
        written.handler.handle(record("disk %s is full", number, level=logging.WARNING))
    written.handler.handle(record("%s", "wr_7Hq2kQ9-vXzLw_3bNf5TgYcD " + "x" * 1000, level=logging.ERROR))

    disk, long = written.handler.problems()

    assert (disk["message"], disk["level"], disk["count"]) == (f"disk {PER_WINDOW - 1} is full", "WARNING", 100)
    assert len(str(long["message"])) < 320
    assert "wr_7Hq2kQ9-... " in str(long["message"])
    assert written.handler.counts() == {"INFO": 1, "WARNING": 100, "ERROR": 1}


def test_ten_kinds_of_problems_are_remembered() -> None:
    written = Written()
    for number in range(30):
        written.handler.handle(record(f"kind {number}", level=logging.ERROR))

    assert [problem["message"] for problem in written.handler.problems()] == [f"kind {n}" for n in range(20, 30)]


# The file


def test_the_log_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "log" / "daemon.log"
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o644)

    with open_log(path):
        ours.info("x")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_logs_directory_is_made_and_is_its_owners_alone(tmp_path: Path) -> None:
    with open_log(tmp_path / "log" / "daemon.log"):
        pass

    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700


def test_a_link_in_the_logs_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "d.log").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"), open_log(tmp_path / "d.log"):
        pass

    assert not (tmp_path / "elsewhere").exists()


def test_the_log_never_takes_more_than_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 1_000)

    with open_log(tmp_path / "d.log"):
        for number in range(200):
            ours.info(f"record ÿ {number}")

    files = sorted(tmp_path.iterdir())
    assert len(files) == FILE_COUNT
    assert all(file.stat().st_size <= 1_000 for file in files)
    assert sum(file.stat().st_size for file in files) > 3_000
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert records_of(tmp_path / "d.log")[-1]["message"].endswith("record ÿ 199")


@pytest.mark.parametrize("rest", ["remove", "replace"])
def test_a_log_that_was_taken_away_is_begun_anew(tmp_path: Path, rest: str) -> None:
    with open_log(tmp_path / "d.log"):
        ours.info("one")
        (tmp_path / "d.log").rename(tmp_path / "elsewhere")
        if rest == "replace":
            (tmp_path / "d.log").touch()
        ours.info("two")

    assert [found["message"] for found in records_of(tmp_path / "d.log")] == ["two"]


class FullDisk:
    """A stream that takes a part of a line and then nothing, until it is mended."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream, self.is_full = stream, True

    def write(self, text: str) -> int:
        if self.is_full:
            self._stream.write(text[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def test_a_full_disk_is_neither_an_error_nor_a_word_on_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_log(tmp_path / "d.log") as log:
        assert log._file.stream is not None
        full = FullDisk(log._file.stream)
        log._file.stream = full  # type: ignore[assignment]  # a stream in all that is used of one
        ours.error("lost")
        full.is_full = False
        ours.error("kept")

    torn, line = lines_of(tmp_path / "d.log")
    assert len(torn) == 10
    assert json.loads(line)["message"] == "kept"
    assert log.failed == 1
    assert capfd.readouterr().err == ""


def test_a_log_that_cannot_be_rotated_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 1_000)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    with open_log(tmp_path / "d.log") as log:
        monkeypatch.setattr(os, "rename", refuse)
        for number in range(50):
            ours.info(f"record {number}")

    assert (tmp_path / "d.log").stat().st_size <= 1_000
    assert log.failed > 10


@pytest.mark.parametrize(("level", "kept"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_our_records_count_from_the_level_on(tmp_path: Path, level: str, kept: int) -> None:
    with open_log(tmp_path / "d.log", level):
        for say in (ours.debug, ours.info, ours.warning, ours.error):
            say("x")

    assert len(lines_of(tmp_path / "d.log")) == kept


def test_the_level_can_change_while_the_log_is_open(tmp_path: Path) -> None:
    with open_log(tmp_path / "d.log") as log:
        ours.debug("unseen")
        log.set_level("debug")
        ours.debug("seen")

    assert [found["message"] for found in records_of(tmp_path / "d.log")] == ["seen"]


def test_a_library_never_logs_the_messages_that_it_carries(tmp_path: Path) -> None:
    with open_log(tmp_path / "d.log", "debug"):
        logging.getLogger("mcp.server").info("received message: ...")
        logging.getLogger("mcp.server").warning("odd")

    (found,) = records_of(tmp_path / "d.log")
    assert (found["level"], found["logger"], found["message"]) == ("WARNING", "mcp.server", "odd")


def test_a_path_that_is_not_unicode_can_be_logged(tmp_path: Path) -> None:
    with open_log(tmp_path / "d.log"):
        ours.info("at %s", "/home/\udcff")

    assert records_of(tmp_path / "d.log")[0]["message"].endswith(r"/home/\udcff")


def test_a_terminal_gets_lines_for_people(tmp_path: Path) -> None:
    with open_log(tmp_path / "d.log", also_to=(second := io.StringIO())):
        ours.info("hello")

    assert second.getvalue().endswith(" INFO    tested: hello\n")
    assert len(records_of(tmp_path / "d.log")) == 1


def test_a_terminal_that_was_closed_does_not_end_the_log(tmp_path: Path) -> None:
    terminal = io.StringIO()
    with open_log(tmp_path / "d.log", also_to=terminal):
        terminal.close()
        ours.info("hello")

    assert len(records_of(tmp_path / "d.log")) == 1


def raise_unraisable() -> None:
    sys.unraisablehook(SimpleNamespace(exc_type=ValueError, exc_value=ValueError("x"), exc_traceback=None, err_msg="y"))


def fail_in_a_thread() -> None:
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()


def warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("odd", stacklevel=1)


@pytest.mark.parametrize(
    ("happen", "level"), [(raise_unraisable, "ERROR"), (fail_in_a_thread, "ERROR"), (warn, "WARNING")]
)
def test_what_python_would_print_is_a_record(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], happen: Callable[[], None], level: str
) -> None:
    with open_log(tmp_path / "d.log"):
        happen()

    assert [found["level"] for found in records_of(tmp_path / "d.log")] == [level]
    assert capfd.readouterr().err == ""


def test_after_closing_nothing_of_it_remains(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogger("workroot").level, sys.unraisablehook)

    with open_log(tmp_path / "d.log", "debug"):
        assert list(root.handlers) != before[0]

    assert (list(root.handlers), root.level, logging.getLogger("workroot").level, sys.unraisablehook) == before
