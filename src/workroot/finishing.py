"""Work that is brought to its end although whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["finish"]


async def finish(work: Coroutine[object, object, None]) -> None:
    """Wait for the end of *work* even when cancelled, and only then be cancelled.

    A task of its own, since the shield of a cancel scope does not hold off `Task.cancel`, which
    `asyncio.timeout` and library users call: a store would keep what nobody is shown.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()  # as `asyncio.shield` has one, at half its price

    def tell(_: asyncio.Task[None]) -> None:
        if not ended.done():
            ended.set_result(None)

    task = loop.create_task(work)
    task.add_done_callback(tell)
    try:
        await ended
    except asyncio.CancelledError as cancelled:
        await _wait_ended(task)
        raise cancelled from (task.exception() if not task.cancelled() else None)
    task.result()


async def _wait_ended(task: asyncio.Task[None]) -> None:
    """Wait for the end of *task*, whoever cancels; they have been heard already.

    Within a cancelled scope of anyio each wait would be cancelled anew, and the loop turn round: hence the shield.
    """
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
