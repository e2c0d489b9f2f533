"""Ids of projects in step with the store: kept before anybody acts on them, and each by one repository alone."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import anyio
import pytest

from fakes import HeldStore, ManualClock
from workroot.core.changes import Change, ProjectIdKept, ProjectSeen, SessionSaved
from workroot.core.discovery import Finding, FoundConfig
from workroot.core.identities import Identities
from workroot.core.placing import place_of
from workroot.core.projects import (
    Directory,
    KnownId,
    Place,
    ProjectConfig,
    ProjectId,
    ProjectKey,
    Repository,
    StopReason,
)
from workroot.core.sessions import Owner, SessionId
from workroot.errors import JoinRefusedError, StoreUnavailableError
from workroot.session_ledger import PlaceOutdatedError, SessionLedger
from workroot.storage.memory import MemoryStore

ADA, EVE = Owner("uid:1000"), Owner("uid:1001")
NAMESPACE = UUID("6f1d6a3e-52a4-4b0c-9a53-0e6f0c1de111")
SHARED = ProjectId("123e4567-e89b-42d3-a456-426614174000")
ONE, TWO = SessionId("wr_one"), SessionId("wr_two")
A, B = "/work/a", "/work/b"


class World:
    """A ledger and a finder that share what is known of ids."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = HeldStore(store or MemoryStore())
        self.clock = ManualClock()
        self.identities = Identities()
        self.ledger = SessionLedger(self.store, self.clock, identities=self.identities)
        self.gone: set[str] = set()

    def look(self, root: str, project_id: ProjectId | None = SHARED, *, name: str = "shop") -> Place:
        """Return what is seen at the top of a repository whose config claims *project_id*."""
        config = ProjectConfig(name=name, project_id=project_id)
        top = Directory(root)
        finding = Finding(
            directory=top,
            levels=(top,),
            stop=StopReason.CONFIG,
            stopped_at=top,
            config=FoundConfig(root=top, path=f"{root}/.workroot/config.toml", content=config),
            repository=Repository(root=top, name="x", common_directory=Directory(f"{root}/.git")),
        )
        return place_of(finding, root, NAMESPACE, self.identities, lambda known: known.root not in self.gone)

    async def note(self, root: str, owner: Owner = ADA) -> Place:
        """Note somebody in a place, looking again for as long as that is asked for."""
        while await self.ledger.note_project(owner, place := self.look(root)):
            pass
        return place

    def id_at(self, root: str) -> str | None:
        project = self.look(root).project
        return project.project_id if project else None


@pytest.fixture
async def world() -> World:
    world = World()
    await world.ledger.load()
    return world


def known(root: str, project_id: str = SHARED, *, is_joined: bool = False) -> KnownId:
    return KnownId(
        key=ProjectKey(f"{root}/.git", ""),
        project_id=ProjectId(project_id),
        name="shop",
        root=Directory(root),
        is_joined=is_joined,
    )


def kinds(changes: tuple[Change, ...]) -> list[type[Change]]:
    return [type(change) for change in changes]


# In one commit


async def test_the_id_is_kept_in_the_same_commit_as_the_project(world: World) -> None:
    assert await world.ledger.note_project(ADA, world.look(A)) is False

    [commit] = world.store.commits
    assert kinds(commit) == [ProjectIdKept, ProjectSeen]
    assert world.identities.of(ProjectKey("/work/a/.git", "")) == known(A)


async def test_the_id_is_kept_in_the_same_commit_as_the_session(world: World) -> None:
    await world.ledger.move(ADA, ONE, world.look(A), signs=())

    [commit] = world.store.commits
    assert kinds(commit) == [SessionSaved, ProjectIdKept, ProjectSeen]


async def test_an_id_that_is_known_is_not_kept_again(world: World) -> None:
    await world.note(A)

    await world.ledger.note_project(ADA, world.look(A))
    await world.ledger.move(ADA, ONE, world.look(A), signs=())

    assert [kinds(commit) for commit in world.store.commits[1:]] == [[SessionSaved]]


async def test_a_project_that_is_known_without_its_id_gets_it_kept_at_once(world: World) -> None:
    """As with a database of the time before ids were kept."""
    await world.note(A)
    world.identities.put(known(A, "earlier"))

    await world.note(A)

    assert kinds(world.store.commits[-1])[0] is ProjectIdKept
    assert world.identities.of(ProjectKey("/work/a/.git", "")) == known(A)


async def test_who_is_kept_out_of_a_project_has_its_id_kept_and_is_not_seen_there(world: World) -> None:
    """As with `auto_switch = false`: the place is looked at, and its project is not the session's."""
    outside = replace(world.look(A), project=None)

    session, _ = await world.ledger.move(ADA, ONE, outside, signs=())

    assert session.project_id is None
    assert world.ledger.projects.known(ADA) == []
    assert (await world.store.load()).project_ids == (known(A),)


async def test_nothing_of_a_commit_that_fails_is_shown(world: World) -> None:
    world.store.fail(StoreUnavailableError("the disk is full"))

    with pytest.raises(StoreUnavailableError):
        await world.ledger.move(ADA, ONE, world.look(A), signs=())

    assert world.identities.revision == 0
    assert world.ledger.projects.known(ADA) == []


async def test_a_restart_knows_the_ids_again() -> None:
    store = MemoryStore()
    before = World(store)
    await before.ledger.load()
    await before.note(A)
    await before.note(B)

    after = World(store)
    await after.ledger.load()

    assert after.id_at(A) == SHARED
    assert after.id_at(B) == before.id_at(B) != SHARED


async def test_an_id_waits_for_a_store_that_is_away_and_counts_meanwhile(world: World) -> None:
    world.store.fail(StoreUnavailableError("the disk is full"))

    await world.note(A)

    assert world.id_at(B) != SHARED
    await world.ledger.behind.flush()
    assert (await world.store.load()).project_ids == (known(A),)


# Who comes first


async def test_of_two_who_claim_an_id_at_once_the_second_one_looks_again(world: World) -> None:
    gate = world.store.hold()
    first, second = world.look(A), world.look(B)
    again: list[bool] = []

    async def note(place: Place) -> None:
        again.append(await world.ledger.note_project(ADA, place))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(note, first)
            await gate.reached.wait()
            tasks.start_soon(note, second)
            await anyio.wait_all_tasks_blocked()
            gate.open()

    assert again == [False, True]
    assert [kept.root for kept in (await world.store.load()).project_ids] == [A]
    assert [seen.root for seen in world.ledger.projects.known(ADA)] == [A]


async def test_a_session_does_not_move_to_a_place_that_is_outdated(world: World) -> None:
    place = world.look(B)
    await world.note(A)

    with pytest.raises(PlaceOutdatedError):
        await world.ledger.move(ADA, ONE, place, signs=())

    assert len(world.ledger.sessions) == 0
    session, _ = await world.ledger.move(ADA, ONE, world.look(B), signs=())
    assert session.project_id == world.id_at(B) != SHARED


async def test_a_claim_that_failed_leaves_the_id_to_the_next(world: World) -> None:
    gate = world.store.hold()
    world.store.fail(StoreUnavailableError("the disk is full"))
    first, second = world.look(A), world.look(B)

    async def fail_to_move() -> None:
        with pytest.raises(StoreUnavailableError):
            await world.ledger.move(ADA, ONE, first, signs=())

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail_to_move)
            await gate.reached.wait()
            tasks.start_soon(lambda: world.ledger.move(ADA, TWO, second, signs=()))
            await anyio.wait_all_tasks_blocked()
            gate.open()

    assert world.id_at(B) == SHARED
    assert [kept.root for kept in (await world.store.load()).project_ids] == [B]


async def test_who_claims_another_id_does_not_wait(world: World) -> None:
    gate = world.store.hold()
    other = world.look(B, ProjectId("another"))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.ledger.note_project, ADA, world.look(A))
            await gate.reached.wait()
            assert await world.ledger.note_project(ADA, other) is False
            gate.open()


async def test_a_hundred_who_arrive_at_once_keep_one_id(world: World) -> None:
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(world.note, A)
                tasks.start_soon(world.note, B)

    assert len([each for commit in world.store.commits for each in commit if isinstance(each, ProjectIdKept)]) == 2
    assert world.id_at(A) != world.id_at(B)
    assert SHARED in (world.id_at(A), world.id_at(B))


async def test_an_id_taken_over_is_taken_from_the_one_that_is_gone_in_one_commit(world: World) -> None:
    await world.note(A)
    await world.note(A, EVE)
    world.gone.add(A)

    await world.note(B)

    commit = world.store.commits[-1]
    assert [change.known.root for change in commit if isinstance(change, ProjectIdKept)] == [B, A]
    state = await world.store.load()
    assert {kept.root for kept in state.project_ids if kept.project_id == SHARED} == {B}
    assert world.ledger.projects.root_of(ADA, SHARED) == B
    assert {(seen.owner, seen.project.root) for seen in state.projects if seen.project.project_id == SHARED} == {
        (ADA, B)
    }


# Joining


async def test_joined_projects_have_one_id_from_then_on_and_after_a_restart() -> None:
    store = MemoryStore()
    world = World(store)
    await world.ledger.load()
    await world.note(A)
    await world.note(B)

    assert await world.ledger.join(world.look(B)) is True

    after = World(store)
    await after.ledger.load()
    for each in (world, after):
        assert each.id_at(A) == each.id_at(B) == SHARED
    assert set((await store.load()).project_ids) == {known(A, is_joined=True), known(B, is_joined=True)}


async def test_joining_what_is_one_project_changes_nothing(world: World) -> None:
    await world.note(A)
    commits = len(world.store.commits)

    assert await world.ledger.join(world.look(A)) is False

    assert len(world.store.commits) == commits


async def test_a_join_looks_again_when_somebody_was_faster(world: World) -> None:
    await world.note(A)
    await world.note(B)
    place = world.look(B)
    await world.ledger.join(place)

    with pytest.raises(PlaceOutdatedError):
        await world.ledger.join(place)

    assert await world.ledger.join(world.look(B)) is False


async def test_a_join_that_cannot_be_kept_joins_nothing(world: World) -> None:
    await world.note(A)
    await world.note(B)
    world.store.fail(StoreUnavailableError("the disk is full"))

    with pytest.raises(StoreUnavailableError):
        await world.ledger.join(world.look(B))

    assert world.id_at(B) != SHARED


async def test_what_claims_no_id_cannot_be_joined(world: World) -> None:
    place = world.look(A, None)

    with pytest.raises(JoinRefusedError, match="claims no id"):
        await world.ledger.join(place)
    with pytest.raises(JoinRefusedError, match="no project owns it"):
        await world.ledger.join(replace(place, project=None))


# Without a registry of ids


async def test_a_ledger_that_keeps_no_ids_notes_projects_all_the_same() -> None:
    store, identities = HeldStore(MemoryStore()), World()
    ledger = SessionLedger(store, ManualClock())
    await ledger.load()

    assert await ledger.note_project(ADA, identities.look(A)) is False
    await ledger.move(ADA, ONE, identities.look(B), signs=())

    assert [kinds(commit) for commit in store.commits] == [[ProjectSeen], [SessionSaved, ProjectSeen]]
    with pytest.raises(JoinRefusedError):
        await ledger.join(identities.look(A))
