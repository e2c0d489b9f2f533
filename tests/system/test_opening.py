"""Opening a database on real files: which journal is in force, and what becomes of one that is spoilt."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from stored_sessions import LENT, OVER

from workroot.core.changes import AllocationSaved
from workroot.errors import StoreInUseError, StoreTooNewError, StoreUnavailableError
from workroot.project_finder import mounts
from workroot.storage import opening, owned_file, spoilt
from workroot.storage.database_file import Fate, FileGuard, lock_database
from workroot.storage.loading import read_state
from workroot.storage.moved_aside import move_aside
from workroot.storage.opening import open_connection, open_or_begin_anew
from workroot.storage.owned_file import OwnedFile
from workroot.storage.reading_only import read_into_memory
from workroot.storage.rows import apply_changes
from workroot.storage.salvage import salvage
from workroot.storage.schema import MIGRATIONS
from workroot.storage.spoilt import is_spoilt

FILL = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("BEGIN")
for number in range(int(sys.argv[3])):
    connection.execute(
        "INSERT INTO sessions (sandbox, session_id, principal, working_directory, given_directory, signs, set_at,"
        " last_used, revision) VALUES ('default', ?, 'uid:1', '/work', '/work', '[]', 1, 1, 0)",
        (f"wr_{sys.argv[2]}_{number:06}",),
    )
connection.execute(
    "INSERT INTO projects VALUES ('default', 'uid:1', ?, 'id', 'name', NULL, 1)", (f"/work/{sys.argv[2]}",)
)
connection.execute("COMMIT")
os._exit(0)
"""
"""Puts sessions into a database and leaves as a process does that is killed: with the log beside it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def connections() -> Iterator[list[sqlite3.Connection]]:
    opened: list[sqlite3.Connection] = []
    yield opened
    for connection in opened:
        connection.close()


def opened(path: Path, **arguments: Any) -> sqlite3.Connection:
    return open_connection(str(path), migrations=MIGRATIONS, factory=sqlite3.Connection, **arguments)


def anew(path: Path) -> tuple[sqlite3.Connection, str | None]:
    return open_or_begin_anew(str(path), migrations=MIGRATIONS, factory=sqlite3.Connection, check=read_state)


def make(path: Path) -> str:
    """Make a database, closed in order, and return its namespace."""
    with closing(opened(path)) as connection:
        return read_state(connection).namespace


def fill(path: Path, name: str, sessions: int = 200) -> None:
    subprocess.run([sys.executable, "-c", FILL, str(path), name, str(sessions)], check=True)


def checkpoint(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def files(path: Path) -> dict[str, bytes]:
    """Return what lies there; an empty file is as good as none, and `-shm` is SQLite's scratch memory."""
    return {
        each.name: data
        for each in path.parent.iterdir()
        if each.is_file() and (data := each.read_bytes()) and not each.name.endswith("-shm")
    }


def session_count(connection: sqlite3.Connection) -> int:
    return len(read_state(connection).sessions)


# The journal


def test_on_a_network_disk_the_file_is_locked_for_good_and_the_journal_synced(path: Path) -> None:
    with closing(opened(path, file_system_of=lambda _: "nfs4")) as connection:
        connection.execute("UPDATE meta SET value = value")

        assert pragma(connection, "journal_mode") == "delete"
        assert pragma(connection, "locking_mode") == "exclusive"
        assert pragma(connection, "synchronous") == 3
        assert not {f"{path.name}-wal", f"{path.name}-shm"} & {each.name for each in path.parent.iterdir()}
        with (
            closing(sqlite3.connect(path, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("SELECT * FROM meta")


def test_a_log_from_a_local_disk_is_taken_over_on_a_network_disk(path: Path) -> None:
    namespace = make(path)
    fill(path, "a")

    with closing(opened(path, file_system_of=lambda _: "nfs4")) as connection:
        state = read_state(connection)

    assert (state.namespace, len(state.sessions)) == (namespace, 200)
    assert not Path(f"{path}-wal").exists()
    with closing(opened(path)) as connection:  # and back on a local one
        assert pragma(connection, "journal_mode") == "wal"
        assert session_count(connection) == 200


def test_a_newer_database_on_a_network_disk_stays_as_it_is_to_the_byte(path: Path) -> None:
    make(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")
    fill(path, "a")
    before = files(path)

    with pytest.raises(StoreTooNewError):
        opened(path, file_system_of=lambda _: "nfs4")

    assert files(path) == before


class WithoutLog(sqlite3.Connection):
    """SQLite as it is where the log's index cannot be shared memory."""

    failure: sqlite3.OperationalError | None = None

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql == "PRAGMA journal_mode = WAL":
            if self.failure is not None:
                raise self.failure
            return super().execute("SELECT 1")
        return super().execute(sql, parameters)


def failure(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("no index")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    "error", [None, failure(sqlite3.SQLITE_IOERR_SHMMAP), failure(sqlite3.SQLITE_PROTOCOL)], ids=str
)
def test_where_the_log_cannot_be_put_in_force_the_other_journal_is(
    path: Path, error: sqlite3.OperationalError | None
) -> None:
    class Connection(WithoutLog):
        failure = error

    with closing(open_connection(str(path), migrations=MIGRATIONS, factory=Connection)) as connection:
        assert pragma(connection, "journal_mode") == "delete"
        assert pragma(connection, "synchronous") == 3


def test_a_full_disk_is_no_reason_for_another_journal(path: Path) -> None:
    class Connection(WithoutLog):
        failure = failure(sqlite3.SQLITE_FULL)

    with pytest.raises(sqlite3.OperationalError, match="no index"):
        open_connection(str(path), migrations=MIGRATIONS, factory=Connection)


# A spoilt database


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database at all, " * 400)


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_to_its_head(path: Path) -> None:
    os.truncate(path, 50)


def emptied_beside_its_log(path: Path) -> None:
    fill(path, "log")
    os.truncate(path, 0)


def with_damaged_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def with_a_strange_log(path: Path) -> None:
    fill(path, "log")
    Path(f"{path}-wal").write_bytes(b"no log" * 2000)


def with_a_changed_log(path: Path) -> None:
    fill(path, "log")
    with open(f"{path}-wal", "r+b") as log:
        log.seek(17)  # a salt; the checksum of the header does not fit any more
        log.write(b"\xff\xfe")


SPOILS: tuple[Callable[[Path], None], ...] = (
    *(garbage, zeros, cut_short, cut_to_its_head, emptied_beside_its_log, with_damaged_pages),
    *(with_a_strange_log, with_a_changed_log),
)


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_spoilt_database_is_kept_aside_and_a_new_one_serves_at_once(
    path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    make(path)
    fill(path, "a")
    checkpoint(path)
    spoil(path)
    before = files(path)

    begun = time.monotonic()
    connection, aside = anew(path)
    took = time.monotonic() - begun

    with closing(connection):
        connection.execute("UPDATE meta SET value = value")
        assert read_state(connection)
    assert aside is not None
    assert Path(aside).name.startswith("state.db.damaged-")
    for end in ("", "-wal"):
        if (name := f"{path.name}{end}") in before:
            assert Path(f"{aside}{end}").read_bytes() == before[name]
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [aside in record.getMessage() for record in warnings] == [True]
    assert took < 2
    connection, again = anew(path)
    connection.close()
    assert again is None


def test_what_can_be_read_of_a_spoilt_database_is_kept_on(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    namespace = make(path)
    fill(path, "a")
    checkpoint(path)
    with_a_strange_log(path)

    connection, _ = anew(path)

    with closing(connection):
        state = read_state(connection)
    assert state.namespace == namespace
    assert len(state.sessions) == 200
    assert [seen.project.root for seen in state.projects] == ["/work/a"]
    assert "all that it kept could be read and is kept on" in caplog.text


def test_a_table_that_cannot_be_read_whole_is_lost_and_named(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    namespace = make(path)
    fill(path, "a", 2000)
    checkpoint(path)
    spoil_table(path, "sessions")

    connection, _ = anew(path)

    with closing(connection):
        state = read_state(connection)
    assert state.namespace == namespace
    assert state.sessions == ()
    assert len(state.projects) == 1
    assert "lost: sessions" in caplog.text


def test_a_table_whose_rows_make_no_sense_is_lost(path: Path) -> None:
    make(path)
    fill(path, "a")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE sessions SET signs = 'nonsense' WHERE session_id = 'wr_a_000007'")
    aside = move_aside(str(path), "damaged")

    with closing(opened(path)) as target:
        saved = salvage(aside, target, read_state)
        state = read_state(target)

    assert saved.lost == ["sessions"]
    assert state.sessions == ()
    assert len(state.projects) == 1


def test_allocated_sessions_are_kept_on_of_a_database_whose_sessions_make_no_sense(path: Path) -> None:
    make(path)
    fill(path, "a")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        apply_changes(connection, [AllocationSaved(LENT), AllocationSaved(OVER)])
        connection.execute("UPDATE sessions SET signs = 'nonsense' WHERE session_id = 'wr_a_000007'")
    aside = move_aside(str(path), "damaged")

    with closing(opened(path)) as target:
        saved = salvage(aside, target, read_state)
        state = read_state(target)

    assert saved.lost == ["sessions"]
    assert state.allocations == (LENT, OVER)


def test_allocated_sessions_of_no_known_status_are_lost(path: Path) -> None:
    make(path)
    fill(path, "a")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        apply_changes(connection, [AllocationSaved(LENT), AllocationSaved(OVER)])
        connection.execute("UPDATE allocated_sessions SET status = 'asleep' WHERE session_id = 'lent'")
    aside = move_aside(str(path), "damaged")

    with closing(opened(path)) as target:
        saved = salvage(aside, target, read_state)
        state = read_state(target)

    assert saved.lost == ["allocated_sessions"]
    assert (state.allocations, len(state.sessions)) == ((), 200)


def test_of_another_version_only_the_namespace_is_kept_on(path: Path) -> None:
    with closing(open_connection(str(path), migrations=MIGRATIONS[:2], factory=sqlite3.Connection)) as connection:
        namespace = connection.execute("SELECT value FROM meta").fetchone()[0]
    aside = move_aside(str(path), "damaged")

    with closing(opened(path)) as target:
        saved = salvage(aside, target, read_state)

        assert read_state(target).namespace == namespace
    assert (saved.has_namespace, saved.tables) == (True, ())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = 'no id' WHERE key = 'namespace'",
        "DELETE FROM meta",
        "DROP TABLE meta",
        "PRAGMA application_id = 7",
    ],
)
def test_without_a_namespace_nothing_is_taken(path: Path, statement: str) -> None:
    make(path)
    fill(path, "a")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)
    aside = move_aside(str(path), "damaged")

    with closing(opened(path)) as target:
        saved = salvage(aside, target, read_state)

        assert session_count(target) == 0
    assert str(saved) == "nothing of it could be read, so that sessions begin anew"


def spoil_table(path: Path, table: str) -> None:
    """Overwrite the page at which a table begins."""
    with closing(sqlite3.connect(path)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


# What is never moved


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (value)")


def foreign_and_damaged(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")
        connection.execute("CREATE TABLE theirs (value)")
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 1000)


def foreign_with_a_strange_log(path: Path) -> None:
    foreign(path)
    Path(f"{path}-wal").write_bytes(b"no log" * 2000)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")


def newer_and_damaged(path: Path) -> None:
    newer(path)
    with_damaged_pages(path)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (foreign, StoreUnavailableError),
        (foreign_and_damaged, StoreUnavailableError),
        (foreign_with_a_strange_log, StoreUnavailableError),
        (newer, StoreTooNewError),
        (newer_and_damaged, StoreTooNewError),
    ],
)
def test_another_program_s_database_and_a_newer_one_stay_where_they_are(
    path: Path, change: Callable[[Path], None], error: type[Exception]
) -> None:
    make(path)
    change(path)
    before = files(path)

    with pytest.raises(error):
        anew(path)

    assert files(path) == before


def test_a_disk_that_fails_is_no_reason_to_move_anything(path: Path) -> None:
    class Connection(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if sql.startswith("PRAGMA journal_mode"):
                raise failure(sqlite3.SQLITE_IOERR)
            return super().execute(sql, parameters)

    with pytest.raises(sqlite3.OperationalError):
        open_or_begin_anew(str(path), migrations=MIGRATIONS, factory=Connection, check=read_state)

    assert [each.name for each in path.parent.iterdir()] == ["state.db"]


def test_a_disk_that_fails_for_a_moment_is_no_reason_to_move_anything(
    path: Path, monkeypatch: pytest.MonkeyPatch, connections: list[sqlite3.Connection]
) -> None:
    make(path)
    looks = iter([failure(sqlite3.SQLITE_CORRUPT)])

    def look(connection: sqlite3.Connection) -> None:
        for error in looks:
            raise error

    monkeypatch.setattr(opening, "check_content", look)
    connection, aside = anew(path)
    connections.append(connection)

    assert aside is None


def test_a_disk_that_fails_at_the_second_look_is_no_reason_either(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(path)
    looks = iter([failure(sqlite3.SQLITE_CORRUPT), failure(sqlite3.SQLITE_IOERR)])

    def look(connection: sqlite3.Connection) -> None:
        raise next(looks)

    monkeypatch.setattr(opening, "check_content", look)
    with pytest.raises(sqlite3.OperationalError):
        anew(path)

    assert [each.name for each in path.parent.iterdir() if "damaged" in each.name] == []


def test_a_disk_that_cannot_be_read_is_no_reason_although_sqlite_says_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path)
    pread = os.pread

    def fail(descriptor: int, count: int, at: int) -> bytes:
        if count > 100:
            raise OSError(errno.EIO, "Input/output error")
        return pread(descriptor, count, at)

    def look(connection: sqlite3.Connection) -> None:
        raise failure(sqlite3.SQLITE_CORRUPT)

    monkeypatch.setattr(opening, "check_content", look)
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(OSError, match="Input/output error"):
        anew(path)

    assert [each.name for each in path.parent.iterdir() if "damaged" in each.name] == []


def test_a_load_that_cannot_be_understood_for_a_moment_is_repeated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = OwnedFile(str(path), migrations=MIGRATIONS, factory=sqlite3.Connection)
    reads = iter([failure(sqlite3.SQLITE_CORRUPT)])

    def read(connection: sqlite3.Connection) -> object:
        for error in reads:
            raise error
        return read_state(connection)

    monkeypatch.setattr(owned_file, "read_state", read)
    file.open()
    try:
        assert file.load().sessions == ()
        assert file.moved_aside == ()
    finally:
        file.close()


@pytest.mark.parametrize("second", [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL])
def test_a_load_that_fails_otherwise_the_second_time_moves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, second: int
) -> None:
    file = OwnedFile(str(path), migrations=MIGRATIONS, factory=sqlite3.Connection)
    reads = iter([failure(sqlite3.SQLITE_CORRUPT), failure(second)])

    def read(connection: sqlite3.Connection) -> object:
        raise next(reads)

    monkeypatch.setattr(owned_file, "read_state", read)
    file.open()
    try:
        with pytest.raises(sqlite3.OperationalError):
            file.load()
        assert file.moved_aside == ()
    finally:
        file.close()


class _Saying(sqlite3.Connection):
    """Says something else of its pages than SQLite does."""

    said: object = "ok"

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        if "integrity_check" not in sql:
            return super().execute(sql, parameters)
        if isinstance(self.said, Exception):
            raise self.said
        return super().execute("SELECT ?", (self.said,))


@pytest.mark.parametrize(
    ("said", "is_spoilt_then"),
    [
        ("Page 7: unable to get the page. error code=8458", False),
        ("Page 7: unable to get the page. error code=11", True),
        ("row 307 missing from index aliases_by_session", True),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), True),
        (sqlite3.OperationalError("Could not decode to UTF-8"), True),
        (failure(sqlite3.SQLITE_IOERR), False),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_told_from_what_is_damaged(said: object, is_spoilt_then: bool) -> None:
    connection = sqlite3.connect(":memory:", factory=_Saying)
    connection.said = said
    with closing(connection), pytest.raises(sqlite3.Error) as failed:
        spoilt.check_content(connection)

    assert is_spoilt(failed.value) is is_spoilt_then


def test_a_schema_that_is_no_text_is_damage(path: Path, connections: list[sqlite3.Connection]) -> None:
    make(path)
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE sessions", b"CREATE T\xffBLE sessions"))

    connection, aside = anew(path)
    connections.append(connection)

    assert aside is not None


def test_an_index_that_does_not_agree_with_its_table_is_damage(
    path: Path, connections: list[sqlite3.Connection]
) -> None:
    make(path)
    fill(path, "a", 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO aliases SELECT sandbox, principal, session_id, session_id FROM sessions")
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, '(sandbox, session_id)', '(session_id, sandbox)') "
            "WHERE name = 'aliases_by_session'"
        )

    connection, aside = anew(path)
    connections.append(connection)

    assert aside is not None
    assert (len(read_state(connection).sessions), len(read_state(connection).aliases)) == (3, 3)


def test_a_damaged_database_is_kept_to_the_byte_with_its_log(path: Path, connections: list[sqlite3.Connection]) -> None:
    make(path)
    fill(path, "a")
    checkpoint(path)
    spoil_table(path, "connections")
    fill(path, "b", 1)
    before = [Path(f"{path}{end}").read_bytes() for end in ("", "-wal")]

    connection, aside = anew(path)
    connections.append(connection)

    assert [Path(f"{aside}{end}").read_bytes() for end in ("", "-wal")] == before


def test_a_log_that_may_not_be_looked_at_is_no_damage(path: Path) -> None:
    assert spoilt.is_log_usable(str(path))


def test_a_log_in_which_nothing_was_kept_yet_is_none_of_a_spoilt_database(path: Path) -> None:
    make(path)
    for content in (b"", b"x" * 31, bytes(4096)):
        Path(f"{path}-wal").write_bytes(content)

        connection, aside = anew(path)

        connection.close()
        assert aside is None


def test_a_large_database_is_not_read_through_before_it_is_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(path)
    fill(path, "a", 2000)
    checkpoint(path)
    spoil_table(path, "sessions")
    monkeypatch.setattr(spoilt, "_CHECKED_BYTES", 10_000)

    with closing(opened(path)) as connection, pytest.raises(sqlite3.DatabaseError) as failed:
        read_state(connection)

    assert is_spoilt(failed.value)


def test_the_new_database_is_closed_if_nothing_can_be_put_into_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, connections: list[sqlite3.Connection]
) -> None:
    def fail(aside: str, target: sqlite3.Connection, check: object) -> None:
        connections.append(target)
        raise failure(sqlite3.SQLITE_FULL)

    monkeypatch.setattr(opening, "salvage", fail)
    garbage(path)

    with pytest.raises(sqlite3.OperationalError):
        anew(path)

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connections[0].execute("SELECT 1")


@pytest.mark.parametrize(
    ("error", "at_any_time", "while_reading"),
    [
        (failure(sqlite3.SQLITE_CORRUPT), True, True),
        (failure(sqlite3.SQLITE_CORRUPT_VTAB), True, True),
        (failure(sqlite3.SQLITE_NOTADB), True, True),
        (failure(sqlite3.SQLITE_ERROR), False, True),  # no such table
        (sqlite3.OperationalError("Could not decode to UTF-8"), False, True),
        (ValueError("no JSON"), False, True),
        (KeyError("namespace"), False, True),
        (failure(sqlite3.SQLITE_IOERR), False, False),
        (failure(sqlite3.SQLITE_FULL), False, False),
        (sqlite3.ProgrammingError("closed"), False, False),
        (OSError(5, "no"), False, False),
        (None, False, False),
    ],
    ids=repr,
)
def test_only_the_content_s_own_faults_spoil_a_database(
    error: Exception | None, at_any_time: bool, while_reading: bool
) -> None:
    wrapped = StoreUnavailableError("in our words")
    wrapped.__cause__ = error

    assert [is_spoilt(each) for each in (error, wrapped)] == [at_any_time] * 2
    assert [is_spoilt(each, while_reading=True) for each in (error, wrapped)] == [while_reading] * 2


# Moving aside, and noticing that somebody else did


def test_what_is_moved_aside_never_takes_the_place_of_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workroot.storage import moved_aside

    monkeypatch.setattr(moved_aside, "moment", lambda: "NOW")
    moved = []
    for number in range(3):
        path.write_text(str(number))
        moved.append(move_aside(str(path), "replaced"))

    assert [Path(each).read_text() for each in moved] == ["0", "1", "2"]
    names = ["state.db.replaced-NOW", "state.db.replaced-NOW-2", "state.db.replaced-NOW-3"]
    assert [Path(each).name for each in moved] == names
    assert not path.exists()


def test_a_log_alone_is_moved_too_and_its_index_goes(path: Path) -> None:
    Path(f"{path}-wal").write_text("log")
    Path(f"{path}-shm").write_text("index")

    aside = move_aside(str(path), "replaced")

    assert [each.name for each in path.parent.iterdir()] == [f"{Path(aside).name}-wal"]


@pytest.mark.parametrize("end", ["", "-wal"])
def test_a_deleted_file_is_told_from_a_replaced_one(path: Path, end: str) -> None:
    name = Path(f"{path}{end}")
    changes: tuple[tuple[Callable[[], object], Fate], ...] = (
        (name.unlink, Fate.DELETED),
        (lambda: replace(name), Fate.REPLACED),
    )
    for become, fate in changes:
        path.write_text("")
        Path(f"{path}-wal").write_text("")
        guard = FileGuard(str(path))
        assert guard.look() is Fate.KEPT

        become()

        assert guard.look() is fate
        with pytest.raises(StoreUnavailableError, match="was deleted or replaced while it was in use"):
            guard.check()
        name.write_text("")
        assert guard.look() is fate


def replace(name: Path) -> None:
    other = name.with_suffix(".other")
    other.write_text("")
    other.replace(name)


def test_a_log_that_comes_later_is_a_stranger_s(path: Path) -> None:
    path.write_text("")
    guard = FileGuard(str(path))

    Path(f"{path}-wal").write_text("")

    assert guard.look() is Fate.REPLACED


# The lock goes with the directory


@contextmanager
def owned(path: Path) -> Iterator[OwnedFile]:
    file = OwnedFile(str(path), migrations=MIGRATIONS, factory=sqlite3.Connection)
    file.open()
    try:
        yield file
    finally:
        file.close()


def test_a_lock_that_was_deleted_with_the_database_is_taken_again(path: Path) -> None:
    with owned(path) as file:
        held = file.load()
        for each in path.parent.iterdir():
            each.unlink()

        file.mend(held)

        assert file.load() == held
        with pytest.raises(StoreInUseError):
            lock_database(str(path))


def test_a_lock_that_somebody_else_took_meanwhile_is_theirs(path: Path) -> None:
    with owned(path) as file:
        held = file.load()
        Path(f"{path}.lock").unlink()
        theirs = lock_database(str(path))
        path.unlink()

        with pytest.raises(StoreInUseError):
            file.mend(held)

        os.close(theirs)
    assert not path.exists()


def test_a_file_that_was_never_opened_is_not_mended(path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="is not open"):
        OwnedFile(str(path), migrations=MIGRATIONS, factory=sqlite3.Connection).mend(None)


def test_a_directory_that_took_the_place_of_ours_is_left_alone(path: Path) -> None:
    place = path.parent / "place"
    place.mkdir()
    with owned(place / path.name) as file:
        held = file.load()
        place.rename(path.parent / "moved")
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="while it was in use, with its directory"):
                file.mend(held)
            place.mkdir(exist_ok=True)

    assert list(place.iterdir()) == []


def test_another_journal_is_said_once_however_often_the_file_is_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mounts, "_partitions", lambda: [("/", "ext4"), (str(path.parent), "nfs4")])
    with owned(path) as file:
        held = file.load()
        path.unlink()
        file.look(None)

        file.mend(held)

        assert file.journal_mode == "delete"
        assert file.journal_warning is not None
    assert [record.getMessage() for record in caplog.records].count(file.journal_warning) == 1


@pytest.mark.parametrize(("end", "left"), [("", 0), ("-wal", 1)])
def test_what_is_left_alone_of_database_and_log_is_not_taken_for_the_new_one_s(path: Path, end: str, left: int) -> None:
    with owned(path) as file:
        held = file.load()
        Path(f"{path}{end}").unlink()
        file.look(None)

        file.mend(held)

        assert file.load() == held
        assert len(file.moved_aside) == left


# Reading without writing


def test_where_there_is_no_database_none_is_read(path: Path) -> None:
    assert read_into_memory(str(path)) is None
    path.write_bytes(b"")
    assert read_into_memory(str(path)) is None
    assert [each.name for each in path.parent.iterdir()] == ["state.db"]


def test_a_copy_that_cannot_be_made_is_no_copy(path: Path, tmp_path: Path) -> None:
    make(path)
    garbage(path)

    with pytest.raises(sqlite3.DatabaseError):
        read_into_memory(str(path))


def test_a_passing_copy_is_made_where_there_is_a_place_and_leaves_nothing(path: Path, tmp_path: Path) -> None:
    make(path)
    fill(path, "a")  # with a log, which SQLite cannot read where it lies without writing
    place = tmp_path / "place"
    place.mkdir()
    before = files(path)

    connection = read_into_memory(str(path), places=[str(tmp_path / "none"), str(place)])

    assert connection is not None
    with closing(connection):
        assert session_count(connection) == 200
    assert list(place.iterdir()) == []
    place.rmdir()
    assert files(path) == before
    with pytest.raises(OSError, match="No such file"):
        read_into_memory(str(path), places=[str(tmp_path / "none")])


def test_a_disk_that_fails_at_the_first_look_is_an_error_and_nothing_is_touched(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path)
    fill(path, "a")
    before = files(path)

    def fail(*_: object, **__: object) -> int:
        raise failure(sqlite3.SQLITE_IOERR)

    monkeypatch.setattr(opening, "version_of", fail)
    with pytest.raises(sqlite3.OperationalError):
        anew(path)

    assert files(path) == before


def test_of_a_spoilt_database_that_is_gone_nothing_is_taken(path: Path) -> None:
    with closing(opened(path)) as target:
        saved = salvage(f"{path}.damaged-NOW", target, read_state)

    assert not saved.has_namespace
    assert [each.name for each in path.parent.iterdir() if "damaged" in each.name] == []
