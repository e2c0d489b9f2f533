"""From what a call claims to the session that it is in, and to that session's turn."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from workroot.core.sessions import Alias, SessionId, SessionKey, check_session_id, mint_session_id
from workroot.errors import UnknownSessionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from workroot.core.answer import SessionClaim
    from workroot.core.sessions import Owner, SessionContext
    from workroot.session_ledger import SessionLedger
    from workroot.turns import Turns

__all__ = ["Claimed", "Claims"]


class Claimed(NamedTuple):
    """The session that a change is about.

    Attributes:
        session_id: its id; a new one where a session is to be opened.
        alias: what has to stand for it from then on.
        before: the session that it moves, or that it takes the place of; None if there was none.
    """

    session_id: SessionId
    alias: Alias | None
    before: SessionContext | None


class Claims:
    """Looks claims up among the sessions that are held.

    A handle that was allocated and works nowhere yet claims no session; whoever enters a directory with it opens one.
    """

    def __init__(self, ledger: SessionLedger, turns: Turns) -> None:
        self._ledger, self._sessions, self._turns = ledger, ledger.sessions, turns

    def session(self, owner: Owner, claim: SessionClaim) -> SessionContext | None:
        """Return the session that a call claims, or None if it claims none, or its connection has none yet.

        Raises:
            SessionError: a handle was passed that cannot be used.
        """
        if claim.name is None:
            return None
        if claim.by == "handle":
            return self._of_handle(owner, check_session_id(claim.name))
        return self._ledger.of_alias(owner, Alias(claim.name))

    @asynccontextmanager
    async def turn(self, owner: Owner, claim: SessionClaim) -> AsyncIterator[Claimed]:
        """Hold the turn of the session that a call may move, or of a new one.

        A handle, the client's own id of a conversation and a connection name one session, which moves. Only a
        connection's default session whose handle somebody has passed stays where it is, since it is that
        agent's own: a new one takes its place as the default.

        Raises:
            SessionError: a handle was passed that cannot be used.
        """
        if claim.by == "handle":
            session_id = check_session_id(str(claim.name))
            self._of_handle(owner, session_id)
            async with self._turns.take(SessionKey(owner.sandbox, session_id)):
                # It may have ended while this call waited.
                yield Claimed(session_id, None, self._of_handle(owner, session_id))
            return
        if claim.name is None:
            yield Claimed(mint_session_id(), None, None)
            return
        alias = Alias(claim.name)
        # The alias' turn comes before the session's, always: two first calls of one conversation open one session.
        async with self._turns.take((owner, alias)):
            session = self._ledger.of_alias(owner, alias)
            if session is None or (claim.by == "alias" and self._sessions.is_passed(session)):
                yield Claimed(mint_session_id(), alias, session)
                return
            async with self._turns.take(session.key):
                # It may have ended, or its time run out, while this call waited.
                before = self._sessions.of_key(session.key)
                if before is None or self._ledger.allocations.is_over(session.key, now=self._ledger.idle.now()):
                    yield Claimed(mint_session_id(), alias, None)
                else:
                    yield Claimed(session.session_id, alias, before)

    def _of_handle(self, owner: Owner, session_id: SessionId) -> SessionContext | None:
        """Return the session of a handle, or None if that was allocated and works nowhere yet.

        Raises:
            SessionError: it cannot be used.
        """
        allocations, now = self._ledger.allocations, self._ledger.idle.now()
        allocations.check_open(owner, session_id, now=now)
        session = self._sessions.opened(owner, session_id)
        if session is not None:
            self._sessions.note_passed(session)
        elif not allocations.is_active(SessionKey(owner.sandbox, session_id), now=now):
            raise UnknownSessionError(session_id)
        return session
