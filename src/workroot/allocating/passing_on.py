"""One call that is passed on from one event loop to another, and its answer on the way back.

Either loop may end at any moment. So nothing is begun that was not begun in time, and nobody is told who is gone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["PassedOn"]

_T = TypeVar("_T")


class PassedOn(Generic[_T]):
    """A call that is made in another loop; made in the loop of whoever waits for it.

    Args:
        make: begins the call; is called in the other loop.
        may_begin: tells there whether it is not too late.

    Attributes:
        answer: of the call; cancelled where it was not begun, or was cancelled there.
    """

    def __init__(self, make: Callable[[], Coroutine[object, object, _T]], may_begin: Callable[[], bool]) -> None:
        self._make, self._may_begin = make, may_begin
        self._here = asyncio.get_running_loop()
        self.answer: asyncio.Future[_T] = self._here.create_future()
        self._there: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[_T] | None = None

    def pass_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the call begin in another loop.

        Raises:
            RuntimeError: that is closed.
        """
        self._there = loop
        loop.call_soon_threadsafe(self._begin)

    def cancel(self) -> None:
        """Let it come to nothing, unless it has ended."""
        if self.answer.done():
            return
        self.answer.cancel()
        if self._there is not None:
            _call_in(self._there, self._cancel_there)

    def _begin(self) -> None:
        if not self._may_begin() or self.answer.cancelled():
            _call_in(self._here, self.answer.cancel)
            return
        self._task = asyncio.get_running_loop().create_task(self._make())
        self._task.add_done_callback(self._tell)

    def _cancel_there(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _tell(self, task: asyncio.Task[_T]) -> None:
        error = task.exception() if not task.cancelled() else None  # asked for here, since nobody may be there

        def take() -> None:
            if self.answer.done():
                return
            if task.cancelled():
                self.answer.cancel()
            elif error is not None:
                self.answer.set_exception(error)
            else:
                self.answer.set_result(task.result())

        _call_in(self._here, take)


def _call_in(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call back in a loop, if that is still there."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # closed: whoever would have been told is gone with it
        return
