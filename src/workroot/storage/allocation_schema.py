"""The shape of what is kept of allocated sessions: the step to version 5 of the database.

Two questions are asked of a row that is there when another one comes under its key: whose it is, and whether it is
over. One look answers both, in a trigger, so that the answers come in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ALLOCATIONS"]

ALLOCATIONS: Sequence[str] = (
    """
    CREATE TABLE allocated_sessions (
        sandbox TEXT NOT NULL,
        session_id TEXT NOT NULL,
        principal TEXT NOT NULL,
        user_id TEXT, -- NULL: that was not said
        created_at REAL NOT NULL,
        deadline REAL NOT NULL, -- on the idle clock
        last_accessed REAL NOT NULL,
        metadata TEXT NOT NULL, -- JSON: an object
        status TEXT NOT NULL,
        ended_at REAL,
        seen REAL NOT NULL, -- on the idle clock
        revision INTEGER NOT NULL,
        PRIMARY KEY (sandbox, session_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX ended_allocations_by_seen ON allocated_sessions (seen) WHERE status <> 'active'",
    """
    CREATE TRIGGER an_allocated_session_goes_forward BEFORE INSERT ON allocated_sessions
    BEGIN
        SELECT CASE
            WHEN principal <> NEW.principal OR user_id IS NOT NEW.user_id
                THEN RAISE(ABORT, 'the allocated session belongs to somebody else')
            WHEN status <> 'active' AND NEW.status = 'active'
                THEN RAISE(ABORT, 'the allocated session has ended')
            WHEN status <> 'active' OR revision > NEW.revision
                THEN RAISE(IGNORE) -- the first end stays, and what is newer
        END
        FROM allocated_sessions WHERE sandbox = NEW.sandbox AND session_id = NEW.session_id;
    END
    """,
    """
    CREATE TRIGGER an_allocated_session_stays_with_its_user
    BEFORE UPDATE OF sandbox, session_id, principal, user_id ON allocated_sessions
    WHEN NEW.sandbox <> OLD.sandbox OR NEW.session_id <> OLD.session_id
        OR NEW.principal <> OLD.principal OR NEW.user_id IS NOT OLD.user_id
    BEGIN SELECT RAISE(ABORT, 'the allocated session belongs to somebody else'); END
    """,
    """
    CREATE TRIGGER an_allocated_session_that_ended_stays_so BEFORE UPDATE ON allocated_sessions
    WHEN OLD.status <> 'active'
    BEGIN SELECT RAISE(ABORT, 'the allocated session has ended'); END
    """,
    """
    CREATE TRIGGER an_allocated_session_never_goes_back BEFORE UPDATE OF revision ON allocated_sessions
    WHEN NEW.revision < OLD.revision
    BEGIN SELECT RAISE(ABORT, 'a newer revision of the allocated session is kept'); END
    """,
)
