"""From what a call claims to the session that it is in, and to that session's turn."""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from workroot.core.sessions import Alias, SessionId, SessionKey, check_session_id, mint_session_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from workroot.core.answer import SessionClaim
    from workroot.core.session_table import SessionTable
    from workroot.core.sessions import Owner, SessionContext
    from workroot.turns import Turns

__all__ = ["Claims"]


class Claims:
    """Looks claims up among the sessions that are held."""

    def __init__(self, sessions: SessionTable, turns: Turns) -> None:
        self._sessions, self._turns = sessions, turns

    def session(self, owner: Owner, claim: SessionClaim) -> SessionContext | None:
        """Return the session that a call claims, or None if it claims none, or its connection has none yet.

        Raises:
            SessionError: a handle was passed that cannot be used.
        """
        if claim.name is None:
            return None
        if claim.by == "handle":
            return self._sessions.get(owner, check_session_id(claim.name))
        return self._sessions.of_alias(owner, Alias(claim.name))

    @asynccontextmanager
    async def turn(self, owner: Owner, claim: SessionClaim) -> AsyncIterator[tuple[SessionId, Alias | None]]:
        """Hold the turn of the session that a call claims, or of a new one; yield its id, and the alias to bind.

        Raises:
            SessionError: a handle was passed that cannot be used.
        """
        if claim.by == "handle":
            session_id, alias = check_session_id(str(claim.name)), None
            self._sessions.get(owner, session_id)
        else:
            session_id, alias = mint_session_id(), Alias(claim.name) if claim.name is not None else None
        # The alias' turn comes before the session's, always: two calls of one connection open one session.
        async with self._turns.take((owner, alias)) if alias is not None else nullcontext():
            session = self._sessions.of_alias(owner, alias) if alias is not None else None
            if session is not None:
                session_id = session.session_id
            async with self._turns.take(SessionKey(owner.sandbox, session_id)):
                # The session may have ended while this call waited.
                if claim.by == "handle":
                    self._sessions.get(owner, session_id)
                elif session is not None and self._sessions.of_key(session.key) is None:
                    session_id = mint_session_id()  # nobody knows it yet: it needs no turn
                yield session_id, alias
