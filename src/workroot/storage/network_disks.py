"""Which journal a database gets where its file lies: SQLite's write-ahead log needs a disk of this machine.

Over a network the log's index, which is shared memory, is not shared, and what one machine keeps another one may
undo (sqlite.org/wal.html, section 1; sqlite.org/useovernet.html). There the log is refused. A rollback journal with
the file locked for good takes its place: slower, and sound as far as that file system keeps to its own promises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from workroot.project_finder.mounts import remote_file_system

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Pragma", "journal_for", "journal_warning", "remote_file_system"]


class Pragma(NamedTuple):
    """A setting of a connection.

    Attributes:
        expected: what reading it back has to give.
    """

    name: str
    value: str | int
    expected: str | int


_LOG = (
    Pragma("journal_mode", "WAL", "wal"),
    Pragma("synchronous", "FULL", 2),  # NORMAL loses acknowledged commits when the power fails
)
_ROLLBACK = (
    Pragma("locking_mode", "EXCLUSIVE", "exclusive"),  # first: with it, a log that is there is read without an index
    Pragma("journal_mode", "DELETE", "delete"),
    Pragma("synchronous", "EXTRA", 3),  # FULL may bring a journal back that the power cut had removed
)


def journal_for(file_system: str | None) -> Sequence[Pragma]:
    """Return the settings for a database, in the order in which they are made.

    Args:
        file_system: what holds it, if another machine or a program serves that; None: a disk of this machine.
    """
    return _LOG if file_system is None else _ROLLBACK


def journal_warning(path: str, journal_mode: str, file_system: str | None) -> str | None:
    """Return why the database at *path* does without the write-ahead log, and what else can be done, or None.

    Args:
        journal_mode: the one in force, as SQLite names it.
        file_system: as in `journal_for`.
    """
    if journal_mode == "wal":
        return None
    why = (
        f"lies on a network file system or one that a program serves ({file_system})"
        if file_system is not None
        else "lies where SQLite cannot keep its write-ahead log"
    )
    return (
        f"{path} {why}: the write-ahead log is refused there, and each change takes longer (journal_mode=DELETE, "
        f"locking_mode=EXCLUSIVE, synchronous=EXTRA); set WORKROOT_HOME to a directory on a local disk, in your "
        f"editors' entries too"
    )
