"""Transactions, begun and ended by hand: the connections here are in autocommit mode."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["transaction"]


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, or nothing of it.

    It takes the write lock at once: a transaction that reads first and writes later is refused
    without waiting if somebody wrote in between (sqlite.org/rescode.html, SQLITE_BUSY_SNAPSHOT).
    """
    if connection.in_transaction:  # an earlier one could not even be rolled back
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some failures, a full disk for one, have rolled back already
            with suppress(sqlite3.Error):  # what failed first is what the caller should hear of
                connection.execute("ROLLBACK")
        raise
