"""Sessions move by themselves: with their clients, and with what happens to the projects that they work in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import anyio
import pytest

from fakes import FakePlaces, HeldStore, ManualClock, place
from workroot.core.answer import Outcome
from workroot.core.projects import ConfigProblem, Directory, Place, ProjectConfig
from workroot.core.sessions import Alias, Owner, SessionContext
from workroot.core.signs import Hint, Roots, RootsAnswer, Signs, Source
from workroot.errors import DryRunError, MoveRefusedError, ProjectUnknownError, StoreUnavailableError
from workroot.events import Event, ProjectsChanged, SessionMoved
from workroot.session_context import SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore

ADA, BOB = Owner("uid:1000"), Owner("uid:1001")
SHOP, FIX, BLOG = (place(f"/{name}", project=name) for name in ("shop", "shop-fix", "blog"))


def rests(there: Place, *directories: str) -> Place:
    return replace(there, rests_on=directories or (there.directory,))


@dataclass
class World:
    clock: ManualClock
    places: FakePlaces
    store: HeldStore
    manager: SessionContextManager
    events: list[Event]

    async def open_session(self, directory: str, *roots: str, owner: Owner = ADA) -> SessionContext:
        entered = await self.manager.enter(owner, at(*roots), directory)
        assert entered.resolution.session is not None
        self.events.clear()
        return entered.resolution.session

    def moved(self) -> list[str]:
        return [event.session.working_directory for event in self.events if isinstance(event, SessionMoved)]

    def changed(self) -> set[str]:
        return {event.project_id for event in self.events if isinstance(event, ProjectsChanged)}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock, store = ManualClock(), HeldStore(MemoryStore())
    places = FakePlaces({each.directory: rests(each) for each in (SHOP, FIX, BLOG)})
    events: list[Event] = []
    async with SessionContextManager(store, places, clock=clock, home="/home/ada") as manager:
        manager.events.subscribe(events.append)
        yield World(clock, places, store, manager, events)


def at(*roots: str, session_id: str | None = None) -> Signs:
    return Signs(session_id=session_id, roots=Roots(RootsAnswer.GIVEN, tuple(f"file://{root}" for root in roots)))


def configured(there: Place, config: ProjectConfig) -> Place:
    assert there.project is not None
    return rests(replace(there, project=replace(there.project, config=config)))


# With their clients


async def test_a_session_follows_its_client_into_a_worktree_in_one_revision_and_says_from_where(world: World) -> None:
    session = await world.open_session("/shop", "/shop")

    resolution = await world.manager.resolve(ADA, at("/shop-fix", session_id=session.session_id))

    now = resolution.session
    assert now is not None
    assert (now.working_directory, now.project_root, now.revision) == ("/shop-fix", "/shop-fix", session.revision + 1)
    assert resolution.previous is not None
    assert resolution.previous.working_directory == "/shop"
    assert resolution.warnings == (
        "the client moved from /shop (roots), and this session, which worked in /shop, follows it",
    )
    assert world.moved() == ["/shop-fix"]
    assert [each.working_directory for each in (await world.store.load()).sessions] == ["/shop-fix"]

    again = await world.manager.resolve(ADA, at("/shop-fix", session_id=session.session_id))
    assert (again.source, again.previous, again.warnings) == (Source.PIN, None, ())


async def test_a_stale_session_stays_as_it_is_until_it_is_set_again(world: World) -> None:
    session = await world.open_session("/blog", "/shop")
    moved = at("/shop-fix", session_id=session.session_id)

    resolution = await world.manager.resolve(ADA, moved)
    assert resolution.outcome is Outcome.STALE
    assert world.moved() == []

    await world.manager.enter(ADA, moved, "/blog")
    assert (await world.manager.resolve(ADA, moved)).outcome is Outcome.DECIDED


async def test_calls_that_notice_the_same_move_at_once_make_it_once(world: World) -> None:
    session = await world.open_session("/shop", "/shop")
    moved = at("/shop-fix", session_id=session.session_id)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(world.manager.resolve, ADA, moved)

    assert world.moved() == ["/shop-fix"]


async def test_while_the_store_is_away_the_answer_is_right_and_the_move_is_made_up_for_later(world: World) -> None:
    session = await world.open_session("/shop", "/shop")
    moved = at("/shop-fix", session_id=session.session_id)

    world.store.fail(StoreUnavailableError("the disk is full"), StoreUnavailableError("the disk is full"))
    resolution = await world.manager.resolve(ADA, moved)
    assert resolution.place is not None
    assert resolution.place.directory == "/shop-fix"
    assert world.moved() == []

    world.store.fail_no_more()
    await world.manager.resolve(ADA, moved)
    assert world.moved() == ["/shop-fix"]


async def test_a_conversation_of_the_clients_own_has_a_session_of_its_own(world: World) -> None:
    one, other = (replace(at(), conversation=Alias(f"threadId:{name}"), alias=Alias("editor")) for name in "ab")

    await world.manager.enter(ADA, one, "/shop")

    assert (await world.manager.resolve(ADA, one)).place == rests(SHOP)
    assert (await world.manager.resolve(ADA, other)).session is None
    assert (await world.manager.resolve(ADA, replace(at(), alias=Alias("editor")))).session is None
    assert not (await world.manager.resolve(ADA, one)).is_default_session


# With their projects


async def test_a_config_that_appears_moves_the_sessions_there_without_a_call(world: World) -> None:
    session = await world.open_session("/shop")
    world.places.known["/shop"] = rests(place("/shop", project="renamed"))

    await world.manager.refresh(ADA, Directory("/shop"))

    now = world.manager.get_session(session.session_id, owner=ADA)
    assert (now.project_name, now.revision) == ("renamed", session.revision + 1)
    assert now.given_directory == session.given_directory
    assert world.moved() == ["/shop"]
    assert world.changed() == {"id-of-shop", "id-of-renamed"}


async def test_a_config_that_breaks_takes_the_project_away(world: World) -> None:
    session = await world.open_session("/shop")
    world.places.known["/shop"] = rests(place("/shop", problem=ConfigProblem(path="/shop/c.toml", problem="is broken")))

    resolution = await world.manager.resolve(ADA, at(session_id=session.session_id))

    assert resolution.session is not None
    assert (resolution.session.project_id, resolution.session.config_path) == (None, "/shop/c.toml")
    assert resolution.warnings == ("/shop/c.toml: is broken",)


async def test_an_edit_that_moves_nobody_is_told_to_those_who_look_at_the_project(world: World) -> None:
    await world.open_session("/shop")
    world.places.known["/shop"] = configured(SHOP, ProjectConfig(name="shop", description="new"))

    await world.manager.refresh(ADA, Directory("/shop"))

    assert (world.moved(), world.changed()) == ([], {"id-of-shop"})


async def test_a_look_that_finds_nothing_new_tells_nobody(world: World) -> None:
    await world.open_session("/shop")

    await world.manager.refresh(ADA, Directory("/shop"))

    assert world.events == []


async def test_a_directory_that_is_gone_moves_nobody(world: World) -> None:
    await world.open_session("/shop")
    del world.places.known["/shop"]

    await world.manager.refresh(ADA, Directory("/shop"))
    await world.manager.refresh(ADA, Directory("/shop"))

    assert [type(event) for event in world.events] == [ProjectsChanged], "told once, to those who look at the project"


async def test_only_the_sessions_of_that_owner_in_that_directory_move(world: World) -> None:
    for owner in (ADA, BOB):
        await world.open_session("/shop", owner=owner)
    await world.open_session("/blog")
    world.places.known["/shop"] = rests(place("/shop", project="renamed"))

    await world.manager.refresh(ADA, Directory("/shop"))

    [event] = [event for event in world.events if isinstance(event, SessionMoved)]
    assert event.session.owner == ADA


# What is followed


async def test_places_are_followed_by_what_they_rest_on_latest_first(world: World) -> None:
    world.places.known["/shop"] = rests(SHOP, "/shop", "/shop/.workroot")
    changes: list[list[str]] = []
    world.manager.followed.on_change(lambda: changes.append(list(world.manager.followed.directories())))

    await world.open_session("/shop")
    await world.manager.resolve(BOB, at("/blog"))
    await world.manager.resolve(BOB, at("/blog"))

    await world.open_session("/blog", owner=BOB)

    assert changes == [
        ["/shop", "/shop/.workroot"],
        ["/shop", "/shop/.workroot", "/blog"],
        ["/blog", "/shop", "/shop/.workroot"],
    ], "where sessions work comes first"
    assert world.manager.followed.resting_on({"/shop/.workroot", "/elsewhere"}) == [(ADA, "/shop")]


async def test_no_number_of_passing_calls_makes_a_session_deaf(world: World) -> None:
    await world.open_session("/shop")
    world.places.known |= {f"/n/{number}": rests(place(f"/n/{number}")) for number in range(2000)}

    for number in range(2000):
        await world.manager.resolve(BOB, at(f"/n/{number}"))

    assert "/shop" in set(world.manager.followed.directories())
    assert len(list(world.manager.followed.directories())) < 200


async def test_what_the_watcher_changed_is_told_by_the_next_answer_and_once(world: World) -> None:
    session = await world.open_session("/shop")
    world.places.known["/shop"] = rests(place("/shop", project="renamed"))
    await world.manager.refresh(ADA, Directory("/shop"))

    first, second = [await world.manager.resolve(ADA, at(session_id=session.session_id)) for _ in range(2)]

    assert first.previous is not None
    assert first.previous.project_name == "shop"
    assert first.warnings == ("/shop was in project 'shop' at the last call, and its config has changed since",)
    assert (second.previous, second.warnings) == (None, ())


async def test_after_a_restart_sessions_are_followed_again_and_what_changed_meanwhile_is_told(world: World) -> None:
    session = await world.open_session("/shop")
    world.places.known["/shop"] = rests(place("/shop", project="renamed"))
    fresh = SessionContextManager(world.store, world.places, clock=world.clock)
    fresh.events.subscribe(world.events.append)

    async with fresh:
        await fresh.refresh_all()

        assert world.moved() == ["/shop"]
        assert list(fresh.followed.directories()) == ["/shop"]
        assert fresh.get_session(session.session_id, owner=ADA).project_name == "renamed"


async def test_after_a_restart_no_more_sessions_are_looked_through_than_takes_a_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workroot.follower._LATEST", 2)
    await world.open_session("/shop")
    for _ in range(2):
        await world.open_session("/blog")
    fresh = SessionContextManager(world.store, world.places, clock=world.clock)

    async with fresh:
        await fresh.refresh_all()

        assert list(fresh.followed.directories()) == ["/blog"]


# By what a project is called


async def test_another_project_than_the_one_that_was_named_is_not_entered(world: World) -> None:
    with pytest.raises(ProjectUnknownError, match="'blog'"):
        await world.manager.enter(ADA, at(), "/shop", project="blog")

    assert await world.manager.get_session_count() == 0


# What a project's config says


async def test_a_session_in_a_project_without_auto_switch_is_in_none_until_it_names_it(world: World) -> None:
    world.places.known["/shop"] = configured(SHOP, ProjectConfig(name="shop", auto_switch=False))

    session = await world.open_session("/shop")
    assert (session.working_directory, session.project_id) == ("/shop", None)

    named = (await world.manager.enter(ADA, at(session_id=session.session_id), "/shop", project="shop")).resolution
    assert named.session is not None
    assert named.session.project_id == "id-of-shop"
    assert (await world.manager.resolve(ADA, at(session_id=session.session_id))).required_project().name == "shop"


async def test_a_project_that_a_session_is_in_can_switch_auto_switch_off_around_it(world: World) -> None:
    session = await world.open_session("/shop")
    world.places.known["/shop"] = configured(SHOP, ProjectConfig(name="shop", auto_switch=False))

    assert (await world.manager.resolve(ADA, at(session_id=session.session_id))).required_project().name == "shop"


async def test_with_dry_run_a_switch_is_reported_and_nothing_changes(world: World) -> None:
    world.places.known["/shop"] = configured(SHOP, ProjectConfig(name="shop", dry_run=True))
    session = await world.open_session("/blog")

    entered = await world.manager.enter(ADA, at(session_id=session.session_id), "/shop", project="shop")

    assert not entered.is_made
    assert entered.resolution.place == rests(BLOG)
    assert entered.resolution.warnings == ("dry_run: a switch into project 'shop' at /shop was reported, not made",)
    assert world.manager.get_session(session.session_id, owner=ADA).revision == session.revision
    assert world.moved() == []


async def test_with_dry_run_no_session_is_opened(world: World) -> None:
    world.places.known["/shop"] = configured(SHOP, ProjectConfig(name="shop", dry_run=True))

    entered = await world.manager.enter(ADA, at(), "/shop")

    assert entered.resolution.session is None
    with pytest.raises(DryRunError, match="reported, not made"):
        await world.manager.set_working_directory("mine", "/shop")
    assert await world.manager.get_session_count() == 0


async def test_an_argument_out_of_reach_changes_nothing(world: World) -> None:
    async with SessionContextManager(
        world.store, world.places, clock=world.clock, home="/home/ada", rules=SessionRules(model_may_move="known")
    ) as bound:
        with pytest.raises(MoveRefusedError):
            await bound.enter(ADA, at("/shop"), "/blog")
        assert await bound.get_session_count() == 0

        await bound.resolve(ADA, at("/blog"))
        await bound.enter(ADA, at("/shop"), "/blog")


async def test_a_call_whose_metadata_names_a_directory_need_not_be_asked_for_roots(world: World) -> None:
    def meta(directory: str, problem: str | None = None) -> Signs:
        return Signs(hints=(Hint(Source.META, "workroot/directory", directory, problem=problem),))

    assert await world.manager.is_decided_by_meta(meta("/shop"))
    assert not await world.manager.is_decided_by_meta(meta("/gone"))
    assert not await world.manager.is_decided_by_meta(meta("/home/ada"))
    assert not await world.manager.is_decided_by_meta(meta("/shop", "is a number, not text"))
    assert not await world.manager.is_decided_by_meta(Signs(hints=(Hint(Source.CONNECTOR, "PWD", "/shop"),)))
