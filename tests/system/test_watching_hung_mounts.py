"""Disks that stop answering while directories on them are watched: the others are heard of, and nothing waits."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import anyio
import pytest
from fuse_mounts import mounted
from watching_driver import NEVER, open_watcher

from fakes import ClockAhead
from workroot.project_finder.file_pool import FilePool
from workroot.project_finder.mounts import Mount, Mounts
from workroot.watching import Watcher
from workroot.watching.asking import Asker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWER_SECONDS = 0.3


class Table:
    """Mounts as the test says."""

    def __init__(self, *points: str) -> None:
        self._mounts = Mounts.of(map(Mount, points))

    def current(self) -> Mounts:
        return self._mounts


class Disk:
    """Answers with the name that was asked about, except where it is silent."""

    def __init__(self, *silent: str) -> None:
        self.silent, self.asked, self.speaks = set(silent), list[str](), threading.Event()

    def __call__(self, directory: str) -> str:
        self.asked.append(directory)
        if directory in self.silent:
            self.speaks.wait(10)
        return directory


@pytest.fixture
def clock() -> ClockAhead:
    return ClockAhead()


@pytest.fixture
def asker(clock: ClockAhead) -> Asker:
    return Asker(Table("/far"), FilePool(answer_seconds=ANSWER_SECONDS, breaker_seconds=60, clock=clock))


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk("/b")
    yield disk
    disk.speaks.set()


def impatient() -> Watcher:
    """Return a watcher that looks for itself all the time."""
    return Watcher(
        poll_seconds=0.02,
        check_seconds=0.02,
        retry_seconds=NEVER,
        asker=Asker(pool=FilePool(answer_seconds=ANSWER_SECONDS, breaker_seconds=60)),
    )


async def test_who_does_not_answer_is_left_out_with_what_is_below_and_the_others_answer(
    asker: Asker, disk: Disk
) -> None:
    with anyio.fail_after(5):
        answers = await asker.ask(disk, ["/c", "/b/below", "/b", "/b-side", "/a"])

    assert list(answers) == ["/c", "/b-side", "/a"]
    assert "/b/below" not in disk.asked


async def test_who_did_not_answer_is_left_alone_for_a_minute(asker: Asker, disk: Disk, clock: ClockAhead) -> None:
    with anyio.fail_after(5):
        await asker.ask(disk, ["/a", "/b", "/b/below", "/c"])
        disk.asked.clear()
        clock.ahead += 58

        assert list(await asker.ask(disk, ["/a", "/b", "/b/below", "/c"])) == ["/a", "/c"]
        assert disk.asked == ["/a", "/c"]

        disk.silent.clear()
        clock.ahead += 3
        assert list(await asker.ask(disk, ["/a", "/b", "/b/below"])) == ["/a", "/b", "/b/below"]


async def test_what_lies_on_a_mount_that_may_hang_is_not_asked(asker: Asker, disk: Disk) -> None:
    with anyio.fail_after(5):
        assert await asker.ask(disk, ["/far/away", "/farm"]) == {"/farm": "/farm"}

    assert disk.asked == ["/farm"]


async def test_a_directory_that_a_dead_mount_covers_keeps_nobody_from_hearing(tmp_path: Path) -> None:
    covered, other = tmp_path / "m" / "app", tmp_path / "other"
    covered.mkdir(parents=True)
    other.mkdir()
    async with open_watcher(impatient(), covered, other) as hearer:
        with mounted(tmp_path / "m", "fuse.hung"):
            for number in range(5):
                hearer.forget()
                (other / str(number)).touch()
                with anyio.fail_after(2):
                    await hearer.wait_for(other)


async def test_a_directory_behind_a_link_into_a_dead_mount_keeps_nobody_from_hearing(tmp_path: Path) -> None:
    behind, other, late = tmp_path / "m" / "app", tmp_path / "other", tmp_path / "late"
    behind.mkdir(parents=True)
    other.mkdir()
    async with open_watcher(impatient(), behind, other, late) as hearer:
        with mounted(tmp_path / "hung", "fuse.hung"):
            (tmp_path / "m").rename(tmp_path / "before")
            (tmp_path / "m").symlink_to("hung")
            for number in range(5):
                hearer.forget()
                (other / str(number)).touch()
                with anyio.fail_after(2):
                    await hearer.wait_for(other)
            late.mkdir()  # of which no watch tells
            with anyio.fail_after(5):
                await hearer.wait_for(late)


async def test_a_watcher_whose_directory_hangs_from_the_beginning_can_be_cancelled(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "m").symlink_to("hung")
    with mounted(tmp_path / "hung", "fuse.hung"):
        watcher = impatient()
        watcher.watch([f"{tmp_path}/m/app"])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watcher.run, lambda _: None)
            with anyio.fail_after(5):
                while not any(thread.name == "workroot-files" for thread in threading.enumerate()):
                    await anyio.lowlevel.checkpoint()
            began = time.monotonic()
            tasks.cancel_scope.cancel()
        assert time.monotonic() - began < 1

        async with open_watcher(impatient(), other):
            pass


async def test_a_watch_that_cannot_be_built_is_left_behind(tmp_path: Path) -> None:
    gate, is_building = threading.Event(), threading.Event()

    def build(*_: object) -> None:
        is_building.set()
        gate.wait(10)

    watcher = Watcher(watch_function=build)  # type: ignore[arg-type]  # it never gets as far as to return something
    watcher.watch([str(tmp_path)])
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watcher.run, lambda _: None)
            with anyio.fail_after(5):
                while not is_building.is_set():
                    await anyio.lowlevel.checkpoint()
            began = time.monotonic()
            tasks.cancel_scope.cancel()
        assert time.monotonic() - began < 3
    finally:
        gate.set()
