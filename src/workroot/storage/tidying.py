"""Giving disk space back: what was deleted stays in the file as free pages until somebody tidies.

Done when nobody waits, in the thread that owns the connection: both steps keep writers waiting meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

__all__ = ["tidy"]

_FREE_BYTES = 1 << 20  # less is soon filled again
_FREE_SHARE = 0.25  # a VACUUM writes all that is kept once more; that has to be worth it


def tidy(connection: sqlite3.Connection, *, may_wait: bool = True) -> int:
    """Move the log into the database and, if much of that is free, make its file as small as what is kept.

    Args:
        connection: to the database, in autocommit mode and in no transaction.
        may_wait: nobody else needs the connection for a moment; if not, nothing is done.

    Returns:
        How many bytes what is kept takes.

    Raises:
        sqlite3.Error: there is no room to do it in, or the disk fails; what is kept is as it was.
    """
    pages, free, page_bytes = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    used = (pages - free) * page_bytes
    if not may_wait:
        return used
    if free * page_bytes >= _FREE_BYTES and free >= pages * _FREE_SHARE:
        connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return used
