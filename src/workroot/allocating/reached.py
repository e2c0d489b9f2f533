"""The way from a program to whoever keeps its sessions: found at the first call, in the event loop that keeps them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from workroot import request_context
from workroot.allocating.home_loop import HomeLoop, home_of
from workroot.errors import SessionEndedError, SessionError, UnknownSessionError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from workroot.session_service import AllocationService, SessionService

__all__ = ["ReachedSessions", "acting_user", "is_text"]

_T = TypeVar("_T")


class ReachedSessions:
    """Calls of the allocated sessions of a service.

    Args:
        find_service: returns who keeps them; called once, at the first call.

    Attributes:
        service: their keeper; None before the first call.
    """

    def __init__(self, find_service: Callable[[], SessionService]) -> None:
        self._find_service = find_service
        self.service: AllocationService | None = None
        self._home: HomeLoop | None = None

    def here(self) -> AllocationService | None:
        """Return who keeps the sessions, if calls in this event loop need no passing on."""
        home = self._home
        return self.service if home is not None and home.ready is asyncio.get_running_loop() else None

    async def call(self, make: Callable[[AllocationService], Coroutine[object, object, _T]]) -> _T:
        """Make a call in the event loop that the sessions are kept in; the first one starts their keeper."""
        if (service := self.here()) is not None:
            return await make(service)
        if self._home is None:
            found = self._find_service()
            self._home, self.service = home_of(found), found.allocations
        allocations = self._home.service.allocations
        return await self._home.call(lambda: make(allocations))

    async def is_done(self, make: Callable[[AllocationService], Coroutine[object, object, object]]) -> bool:
        """Make a call, and tell whether there was a session to make it for."""
        try:
            await self.call(make)
        except (UnknownSessionError, SessionEndedError):
            return False
        except SessionError as error:
            if type(error) is SessionError:  # what was given can be no id, so there is none of it
                return False
            raise
        return True


def acting_user(user_id: str | None) -> str | None:
    """Return who acts: the argument, else the user of the request that is served, else None, the program itself."""
    return user_id if user_id is not None else request_context.get_user_id()


def is_text(session_id: object) -> bool:
    """Tell whether there can be a session of this id: none has one that is no text, such as a header that is missing.

    Asked before whoever keeps the sessions is, so that all of them answer alike.
    """
    return isinstance(session_id, str)
