"""Transactions, begun and ended by hand: the connections here are in autocommit mode."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["begin", "give_up", "transaction"]


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, or nothing of it.

    It takes the write lock at once: a transaction that reads first and writes later is refused
    without waiting if somebody wrote in between (sqlite.org/rescode.html, SQLITE_BUSY_SNAPSHOT).
    """
    begin(connection)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        give_up(connection)
        raise


def begin(connection: sqlite3.Connection) -> None:
    """Begin a transaction that `COMMIT` or `give_up` ends, where a `with` block costs too much."""
    if connection.in_transaction:  # an earlier one could not even be rolled back
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")


def give_up(connection: sqlite3.Connection) -> None:
    """Take back what was done since `begin`; that never fails, since what failed before is what should be heard of."""
    if connection.in_transaction:  # some failures, a full disk for one, have rolled back already
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
