"""Whether a database is spoilt: its content makes no sense, whatever the disk, the modes and other programs do.

SQLite does not notice everything. It takes a log that is no log for an empty one and writes over it, and finds a
damaged page when it comes to it; so both are looked at before a database is used.
"""

from __future__ import annotations

import os
import re
import sqlite3
from functools import lru_cache
from typing import TYPE_CHECKING

from workroot.errors import StoreTooNewError, StoreUnavailableError
from workroot.storage.failures import damaged, of_code
from workroot.storage.schema import APPLICATION_ID, not_ours

if TYPE_CHECKING:
    from typing import Literal

__all__ = ["check_content", "check_files", "check_may_be_moved", "is_log_usable", "is_spoilt"]

_CHECKED_BYTES = 128 * 1024 * 1024  # 6 ms a megabyte; what is larger shows its damage when it is read
_READ_BYTES = 1024 * 1024  # at a time
_HEADER_BYTES = 100  # of a database; sqlite.org/fileformat.html, section 1.3
_UNREAD = re.compile(r"unable to get the page\. error code=(\d+)")  # so SQLite's checks say that the disk failed
_DATABASE = b"SQLite format 3\0"
_LOG_HEADER_BYTES = 32
_MAGICS = (0x377F0682, 0x377F0683)  # sqlite.org/fileformat.html, section 4.1
_LOG_FORMAT = 3_007_000
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NOT_UNDERSTOOD = (TypeError, ValueError, KeyError)


def is_spoilt(error: BaseException | None, *, while_reading: bool = False) -> bool:
    """Tell whether *error*, or what caused it, means that the content of a database is at fault.

    Args:
        while_reading: it happened while a database of our version was read: then a table or a column that is not
            there, and a value that cannot be understood, is a fault of its content too.
    """
    if isinstance(error, StoreUnavailableError):
        error = error.__cause__
    if while_reading and isinstance(error, _NOT_UNDERSTOOD):
        return True
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # text that is not UTF-8
        return while_reading and isinstance(error, sqlite3.OperationalError)
    return code & 0xFF in _DAMAGED or (while_reading and code == sqlite3.SQLITE_ERROR)


def check_files(path: str) -> None:
    """Look at the files of the database at *path*, to which no connection is open in this process.

    Raises:
        sqlite3.DatabaseError: they do not belong together; `is_spoilt` says so of it.
        OSError: they cannot be looked at.
    """
    try:
        with open(f"{path}-wal", "rb") as log:
            header = log.read(_LOG_HEADER_BYTES)
    except FileNotFoundError:
        return
    if len(header) < _LOG_HEADER_BYTES or not any(header):
        return  # killed before anything was in it
    if os.path.getsize(path) == 0:
        raise damaged("the file is empty, and there is a log beside it")
    if not _is_log(header):
        raise damaged("the file beside it, -wal, is not a log")


def is_log_usable(path: str) -> bool:
    """Tell whether the log beside the database at *path*, which may be open, is empty or begins as a log does.

    One that may not be looked at does: whoever has it open can go on.
    """
    try:
        with open(f"{path}-wal", "rb", buffering=0) as log:  # it carries no locks that closing it could drop
            header = log.read(_LOG_HEADER_BYTES)
    except OSError:
        return True
    return not header or (len(header) == _LOG_HEADER_BYTES and _is_log(header))


def check_may_be_moved(path: str, *, supported: int) -> None:
    """Check that the spoilt database at *path*, to which no connection is open, is not somebody else's.

    Raises:
        StoreTooNewError: a newer workroot wrote it.
        StoreUnavailableError: another program did.
        OSError: it cannot be looked at.
    """
    with open(path, "rb", buffering=0) as file:
        header = os.pread(file.fileno(), _HEADER_BYTES, 0)
        for at in range(0, os.fstat(file.fileno()).st_size, _READ_BYTES):
            os.pread(file.fileno(), _READ_BYTES, at)  # what SQLite cannot read, it often takes for damaged
    if len(header) < _HEADER_BYTES or not header.startswith(_DATABASE):
        return
    pages, version, application = (int.from_bytes(header[at : at + 4], "big") for at in (28, 60, 68))
    if application == APPLICATION_ID:
        if version > supported:
            raise StoreTooNewError(path, version, supported)
    elif application or version or pages > 1:  # one page: made, and nothing in it yet
        raise not_ours(path)


def check_content(connection: sqlite3.Connection) -> None:
    """Look at every page of a database and at its order, unless it is so large that this takes time.

    The quick check would pass over indexes and the order of rows: what contradicts them is found twice or never.

    Raises:
        sqlite3.DatabaseError: one is damaged, so that `is_spoilt` says so of it, or cannot be read.
    """
    pages, page_size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if pages * page_size > _CHECKED_BYTES:
        return
    try:
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except (UnicodeDecodeError, sqlite3.OperationalError) as error:
        if getattr(error, "sqlite_errorcode", None) is None:
            raise damaged("what is wrong with it cannot be said in Unicode") from error
        raise
    if (unread := _UNREAD.search(str(found))) and int(unread[1]) & 0xFF == sqlite3.SQLITE_IOERR:
        raise of_code(int(unread[1]), str(found))
    if found != "ok":
        raise damaged(str(found).replace("\n", " "))


@lru_cache(maxsize=8)  # the same one is looked at with every commit
def _is_log(header: bytes) -> bool:
    """Tell whether a log begins with *header*: SQLite takes any other one for empty."""
    numbers = [int.from_bytes(header[at : at + 4], "big") for at in range(0, _LOG_HEADER_BYTES, 4)]
    if numbers[0] not in _MAGICS or numbers[1] != _LOG_FORMAT:
        return False
    order: Literal["big", "little"] = "big" if numbers[0] & 1 else "little"
    first = second = 0
    for at in range(0, 24, 8):  # the checksum of its first 24 bytes
        first = (first + int.from_bytes(header[at : at + 4], order) + second) & 0xFFFFFFFF
        second = (second + int.from_bytes(header[at + 4 : at + 8], order) + first) & 0xFFFFFFFF
    return [first, second] == numbers[6:8]
