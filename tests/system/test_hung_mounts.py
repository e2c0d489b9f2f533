"""A mount that never answers: who asks about it is told so, and nobody else notices."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from fuse_mounts import FoldingTree, mounted, unmount
from trees import NAMESPACE, make_config, owner

from fakes import ClockAhead
from workroot.core.identities import Identities
from workroot.core.projects import CONFIG_NAMES, Directory, KnownId, ProjectId, ProjectKey
from workroot.errors import DirectoryError
from workroot.project_finder import ProjectFinder, rules_of_this_process
from workroot.project_finder.file_pool import FilePool
from workroot.project_finder.mounts import Mount, Mounts, mount_table
from workroot.project_finder.search import search

ANSWER_SECONDS = 0.3


@pytest.fixture
def clock() -> ClockAhead:
    return ClockAhead()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path.resolve()


@pytest.fixture
def hung(base: Path) -> Iterator[Path]:
    with mounted(base / "hung", "fuse.hung"):
        yield base / "hung"


@pytest.fixture
def finder(clock: ClockAhead, hung: Path) -> ProjectFinder:
    """Knows the mounts from when the hung one was there."""
    return ProjectFinder(NAMESPACE, pool=FilePool(answer_seconds=ANSWER_SECONDS, clock=clock))


def file_threads() -> int:
    return sum(thread.name == "workroot-files" for thread in threading.enumerate())


async def refusal(finder: ProjectFinder, directory: Path) -> str:
    with anyio.fail_after(5), pytest.raises(DirectoryError) as raised:
        await finder.find(str(directory))
    return str(raised.value)


async def test_a_look_at_a_hung_mount_ends_in_time_and_says_which_and_when_it_is_tried_again(
    hung: Path, finder: ProjectFinder
) -> None:
    started = time.monotonic()

    said = await refusal(finder, hung / "repo")

    assert time.monotonic() - started < ANSWER_SECONDS + 1
    assert said == (
        f"Directory cannot be used ({hung} did not answer within 0.3 s; it is tried again in 10 s): {hung}/repo"
    )


async def test_other_looks_go_on_while_one_hangs(base: Path, hung: Path, clock: ClockAhead) -> None:
    finder = ProjectFinder(NAMESPACE, pool=FilePool(answer_seconds=60, clock=clock))
    make_config(base / "local")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finder.find, str(hung))
        with anyio.fail_after(5):
            while file_threads() == 0:
                await anyio.lowlevel.checkpoint()
            for _ in range(50):
                assert owner(await finder.find(f"{base}/local")).root == f"{base}/local"
        tasks.cancel_scope.cancel()


async def test_a_mount_that_did_not_answer_is_left_alone_for_a_while(
    hung: Path, finder: ProjectFinder, clock: ClockAhead
) -> None:
    await refusal(finder, hung)
    clock.ahead += 4
    started, threads = time.monotonic(), file_threads()

    said = await refusal(finder, hung / "elsewhere")

    assert time.monotonic() - started < ANSWER_SECONDS
    assert f"{hung} did not answer of late; it is tried again in " in said
    assert file_threads() == threads

    clock.ahead += 6
    assert "did not answer within 0.3 s" in await refusal(finder, hung)


async def test_threads_do_not_pile_up(hung: Path, finder: ProjectFinder, clock: ClockAhead) -> None:
    async def ask() -> None:
        await refusal(finder, hung)

    async with anyio.create_task_group() as tasks:
        before = file_threads()
        for _ in range(40):
            tasks.start_soon(ask)
    for _ in range(5):
        clock.ahead += 60
        started = time.monotonic()
        assert "it is tried again when an earlier look at it ends" in await refusal(finder, hung)
        assert time.monotonic() - started < ANSWER_SECONDS

    assert file_threads() - before <= 8


async def test_when_a_hung_mount_is_gone_its_directory_is_looked_at_again(
    base: Path, hung: Path, finder: ProjectFinder
) -> None:
    await refusal(finder, hung)

    unmount(hung)
    make_config(hung)

    with anyio.fail_after(5):
        assert owner(await finder.find(str(hung))).root == str(hung)


async def test_links_and_repositories_that_lead_into_a_hung_mount_do_not_hang(
    base: Path, hung: Path, finder: ProjectFinder
) -> None:
    (base / "link").symlink_to("hung/repo")
    (base / "worktree").mkdir()
    (base / "worktree/.git").write_text(f"gitdir: {hung}/repo/.git/worktrees/x\n")
    (base / "linked").mkdir()
    (base / "linked/.git").symlink_to("../hung/.git")
    for name in ("link", "worktree", "linked"):
        fresh = ProjectFinder(NAMESPACE, pool=FilePool(answer_seconds=ANSWER_SECONDS))
        assert f"{hung} did not answer within 0.3 s" in await refusal(fresh, base / name)


@pytest.mark.parametrize("name", [".git", ".hg", ".workroot", ".codebase-mcp", "HEAD"])
async def test_what_hangs_right_in_a_project_does_not_hang_either(base: Path, name: str) -> None:
    with mounted(base / "repo" / name, "fuse.hung"):
        fresh = ProjectFinder(NAMESPACE, pool=FilePool(answer_seconds=ANSWER_SECONDS))
        assert f"{base}/repo/{name} did not answer within 0.3 s" in await refusal(fresh, base / "repo")


async def test_a_mount_that_comes_later_is_noticed_before_what_is_remembered_is_checked(
    base: Path, clock: ClockAhead
) -> None:
    finder = ProjectFinder(
        NAMESPACE,
        clock_ns=lambda: time.time_ns() + 10**10,
        pool=FilePool(answer_seconds=ANSWER_SECONDS, clock=clock),
    )
    make_config(base / "later/a")
    await finder.find(f"{base}/later/a")

    with mounted(base / "later", "fuse.hung"):
        assert f"{base}/later did not answer" in await refusal(finder, base / "later/a")

    assert owner(await finder.find(f"{base}/later/a")).root == f"{base}/later/a"


async def test_a_mount_that_hangs_after_its_answer_was_remembered_does_not_hang_the_next_call(base: Path) -> None:
    finder = ProjectFinder(
        NAMESPACE, clock_ns=lambda: time.time_ns() + 10**10, pool=FilePool(answer_seconds=ANSWER_SECONDS)
    )
    with mounted(base / "far") as device:
        tree = FoldingTree(device, ["repo/.git"])
        with anyio.fail_after(5):
            assert await finder.find(f"{base}/far/repo") is await finder.find(f"{base}/far/repo")

        tree.is_silent = True

        assert f"{base}/far did not answer within 0.3 s" in await refusal(finder, base / "far/repo")


def test_before_what_is_remembered_is_looked_at_again_each_mount_is_said(base: Path) -> None:
    (base / "a").mkdir()
    (base / "b/repo/.git").mkdir(parents=True)
    (base / "a/link").symlink_to("../b/repo")
    mounts = Mounts.of([Mount(f"{base}/a"), Mount(f"{base}/b")])
    said: list[Mount] = []
    seen = search(
        f"{base}/a/link", rules_of_this_process(), CONFIG_NAMES, now_ns=time.time_ns(), mounts=mounts, touch=said.append
    )
    assert set(said) == set(mounts.remote)
    said.clear()

    assert seen.still_holds(mounts, said.append)

    assert set(said) == set(mounts.remote)


async def test_a_link_into_a_hung_mount_in_place_of_a_directory_is_noticed_before_it_is_followed(
    base: Path, hung: Path
) -> None:
    finder = ProjectFinder(
        NAMESPACE, clock_ns=lambda: time.time_ns() + 10**10, pool=FilePool(answer_seconds=ANSWER_SECONDS)
    )
    make_config(base / "m/app")
    await finder.find(f"{base}/m/app")

    (base / "m").rename(base / "before")
    (base / "m").symlink_to("hung")

    assert f"{hung} did not answer within 0.3 s" in await refusal(finder, base / "m/app")


async def test_a_mount_that_comes_elsewhere_changes_nothing(base: Path) -> None:
    make_config(base / "local")
    (base / "elsewhere").mkdir()
    finder = ProjectFinder(NAMESPACE, clock_ns=lambda: time.time_ns() + 10**10)
    before = await finder.find(f"{base}/local")

    with mounted(base / "elsewhere", "fuse.hung"):
        assert await finder.find(f"{base}/local") is before

    assert await finder.find(f"{base}/local") is before


async def test_a_mount_that_might_hang_and_answers_is_asked_each_time_and_not_watched(base: Path) -> None:
    with mounted(base / "far") as device:
        FoldingTree(device, ["repo/.git", "repo/src"])
        finder = ProjectFinder(NAMESPACE, clock_ns=lambda: time.time_ns() + 10**10)
        with anyio.fail_after(5):
            places = [await finder.find(f"{base}/far/repo/src") for _ in range(3)]

        assert owner(places[0]).root == f"{base}/far/repo"
        assert places[0].rests_on == ()
        assert places[0] is places[1] is places[2]

    assert f"{base}/far" not in {mount.point for mount in mount_table().current().remote}
    with pytest.raises(DirectoryError, match="Directory does not exist"):
        await finder.find(f"{base}/far/repo/src")


async def test_a_project_on_a_hung_mount_keeps_its_id(base: Path, hung: Path) -> None:
    claimed = ProjectId("123e4567-e89b-42d3-a456-426614174000")
    identities = Identities()
    key = ProjectKey(f"{hung}/repo/.git", "")
    identities.put(KnownId(key=key, project_id=claimed, name="there", root=Directory(f"{hung}/repo")))
    (base / "copy/.git").mkdir(parents=True)
    make_config(base / "copy").write_text(f'version = "1.0"\n[project]\nname = "copy"\nid = "{claimed}"\n')
    finder = ProjectFinder(NAMESPACE, identities=identities, pool=FilePool(answer_seconds=ANSWER_SECONDS))

    with anyio.fail_after(5):
        place = await finder.find(f"{base}/copy")

    assert owner(place).project_id != claimed
    assert (place.displaced, len(place.warnings)) == ((), 1)


async def test_a_repository_behind_a_link_into_a_hung_mount_holds_up_nobody(base: Path, hung: Path) -> None:
    claimed = ProjectId("123e4567-e89b-42d3-a456-426614174000")
    (base / "m").symlink_to("hung")
    identities = Identities()
    key = ProjectKey(f"{base}/m/repo.git", "")
    identities.put(KnownId(key=key, project_id=claimed, name="there", root=Directory(f"{base}/gone")))
    (base / "copy/.git").mkdir(parents=True)
    make_config(base / "copy").write_text(f'version = "1.0"\n[project]\nname = "copy"\nid = "{claimed}"\n')
    finder = ProjectFinder(NAMESPACE, identities=identities, pool=FilePool(answer_seconds=ANSWER_SECONDS))

    with anyio.fail_after(5):
        assert owner(await finder.find(f"{base}/copy")).project_id != claimed


async def test_a_process_ends_although_a_look_hangs(hung: Path) -> None:
    program = f"""
import anyio
from workroot.core.identities import Identities
from workroot.core.projects import CONFIG_NAMES, Directory, KnownId, ProjectId, ProjectKey
from workroot.errors import DirectoryError
from workroot.project_finder.file_pool import FilePool
from workroot.project_finder.mounts import Mount, Mounts, mount_table
from workroot.project_finder import ProjectFinder, rules_of_this_process
from workroot.project_finder.search import search
async def main():
    finder = ProjectFinder({NAMESPACE!r}, pool=FilePool(answer_seconds=0.1))
    try:
        await finder.find({str(hung)!r})
    except DirectoryError:
        print("refused")
anyio.run(main)
"""
    with anyio.fail_after(10):
        done = await anyio.run_process([sys.executable, "-c", program], check=True, stderr=None)
    assert done.stdout == b"refused\n"


async def test_descriptors_are_as_before(base: Path, hung: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        finder = ProjectFinder(NAMESPACE, pool=FilePool(answer_seconds=ANSWER_SECONDS))
        await finder.find(str(base))
    del finder

    assert len(os.listdir("/dev/fd")) == before
