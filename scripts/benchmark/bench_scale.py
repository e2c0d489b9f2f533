"""With many sessions: how soon a daemon answers, how a sweep goes, and what a session weighs.

The daemon is a real one, started by the real command on a database that was filled through the store. The sweep
and the weight are measured in this process, on copies of that database.
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench_machine import resident_megabytes
from bench_rounds import Effort, run
from bench_rows import Row, row_of
from bench_sessions import OWNER, fill

from workroot import rendezvous
from workroot.clock import SystemClock
from workroot.control_client import open_control
from workroot.core.identities import Identities
from workroot.project_finder import ProjectFinder
from workroot.session_context import SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.sqlite import open_sqlite_store

__all__ = ["measure_scale"]

SECTION = "scale"
READY_AIM, SWEEP_AIM, STALL_AIM, WEIGHT_AIM = 1000.0, 300.0, 5.0, 1024.0  # ms, ms, ms, bytes

_WORKROOT = str(Path(sys.executable).with_name("workroot"))
_DAY = 24 * 3600.0
_TICK_SECONDS = 0.001
_SWEEP_ROUNDS = 3


def measure_scale(top: Path, effort: Effort) -> tuple[list[Row], dict[str, str]]:
    """Fill a database, measure all three, and return the rows."""
    filled = top / "filled.db"
    run(fill, filled, effort.sessions)
    rows = _measure_starts(top, filled, effort)
    rows += run(_measure_sweeps, top, filled, effort)
    rows.append(run(_measure_weight, top, filled, effort.sessions))
    return rows, {}


# A daemon's start


def _measure_starts(top: Path, filled: Path, effort: Effort) -> list[Row]:
    many, none = top / "many", top / "none"
    for state in (many, none):
        rendezvous.make_private_directory(str(state))
    shutil.copy(filled, many / "workroot.db")
    ready: dict[Path, list[float]] = {many: [], none: []}
    weight: dict[Path, list[float]] = {many: [], none: []}
    for _ in range(effort.daemon_starts):
        for state in (many, none):
            with _daemon(state) as (seconds, pid):
                ready[state].append(seconds * 1000)
                weight[state].append(resident_megabytes(pid))
    later = [many_ms - none_ms for many_ms, none_ms in zip(ready[many], ready[none], strict=True)]
    apart = [1e6 * (one - other) / effort.sessions for one, other in zip(weight[many], weight[none], strict=True)]
    holding = f"{effort.sessions:,} sessions"
    return [
        row_of(
            SECTION,
            f"a daemon's first answer, {holding} against none",
            ready[many],
            ready[none],
            unit="ms",
            beside_name="the same daemon without a session",
        ),
        row_of(SECTION, "the first answer comes later by", later, unit="ms", aim=READY_AIM, aim_is_of="value"),
        row_of(SECTION, f"resident memory a session, of a daemon with {holding}", apart, unit="B"),
    ]


@contextmanager
def _daemon(state: Path) -> Iterator[tuple[float, int]]:
    """Start a daemon, ask it for its status, and yield the seconds that took, and its pid; end it."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(state.parent), "WORKROOT_HOME": str(state)}
    said, saying = os.pipe()
    began = time.perf_counter()
    process = subprocess.Popen(
        [_WORKROOT, "serve", "--ready-fd", str(saying)],
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[saying],
    )
    os.close(saying)
    try:
        with os.fdopen(said, "rb") as ready:
            if not select.select([ready], [], [], 60)[0] or ready.readline() != b"ready\n":
                raise RuntimeError(f"no daemon became ready in {state}")
        with open_control(rendezvous.socket_path(str(state))) as control:
            control.ask("status")
        yield time.perf_counter() - began, process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


# Within this process


class _LaterClock(SystemClock):
    """The machine's clocks, and days that pass when they are told to."""

    passed = 0.0

    def wall(self) -> float:
        return super().wall() + self.passed

    def awake(self) -> float:
        return super().awake() + self.passed

    def since_boot(self) -> float:
        return super().since_boot() + self.passed


async def _watch_lateness(late: list[float]) -> None:
    """Note how late a timer of the event loop is, in milliseconds, as a client's request would be; until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _TICK_SECONDS
        await asyncio.sleep(_TICK_SECONDS)
        late.append((loop.time() - due) * 1000)


async def _measure_sweeps(top: Path, filled: Path, effort: Effort) -> list[Row]:
    took: list[float] = []
    worked: list[float] = []
    during: list[float] = []
    before: list[float] = []
    for number in range(min(_SWEEP_ROUNDS, effort.rounds)):
        database = top / f"sweep-{number}.db"
        shutil.copy(filled, database)
        clock, identities = _LaterClock(), Identities()
        async with open_sqlite_store(database) as store:
            finder = ProjectFinder((await store.load()).namespace, identities=identities)
            rules = SessionRules(idle_seconds=_DAY, write_behind_seconds=3 * _DAY)
            manager = SessionContextManager(store, finder, clock=clock, identities=identities, rules=rules)
            async with manager:
                clock.passed += _DAY + 60
                for session in manager.all_sessions()[effort.swept :]:
                    manager.get_session(session.session_id, owner=OWNER)
                gc.collect()
                before.append(max(await _late_while(asyncio.sleep(0.3))))  # doing nothing is what is measured here
                during.append(max(await _late_while(_sweep(manager, effort.swept, took, worked))))
        database.unlink()
    return [
        row_of(
            SECTION,
            f"sweep of {effort.swept:,} of {effort.sessions:,} sessions",
            took,
            unit="ms",
            aim=SWEEP_AIM,
            aim_is_of="value",
            note=f"{median(worked):.0f} ms of processor time",
        ),
        row_of(
            SECTION,
            "longest stall of the event loop in a sweep",
            during,
            before,
            unit="ms",
            beside_name="the same without a sweep",
            aim=STALL_AIM,
            aim_is_of="value",
            note=f"worst of {len(during)}: {max(during):.1f} ms",
        ),
    ]


async def _sweep(manager: SessionContextManager, expected: int, took: list[float], worked: list[float]) -> None:
    began, before = time.perf_counter(), time.process_time()
    swept = await manager.sweep()
    took.append((time.perf_counter() - began) * 1000)
    worked.append((time.process_time() - before) * 1000)
    if len(swept) != expected:
        raise RuntimeError(f"{len(swept)} sessions were swept, not {expected}")


async def _late_while(work: Awaitable[None]) -> list[float]:
    """Do *work*, and return how late timers were meanwhile."""
    late: list[float] = []
    watching = asyncio.ensure_future(_watch_lateness(late))
    await asyncio.sleep(10 * _TICK_SECONDS)  # it runs
    late.clear()
    try:
        await work
        await asyncio.sleep(2 * _TICK_SECONDS)  # the one that was late at the end is noted
    finally:
        watching.cancel()
    return late


async def _measure_weight(top: Path, filled: Path, count: int) -> Row:
    """Measure what Python allocates for the sessions and their indexes, held by a manager."""
    database = top / "weight.db"
    shutil.copy(filled, database)
    async with open_sqlite_store(database) as store:
        identities = Identities()
        finder = ProjectFinder((await store.load()).namespace, identities=identities)
        gc.collect()
        tracemalloc.start()
        try:
            async with SessionContextManager(store, finder, identities=identities) as manager:
                gc.collect()
                held, _ = tracemalloc.get_traced_memory()
                if await manager.get_session_count() != count:
                    raise RuntimeError("not all sessions are held")
        finally:
            tracemalloc.stop()
    return row_of(
        SECTION,
        f"memory a session, with its indexes and alias, {count:,} held",
        [held / count],
        unit="B",
        aim=WEIGHT_AIM,
        aim_is_of="value",
    )
