"""How a store on disk is, for whoever looks into the daemon."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["StoreHealth"]


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
