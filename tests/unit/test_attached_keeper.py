"""What holds an attached server's sessions open: once per process and event loop, whoever comes and goes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from workroot.attached.keeper import Keeper, OtherLoopError
from workroot.default_manager import get_session_context_manager, set_session_context_manager
from workroot.errors import NotStartedError, StoreUnavailableError
from workroot.request_context import RequestContext, get_user_id
from workroot.session_service import SessionService

_DEADLINE = 5.0


class Openings:
    """Opens the process's own manager, and notes what happens."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.failures: list[Exception] = []
        self.gate = anyio.Event()
        self.gate.set()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[SessionService]:
        await self.gate.wait()
        if self.failures:
            self.notes.append("failed")
            raise self.failures.pop()
        self.notes.append(f"opened for {get_user_id()}")
        set_session_context_manager(None)
        async with get_session_context_manager() as manager:
            yield manager
        self.notes.append("closed")


async def test_who_comes_first_opens_and_all_others_wait_for_that() -> None:
    openings = Openings()
    openings.gate = anyio.Event()
    keeper, got = Keeper(openings), []

    async def come() -> None:
        got.append(await keeper.ready())

    with anyio.fail_after(_DEADLINE):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(come)
            await anyio.wait_all_tasks_blocked()
            openings.gate.set()
        await keeper.aclose()

    assert len({id(each) for each in got}) == 1
    assert openings.notes == ["opened for None", "closed"]


@pytest.mark.row("S9", "B4")
async def test_one_client_that_is_cancelled_takes_nothing_with_it() -> None:
    openings = Openings()
    openings.gate = anyio.Event()
    keeper, got = Keeper(openings), []

    async def come() -> None:
        got.append(await keeper.ready())

    with anyio.fail_after(_DEADLINE):
        async with anyio.create_task_group() as staying, anyio.create_task_group() as leaving:
            leaving.start_soon(keeper.ready)  # the first, in whose call it is opened
            await anyio.wait_all_tasks_blocked()
            staying.start_soon(come)
            await anyio.wait_all_tasks_blocked()
            leaving.cancel_scope.cancel()
            openings.gate.set()
        assert await keeper.ready() is got[0] is keeper.service
        await keeper.aclose()

    assert openings.notes == ["opened for None", "closed"]


async def test_a_failure_is_told_to_everybody_and_tried_again() -> None:
    openings = Openings()
    openings.failures = [StoreUnavailableError("no disk")]
    keeper = Keeper(openings)

    with pytest.raises(StoreUnavailableError, match="no disk"):
        await keeper.ready()
    with pytest.raises(NotStartedError):
        _ = keeper.service
    assert await keeper.ready() is keeper.service
    await keeper.aclose()

    assert openings.notes == ["failed", "opened for None", "closed"]


async def test_it_opens_again_after_it_was_closed() -> None:
    openings = Openings()
    keeper = Keeper(openings)

    await keeper.aclose()  # nothing is open
    await keeper.ready()
    await keeper.aclose()
    await keeper.aclose()
    await keeper.ready()
    await keeper.aclose()

    assert openings.notes == ["opened for None", "closed"] * 2


async def test_what_is_opened_does_not_go_on_as_the_user_who_came_first() -> None:
    openings = Openings()
    keeper = Keeper(openings)

    async with RequestContext(user_id="ada"):
        await keeper.ready()
        await keeper.aclose()

    assert openings.notes == ["opened for None", "closed"]


def test_the_end_of_the_event_loop_closes_it_in_order() -> None:
    openings = Openings()
    keeper = Keeper(openings)

    async def serve() -> None:
        await keeper.ready()

    asyncio.run(serve())
    asyncio.run(serve())  # and another loop opens it anew

    assert openings.notes == ["opened for None", "closed"] * 2


async def test_another_event_loop_meanwhile_is_refused() -> None:
    openings = Openings()
    keeper = Keeper(openings)
    await keeper.ready()

    with pytest.raises(OtherLoopError, match="another event loop"):
        await anyio.to_thread.run_sync(lambda: asyncio.run(_ready(keeper)))
    await keeper.aclose()


async def _ready(keeper: Keeper) -> None:
    await keeper.ready()


async def test_sessions_of_a_server_that_is_forgotten_are_closed_in_order_while_the_loop_goes_on() -> None:
    openings, closing = Openings(), anyio.Event()
    keeper = Keeper(openings)
    keeper.on_closing.append(closing.set)
    await keeper.ready()

    gc.collect()
    await anyio.wait_all_tasks_blocked()
    held = openings.notes.copy()
    del keeper
    gc.collect()
    with anyio.fail_after(_DEADLINE):
        await closing.wait()
    await anyio.wait_all_tasks_blocked()

    assert held == ["opened for None"]
    assert openings.notes == ["opened for None", "closed"]


async def test_a_server_that_was_closed_and_opened_again_is_forgotten_once() -> None:
    openings = Openings()
    keeper = Keeper(openings)
    for _ in range(2):
        await keeper.ready()
        await keeper.aclose()

    del keeper
    gc.collect()
    await anyio.wait_all_tasks_blocked()

    assert openings.notes == ["opened for None", "closed"] * 2
