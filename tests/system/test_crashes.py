"""Daemons that are killed, at any moment and under load: nothing that was acknowledged is lost, crossed or done twice.

Each writer moves a session of its own from place to place, each a directory that no other writer ever names, and knows
how far it came; each allocator counts in sessions that it was allocated, and ends them. What a killed daemon left
unanswered may have been carried out or not; nothing else may differ.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from crash_allocators import Allocator
from patched_daemon import serve_patched
from real_daemon import (
    DEADLINE_SECONDS,
    ERAS,
    MODERN,
    MODERN_META,
    Home,
    Process,
    RawClient,
    processes_with,
)

WRITERS = 8
ALLOCATORS = 4
PLACES = 16  # of each writer
ROUNDS, ROUNDS_IN_FULL = 5, 50  # of each era
TROUBLES = 6  # of each round
MOST_ANSWERS, MOST_ANSWERS_IN_FULL = 160, 640  # of all writers in a round, until the kill
SEED = int(os.environ.get("WORKROOT_TEST_SEED", "5"))

WAYS = ("writing", "start", "recovery", "shutdown", "writing")
"""When a round's daemon is killed, in turn."""

KILLED_IN_RECOVERY = """
import os, signal, sys, threading
def hear(event, arguments):
    if event == "sqlite3.connect" and "workroot.db" in str(arguments[0]):
        threading.Timer({seconds}, os.kill, [os.getpid(), signal.SIGKILL]).start()
sys.addaudithook(hear)
"""


# Writers


@dataclass
class Writer:
    """A client that moves one session again and again, and knows what was asked and what was acknowledged.

    Attributes:
        places: where it moves, one after the other.
        asked: how many moves were asked for, in all its life.
        acknowledged: the number of the last move that was answered; moves count from 0.
        unanswered: how many moves never got an answer.
        alias: of a connection that has a default session; None where the session is named in each call.
    """

    era: str
    places: list[Path]
    alias: str | None
    session: str | None = None
    asked: int = 0
    acknowledged: int = -1
    unanswered: int = 0

    async def write(self, client: RawClient, answered: Callable[[], None]) -> None:
        """Move until the daemon is gone."""
        if self.era != MODERN:
            try:
                await client.initialize(request_id="hello")
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return
        while True:
            number, answer = self.asked, None
            self.asked += 1
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                answer = await client.call(number, "set_working_directory", **self._arguments(number))
            if answer is None or "error" in answer:
                self.unanswered += 1
                assert answer is None or answer["error"].get("data") == {"retry": True}, answer
                return
            content = answer["result"].get("structuredContent")
            assert content is not None, answer
            assert content["working_directory"] == str(self.place(number))
            assert self.session in (None, content["session_id"]), "another session"
            self.session, self.acknowledged = content["session_id"], number
            answered()

    def place(self, number: int) -> Path:
        return self.places[number % len(self.places)]

    def _arguments(self, number: int) -> dict[str, Any]:
        arguments: dict[str, Any] = {"directory": str(self.place(number))}
        if self.session is not None and self.alias is None:
            arguments["session_id"] = self.session
        return {**arguments, "meta": MODERN_META if self.era == MODERN else None}

    def check(self, kept: dict[str, dict[str, Any]]) -> None:
        """Check what is kept of its session against what it knows."""
        if self.session is None:
            return
        found = kept[self.session]
        possible = {str(self.place(number)) for number in range(self.acknowledged, self.asked)}
        assert found["working_directory"] in possible, "lost or crossed"
        assert self.asked - self.unanswered <= found["revision"] <= self.asked, "lost, or carried out twice"


# Trouble


class Troublemaker:
    """Clients that hang up in the middle of a call, and neighbours that fail."""

    def __init__(self, home: Home, place: Path, chance: random.Random) -> None:
        self._home, self._place, self._chance = home, place, chance

    async def make(self, begun: Callable[[], None]) -> None:
        """Make trouble, one after the other; the last may be under way when the daemon ends."""
        kinds = (self._hang_up, self._hang_up, self._half_close, self._fail, self._use_closed, self._send_garbage)
        for kind in self._chance.sample(kinds, k=TROUBLES):
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                async with self._home.open_raw_socket() as client:
                    begun()
                    await kind(client)

    async def _hang_up(self, client: RawClient) -> None:
        for number in range(self._chance.randrange(1, 4)):
            await client.send_call(number, "set_working_directory", meta=MODERN_META, directory=str(self._place))
        if self._chance.random() < 0.5:
            await client.receive()

    async def _half_close(self, client: RawClient) -> None:
        await client.send_call(1, "set_working_directory", meta=MODERN_META, directory=str(self._place))
        await client.end_input()

    async def _fail(self, client: RawClient) -> None:
        for directory in ("relative", "/nowhere/at/all", "/etc/passwd", "/" + "d" * 5000):
            answer = await client.call(1, "set_working_directory", meta=MODERN_META, directory=directory)
            assert answer["result"]["isError"]

    async def _use_closed(self, client: RawClient) -> None:
        answer = await client.call(1, "set_working_directory", meta=MODERN_META, directory=str(self._place))
        session = answer["result"]["structuredContent"]["session_id"]
        await client.call(2, "close_session", meta=MODERN_META, session_id=session)
        again = {"directory": str(self._place), "session_id": session}
        answer = await client.call(3, "set_working_directory", meta=MODERN_META, **again)
        assert answer["result"]["_meta"]["workroot/error"]["code"] == "closed_session"

    async def _send_garbage(self, client: RawClient) -> None:
        garbage = (b"\xff\xfe\n", b"{\n", b"[]\n", b"null\n", b'{"jsonrpc": "2.0", "id": 1}\n', b"x" * 70_000 + b"\n")
        await client.send_bytes(self._chance.choice(garbage))
        await client.send_call(1, "set_working_directory", meta=MODERN_META, directory=str(self._place))


# Rounds


@dataclass
class Crashes:
    """One home, its writers, and daemon after daemon that is killed under them."""

    home: Home
    era: str
    chance: random.Random
    most_answers: int
    writers: list[Writer] = field(default_factory=list)
    allocators: list[Allocator] = field(default_factory=list)
    ready_seconds: list[float] = field(default_factory=list)
    kills: int = 0

    def __post_init__(self) -> None:
        for number in range(WRITERS):
            alias = f"writer-{number}" if self.era != MODERN and number % 2 == 0 else None
            places = [self.home.directory(f"w{number}/p{place}") for place in range(PLACES)]
            self.writers.append(Writer(self.era, places, alias))
        for number in range(ALLOCATORS):
            chance = random.Random(self.chance.random())
            self.allocators.append(Allocator(str(self.home.state), number, chance))
        self.trouble = self.home.directory("trouble")

    async def round(self, way: str, *, with_connectors: bool) -> None:
        """Kill the daemon under its writers, start another, and check all that is kept."""
        if not self.home.is_running():
            self.home.start()
        daemon = Process(self.home.ask("status")["pid"])
        try:
            async with self._writing(with_connectors=with_connectors):
                await anyio.to_thread.run_sync(self._end, daemon, way)
        finally:
            daemon.close()
        if way in ("start", "recovery"):
            await anyio.to_thread.run_sync(self._kill_next, way)
        self._check_nobody_left()
        if with_connectors:
            async with self.home.open_raw_connector() as client:  # it starts the next daemon
                await client.initialize()
        else:
            began = time.monotonic()
            self.home.start()
            self.ready_seconds.append(time.monotonic() - began)
        self._check()
        for allocator in self.allocators:
            await allocator.check()

    @asynccontextmanager
    async def _writing(self, *, with_connectors: bool) -> AsyncIterator[None]:
        """Let all of them write; the body runs once enough was acknowledged. Leave when all have noticed the end."""
        wanted = {"answers": self.chance.randrange(WRITERS, self.most_answers), "troubles": TROUBLES}
        wanted["allocations"] = wanted["answers"] // 2
        enough = anyio.Event()

        def count(what: str) -> None:
            wanted[what] -= 1
            if max(wanted.values()) <= 0:
                enough.set()

        async with AsyncExitStack() as clients, anyio.create_task_group() as tasks:
            for number, writer in enumerate(self.writers):
                is_connector = with_connectors and writer.alias is None and number % 4 == 1
                hello = {"alias": writer.alias} if writer.alias is not None else {}
                opening = self.home.open_raw_connector(None, "--no-spawn") if is_connector else None
                client = await clients.enter_async_context(opening or self.home.open_raw_socket(**hello))
                tasks.start_soon(writer.write, client, partial(count, "answers"))
            for allocator in self.allocators:
                tasks.start_soon(allocator.work, partial(count, "allocations"))
            trouble = Troublemaker(self.home, self.trouble, self.chance)
            tasks.start_soon(trouble.make, partial(count, "troubles"))
            with anyio.fail_after(DEADLINE_SECONDS):
                await enough.wait()
            yield

    def _end(self, daemon: Process, way: str) -> None:
        if way in ("shutdown", "start"):
            daemon.signal(signal.SIGTERM)
        if way != "start":
            if way == "shutdown":
                daemon.wait_end(self.chance.uniform(0, 0.15))
            daemon.signal(signal.SIGKILL)
            self.kills += 1
        assert daemon.wait_end()

    def _kill_next(self, way: str) -> None:
        """Start a daemon, and kill it before it is ready, or soon after."""
        if way == "recovery":
            killed = serve_patched(self.home, KILLED_IN_RECOVERY.format(seconds=self.chance.uniform(0, 0.03)))
        else:
            killed = self.home.serve()
            usual = statistics.median(self.ready_seconds) if self.ready_seconds else 0.5
            process = Process(killed.pid)
            process.wait_end(self.chance.uniform(0, usual))
            process.signal(signal.SIGKILL)
            process.close()
        assert killed.wait(DEADLINE_SECONDS) == -signal.SIGKILL
        self.kills += 1

    def _check_nobody_left(self) -> None:
        mine = f"WORKROOT_HOME={self.home.state}"
        self.home.wait_until(lambda: not processes_with(mine), what="all that belonged to the killed daemon ended")

    def _check(self) -> None:
        kept = self.home.sessions()
        for writer in self.writers:
            writer.check(kept)
        mine = {writer.session for writer in self.writers}
        owners = {str(place): writer for writer in self.writers for place in writer.places}
        for session_id, session in kept.items():
            if session_id not in mine and session["working_directory"] != str(self.trouble):
                opener = owners[session["working_directory"]]  # and it never got the answer
                assert session["revision"] == 1
                assert opener.unanswered > 0, "a session that nobody opened"
        database = f"file:{self.home.state / 'workroot.db'}?mode=ro"
        with closing(sqlite3.connect(database, uri=True, timeout=DEADLINE_SECONDS)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.slow
@pytest.mark.parametrize("era", ERAS)
async def test_nothing_acknowledged_is_lost_or_crossed_or_done_twice_whenever_the_daemon_is_killed(
    home: Home, era: str, is_full: bool, record_property: Callable[[str, object], None]
) -> None:
    print(f"WORKROOT_TEST_SEED={SEED}")
    most_answers = MOST_ANSWERS_IN_FULL if is_full else MOST_ANSWERS
    crashes = Crashes(home, era, random.Random(f"{SEED} {era}"), most_answers)

    for number in range(ROUNDS_IN_FULL if is_full else ROUNDS):
        await crashes.round(WAYS[number % len(WAYS)], with_connectors=number % 10 == 4)

    acknowledged = sum(writer.asked - writer.unanswered for writer in crashes.writers)
    median = statistics.median(crashes.ready_seconds)
    of_allocated = sum(allocator.acknowledged for allocator in crashes.allocators)
    print(f"{crashes.kills} kills, {acknowledged} writes acknowledged, ready again p50 {median:.2f} s")
    print(f"{of_allocated} changes of allocated sessions acknowledged")
    record_property("kills", crashes.kills)
    record_property("acknowledged_writes", acknowledged)
    record_property("acknowledged_changes_of_allocated_sessions", of_allocated)
    record_property("ready_again_p50_seconds", round(median, 3))
    record_property("ready_again_max_seconds", round(max(crashes.ready_seconds), 3))
