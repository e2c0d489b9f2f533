"""One project, one id: real repositories that are cloned, switched, merged, moved and removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from fakes import ManualClock
from workroot.core.identities import Identities
from workroot.core.projects import Place, Project
from workroot.core.sessions import Owner
from workroot.errors import JoinRefusedError
from workroot.joining import join_project
from workroot.project_finder import ProjectFinder
from workroot.session_ledger import SessionLedger
from workroot.storage.sqlite import open_sqlite_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ADA = Owner("uid:1000")
SHARED = "123e4567-e89b-42d3-a456-426614174000"
CONFIG = f'version = "1.0"\n[project]\nname = "shop"\nid = "{SHARED}"\n'


NAMELESS = 'version = "1.0"\n[project]\nname = "shop"\n'


class Machine:
    """The parts that know ids, put together as the daemon has them, on a store that outlives them."""

    def __init__(self, ledger: SessionLedger, finder: ProjectFinder) -> None:
        self.ledger, self.finder = ledger, finder

    async def at(self, directory: Path) -> Place:
        """Work in a directory, as a call does."""
        while await self.ledger.note_project(ADA, place := await self.finder.find(str(directory))):
            pass
        return place

    async def id_at(self, directory: Path) -> str:
        return owner(await self.at(directory)).project_id


@asynccontextmanager
async def machine(home: Path, *, remembers_at_once: bool = False) -> AsyncIterator[Machine]:
    ahead = 10_000_000_000 if remembers_at_once else 0
    async with open_sqlite_store(home / "state.db") as store:
        state, identities = await store.load(), Identities()
        ledger = SessionLedger(store, ManualClock(), state, identities=identities)
        await ledger.load()
        clock = CountingClock(ahead)
        yield Machine(ledger, ProjectFinder(state.namespace, identities=identities, clock_ns=clock))


class CountingClock:
    """The system's clock, ahead of it; a finder asks it once a search."""

    def __init__(self, ahead_ns: int) -> None:
        self.ahead_ns, self.searches = ahead_ns, 0

    def __call__(self) -> int:
        self.searches += 1
        return time.time_ns() + self.ahead_ns


def owner(place: Place) -> Project:
    assert place.project is not None, place
    return place.project


def git(directory: Path, *arguments: str, may_fail: bool = False) -> None:
    settings = ("user.name=Ada", "user.email=ada@example.org", "init.defaultBranch=main")
    options = [word for setting in settings for word in ("-c", setting)]
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    subprocess.run(
        ["git", "-C", str(directory), *options, *arguments],
        check=not may_fail,
        capture_output=True,
        env=environment,
        timeout=60,
    )


def write_config(top: Path, text: str = CONFIG) -> None:
    (top / ".workroot").mkdir(exist_ok=True)
    (top / ".workroot" / "config.toml").write_text(text)


def commit(top: Path, message: str) -> None:
    git(top, "add", "-A")
    git(top, "commit", "-m", message)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path.resolve()


@pytest.fixture
def shop(base: Path) -> Path:
    """A repository whose committed config claims an id; the branch `old` is from before it had one."""
    shop = base / "shop"
    shop.mkdir()
    git(shop, "init")
    (shop / "README").write_text("a shop\n")
    commit(shop, "begin")
    git(shop, "branch", "old")
    write_config(shop)
    commit(shop, "be a project")
    return shop


@pytest.fixture
def copy(base: Path, shop: Path) -> Path:
    git(base, "clone", "shop", "copy")
    return base / "copy"


async def test_two_clones_with_one_committed_id_are_two_projects_also_after_a_restart(
    base: Path, shop: Path, copy: Path
) -> None:
    async with machine(base) as before:
        assert await before.id_at(shop) == SHARED
        second = await before.at(copy)
        own_id = owner(second).project_id
        assert own_id != SHARED
        assert [warning.split(":")[0] for warning in second.warnings] == ["id_conflict"]
        assert str(shop) not in second.warnings[0].replace(str(copy), "")

    async with machine(base) as after:
        assert await after.id_at(copy) == own_id
        assert await after.id_at(shop) == SHARED


async def test_the_one_that_came_first_has_the_id_whichever_was_cloned_from_which(
    base: Path, shop: Path, copy: Path
) -> None:
    async with machine(base) as world:
        assert await world.id_at(copy) == SHARED
        assert await world.id_at(shop) != SHARED


async def test_a_branch_without_the_config_keeps_id_and_name(base: Path, shop: Path) -> None:
    async with machine(base) as world:
        await world.at(shop)

        git(shop, "checkout", "old")
        place = await world.at(shop)
        assert (owner(place).project_id, owner(place).name, place.config_path) == (SHARED, "shop", None)
        assert "is missing" in place.warnings[0]

        git(shop, "checkout", "main")
        assert (await world.at(shop)).warnings == ()


async def test_a_branch_without_the_config_does_not_give_the_id_away(base: Path, shop: Path, copy: Path) -> None:
    async with machine(base) as world:
        await world.at(shop)
        git(shop, "checkout", "old")

        assert await world.id_at(copy) != SHARED

        git(shop, "checkout", "main")
        assert await world.id_at(shop) == SHARED


async def test_a_merge_conflict_in_the_config_keeps_id_and_name(base: Path, shop: Path) -> None:
    git(shop, "checkout", "-b", "theirs")
    write_config(shop, CONFIG.replace("shop", "store"))
    commit(shop, "rename")
    git(shop, "checkout", "main")
    write_config(shop, CONFIG.replace("shop", "boutique"))
    commit(shop, "rename otherwise")
    async with machine(base) as world:
        await world.at(shop)

        git(shop, "merge", "theirs", may_fail=True)
        place = await world.at(shop)
        assert "<<<<<<<" in (shop / ".workroot/config.toml").read_text()
        assert (owner(place).project_id, owner(place).name) == (SHARED, "boutique")
        assert owner(place).config is None
        assert place.config_error is not None
        assert place.config_error.line == 3

        git(shop, "merge", "--abort")
        assert (await world.at(shop)).config_error is None


async def test_a_broken_config_below_the_repositorys_root_still_gives_no_project(base: Path, shop: Path) -> None:
    part = shop / "part"
    part.mkdir()
    write_config(part, CONFIG.replace("4000", "4999").replace("shop", "part"))
    async with machine(base) as world:
        assert owner(await world.at(part)).name == "part"

        write_config(part, "[broken\n")
        place = await world.at(part)
        assert place.project is None
        assert place.config_error is not None


async def test_a_repository_that_moved_keeps_its_id(base: Path, shop: Path) -> None:
    async with machine(base) as world:
        await world.at(shop)

        shop.rename(base / "moved")
        place = await world.at(base / "moved")

        assert (owner(place).project_id, place.warnings) == (SHARED, ())
        assert world.ledger.projects.root_of(ADA, SHARED) == str(base / "moved")


async def test_a_clone_gets_the_id_of_the_first_one_once_that_is_removed(base: Path, shop: Path, copy: Path) -> None:
    async with machine(base) as world:
        await world.at(shop)
        await world.at(copy)

        shutil.rmtree(shop)
        place = await world.at(copy)
        assert (owner(place).project_id, place.warnings) == (SHARED, ())

        git(base, "clone", "copy", "shop")
        assert await world.id_at(shop) != SHARED
        assert await world.id_at(copy) == SHARED


async def test_worktrees_share_the_id_also_on_a_branch_without_the_config(base: Path, shop: Path) -> None:
    git(shop, "worktree", "add", "../fix", "-b", "fix")
    git(shop, "worktree", "add", "../past", "old")
    async with machine(base) as world:
        places = [await world.at(base / name) for name in ("fix", "past", "shop")]

    assert {owner(place).project_id for place in places} == {SHARED}
    assert [len(place.warnings) for place in places] == [0, 1, 0]


async def test_a_worktree_that_is_removed_does_not_give_the_id_away(base: Path, shop: Path, copy: Path) -> None:
    git(shop, "worktree", "add", "../fix", "-b", "fix")
    async with machine(base) as world:
        await world.at(base / "fix")
        git(shop, "worktree", "remove", "../fix")

        assert await world.id_at(copy) != SHARED
        assert await world.id_at(shop) == SHARED


async def test_a_directory_that_becomes_a_repository_stays_the_project_it_was(base: Path) -> None:
    top = base / "plain"
    top.mkdir()
    write_config(top)
    async with machine(base) as world:
        assert await world.id_at(top) == SHARED

        git(top, "init")
        place = await world.at(top)

        assert (owner(place).project_id, place.warnings) == (SHARED, ())


async def test_a_directory_without_an_id_keeps_the_one_it_had_as_it_becomes_a_repository(base: Path) -> None:
    top = base / "plain"
    top.mkdir()
    write_config(top, NAMELESS)
    async with machine(base) as world:
        before = await world.id_at(top)

        git(top, "init")

        assert await world.id_at(top) == before


# Another one at the same path


@pytest.mark.parametrize("is_new_seen_first", [True, False])
async def test_another_repository_at_the_same_path_is_another_project(
    base: Path, shop: Path, is_new_seen_first: bool
) -> None:
    async with machine(base) as world:
        await world.at(shop)
        shop.rename(base / "moved")
        shop.mkdir()
        git(shop, "init")

        for top in (shop, base / "moved") if is_new_seen_first else (base / "moved", shop):
            await world.at(top)

        new, true = await world.at(shop), await world.at(base / "moved")
        assert (owner(new).name, new.warnings) == ("shop", ())
        assert owner(new).project_id != SHARED
        assert (owner(true).project_id, true.warnings) == (SHARED, ())

    async with machine(base) as after:
        assert await after.id_at(shop) != SHARED
        assert await after.id_at(base / "moved") == SHARED


async def test_a_new_clone_at_the_same_path_that_claims_the_id_has_it(base: Path, shop: Path, copy: Path) -> None:
    async with machine(base) as world:
        await world.at(shop)
        shutil.move(shop, base / "away")
        copy.rename(shop)
        shutil.rmtree(base / "away")

        assert await world.id_at(shop) == SHARED


# Parts of a repository


@pytest.fixture
def part(shop: Path) -> Path:
    """A project below the root of `shop`, whose config is committed on `main`."""
    part = shop / "pkg/part"
    part.mkdir(parents=True)
    write_config(part, CONFIG.replace("4000", "4999"))
    commit(shop, "have a part")
    return part


PART = SHARED.replace("4000", "4999")


async def test_a_part_seen_in_a_worktree_first_keeps_its_id_when_that_is_removed(base: Path, part: Path) -> None:
    git(base / "shop", "worktree", "add", "../fix", "-b", "fix")
    git(base, "clone", "shop", "copy")
    async with machine(base) as world:
        assert await world.id_at(base / "fix/pkg/part") == PART
        git(base / "shop", "worktree", "remove", "../fix")

        assert await world.id_at(base / "copy/pkg/part") != PART
        assert (await world.at(part)).warnings == ()

        git(base / "shop", "checkout", "old")
        assert await world.id_at(base / "copy/pkg/part") != PART


async def test_a_part_that_a_branch_is_without_keeps_its_id_until_the_repository_is_gone(
    base: Path, part: Path
) -> None:
    git(base, "clone", "shop", "copy")
    async with machine(base) as world:
        await world.at(part)
        git(base / "shop", "checkout", "old")
        assert await world.id_at(base / "copy/pkg/part") != PART

        shutil.rmtree(base / "shop")
        assert await world.id_at(base / "copy/pkg/part") == PART


async def test_the_submodules_of_two_worktrees_are_one_project(base: Path, shop: Path) -> None:
    outer = base / "outer"
    outer.mkdir()
    git(outer, "init")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "add", "../shop", "sub")
    commit(outer, "have a submodule")
    git(outer, "worktree", "add", "../wt")
    git(base / "wt", "-c", "protocol.file.allow=always", "submodule", "update", "--init")
    async with machine(base) as world:
        for place in [await world.at(outer / "sub"), await world.at(base / "wt/sub")]:
            assert (owner(place).project_id, place.warnings) == (SHARED, ())


# `.git` files made by hand


async def test_who_names_a_worktree_that_is_gone_does_not_become_its_project(base: Path, shop: Path) -> None:
    git(shop, "worktree", "add", "../fix")
    shutil.rmtree(base / "fix")
    evil = base / "evil"
    evil.mkdir()
    (evil / ".git").write_text("gitdir: ../shop/.git/worktrees/fix\n")
    async with machine(base) as world:
        await world.at(shop)

        place = await world.at(evil)
        assert (owner(place).name, owner(place).worktree_of) == ("evil", None)
        assert owner(place).project_id != SHARED


@pytest.mark.parametrize("named", ["future/.git", "future/.git/worktrees/x"])
async def test_who_names_a_repository_to_come_does_not_give_it_an_id(base: Path, named: str) -> None:
    evil, future = base / "evil", base / "future"
    evil.mkdir()
    write_config(evil)
    (evil / ".git").write_text(f"gitdir: {base}/{named}\n")
    async with machine(base) as world:
        assert await world.id_at(evil) == SHARED
        future.mkdir()
        git(future, "init")

        assert await world.id_at(future) != SHARED
        assert await world.id_at(evil) == SHARED


async def test_of_two_that_name_a_separate_git_directory_the_first_one_has_it(base: Path, shop: Path) -> None:
    git(base, "clone", f"--separate-git-dir={base}/kept.git", "shop", "app")
    evil = base / "evil"
    evil.mkdir()
    (evil / ".git").write_text("gitdir: ../kept.git\n")
    async with machine(base, remembers_at_once=True) as world:
        assert await world.id_at(base / "app") == SHARED

        for _ in range(2):
            place = await world.at(evil)
            assert (owner(place).name, len(place.warnings)) == ("evil", 1)
            assert owner(place).project_id != SHARED
        assert (await world.at(base / "app")).warnings == ()

        (base / "app").rename(base / "moved")
        assert (await world.at(base / "moved")).warnings == ()


# What is remembered


async def test_a_remembered_answer_follows_what_is_kept_without_a_new_search(
    base: Path, shop: Path, copy: Path
) -> None:
    clock = CountingClock(10_000_000_000)
    identities = Identities()
    finder = ProjectFinder(SHARED, identities=identities, clock_ns=clock)
    assert owner(finder.find_now(str(copy))).project_id == SHARED
    first = finder.find_now(str(shop)).known_id
    assert first is not None
    searches = clock.searches

    identities.put(first)

    assert owner(finder.find_now(str(copy))).project_id != SHARED
    assert finder.find_now(str(shop)).known_id is None
    assert clock.searches == searches


async def test_a_remembered_conflict_ends_when_the_other_one_leaves(base: Path, shop: Path, copy: Path) -> None:
    async with machine(base, remembers_at_once=True) as world:
        await world.at(shop)
        for _ in range(2):
            assert await world.id_at(copy) != SHARED

        shop.rename(base / "elsewhere")

        assert await world.id_at(copy) == SHARED


async def test_an_answer_that_did_not_change_is_the_same_one(base: Path, shop: Path) -> None:
    async with machine(base, remembers_at_once=True) as world:
        await world.at(shop)

        assert await world.at(shop) is await world.at(shop)


# Joining


async def test_joined_clones_are_one_project_with_two_roots_also_after_a_restart(
    base: Path, shop: Path, copy: Path
) -> None:
    async with machine(base) as before:
        await before.at(shop)
        await before.at(copy)

        joined = await join_project(before.ledger, before.finder, ADA, str(copy / ".workroot"))

        assert (joined.was_needed, joined.project.root) == (True, str(copy))
        assert {known.root for known in before.ledger.projects.known(ADA, SHARED)} == {str(shop), str(copy)}

    async with machine(base) as after:
        for root in (copy, shop):
            place = await after.at(root)
            assert (owner(place).project_id, place.warnings) == (SHARED, ())


async def test_joining_what_is_not_disputed_changes_nothing(base: Path, shop: Path) -> None:
    async with machine(base) as world:
        joined = await join_project(world.ledger, world.finder, ADA, str(shop))

        assert (joined.was_needed, joined.project.project_id) == (False, SHARED)


@pytest.mark.parametrize("text", ['version = "1.0"\n[project]\nname = "shop"\n', "[broken\n", None])
async def test_a_project_that_claims_no_id_cannot_be_joined(base: Path, text: str | None) -> None:
    top = base / "plain"
    top.mkdir()
    if text is not None:
        write_config(top, text)
    async with machine(base) as world:
        with pytest.raises(JoinRefusedError, match="plain cannot be joined"):
            await join_project(world.ledger, world.finder, ADA, str(top))
