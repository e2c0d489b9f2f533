"""How long a benchmark measures, and how several subjects are measured in turns.

Each round measures every subject once, and every other round in the opposite order, so that what the machine
does meanwhile falls on all of them alike.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from statistics import quantiles
from typing import Any

import anyio
from bench_rows import OURS

__all__ = ["FULL", "QUICK", "Effort", "Subject", "in_turns", "p99", "rate_of_calls", "rate_of_seconds", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured; more of it takes longer and says more.

    Attributes:
        rounds: turns in which subjects are measured side by side.
        memory_seconds: one subject's turn in memory.
        durable_seconds: the same where each change goes to the disk.
        loads: callers at the same time, in memory; and those where each change goes to the disk.
        sessions: how many a store holds where many are held.
        swept: how many of these are stale.
        starts: starts of each program that speaks over stdio.
        daemon_starts: starts of a daemon with these sessions, and of one without.
        calls: calls of each kind over stdio.
        searches: searches for a project of each kind.
        pushes: edits of a config.
        wire_seconds, wire_rounds, wire_clients: the same over the wire.
        attack_seconds: length of each attack; 0: none.
        idle_seconds: length of the idle time; 0: none.
    """

    rounds: int = 7
    memory_seconds: float = 0.06
    durable_seconds: float = 0.2
    memory_loads: tuple[int, ...] = (1, 5, 100)
    durable_loads: tuple[int, ...] = (1, 5, 100, 1000)
    sessions: int = 100_000
    swept: int = 10_000
    starts: int = 9
    daemon_starts: int = 5
    calls: int = 300
    searches: int = 1000
    pushes: int = 40
    wire_seconds: float = 2.0
    wire_rounds: int = 5
    wire_clients: int = 32
    attack_seconds: float = 3.0
    idle_seconds: float = 20.0


FULL = Effort()
QUICK = Effort(
    rounds=1,
    memory_seconds=0.002,
    durable_seconds=0.02,
    sessions=300,
    swept=30,
    starts=1,
    daemon_starts=1,
    calls=3,
    searches=3,
    pushes=2,
    wire_seconds=0.2,
    wire_rounds=1,
    wire_clients=4,
    attack_seconds=0.2,
    idle_seconds=0.2,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Something that is called again and again.

    Attributes:
        name: how a row names it.
        call: is awaited with each of *arguments* in turn, again and again.
        arguments: at least as many as there are callers; each caller takes its own.
        of: whose it is.
        beside: the name of the subject that it stands beside.
        most_callers: under more it is not measured.
    """

    name: str
    call: Callable[..., Awaitable[object]]
    arguments: Sequence[tuple[Any, ...]]
    of: str = OURS
    beside: str = ""
    most_callers: float = math.inf


@dataclass(slots=True)
class Measured:
    """What the rounds of one subject gave: calls a second, and how long each took (seconds; empty in memory)."""

    rates: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)


def run(function: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
    """Run a coroutine function as the daemon runs: on uvloop."""
    return anyio.run(function, *arguments, backend_options={"use_uvloop": True})


async def in_turns(
    subjects: Sequence[Subject], rounds: int, measure: Callable[[Subject], Awaitable[tuple[float, Iterable[float]]]]
) -> dict[str, Measured]:
    """Measure each subject once a round, and return what was found, by name."""
    found = {subject.name: Measured() for subject in subjects}
    for number in range(rounds):
        gc.collect()  # what one round left behind is not the next one's to clear away
        for subject in subjects if number % 2 == 0 else reversed(subjects):
            rate, took = await measure(subject)
            found[subject.name].rates.append(rate)
            found[subject.name].took += took
    return found


async def rate_of_calls(subject: Subject, callers: int, calls: int) -> float:
    """Return how many calls a second *callers* tasks make that share *calls*.

    Nothing but the call is in the loop: what is measured here takes a tenth of a microsecond.
    """
    each = max(1, calls // callers)
    work = [list(islice(cycle(subject.arguments[number::callers]), each)) for number in range(callers)]
    call = subject.call

    async def caller(mine: list[tuple[Any, ...]]) -> None:
        for arguments in mine:
            await call(*arguments)

    began = time.perf_counter()
    if callers == 1:
        await caller(work[0])
    else:
        async with asyncio.TaskGroup() as tasks:
            for mine in work:
                tasks.create_task(caller(mine))
    return each * callers / (time.perf_counter() - began)


async def rate_of_seconds(subject: Subject, callers: int, seconds: float) -> tuple[float, list[float]]:
    """Return how many calls a second *callers* tasks make, and how long each call took."""
    clock = time.perf_counter
    took: list[float] = []

    async def caller(number: int) -> None:
        for arguments in cycle(subject.arguments[number::callers]):
            before = clock()
            if before >= end:
                return
            await subject.call(*arguments)
            took.append(clock() - before)

    began = clock()
    end = began + seconds
    async with asyncio.TaskGroup() as tasks:
        for number in range(callers):
            tasks.create_task(caller(number))
    return len(took) / (clock() - began), took


def p99(took: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return quantiles(took, n=100)[98] if len(took) > 1 else max(took, default=math.nan)
