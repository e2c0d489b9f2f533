"""Watching that fails, is deaf or dies: changes come late then, never not at all, and it is said once.

The directories are real; the watch is the test's, and so is the time.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest
from watchfiles import Change
from watching_driver import FakeWatch, Hearer, open_watcher

from fakes import ManualClock
from workroot.watching import Watcher
from workroot.watching.looks import Look, Looks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

CHECK, POLL, RETRY = 30.0, 1.0, 60.0


class Panic(BaseException):
    """What the Rust part raises is no Exception."""


class Bench:
    """A watcher with a watch and a clock of the test's own."""

    def __init__(self) -> None:
        self.clock, self.fake = ManualClock(), FakeWatch()
        self.watcher = Watcher(
            rearm_seconds=0,
            check_seconds=CHECK,
            poll_seconds=POLL,
            retry_seconds=RETRY,
            watch_function=self.fake,
            sleep=self.clock.sleep,
            now_ns=lambda: 2**62,  # every look is long after the change that it sees
        )

    @asynccontextmanager
    async def run(self, *directories: Path) -> AsyncIterator[Hearer]:
        """Run it; a watch is in force if none was refused."""
        refused = bool(self.fake.refusals)
        hearer = Hearer()
        self.watcher.watch(map(str, directories))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.watcher.run, hearer)
            with anyio.fail_after(5):
                if not refused:
                    await hearer.wait_for(*directories)
                await self.clock.wait_sleepers(3 if refused else 2)
            hearer.forget()
            yield hearer
            tasks.cancel_scope.cancel()

    async def pass_seconds(self, seconds: float, *, sleepers: int) -> None:
        """Let time pass in steps of *POLL*; each time return when *sleepers* tasks wait for more of it."""
        for _ in range(int(seconds / POLL)):
            self.clock.advance(POLL)
            with anyio.fail_after(5):
                await self.clock.wait_sleepers(sleepers)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text("version = '1.0'")
    return tmp_path


def edit(project: Path) -> None:
    """Write into the config: its directory looks as before."""
    with open(project / "config.toml", "a") as file:
        file.write("\n")


def said(caplog: pytest.LogCaptureFixture, level: str) -> list[str]:
    return [
        each.getMessage() for each in caplog.records if each.levelname == level and each.name.startswith("workroot")
    ]


async def test_a_change_that_the_watch_lost_is_told_by_the_next_check(bench: Bench, project: Path) -> None:
    async with bench.run(project) as hearer:
        edit(project)
        bench.clock.advance(CHECK)

        with anyio.fail_after(5):
            await hearer.wait_for(project)


async def test_a_watch_that_was_deaf_is_replaced(bench: Bench, project: Path) -> None:
    async with bench.run(project) as hearer:
        edit(project)
        bench.clock.advance(CHECK)
        with anyio.fail_after(5):
            await hearer.wait_for(project)
            while len(bench.fake.watched) < 2:
                await anyio.lowlevel.checkpoint()


async def test_what_the_watch_told_is_not_told_again_by_a_check(bench: Bench, project: Path) -> None:
    async with bench.run(project) as hearer:
        edit(project)
        bench.fake.tell((Change.modified, project / "config.toml"))
        with anyio.fail_after(5):
            await hearer.wait_for(project)
        hearer.forget()

        await bench.pass_seconds(CHECK, sleepers=1)

    assert (hearer.heard, len(bench.fake.watched)) == (set(), 1)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
async def test_without_a_watch_changes_are_polled_and_that_is_said_once(
    bench: Bench, project: Path, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    caplog.set_level("INFO")
    bench.fake.refusals.extend(OSError(number, os.strerror(number)) for _ in range(2))
    async with bench.run(project) as hearer:
        await bench.pass_seconds(2 * POLL, sleepers=3)
        for _ in range(3):
            hearer.forget()
            edit(project)
            bench.clock.advance(POLL)
            with anyio.fail_after(5):
                await hearer.wait_for(project)
                await bench.clock.wait_sleepers(3)
        await bench.pass_seconds(RETRY, sleepers=3)

    assert len(bench.fake.watched) == 2, "it is tried again after a while"
    assert said(caplog, "WARNING") == [
        f"file watching fails (OSError: [Errno {number}] {os.strerror(number)}): "
        "directories are looked at every 1 seconds, and watching is tried again"
    ]


async def test_that_watching_works_again_is_said_once(
    bench: Bench, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bench.fake.refusals.append(OSError(errno.ENOSPC, "no space"))
    async with bench.run(project) as hearer:
        await bench.pass_seconds(RETRY - POLL, sleepers=3)
        bench.clock.advance(POLL)
        with anyio.fail_after(5):
            while len(bench.fake.watched) < 2:
                await anyio.lowlevel.checkpoint()
            await bench.clock.wait_sleepers(2)  # the checks, and the proof
        hearer.forget()
        bench.fake.tell((Change.added, project / "config.json"))
        with anyio.fail_after(5):
            await hearer.wait_for(project)
        assert said(caplog, "INFO") == [], "it has not shown yet that it lasts"

        await bench.pass_seconds(RETRY - POLL, sleepers=2)
        bench.clock.advance(POLL)
        with anyio.fail_after(5):
            while not said(caplog, "INFO"):
                await anyio.lowlevel.checkpoint()

    assert said(caplog, "INFO") == ["file watching works again"]


async def test_a_directory_wished_while_there_is_no_watch_is_polled_too(
    bench: Bench, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench.fake.refusals.append(OSError(errno.ENOSPC, "no space"))
    other = tmp_path_factory.mktemp("other")
    async with bench.run(project) as hearer:
        bench.watcher.watch([str(project), str(other)])
        bench.clock.advance(POLL)

        with anyio.fail_after(5):
            await hearer.wait_for(other)


@pytest.mark.parametrize("end", [RuntimeError("Unable to decode path"), Panic("a Rust panic"), None])
async def test_a_watch_that_dies_is_begun_anew_at_once(
    bench: Bench, project: Path, caplog: pytest.LogCaptureFixture, end: BaseException | None
) -> None:
    async with bench.run(project) as hearer:
        edit(project)  # the watch dies of it and tells nothing
        bench.fake.die(end)
        with anyio.fail_after(5):
            await hearer.wait_for(project)
        hearer.forget()
        bench.fake.tell((Change.added, project / "file"))

        with anyio.fail_after(5):
            await hearer.wait_for(project)

    assert said(caplog, "WARNING") == []


async def test_a_watch_that_dies_again_and_again_is_replaced_by_polling_and_said_once(
    bench: Bench, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with bench.run(project) as hearer:
        bench.fake.die(RuntimeError("first"))
        for number in range(2, 6):
            with anyio.fail_after(5):
                while bench.watcher.health().polled or bench.clock.due_times()[-1] != RETRY:
                    await anyio.lowlevel.checkpoint()  # until it is begun anew, and has to show that it lasts
            await bench.pass_seconds(POLL, sleepers=2)
            bench.fake.die(RuntimeError(f"death {number}"))
            with anyio.fail_after(5):
                while not {POLL, RETRY} <= set(bench.clock.due_times()):
                    await anyio.lowlevel.checkpoint()  # until it polls, and waits to try again
            hearer.forget()
            edit(project)
            bench.clock.advance(POLL)
            with anyio.fail_after(5):
                await hearer.wait_for(project)
            await bench.pass_seconds(RETRY - POLL, sleepers=2)

    assert said(caplog, "WARNING") == [
        "file watching fails (RuntimeError: death 2): "
        "directories are looked at every 1 seconds, and watching is tried again"
    ]
    assert said(caplog, "INFO") == []


async def test_an_edit_between_two_watches_is_told(bench: Bench, project: Path, tmp_path: Path) -> None:
    (other := tmp_path / "other").mkdir()
    async with bench.run(project, other) as hearer:
        bench.fake.held.append(gate := threading.Event())
        bench.watcher.watch([str(project)])
        with anyio.fail_after(5):
            while len(bench.fake.watched) < 2:
                await anyio.lowlevel.checkpoint()  # the event loop goes on while a watch is built
        edit(project)
        gate.set()

        with anyio.fail_after(5):
            await hearer.wait_for(project)


async def test_a_directory_that_vanishes_while_the_watch_is_built_does_not_end_watching(
    bench: Bench, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fake.refusals.append(FileNotFoundError("gone"))
    hearer = Hearer()
    bench.watcher.watch([str(project)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.watcher.run, hearer)
        with anyio.fail_after(5):
            await hearer.wait_for(project)
        tasks.cancel_scope.cancel()

    assert (len(bench.fake.watched), said(caplog, "WARNING")) == (2, [])


async def test_a_directory_that_came_or_went_gets_a_new_watch_and_a_changed_one_keeps_it(
    bench: Bench, project: Path
) -> None:
    async with bench.run(project) as hearer:
        bench.fake.tell((Change.modified, project))
        with anyio.fail_after(5):
            await hearer.wait_for(project)
        assert len(bench.fake.watched) == 1
        bench.fake.tell((Change.deleted, project))  # it is there again by now, under the same inode number
        with anyio.fail_after(5):
            while len(bench.fake.watched) < 2:
                await anyio.lowlevel.checkpoint()


async def test_the_same_wish_in_another_order_changes_nothing(bench: Bench, project: Path) -> None:
    (other := project / "other").mkdir()
    async with bench.run(project, other) as hearer:
        bench.watcher.watch([str(other), str(project), str(other)])
        for _ in range(5):  # between two of them the watch asks whether to end
            hearer.forget()
            bench.fake.tell((Change.added, other / "file"))
            with anyio.fail_after(5):
                await hearer.wait_for(other)

    assert len(bench.fake.watched) == 1


async def test_a_listener_that_fails_does_not_end_watching(
    bench: Bench, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard = anyio.Event()

    def fail_first(_: frozenset[str]) -> None:
        if said(caplog, "ERROR"):
            heard.set()
        else:
            raise ValueError("the listener's own fault")

    bench.watcher.watch([str(project)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.watcher.run, fail_first)
        with anyio.fail_after(5):
            while not said(caplog, "ERROR"):
                await anyio.lowlevel.checkpoint()
            bench.fake.tell((Change.added, project / "file"))
            await heard.wait()
        tasks.cancel_scope.cancel()


async def test_a_thread_that_is_being_told_to_stop_can_be_waited_for_while_it_tells(
    bench: Bench, project: Path
) -> None:
    async with open_watcher(bench.watcher, project):
        for _ in range(100):
            bench.fake.tell((Change.added, project / "file"))
        # Cancelled while the thread waits for the event loop to take what it tells.


@pytest.mark.parametrize(("age_ns", "second"), [(1, Look.FIRST), (10**9, Look.SAME)])
def test_what_changed_just_now_is_looked_at_again(project: Path, age_ns: int, second: Look) -> None:
    looks = Looks([".workroot/config.toml"], lambda: max(newest(project), newest(project / "config.toml")) + age_ns)

    assert (look(looks, str(project)), look(looks, str(project))) == (Look.FIRST, second)


@pytest.mark.parametrize(
    "change",
    [
        edit,
        lambda project: (project / "new").touch(),
        lambda project: (project / "config.toml").unlink(),
        lambda project: (project / ".git").write_text("gitdir: elsewhere"),
        lambda project: project.rename(project.with_name("moved")),
    ],
)
def test_a_change_shows_in_the_second_look(project: Path, change: Callable[[Path], object]) -> None:
    looks = Looks([".workroot/config.toml"], lambda: 2**62)
    look(looks, str(project))

    change(project)

    assert (look(looks, str(project)), look(looks, str(project))) == (Look.OTHER, Look.SAME)


def test_a_name_that_no_file_can_have_is_looked_at_as_absent() -> None:
    looks = Looks([], lambda: 2**62)

    assert [look(looks, name) for name in ("/a\0b", "/a\0b", "/\udcff")] == [Look.FIRST, Look.SAME, Look.FIRST]


def look(looks: Looks, directory: str) -> Look:
    return looks.compare(directory, looks.see(directory))


def newest(path: Path) -> int:
    return path.stat().st_ctime_ns


async def test_no_timer_but_that_of_the_checks_runs_while_a_watch_tells_of_everything(
    bench: Bench, project: Path
) -> None:
    async with bench.run(project):
        await bench.pass_seconds(POLL, sleepers=1)

        assert bench.clock.due_times() == [CHECK - POLL]
