"""Watching real directories: every kind of change is heard of, whatever happens to them.

The intervals at which a watcher looks for itself are hours here, unless a test is about them: what is heard is pushed.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
from watching_driver import NEVER, Hearer, inotify_descriptors, inotify_watches, open_watcher

from workroot.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

needs_inotify = pytest.mark.skipif(sys.platform != "linux", reason="counts inotify watches")


def pushing(*, most: int = 2048, poll_seconds: float = NEVER) -> Watcher:
    """Return a watcher that does not look for itself."""
    return Watcher(most=most, poll_seconds=poll_seconds, check_seconds=NEVER, retry_seconds=NEVER)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "app" / ".workroot"
    directory.mkdir(parents=True)
    (directory / "config.toml").write_text("version = '1.0'")
    return directory


def write_in_place(project: Path) -> None:
    with open(project / "config.toml", "r+") as file:
        file.write("version")


def replace_atomically(project: Path) -> None:
    (project / "config.new").write_text("version = '1.1'")
    os.replace(project / "config.new", project / "config.toml")


def create(project: Path) -> None:
    (project / "config.json").touch()


def delete(project: Path) -> None:
    (project / "config.toml").unlink()


async def hear_edits(hearer: Hearer, project: Path, edit: Callable[[Path], object] = write_in_place) -> None:
    """Edit more often than a deaf watcher would be heard by chance; each edit has to be heard."""
    for _ in range(6):
        hearer.forget()
        edit(project)
        with anyio.fail_after(5):
            await hearer.wait_for(project)


@pytest.mark.parametrize("edit", [write_in_place, replace_atomically, create, delete])
async def test_an_edit_is_heard(project: Path, edit: Callable[[Path], None]) -> None:
    async with open_watcher(pushing(), project) as hearer:
        edit(project)

        with anyio.fail_after(5):
            await hearer.wait_for(project)

        assert hearer.heard == {str(project)}


async def test_every_one_of_many_atomic_saves_is_heard(project: Path) -> None:
    async with open_watcher(pushing(), project) as hearer:
        await hear_edits(hearer, project, replace_atomically)


async def test_a_change_in_another_watched_directory_is_told_apart(project: Path, tmp_path: Path) -> None:
    async with open_watcher(pushing(), tmp_path, project) as hearer:
        (tmp_path / "notes").touch()

        with anyio.fail_after(5):
            await hearer.wait_for(tmp_path)

        assert hearer.heard == {str(tmp_path)}


async def test_a_removed_and_recreated_directory_is_watched_again(project: Path) -> None:
    async with open_watcher(pushing(), project.parent, project) as hearer:
        shutil.rmtree(project)
        with anyio.fail_after(5):
            await hearer.wait_for(project.parent, project)

        project.mkdir()  # often with the inode number of the old one
        (project / "config.toml").write_text("version = '1.0'")

        await hear_edits(hearer, project)


async def test_a_directory_recreated_at_once_is_watched_again(project: Path) -> None:
    async with open_watcher(pushing(), project.parent, project) as hearer:
        shutil.rmtree(project)
        project.mkdir()
        (project / "config.toml").write_text("version = '1.0'")

        await hear_edits(hearer, project)


async def test_a_directory_put_in_the_place_of_another_is_watched(project: Path) -> None:
    async with open_watcher(pushing(), project.parent, project) as hearer:
        shutil.copytree(project, project.parent / "new")
        project.rename(project.parent / "old")
        (project.parent / "new").rename(project)

        await hear_edits(hearer, project)


async def test_a_missing_directory_is_taken_up_when_its_parent_changes(project: Path) -> None:
    missing = project.parent / ".codebase-mcp"
    async with open_watcher(pushing(), project.parent, missing) as hearer:
        missing.mkdir()
        (missing / "config.toml").write_text("version = '1.0'")

        await hear_edits(hearer, missing)


@needs_inotify
async def test_a_missing_directory_whose_parent_nobody_watches_is_taken_up_too(project: Path) -> None:
    missing = project.parent / "later"
    async with open_watcher(pushing(poll_seconds=0.05), missing) as hearer:
        missing.mkdir()
        with anyio.fail_after(5):
            await hearer.wait_for(missing)
        await wait_until(lambda: inotify_watches() == 1)

        await hear_edits(hearer, missing, create)


async def test_a_file_name_that_is_not_utf_8_does_not_matter(project: Path) -> None:
    async with open_watcher(pushing(), project) as hearer:
        os.close(os.open(os.fsencode(project) + b"/\xff\xfe", os.O_CREAT))
        with anyio.fail_after(5):
            await hearer.wait_for(project)

        await hear_edits(hearer, project)


async def test_names_with_newlines_do_not_matter(project: Path) -> None:
    odd = project / "line\nbreak"
    odd.mkdir()
    async with open_watcher(pushing(), odd) as hearer:
        await hear_edits(hearer, odd, lambda directory: (directory / "a\nb").write_text("x"))


@needs_inotify
async def test_directories_that_cannot_be_watched_are_looked_at_and_harm_no_other(
    project: Path, tmp_path: Path
) -> None:
    bad = tmp_path / os.fsdecode(b"caf\xe9")
    bad.mkdir()
    async with open_watcher(pushing(poll_seconds=0.05), bad, project) as hearer:
        assert inotify_watches() == 1
        hearer.forget()
        (bad / "config.toml").touch()
        (project / "config.json").touch()

        with anyio.fail_after(5):
            await hearer.wait_for(bad, project)


async def test_what_nobody_wishes_any_more_is_not_told(project: Path, tmp_path: Path) -> None:
    watcher = pushing()
    other = tmp_path / "other"
    other.mkdir()
    async with open_watcher(watcher, project, other) as hearer:
        watcher.watch([str(other)])
        (project / "config.json").touch()
        (other / "file").touch()
        with anyio.fail_after(5):
            await hearer.wait_for(other)

        assert hearer.heard == {str(other)}


@needs_inotify
async def test_a_link_in_a_watched_directory_is_not_followed(project: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep" / "deeper").mkdir(parents=True)
    (project / "link").symlink_to(outside)
    async with open_watcher(pushing(), project) as hearer:
        assert inotify_watches() == 1
        (outside / "file").touch()
        (project / "config.json").touch()
        with anyio.fail_after(5):
            await hearer.wait_for(project)

        assert hearer.heard == {str(project)}


@needs_inotify
async def test_a_link_in_the_place_of_a_directory_is_not_followed(project: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(project)
    async with open_watcher(pushing(), link, tmp_path):
        assert inotify_watches() == 1


@needs_inotify
async def test_the_first_directories_are_watched_and_the_rest_is_looked_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directories = [tmp_path / str(number) for number in range(5)]
    for directory in directories:
        directory.mkdir()
    watcher = pushing(most=2, poll_seconds=0.05)
    async with open_watcher(watcher, *directories) as hearer:
        assert inotify_watches() == 2
        await hear_edits(hearer, directories[4], create)
        watcher.watch(map(str, directories[:4]))
        await hear_edits(hearer, directories[0], lambda directory: (directory / "file").write_text("x"))

    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        "2 directories are watched, which is the limit; further ones (3 now) are looked at every 0.05 seconds"
    ]


@needs_inotify
async def test_a_hundred_changes_of_what_is_watched_leave_one_instance_and_one_thread(
    project: Path, tmp_path: Path
) -> None:
    others = [tmp_path / f"{number}" for number in range(100)]
    for other in others:
        other.mkdir()
    watcher = pushing()
    async with open_watcher(watcher, project) as hearer:
        gc.collect()  # what earlier tests left open must not be closed in between
        descriptors = len(os.listdir("/proc/self/fd"))
        for other in others:
            watcher.watch([str(project), str(other)])
            await anyio.lowlevel.checkpoint()
        with anyio.fail_after(5):
            await hearer.wait_for(others[-1])
        await hear_edits(hearer, others[-1], lambda directory: (directory / "file").write_text("x"))

        assert (len(inotify_descriptors()), inotify_watches()) == (1, 2)
        assert len(os.listdir("/proc/self/fd")) == descriptors
        assert sum(thread.name == "workroot-watch" for thread in threading.enumerate()) == 1


@needs_inotify
async def test_nothing_is_held_while_nothing_is_wished(project: Path) -> None:
    watcher = pushing()
    async with open_watcher(watcher):
        assert inotify_descriptors() == []
        watcher.watch([str(project)])
        await wait_until(lambda: inotify_watches() == 1)
        watcher.watch([])
        await wait_until(lambda: inotify_descriptors() == [])


@needs_inotify
async def test_the_environment_does_not_turn_watching_into_polling(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "1")
    async with open_watcher(pushing(), project):
        assert inotify_watches() == 1


async def test_cancelling_ends_it_at_once_and_leaves_nothing(project: Path) -> None:
    async with open_watcher(pushing(), project):
        began = time.perf_counter()
    elapsed = time.perf_counter() - began

    assert elapsed < 1.0, "watchfiles alone takes up to five seconds"
    if sys.platform == "linux":
        await wait_until(lambda: inotify_descriptors() == [])


async def test_it_can_be_run_again(project: Path) -> None:
    watcher = pushing()
    async with open_watcher(watcher, project):
        pass
    hearer = Hearer()
    write_in_place(project)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watcher.run, hearer)
        with anyio.fail_after(5):
            await hearer.wait_for(project)
        await hear_edits(hearer, project)
        tasks.cancel_scope.cancel()


async def test_a_busy_directory_does_not_delay_what_happens_in_another(project: Path, tmp_path: Path) -> None:
    busy = tmp_path / "busy"
    busy.mkdir()
    done = threading.Event()

    def fill() -> None:
        number = 0
        while not done.wait(0.001):
            (busy / str(number)).touch()
            number += 1

    async with open_watcher(pushing(), busy, project) as hearer, anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, fill)
        try:
            with anyio.fail_after(5):
                await hearer.wait_for(busy)
            for _ in range(5):
                hearer.forget()
                write_in_place(project)
                with anyio.fail_after(1.0):  # the library's own debouncing would wait for 1.6 s
                    await hearer.wait_for(project)
        finally:
            done.set()


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what the system does by itself, such as the end of a thread that is not Python's."""
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - no event tells of a descriptor of the Rust part's
            await anyio.sleep(0.005)
