"""What SQLite says, in our words: what happened, to which file, and what to do."""

from __future__ import annotations

import errno
import sqlite3

from workroot.errors import ChangeRefusedError, StoreError, StoreUnavailableError

__all__ = ["damaged", "is_of_the_disk", "is_passing", "may_come_right", "of_code", "store_error", "unavailable"]

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

_OF_THE_SYSTEM = {
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
    errno.EIO: sqlite3.SQLITE_IOERR,
    errno.EROFS: sqlite3.SQLITE_READONLY,
}
_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM})
_OF_THE_DISK = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)


def is_of_the_disk(cause: Exception) -> bool:
    """Tell whether *cause* is nobody's changes' fault: other changes would fail the same way."""
    return _primary_code(cause) in _OF_THE_DISK


def is_passing(cause: BaseException) -> bool:
    """Tell whether a connection that failed with *cause* is as good as before: nothing came of the attempt."""
    return _primary_code(cause) in _PASSING


def may_come_right(cause: Exception) -> bool:
    """Tell whether opening a database that failed with *cause* may succeed later without anybody changing it."""
    return _primary_code(cause) in _OF_THE_DISK | _PASSING


def damaged(problem: str) -> sqlite3.DatabaseError:
    """Return the error of a database whose content is at fault, as SQLite would raise it."""
    error = sqlite3.DatabaseError(problem)
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT"
    return error


def of_code(code: int, problem: str) -> sqlite3.OperationalError:
    """Return the error that SQLite would raise with a result *code*, where it only names that in a text."""
    error = sqlite3.OperationalError(problem)
    error.sqlite_errorcode = code
    return error


def unavailable(path: str, cause: BaseException) -> StoreUnavailableError:
    """Return the error for a whole database that failed with *cause*, which it carries."""
    meaning = _MEANING.get(_primary_code(cause), "cannot be used now: try again")
    error = StoreUnavailableError(f"{path} {meaning} ({cause})")
    error.__cause__ = cause
    return error


def store_error(path: str, cause: Exception) -> StoreError:
    """Return the error for one caller's changes that failed with *cause*, which it carries."""
    if not isinstance(cause, (ValueError, OverflowError)) and _primary_code(cause) != sqlite3.SQLITE_CONSTRAINT:
        return unavailable(path, cause)
    error = ChangeRefusedError("a change", str(cause))
    error.__cause__ = cause
    return error


def _primary_code(cause: BaseException) -> int:
    if isinstance(cause, OSError):
        return _OF_THE_SYSTEM.get(cause.errno or 0, sqlite3.SQLITE_CANTOPEN)
    # The low byte is the kind, the rest its details (sqlite.org/rescode.html, section 1).
    return getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
