"""Opens an attached server's sessions when its first message comes, and closes them when the server ends.

Once per process and event loop, never per client: a client that leaves takes nothing with it. What is open is
held by one task, so that it is closed where it was opened, whoever asked first.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from workroot.errors import NotStartedError, WorkrootError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from workroot.session_service import SessionService

__all__ = ["Keeper", "OtherLoopError"]

logger = logging.getLogger(__name__)


class OtherLoopError(WorkrootError):
    """The sessions are open in another event loop that still runs; nothing was done."""

    code = "other_event_loop"

    def __init__(self) -> None:
        super().__init__(
            "this server's sessions are open in another event loop of this process; "
            "serve all of its clients in one loop, or attach a server for each"
        )


class Keeper:
    """Holds sessions open from the first message to the end.

    Args:
        open_service: opens them; is called again after a failure, and after the end.

    Attributes:
        on_closing: called before they are closed, each time; must not raise or wait.
    """

    def __init__(self, open_service: Callable[[], AbstractAsyncContextManager[SessionService]]) -> None:
        self._open_service = open_service
        self._held: _Held | None = None
        self._forgetting: weakref.finalize[[], Keeper] | None = None
        self.on_closing: list[Callable[[], None]] = []

    @property
    def service(self) -> SessionService:
        """The sessions that are open now.

        Raises:
            NotStartedError: none are.
        """
        if self._held is None or self._held.service is None:
            raise NotStartedError
        return self._held.service

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that the sessions are open in; None if they are not."""
        return self._held.loop if self._held is not None and not self._held.is_over else None

    async def ready(self) -> SessionService:
        """Return the sessions; whoever comes first opens them, and whoever comes meanwhile waits for that.

        Raises:
            OtherLoopError: another event loop holds them open.
            WorkrootError: they could not be opened, and why; the next call tries again.
        """
        held, loop = self._held, asyncio.get_running_loop()
        if held is not None and held.loop is not loop and not held.is_over:
            raise OtherLoopError
        if held is None or held.is_over:
            held = self._held = _Held(loop, self._open_service, self.on_closing)
            if self._forgetting is not None:
                self._forgetting.detach()
            # A server that is forgotten while its event loop goes on, as in tests, is over too.
            self._forgetting = weakref.finalize(self, held.forget)
            self._forgetting.atexit = False
        return held.service if held.service is not None else await asyncio.shield(held.opened)

    async def aclose(self) -> None:
        """Close what is open, in order. Idempotent; the next message opens it anew."""
        held = self._held
        if held is not None and held.loop is asyncio.get_running_loop():
            await held.end()


_running: set[asyncio.Task[None]] = set()


class _Held:
    """One opening, from its start to its end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        open_service: Callable[[], AbstractAsyncContextManager[SessionService]],
        on_closing: Sequence[Callable[[], None]],
    ) -> None:
        self.loop, self._on_closing = loop, on_closing
        self.service: SessionService | None = None
        self.opened: asyncio.Future[SessionService] = loop.create_future()
        self.opened.add_done_callback(_look_at)
        self._ending = asyncio.Event()
        # In a context of its own: the sweeper must not go on under the user of the request that came first.
        self._task = loop.create_task(self._hold(open_service), name="workroot", context=contextvars.Context())
        # An event loop does not hold on to its tasks; one that the collector ends runs its clean-up in whatever task is
        # current, and breaks that one's.
        _running.add(self._task)
        self._task.add_done_callback(_running.discard)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or its event loop has."""
        return self._task.done() or self.loop.is_closed()

    def forget(self) -> None:
        """Let it close by itself; called by the collector, so in whatever thread and at whatever step."""
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._ending.set)

    async def end(self) -> None:
        """Close, and wait for that."""
        self._ending.set()
        await asyncio.wait([self._task])

    async def _hold(self, open_service: Callable[[], AbstractAsyncContextManager[SessionService]]) -> None:
        cancelled: asyncio.CancelledError | None = None
        try:
            async with open_service() as service:
                self.service = service
                self.opened.set_result(service)
                try:
                    await self._ending.wait()
                except asyncio.CancelledError as error:  # the loop ends: close in order all the same, and go then
                    cancelled = error
                finally:
                    self.service = None
                    for callback in self._on_closing:
                        callback()
        except Exception as error:  # a boundary: whoever calls is told, and the server goes on
            if self.opened.done():
                logger.exception("the sessions could not be closed in order")
            else:
                self.opened.set_exception(error)
        finally:
            self.opened.cancel()
        if cancelled is not None:
            raise cancelled


def _look_at(opened: asyncio.Future[SessionService]) -> None:
    """Take note of how it ended, so that nobody is warned of a failure that every caller was told."""
    if not opened.cancelled():
        opened.exception()
