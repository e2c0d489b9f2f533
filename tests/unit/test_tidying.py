"""What tidying gives back, and what it leaves alone: a file is written anew only where that is worth it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from workroot.storage.tidying import tidy

ROW = "x" * 2000  # two to a page of 4 KiB


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute("PRAGMA page_size = 4096")
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("CREATE TABLE kept (value)")
        yield made


def fill(connection: sqlite3.Connection, *, rows: int, deleted: int) -> None:
    """Keep so many rows, and delete the first of them; what they took is free and still in the file."""
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO kept VALUES (?)", [[ROW]] * rows)
    connection.execute("COMMIT")
    connection.execute("DELETE FROM kept WHERE rowid <= ?", [deleted])
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def count(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


@pytest.mark.parametrize(
    ("rows", "deleted", "is_written_anew"),
    [
        (1000, 700, True),
        (1000, 540, True),  # over 1 MiB, and over a quarter
        (1000, 480, False),  # under 1 MiB
        (4000, 900, False),  # under a quarter
        (4000, 1100, True),
        (100, 100, False),
    ],
)
def test_a_file_is_written_anew_where_a_mebibyte_and_a_quarter_of_it_are_free(
    connection: sqlite3.Connection, path: Path, rows: int, deleted: int, is_written_anew: bool
) -> None:
    fill(connection, rows=rows, deleted=deleted)
    before, free = path.stat().st_size, count(connection, "freelist_count")
    assert free >= deleted // 2 - 1

    used = tidy(connection)

    assert used == before - free * 4096
    if is_written_anew:
        assert path.stat().st_size <= used
    else:
        assert path.stat().st_size == before
    assert connection.execute("SELECT count(*), min(value) FROM kept").fetchone()[0] == rows - deleted


def test_the_log_is_moved_into_the_database(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("INSERT INTO kept VALUES (1)")
    log = Path(f"{path}-wal")
    assert log.stat().st_size > 0

    tidy(connection)

    assert log.stat().st_size == 0
    assert connection.execute("SELECT value FROM kept").fetchall() == [(1,)]


def test_while_somebody_waits_it_is_only_measured(connection: sqlite3.Connection, path: Path) -> None:
    fill(connection, rows=1000, deleted=700)
    connection.execute("INSERT INTO kept VALUES (1)")
    before, log = path.stat().st_size, Path(f"{path}-wal").stat().st_size

    used = tidy(connection, may_wait=False)

    assert used == (count(connection, "page_count") - count(connection, "freelist_count")) * 4096
    assert (path.stat().st_size, Path(f"{path}-wal").stat().st_size) == (before, log)
