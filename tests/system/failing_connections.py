"""Connections to a database that fail when a test says so."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workroot.core.changes import Change, StoredState
from workroot.storage.loading import read_state
from workroot.storage.memory_only import open_in_memory
from workroot.storage.rewriting import write_state
from workroot.storage.rows import apply_changes
from workroot.storage.schema import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Fault", "Held", "failing", "failure"]


def failing(on: Callable[[str], BaseException | None]) -> type[sqlite3.Connection]:
    """Return a kind of connection whose statements fail when *on* gives an error for them."""

    class FailingConnection(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if (error := on(sql)) is not None:
                raise error
            return super().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
            if (error := on(sql)) is not None:
                raise error
            return super().executemany(sql, parameters)

    return FailingConnection


def failure(code: int) -> sqlite3.Error:
    """Return the error that Python makes of a result code of SQLite's."""
    spoilt = code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    error = (sqlite3.DatabaseError if spoilt else sqlite3.OperationalError)(f"result code {code}")
    error.sqlite_errorcode = code
    return error


@dataclass
class Fault:
    """Lets the n-th call of the storage interface fail, or that one and all after it.

    Attributes:
        nth: which one; 0: none.
        code: SQLite's result code.
        for_ever: all later ones fail as well, until it is over.
        is_late: a commit is carried out and then said to have failed.
        calls: how many there were.
    """

    nth: int
    code: int = sqlite3.SQLITE_IOERR
    for_ever: bool = False
    is_late: bool = False
    calls: int = 0
    is_over: bool = False
    hits: list[str] = field(default_factory=list)

    def meets(self, call: str) -> bool:
        """Count a call, and tell whether it fails."""
        self.calls += 1
        if self.is_over or not self.nth or not (self.calls == self.nth or (self.for_ever and self.calls > self.nth)):
            return False
        self.hits.append(call)
        return True

    def factory(self) -> type[sqlite3.Connection]:
        """Return a kind of connection that meets this fault."""
        fault = self

        class FaultyConnection(sqlite3.Connection):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                if fault.meets("open"):
                    raise failure(fault.code)
                super().__init__(*args, **kwargs)

            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                is_met = fault.meets(sql)
                if is_met and fault.is_late and sql == "COMMIT":
                    super().execute(sql, parameters)
                if is_met:
                    raise failure(fault.code)
                return super().execute(sql, parameters)

            def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
                if fault.meets(sql):
                    raise failure(fault.code)
                return super().executemany(sql, parameters)

        return FaultyConnection


class Held:
    """Holds in memory what a store acknowledged, by the store's own rules."""

    def __init__(self) -> None:
        self._connection, _ = open_in_memory("/nowhere", migrations=MIGRATIONS)

    def load(self, state: StoredState) -> None:
        """Take over what a store keeps."""
        write_state(self._connection, state)

    def apply(self, changes: Sequence[Change]) -> None:
        """Show what was kept."""
        apply_changes(self._connection, changes)

    def snapshot(self) -> StoredState:
        """Return all of it."""
        return read_state(self._connection)

    def adopt(self, state: StoredState) -> None:
        """Take over what a store could not read before."""
        raise AssertionError(f"nothing was unknown: {state}")

    def close(self) -> None:
        self._connection.close()
