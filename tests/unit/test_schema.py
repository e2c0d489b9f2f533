"""Schema versions: forward only, each whole or not at all, never of a stranger's database."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from workroot.errors import StoreTooNewError, StoreUnavailableError
from workroot.storage.schema import APPLICATION_ID, MIGRATIONS, check_sqlite, migrate, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def version(connection: sqlite3.Connection) -> int:
    return version_of(connection, "state.db", supported=99)


def test_an_empty_database_has_version_0(connection: sqlite3.Connection) -> None:
    assert version(connection) == 0


def test_the_first_step_makes_every_table_and_marks_the_database_as_ours(connection: sqlite3.Connection) -> None:
    migrate(connection, 0, MIGRATIONS[:1])

    assert version(connection) == 1
    assert tables(connection) == {"meta", "sessions", "ended_sessions", "aliases", "projects"}
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


@pytest.mark.parametrize("application", [1, APPLICATION_ID - 1, APPLICATION_ID + 1, 0x7FFFFFFF, -1])
@pytest.mark.parametrize("content", ["CREATE TABLE theirs (a)", "PRAGMA user_version = 1"], ids=["table", "version"])
def test_a_database_with_any_other_application_s_id_is_not_ours(
    connection: sqlite3.Connection, application: int, content: str
) -> None:
    connection.execute(f"PRAGMA application_id = {application}")
    assert version_of(connection, "theirs.db", supported=99) == 0, "there is nothing in it"
    connection.execute(content)

    with pytest.raises(StoreUnavailableError, match=r"theirs\.db is not a database of workroot"):
        version_of(connection, "theirs.db", supported=99)


def test_the_second_step_makes_room_for_names_and_ids_of_projects(connection: sqlite3.Connection) -> None:
    migrate(connection, 0, MIGRATIONS[:2])

    assert version(connection) == 2
    assert "project_ids" in tables(connection)
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(sessions)")}
    assert "project_name" in columns
    nullable = {
        name for _, name, _, not_null, *_ in connection.execute("PRAGMA table_info(project_ids)") if not not_null
    }
    assert nullable == {"device", "inode"}


def test_the_third_step_makes_room_for_what_connections_asked_for(connection: sqlite3.Connection) -> None:
    migrate(connection, 0, MIGRATIONS[:3])

    assert version(connection) == 3
    assert {"connections", "ended_aliases"} <= tables(connection)


def test_the_fourth_step_places_what_ended_on_the_idle_clock(connection: sqlite3.Connection) -> None:
    migrate(connection, 0, MIGRATIONS[:3])
    now = time.time()
    for name, at in [("yesterday", now - 86_400), ("in ten years", now + 3e8)]:
        connection.execute("INSERT INTO ended_sessions VALUES ('default', ?, 'uid:1', '/', 'closed', ?)", (name, at))
    connection.execute(
        "INSERT INTO sessions (sandbox, session_id, principal, working_directory, given_directory, signs, set_at, "
        "last_used, revision) VALUES ('default', 'here', 'uid:1', '/', '/', '[]', 1.0, 1.0, 1)"
    )

    migrate(connection, 3, MIGRATIONS[:4])

    seen = dict(connection.execute("SELECT session_id, seen FROM ended_sessions"))
    assert seen["yesterday"] == pytest.approx(-86_400, abs=60)
    assert seen["in ten years"] == 0.0
    assert connection.execute("SELECT seen FROM sessions").fetchall() == [(None,)]


def test_the_fourth_step_places_conversations_on_the_idle_clock_too(connection: sqlite3.Connection) -> None:
    migrate(connection, 0, MIGRATIONS[:3])
    now = time.time()
    for name, at in [("yesterday", now - 86_400), ("in ten years", now + 3e8)]:
        connection.execute("INSERT INTO ended_aliases VALUES ('default', 'uid:1', ?, ?)", (name, at))
    connection.execute("INSERT INTO connections VALUES ('default', 'uid:1', 'here', '[]', NULL, 1, 1.0)")

    migrate(connection, 3, MIGRATIONS[:4])

    seen = dict(connection.execute("SELECT alias, seen FROM ended_aliases"))
    assert seen["yesterday"] == pytest.approx(-86_400, abs=60)
    assert seen["in ten years"] == 0.0
    assert connection.execute("SELECT seen FROM connections").fetchall() == [(None,)]


LENT = (
    "INSERT INTO allocated_sessions "
    "VALUES ('default', 'lent', 'uid:1', 'bob', 1.0, 2.0, 1.0, '{}', 'active', NULL, 0, 2)"
)


def test_the_fifth_step_makes_room_for_allocated_sessions(connection: sqlite3.Connection) -> None:
    migrate(connection, 0, MIGRATIONS[:5])

    assert version(connection) == 5
    assert "allocated_sessions" in tables(connection)
    nullable = {
        name for _, name, _, not_null, *_ in connection.execute("PRAGMA table_info(allocated_sessions)") if not not_null
    }
    assert nullable == {"user_id", "ended_at"}


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE allocated_sessions SET principal = 'uid:2'", "belongs to somebody else"),
        ("UPDATE allocated_sessions SET user_id = NULL", "belongs to somebody else"),
        ("UPDATE allocated_sessions SET sandbox = 'other'", "belongs to somebody else"),
        ("UPDATE allocated_sessions SET session_id = 'other'", "belongs to somebody else"),
        ("UPDATE allocated_sessions SET revision = 1", "newer revision"),
    ],
)
def test_no_statement_goes_around_the_rules_of_allocated_sessions(
    connection: sqlite3.Connection, sql: str, problem: str
) -> None:
    migrate(connection, 0, MIGRATIONS)
    connection.execute(LENT)
    before = connection.execute("SELECT * FROM allocated_sessions").fetchall()

    with pytest.raises(sqlite3.IntegrityError, match=problem):
        connection.execute(sql)

    assert connection.execute("SELECT * FROM allocated_sessions").fetchall() == before


@pytest.mark.parametrize("column", ["status = 'active'", "deadline = 9.0", "metadata = '[]'", "last_accessed = 9.0"])
def test_no_statement_changes_an_allocated_session_that_ended(connection: sqlite3.Connection, column: str) -> None:
    migrate(connection, 0, MIGRATIONS)
    connection.execute(LENT)
    connection.execute("UPDATE allocated_sessions SET status = 'expired', ended_at = 3.0, seen = 3.0")

    with pytest.raises(sqlite3.IntegrityError, match="has ended"):
        connection.execute(f"UPDATE allocated_sessions SET {column}")
    connection.execute(LENT.replace("INSERT", "INSERT OR REPLACE").replace("'active', NULL", "'expired', 9.0"))

    assert connection.execute("SELECT status, ended_at FROM allocated_sessions").fetchall() == [("expired", 3.0)]


def test_a_later_step_keeps_what_is_there(connection: sqlite3.Connection) -> None:
    migrate(connection, 0, MIGRATIONS)
    namespace = connection.execute("SELECT value FROM meta").fetchall()
    now = len(MIGRATIONS)

    def add_note(database: sqlite3.Connection) -> None:
        database.execute("ALTER TABLE projects ADD COLUMN note TEXT")

    migrate(connection, now, (*MIGRATIONS, add_note))

    assert version(connection) == now + 1
    assert connection.execute("SELECT value FROM meta").fetchall() == namespace
    assert connection.execute("SELECT note FROM projects").fetchall() == []


def test_a_step_that_fails_leaves_the_version_before_it(connection: sqlite3.Connection) -> None:
    def second(database: sqlite3.Connection) -> None:
        database.execute("CREATE TABLE second (a)")

    def third(database: sqlite3.Connection) -> None:
        database.execute("CREATE TABLE third (a)")
        database.execute("DROP TABLE nothing_of_that_name")

    with pytest.raises(sqlite3.OperationalError, match="nothing_of_that_name"):
        migrate(connection, 0, (*MIGRATIONS[:1], second, third))

    assert not connection.in_transaction
    assert version(connection) == 2
    assert "second" in tables(connection)
    assert "third" not in tables(connection)


def test_nothing_runs_when_the_version_is_the_one_wanted(connection: sqlite3.Connection) -> None:
    migrate(connection, 0, MIGRATIONS)

    migrate(connection, len(MIGRATIONS), MIGRATIONS)  # a second `CREATE TABLE` would raise


def test_a_newer_version_is_refused_with_both_numbers(connection: sqlite3.Connection) -> None:
    migrate(connection, 0, MIGRATIONS[:1])
    connection.execute("PRAGMA user_version = 7")

    with pytest.raises(StoreTooNewError, match=r"state\.db has schema version 7, this workroot reads up to 1"):
        version_of(connection, "state.db", supported=1)


@pytest.mark.parametrize("sign", ["CREATE TABLE t (a)", "PRAGMA user_version = 1"])
def test_a_database_of_somebody_else_is_refused(connection: sqlite3.Connection, sign: str) -> None:
    connection.execute(sign)

    with pytest.raises(StoreUnavailableError, match="not a database of workroot"):
        version(connection)


def test_an_sqlite_without_strict_tables_is_refused_with_both_versions() -> None:
    with pytest.raises(StoreUnavailableError, match=r"SQLite 3\.36\.0, 3\.37\.0 is needed"):
        check_sqlite((3, 36, 0))

    check_sqlite((3, 37, 0))
