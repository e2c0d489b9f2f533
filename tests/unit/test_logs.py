from __future__ import annotations

import io
import logging
import re
import stat
from pathlib import Path

import pytest

from workroot import logs
from workroot.logs import FILE_COUNT, LineFormatter, open_log

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) [\w.]+ .*")
ours = logging.getLogger("workroot.tested")


def lines_of(path: Path) -> list[str]:
    return path.read_text().split("\n")[:-1]


def formatted(message: str, *arguments: object) -> str:
    record = logging.LogRecord("workroot.x", logging.INFO, __file__, 1, message, arguments, None)
    record.created = 1785229200.125
    return LineFormatter().format(record)


def test_a_record_is_one_line_with_time_in_utc_level_logger_and_message() -> None:
    assert formatted("listening at %s", "/run/x") == "2026-07-28T09:00:00.125Z INFO workroot.x listening at /run/x"


def test_a_newline_from_outside_does_not_forge_a_record(tmp_path: Path) -> None:
    with open_log(tmp_path / "d.log"):
        ours.warning("client %s", "evil\n2026-07-28T09:00:00.000Z INFO workroot.x all is well\x1b[2J")

    (line,) = lines_of(tmp_path / "d.log")
    assert LINE.fullmatch(line)
    assert r"evil\n2026" in line
    assert r"\x1b[2J" in line


def test_a_traceback_stays_on_the_line_of_its_record(tmp_path: Path) -> None:
    with open_log(tmp_path / "d.log"):
        try:
            raise ValueError("broken\nthing")
        except ValueError:
            ours.exception("it failed")

    (line,) = lines_of(tmp_path / "d.log")
    assert "it failed\\nTraceback" in line
    assert line.endswith(r"ValueError: broken\nthing")


@pytest.mark.parametrize(
    "secret",
    [
        "wrt_MrYDBeYsgYGu1Gw3nyMrqEFakU-Z1t-V6rxLbT96AHI",
        "wr_7Hq2kQ9-vXzLw_3bNf5TgYcD",
        "Bearer c29tZS1vdGhlci10b2tlbg==",
        "Authorization: Bearer wrt_MrYDBeYsgYGu1Gw3nyMrqEFakU-Z1t-V6rxLbT96AHI",
    ],
)
def test_neither_a_token_nor_a_handle_is_in_the_log(secret: str) -> None:
    assert secret[-20:] not in formatted("seen: %s, refused", secret)


def test_a_handle_can_be_followed_through_the_log_and_told_from_another() -> None:
    one, other = (formatted("session %s", f"wr_{letter * 24}") for letter in "ab")

    assert one == formatted("session %s", f"wr_{'a' * 24}")
    assert one != other


def test_a_message_without_end_is_cut() -> None:
    line = formatted("%s", "x" * 1_000_000)

    assert len(line) < 20_000
    assert line.endswith("(1000000 characters)")


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
            ours.info("record %d", number)

    files = sorted(tmp_path.iterdir())
    assert len(files) == FILE_COUNT
    assert all(file.stat().st_size <= 1_000 for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert lines_of(tmp_path / "d.log")[-1].endswith("record 199")


@pytest.mark.parametrize(("level", "kept"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_our_records_count_from_the_level_on(tmp_path: Path, level: str, kept: int) -> None:
    with open_log(tmp_path / "d.log", level):
        for say in (ours.debug, ours.info, ours.warning, ours.error):
            say("x")

    assert len(lines_of(tmp_path / "d.log")) == kept


def test_a_library_never_logs_the_messages_that_it_carries(tmp_path: Path) -> None:
    with open_log(tmp_path / "d.log", "debug"):
        logging.getLogger("mcp.server").info("received message: ...")
        logging.getLogger("mcp.server").warning("odd")

    (line,) = lines_of(tmp_path / "d.log")
    assert line.endswith("WARNING mcp.server odd")


def test_a_path_that_is_not_unicode_can_be_logged(tmp_path: Path) -> None:
    with open_log(tmp_path / "d.log"):
        ours.info("at %s", "/home/\udcff")

    assert lines_of(tmp_path / "d.log")[0].endswith(r"/home/\udcff")


def test_the_same_lines_go_to_a_second_place(tmp_path: Path) -> None:
    with open_log(tmp_path / "d.log", also_to=(second := io.StringIO())):
        ours.info("hello")

    assert second.getvalue() == (tmp_path / "d.log").read_text()


def test_after_closing_nothing_of_it_remains(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogger("workroot").level)

    with open_log(tmp_path / "d.log", "debug"):
        assert list(root.handlers) != before[0]

    assert (list(root.handlers), root.level, logging.getLogger("workroot").level) == before
