"""How a store on disk is, for whoever looks into the daemon."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["StoreHealth", "Trouble"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """That nothing reaches the disk.

    Attributes:
        since: when it began, in seconds since the Unix epoch.
        because: why, in a sentence with what to do about it.
        is_refusing: changes are refused and reads go on; else changes are accepted in memory.
    """

    since: float
    because: str
    is_refusing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """A store at a moment.

    Attributes:
        path: of the database.
        size_bytes: of the database, None if it is not there.
        wal_bytes: of the log beside it, None if there is none.
        journal_mode: as SQLite names it.
        schema_version: of the tables.
        problem: why nothing can be kept now, or None: the file is gone, or the last commit failed.
        commits: transactions that were kept since the start.
        failed_commits: transactions that were not.
        waiting: callers that wait for a commit.
        memory_only_since: when it began that nothing reaches the disk (seconds since the Unix epoch), or None:
            what is kept is on the disk.
        memory_only_because: why, in a sentence with what to do about it; None together with the time.
        is_refusing: while that lasts, changes are refused and reads go on; else they are accepted in memory.
        moved_aside: paths of spoilt or strange files that lay in the database's place, oldest first.
        journal_warning: why the file does without the write-ahead log, and what else can be done; None: it does not.
    """

    path: str
    size_bytes: int | None
    wal_bytes: int | None
    journal_mode: str
    schema_version: int
    problem: str | None
    commits: int
    failed_commits: int
    waiting: int
    memory_only_since: float | None = None
    memory_only_because: str | None = None
    is_refusing: bool = False
    moved_aside: tuple[str, ...] = ()
    journal_warning: str | None = None
