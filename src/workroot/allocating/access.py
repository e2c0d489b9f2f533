"""Whose an allocated session is, and whether it is still one: asked before each use, in one place.

A stranger, and a wrong user, read of every session that it is unknown. A session of no user in particular serves every
user of its owner's program, and is nobody's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.core.allocation_table import AllocationEntry
from workroot.core.allocations import AllocatedSession, SessionStatus
from workroot.core.sessions import SessionId, SessionKey, check_session_id
from workroot.errors import (
    ClosedSessionError,
    NotStartedError,
    SessionEndedError,
    SessionError,
    SessionTakenError,
    UnknownSessionError,
    UserIdError,
)

if TYPE_CHECKING:
    from workroot.core.sessions import Owner
    from workroot.session_ledger import SessionLedger

__all__ = ["Access", "check_user", "checked_id", "serves"]

_LONGEST_USER_ID = 256
_ALLOCATE_ONE = "allocate one with allocate_session(), and pass on the id that it returns"


class Access:
    """The way to the sessions of whoever asks.

    Args:
        ledger: what is held.
    """

    def __init__(self, ledger: SessionLedger) -> None:
        self._ledger = ledger
        self._table, self._now = ledger.allocations, ledger.idle.now

    def own(self, owner: Owner, session_id: str, user_id: str | None) -> AllocationEntry:
        """Return an active session of the caller's.

        Raises:
            SessionEndedError: it is over.
            UnknownSessionError: there is none, or it is somebody else's.
        """
        self.check_started()
        key = SessionKey(owner.sandbox, SessionId(session_id))
        found = self._table.get(key)
        if found is None or not serves(found, owner, user_id):
            raise UnknownSessionError(session_id, _ALLOCATE_ONE)
        status, entry = self.status(found), self._table.entry(*key)
        if entry is None or status is not SessionStatus.ACTIVE:
            raise SessionEndedError(session_id, status)
        return entry

    def own_already(self, owner: Owner, session_id: SessionId, user_id: str | None) -> AllocationEntry | None:
        """Return the active session of an id that somebody chose, if it is theirs; None: nobody has it.

        Raises:
            SessionEndedError: it was theirs, and is over.
            SessionTakenError: it is somebody else's.
        """
        self.check_started()
        found = self._table.get(SessionKey(owner.sandbox, session_id))
        if found is None:
            self._check_free(owner, session_id)
            return None
        if not serves(found, owner, user_id) or (user_id is not None and found.user_id is None):
            raise SessionTakenError(session_id)
        return self.own(owner, session_id, user_id)

    def status(self, session: AllocatedSession) -> SessionStatus:
        """Return where a session is in its life as of now, whether that is kept yet or not."""
        is_over = session.status is SessionStatus.ACTIVE and session.deadline <= self._now()
        return SessionStatus.EXPIRED if is_over else session.status

    def check_started(self) -> None:
        """Check that it is known what there is.

        Raises:
            NotStartedError: nothing was loaded yet.
        """
        if not self._ledger.is_loaded:
            raise NotStartedError

    def _check_free(self, owner: Owner, session_id: SessionId) -> None:
        """Check that nobody else works under an id, and nobody did."""
        try:
            self._ledger.sessions.opened(owner, session_id)
        except UnknownSessionError:
            raise SessionTakenError(session_id) from None
        except SessionError as error:
            status = "closed" if isinstance(error, ClosedSessionError) else "expired"
            raise SessionEndedError(session_id, status) from None


def serves(session: AllocatedSession, owner: Owner, user_id: str | None) -> bool:
    """Tell whether a session is the caller's to use."""
    return (session.owner is owner or session.owner == owner) and (
        user_id is None or session.user_id is None or session.user_id == user_id
    )


def checked_id(session_id: str) -> SessionId:
    """Return an id that somebody gave, if it can be one.

    Raises:
        SessionError: it cannot.
    """
    if not isinstance(session_id, str):
        raise SessionError(repr(session_id)[:200], f"a session id is text, not {type(session_id).__name__}")
    try:
        return check_session_id(session_id)
    except SessionError as error:
        raise SessionError(
            error.session_id,
            f"{error.session_id!r} cannot be a session id: 1 to 128 letters, digits, '.', '_' or '-', beginning with "
            f"a letter or digit; allocate_session() without one returns a new one",
        ) from None


def check_user(user_id: str) -> None:
    """Check that a user's id can be kept and shown.

    Raises:
        UserIdError: it cannot.
    """
    if not isinstance(user_id, str) or not 0 < len(user_id) <= _LONGEST_USER_ID or not user_id.isprintable():
        raise UserIdError(f"a user's id is text of 1 to {_LONGEST_USER_ID} printable characters")
