"""One event loop at a time keeps a service; calls from others are passed on to it.

What a service holds is for one loop: its locks, its tasks, its store. A program may have several all the same, one
after another (a test a loop) or at once (a loop a thread). The loop that a service was started in is its home, else the
first that calls; when it has ended, the next that calls becomes that. In a process that is forked there is no home:
what it finds there is a copy that goes stale with the next change.
"""

from __future__ import annotations

import asyncio
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from anyio.lowlevel import checkpoint

from workroot.allocating.passing_on import PassedOn
from workroot.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from workroot.session_service import SessionService

__all__ = ["HomeLoop", "home_of"]

_T = TypeVar("_T")

_STEPS_TO_BEGIN = 3  # what a service runs by itself has begun by then: a loop that ended earlier would complain of it
_LOOK_SECONDS = 1.0  # from one look whether the home still runs to the next, while a call waits there


class HomeLoop:
    """Where one service is at home.

    Args:
        service: is started by the first call of each home.

    Attributes:
        ready: the loop that calls may be made in without being passed on; None before the first one.
    """

    def __init__(self, service: SessionService) -> None:
        self.service = service
        self.ready: asyncio.AbstractEventLoop | None = None
        self._home: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()  # of a few instructions: no loop waits for another's work here

    async def call(self, make: Callable[[], Coroutine[object, object, _T]]) -> _T:
        """Make a call where the service is at home, and return what it returns.

        Raises:
            StoreUnavailableError: the home ended under it; repeated, it is made in this loop. Or it is of the process
                that this one was forked from.
        """
        here = asyncio.get_running_loop()
        while True:
            home = self._home_for(here)
            if home is here:
                return await self._at_home(make)
            call = PassedOn(partial(self._at_home, make), self._is_home)
            try:
                call.pass_to(home)
            except RuntimeError:  # it was closed since: the next look finds another
                continue
            try:
                while not (await asyncio.wait([call.answer], timeout=_LOOK_SECONDS))[0] and home.is_running():
                    pass
            finally:  # its caller was cancelled, or the home is gone
                call.cancel()
            if call.answer.cancelled():
                raise StoreUnavailableError("the event loop that kept the sessions has ended: repeat the call")
            return call.answer.result()

    def _is_home(self) -> bool:
        """Tell whether calls may begin: in a loop that ends they would never, and others wait for their turns."""
        return not getattr(self.service, "is_ending", False)

    def _home_for(self, here: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
        if getattr(self.service, "home_pid", None) not in (None, os.getpid()):
            raise StoreUnavailableError(
                "the sessions are kept by the process that this one was forked from: share them with "
                "workroot.connect(), or keep this process's own with another manager"
            )
        with self._lock:
            if self._home is None or not self._home.is_running():
                started_in: asyncio.AbstractEventLoop | None = getattr(self.service, "home_loop", None)
                self._home = started_in if started_in is not None and started_in.is_running() else here
            return self._home

    async def _at_home(self, make: Callable[[], Coroutine[object, object, _T]]) -> _T:
        here = asyncio.get_running_loop()
        if self.ready is not here:
            await self.service.start()
            for _ in range(_STEPS_TO_BEGIN):
                await checkpoint()
            self.ready = here
        return await make()


_homes: WeakKeyDictionary[SessionService, HomeLoop] = WeakKeyDictionary()
_making = threading.Lock()


def home_of(service: SessionService) -> HomeLoop:
    """Return where a service is at home: the same for all that call it."""
    with _making:
        if (home := _homes.get(service)) is None:
            home = _homes[service] = HomeLoop(service)
        return home
