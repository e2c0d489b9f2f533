"""Many callers' changes in as few transactions as can be: one, unless somebody's changes fail.

Whose they are is found by halving: what failed is written again in two halves, each a transaction, until the
caller at fault is alone. So nobody pays for savepoints, which cost twice what the changes themselves do.
"""

from __future__ import annotations

import sqlite3
from itertools import chain
from typing import TYPE_CHECKING

from workroot.storage.failures import is_of_the_disk
from workroot.storage.rows import apply_changes
from workroot.storage.transactions import begin, give_up, transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workroot.core.changes import Change

__all__ = ["probe", "write_batch"]


def write_batch(connection: sqlite3.Connection, batch: Sequence[Sequence[Change]]) -> list[Exception | None]:
    """Keep the changes of several callers in their order; return what each one's failed with, or None.

    What fails because of the disk, or of somebody who holds the database, fails for all that are left.
    """
    try:
        begin(connection)
        apply_changes(connection, batch[0] if len(batch) == 1 else [*chain.from_iterable(batch)])
        connection.execute("COMMIT")
    except (sqlite3.Error, ValueError, OverflowError) as error:  # the last two: what SQLite has no value for
        give_up(connection)
        if len(batch) == 1 or is_of_the_disk(error):
            return [error] * len(batch)
        half = len(batch) // 2
        return [*write_batch(connection, batch[:half]), *write_batch(connection, batch[half:])]
    return [None] * len(batch)


def probe(connection: sqlite3.Connection, version: int) -> Exception | None:
    """Write something that changes nothing, the schema *version*, and return what that fails with, or None."""
    try:
        with transaction(connection):
            connection.execute(f"PRAGMA user_version = {version}")
    except sqlite3.Error as error:
        return error
    return None
