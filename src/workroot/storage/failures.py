"""What SQLite says, in our words: what happened, to which file, and what to do."""

from __future__ import annotations

import sqlite3

from workroot.errors import ChangeRefusedError, StoreError, StoreUnavailableError

__all__ = ["store_error", "unavailable"]

_MEANING = {
    sqlite3.SQLITE_BUSY: "is locked by another program: close that one, then try again",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that its directory exists and that you may write there",
    sqlite3.SQLITE_CORRUPT: "is damaged: move it away together with its -wal file and restart workroot, or run "
    "`workroot upgrade --restore` with a copy of it",
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full: free some space, then try again",
    sqlite3.SQLITE_IOERR: "cannot be read or written: check the disk, then try again",
    sqlite3.SQLITE_NOTADB: "is not a database: move it away and restart workroot, or run "
    "`workroot upgrade --restore` with a copy of it",
    sqlite3.SQLITE_READONLY: "cannot be written: check its mode and that of its directory",
}


def unavailable(path: str, cause: Exception) -> StoreUnavailableError:
    """Return the error for a whole database that failed with *cause*, which it carries."""
    meaning = _MEANING.get(_primary_code(cause), "cannot be used now: try again")
    error = StoreUnavailableError(f"{path} {meaning} ({cause})")
    error.__cause__ = cause
    return error


def store_error(path: str, cause: Exception) -> StoreError:
    """Return the error for one caller's changes that failed with *cause*, which it carries."""
    if not isinstance(cause, UnicodeEncodeError) and _primary_code(cause) != sqlite3.SQLITE_CONSTRAINT:
        return unavailable(path, cause)
    error = ChangeRefusedError("a change", str(cause))
    error.__cause__ = cause
    return error


def _primary_code(cause: Exception) -> int:
    if isinstance(cause, OSError):
        return sqlite3.SQLITE_CANTOPEN
    # The low byte is the kind, the rest its details (sqlite.org/rescode.html, section 1).
    return getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
