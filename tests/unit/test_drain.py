"""Requests in flight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint

from fakes import Gate
from workroot.drain import InFlight


@dataclass
class Request:
    """As much of a request's context as counting looks at."""

    method: str = "tools/call"
    request_id: int | None = 1


async def pass_in(in_flight: InFlight, request: Request, gate: Gate) -> None:
    async def answer(_: object) -> None:
        await gate.pass_through()

    await in_flight(cast("Any", request), cast("Any", answer))


async def test_with_nothing_in_flight_there_is_nothing_to_wait_for() -> None:
    with anyio.fail_after(5):
        await InFlight().wait_idle()


async def test_waiting_ends_with_the_last_request() -> None:
    in_flight, first, second = InFlight(), Gate(), Gate()
    idle = anyio.Event()

    async def wait() -> None:
        await in_flight.wait_idle()
        idle.set()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pass_in, in_flight, Request(), first)
            tasks.start_soon(pass_in, in_flight, Request(), second)
            await first.reached.wait()
            await second.reached.wait()
            tasks.start_soon(wait)
            assert in_flight.count == 2

            first.open()
            for _ in range(5):
                await checkpoint()
            assert not idle.is_set()

            second.open()
            await idle.wait()
    assert in_flight.count == 0


@pytest.mark.parametrize("request_", [Request(method="subscriptions/listen"), Request(request_id=None)])
async def test_what_has_no_end_of_its_own_does_not_count(request_: Request) -> None:
    in_flight, gate = InFlight(), Gate()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pass_in, in_flight, request_, gate)
            await gate.reached.wait()

            assert in_flight.count == 0
            await in_flight.wait_idle()
            gate.open()


async def test_a_request_that_fails_or_is_cancelled_is_no_longer_in_flight() -> None:
    in_flight = InFlight()

    async def fail(_: object) -> None:
        raise ValueError("handler")

    with pytest.raises(ValueError, match="handler"):
        await in_flight(cast("Any", Request()), cast("Any", fail))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pass_in, in_flight, Request(), gate := Gate())
        await gate.reached.wait()
        tasks.cancel_scope.cancel()

    assert in_flight.count == 0
    with anyio.fail_after(5):
        await in_flight.wait_idle()


async def test_the_answer_is_handed_on() -> None:
    async def answer(_: object) -> dict[str, str]:
        return {"is": "this"}

    assert await InFlight()(cast("Any", Request()), cast("Any", answer)) == {"is": "this"}
