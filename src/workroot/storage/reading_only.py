"""Reading a database whose file system cannot be written: a full disk, a read-only mount, no permission.

SQLite needs an index beside the log to read it, and cannot make one there; and a connection that could would move
the log into the database when it closes. So what lies alone is read in place, as a file that nobody changes, and what
has a log or a journal beside it is read from a private copy in memory. Nothing is written where the database is.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from workroot.storage.moved_aside import ENDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["open_unwritten", "read_into_memory"]

_MEMORY = "/dev/shm"  # noqa: S108 -- a private directory is made in it


def read_into_memory(path: str, *, places: Sequence[str] = ()) -> sqlite3.Connection | None:
    """Return a connection to a copy of the database in this process's memory; None if there is no database.

    No connection to it may be open in this process: reading the file would drop its locks
    (sqlite.org/howtocorrupt.html, section 2.2).

    Args:
        path: of the database.
        places: directories for a passing copy, the best first; those of the system if there are none.

    Raises:
        sqlite3.Error, OSError: it cannot be read.
    """
    if not os.path.exists(path) or not any(_size(f"{path}{end}") for end in ENDS):
        return None
    with open_unwritten(path, places=places) as source:
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        try:
            source.backup(copy)
        except BaseException:
            copy.close()
            raise
    return copy


@contextmanager
def open_unwritten(path: str, *, places: Sequence[str] = ()) -> Iterator[sqlite3.Connection]:
    """Open the database at *path* for reading, as `read_into_memory` does, damaged as it may be."""
    if not any(_size(f"{path}{end}") for end in ENDS if end):
        with closing(
            sqlite3.connect(f"file:{quote(path)}?mode=ro&immutable=1", uri=True, isolation_level=None)
        ) as connection:
            yield connection
        return
    with (
        _copied(path, places or (_MEMORY, tempfile.gettempdir())) as copy,
        closing(sqlite3.connect(copy, isolation_level=None)) as connection,
    ):
        yield connection


@contextmanager
def _copied(path: str, places: Sequence[str]) -> Iterator[str]:
    """Copy a database with its log and journal into a private directory, which goes at the end."""
    failure: OSError | None = None
    for place in places:
        directory = None
        try:
            directory = tempfile.mkdtemp(prefix="workroot-", dir=place)  # mode 0700
            for end in ENDS:
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{path}{end}", os.path.join(directory, f"copy{end}"))
        except OSError as error:
            failure = error
        else:
            yield os.path.join(directory, "copy")
            return
        finally:
            if directory is not None:
                shutil.rmtree(directory, ignore_errors=True)
    raise failure or OSError("there is no place for a copy")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
