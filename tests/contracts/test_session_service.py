"""What `SessionService` promises, held against a manager of this process and against a real daemon's client."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from real_daemon import Home, open_home

from workroot.core.allocations import AllocatedSession, JsonValue, SessionStatus
from workroot.core.answer import Outcome
from workroot.core.identities import Identities
from workroot.core.sessions import Ending, Owner
from workroot.core.signs import Authority, Hint, Roots, RootsAnswer, Signs, Source
from workroot.daemon_client.client import connect
from workroot.errors import (
    ClosedSessionError,
    DirectoryError,
    DryRunError,
    MetadataError,
    ProjectNeededError,
    ProjectUnknownError,
    SessionEndedError,
    SessionError,
    SessionTakenError,
    SignsDisagreeError,
    StrictModeError,
    TimeToLiveError,
    UnknownSessionError,
    UserIdError,
)
from workroot.project_finder import ProjectFinder
from workroot.session_context import SessionContextManager
from workroot.session_service import AllocationService, SessionService
from workroot.storage.memory import MemoryStore

HOUR = 3600.0
_numbers = itertools.count()


@dataclass
class World:
    """A service, a sandbox of one test's own, and the directories that can be worked in.

    Attributes:
        owner: in the sandbox.
    """

    service: SessionService
    owner: Owner
    home: Home

    @property
    def allocations(self) -> AllocationService:
        return self.service.allocations

    @property
    def elsewhere(self) -> Owner:
        """The same program in another sandbox."""
        return self.owner._replace(sandbox=f"{self.owner.sandbox}-other")

    def repository(self, name: str) -> Path:
        return self.home.repository(f"{self.owner.sandbox}/{name}")

    def directory(self, name: str) -> Path:
        return self.home.directory(f"{self.owner.sandbox}/{name}")

    def configured(self, name: str, *settings: str) -> Path:
        made = self.home.configured(f"{self.owner.sandbox}/{name}", name=name, project_id=_uuid())
        if settings:
            config = made / ".workroot" / "config.toml"
            config.write_text("\n".join((*settings, config.read_text())))
        return made


def _uuid() -> str:
    return f"00000000-0000-4000-8000-{next(_numbers):012d}"


@pytest.fixture(scope="module")
def serving() -> Iterator[Home]:
    with open_home() as made:
        made.start()
        yield made


def _local(home: Home) -> SessionService:
    identities = Identities()
    finder = ProjectFinder(_uuid(), identities=identities)
    return SessionContextManager(MemoryStore(), finder, home=str(home.top / "home"), identities=identities)


def _of_daemon(home: Home) -> SessionService:
    return connect(home=str(home.state))


@pytest.fixture(params=[_local, _of_daemon], ids=["local", "daemon"])
async def world(request: pytest.FixtureRequest, serving: Home) -> AsyncIterator[World]:
    service: SessionService = request.param(serving)
    await service.start()
    yield World(service, Owner("local", f"sandbox-{next(_numbers)}"), serving)
    await service.stop()


def _hint(directory: Path | str, source: Source = Source.CONNECTOR) -> Hint:
    return Hint(source, "where it was started", str(directory))


# Life


async def test_it_starts_and_stops_as_often_as_one_likes(world: World) -> None:
    app = world.repository("app")
    await world.service.start()
    await world.service.stop()
    await world.service.stop()
    await world.service.start()

    await world.service.set_working_directory("s", str(app), owner=world.owner)

    assert await world.service.get_working_directory("s", owner=world.owner) == str(app)


async def test_arguments_reach_everywhere_where_nothing_else_is_set(world: World) -> None:
    assert not world.service.is_reach_bounded


# Sessions


async def test_a_session_works_where_it_was_set_to_and_moves_in_one_revision(world: World) -> None:
    first, second = world.repository("first"), world.configured("second")
    before = await world.service.get_session_count()

    opened = await world.service.set_working_directory("s", str(first), owner=world.owner)
    moved = await world.service.set_working_directory("s", str(second), owner=world.owner)

    assert (opened.session_id, opened.owner.sandbox) == ("s", world.owner.sandbox)
    assert (opened.working_directory, opened.project_name, opened.config_path) == (str(first), "first", None)
    assert (moved.working_directory, moved.project_name) == (str(second), "second")
    assert moved.config_path == str(second / ".workroot/config.toml")
    assert (opened.revision, moved.revision) == (1, 2)
    assert await world.service.get_session_count() == before + 1
    assert await world.service.get_working_directory("s", owner=world.owner) == str(second)


async def test_nobody_works_anywhere_under_an_id_that_nobody_used(world: World) -> None:
    assert await world.service.get_working_directory("nobody", owner=world.owner) is None
    with pytest.raises(UnknownSessionError) as caught:
        await world.service.current_session("nobody", owner=world.owner)
    assert caught.value.session_id == "nobody"


@pytest.mark.parametrize(
    ("directory", "problem"),
    [
        ("app", "Directory path must be absolute"),
        ("/no such directory", "Directory does not exist"),
        ("/etc/passwd", "Path is not a directory"),
        ("/\ud800", "Directory path must be valid Unicode"),
    ],
)
async def test_a_directory_that_cannot_be_worked_in_is_named_with_the_reason(
    world: World, directory: str, problem: str
) -> None:
    with pytest.raises(DirectoryError) as caught:
        await world.service.set_working_directory("s", directory, owner=world.owner)

    assert (caught.value.problem, str(caught.value)) == (problem, f"{problem}: {caught.value.directory}")
    assert await world.service.get_working_directory("s", owner=world.owner) is None


@pytest.mark.parametrize("session_id", ["", "-x", "../../etc", "a\nb", "x" * 129])
async def test_what_cannot_be_an_id_is_refused(world: World, session_id: str) -> None:
    with pytest.raises(SessionError) as caught:
        await world.service.set_working_directory(session_id, "/tmp", owner=world.owner)

    assert (type(caught.value), caught.value.session_id) == (SessionError, session_id)


async def test_a_session_is_in_the_project_of_now(world: World) -> None:
    app = world.configured("app")
    await world.service.set_working_directory("s", str(app), owner=world.owner)
    config = app / ".workroot" / "config.toml"
    config.write_text(config.read_text().replace('"app"', '"renamed"'))

    assert (await world.service.current_session("s", owner=world.owner)).project_name == "renamed"


async def test_a_closed_session_is_over_and_says_where_it_worked(world: World) -> None:
    app = world.repository("app")
    await world.service.set_working_directory("s", str(app), owner=world.owner)

    ended = await world.service.close_session("s", owner=world.owner)

    assert (ended.session_id, ended.last_directory, ended.ending) == ("s", str(app), Ending.CLOSED)
    assert await world.service.get_working_directory("s", owner=world.owner) is None
    for again in (
        world.service.current_session("s", owner=world.owner),
        world.service.close_session("s", owner=world.owner),
        world.service.set_working_directory("s", str(app), owner=world.owner),
    ):
        with pytest.raises(ClosedSessionError) as caught:
            await again
        assert (caught.value.session_id, caught.value.last_directory) == ("s", str(app))


async def test_a_project_that_wants_switches_reported_is_not_entered(world: World) -> None:
    dry = world.configured("dry", "dry_run = true")

    with pytest.raises(DryRunError):
        await world.service.set_working_directory("s", str(dry), owner=world.owner)


async def test_whoever_a_session_is_not_of_finds_none(world: World) -> None:
    app = world.repository("app")
    eve = world.owner._replace(principal="subject:eve")
    opened = await world.service.set_working_directory("eves", str(app), owner=eve)
    await world.allocations.allocate(eve, session_id="hers", user_id=None, seconds=HOUR, values={})

    for stranger in (world.owner, eve._replace(principal="subject:bob"), eve._replace(sandbox="elsewhere")):
        assert await world.service.get_working_directory("eves", owner=stranger) is None
        assert list(await world.service.known_projects(stranger)) == []
        assert await world.allocations.find(stranger, "hers", user_id=None) is None
        assert not await world.allocations.end(stranger, "hers", user_id=None, is_deleted=True)
        with pytest.raises(UnknownSessionError):
            await world.service.resolve(stranger, Signs(session_id="eves"))
        with pytest.raises(UnknownSessionError):
            await world.service.close_session("eves", owner=stranger)
    resolution = await world.service.resolve(eve, Signs(session_id="eves"))
    assert resolution.session is not None
    assert resolution.session.owner == opened.owner
    assert await world.service.get_working_directory("eves", owner=opened.owner) == str(app)
    assert [each.root for each in await world.service.known_projects(eve)] == [str(app)]
    assert await world.allocations.validate(eve, "hers", user_id=None)


# Where a call works


@pytest.mark.row("S14")
async def test_the_best_sign_decides_and_the_others_are_told(world: World) -> None:
    app, other = world.repository("app"), world.repository("other")
    signs = Signs(hints=(_hint(app, Source.META), _hint(other)))

    resolution = await world.service.resolve(world.owner, signs)

    assert (resolution.outcome, resolution.source) == (Outcome.DECIDED, Source.META)
    assert (resolution.authority, resolution.session) == (Authority.CLIENT, None)
    assert resolution.required_project().root == str(app)
    assert [each.directory for each in resolution.alternatives] == [str(other)]
    assert [step.directory for step in resolution.steps] == [str(app), str(other)]


async def test_a_call_without_a_sign_is_nowhere_and_is_never_guessed(world: World) -> None:
    await world.service.set_working_directory("s", str(world.repository("app")), owner=world.owner)

    resolution = await world.service.resolve(world.owner, Signs())

    assert (resolution.outcome, resolution.place) == (Outcome.UNKNOWN, None)
    with pytest.raises(ProjectNeededError):
        resolution.required_project()


async def test_a_call_with_a_handle_works_where_its_session_does(world: World) -> None:
    app, other = world.repository("app"), world.repository("other")
    session = await world.service.set_working_directory("s", str(app), owner=world.owner)

    resolution = await world.service.resolve(world.owner, Signs(session_id="s", hints=(_hint(other),)), is_told=False)

    assert (resolution.claim.by, resolution.claim.name, resolution.source) == ("handle", "s", Source.PIN)
    assert resolution.session is not None
    assert resolution.session.key == session.key
    assert resolution.required_project().name == "app"


async def test_roots_in_several_projects_are_ambiguous(world: World) -> None:
    app, other = world.repository("app"), world.repository("other")
    roots = Roots(RootsAnswer.GIVEN, (app.as_uri(), other.as_uri()))

    resolution = await world.service.resolve(world.owner, Signs(roots=roots))

    assert resolution.outcome is Outcome.AMBIGUOUS
    assert {each.directory for each in resolution.alternatives} == {str(app), str(other)}


async def test_whether_meta_decides_is_told(world: World) -> None:
    app = world.repository("app")

    assert await world.service.is_decided_by_meta(Signs(hints=(_hint(app, Source.META),)))
    assert not await world.service.is_decided_by_meta(Signs(hints=(_hint(app),)))


async def test_signs_of_equal_authority_that_disagree_are_an_error(world: World) -> None:
    with pytest.raises(SignsDisagreeError, match=r"'a'.*'b'"):
        await world.service.resolve(world.owner, Signs(meta_session="a", header_session="b"))


async def test_a_strict_project_answers_for_no_directory_outside_of_it(world: World) -> None:
    strict, other = world.configured("strict", "strict_mode = true"), world.repository("other")
    await world.service.set_working_directory("s", str(strict), owner=world.owner)

    with pytest.raises(StrictModeError) as caught:
        await world.service.resolve(world.owner, Signs(session_id="s", directory=str(other)))

    assert caught.value.directory == str(other)


async def test_entering_without_a_session_makes_one_and_with_it_moves_it(world: World) -> None:
    app, other = world.repository("app"), world.repository("other")

    entered = await world.service.enter(world.owner, Signs(hints=(_hint(app),)), str(app))
    session = entered.resolution.session
    assert session is not None
    moved = await world.service.enter(world.owner, Signs(session_id=session.session_id), str(other))

    assert (entered.is_made, entered.before, entered.resolution.source) == (True, None, Source.PIN)
    assert [(sign.directory, sign.agreed) for sign in session.signs] == [(str(app), True)]
    assert moved.before is not None
    assert moved.before.working_directory == str(app)
    assert await world.service.get_working_directory(session.session_id, owner=world.owner) == str(other)


async def test_entering_a_project_that_is_not_there_names_the_one_that_is(world: World) -> None:
    app = world.repository("app")

    with pytest.raises(ProjectUnknownError) as caught:
        await world.service.enter(world.owner, Signs(), str(app), project="another")

    assert (caught.value.wanted, caught.value.is_ambiguous) == ("another", False)
    assert [(name, root) for name, _, root in caught.value.candidates] == [("app", str(app))]


async def test_entering_a_project_that_wants_switches_reported_is_reported(world: World) -> None:
    dry = world.configured("dry", "dry_run = true")

    entered = await world.service.enter(world.owner, Signs(), str(dry))

    assert (entered.is_made, entered.resolution.session) == (False, None)
    assert "dry_run" in " ".join(entered.resolution.warnings)


async def test_a_look_shows_a_config_with_its_fields(world: World) -> None:
    app = world.configured("app", 'description = "notes"', "auto_switch = false")
    inner = app / "inner"
    inner.mkdir()

    place = await world.service.look(str(inner))

    assert (place.directory, place.project and place.project.root) == (str(inner), str(app))
    assert place.project is not None
    assert place.project.config is not None
    assert (place.project.config.description, place.project.config.auto_switch) == ("notes", False)
    assert len(place.project.config.digest) == 64


async def test_a_look_shows_what_is_wrong_with_a_config(world: World) -> None:
    broken = world.home.with_config(f"{world.owner.sandbox}/broken", "no config =\n")

    place = await world.service.look(str(broken))

    assert place.project is None
    assert place.config_error is not None
    assert (place.config_error.path, place.config_error.line) == (str(broken / ".workroot/config.toml"), 1)


# Projects


async def test_known_projects_come_latest_first_and_can_be_searched(world: World) -> None:
    atlas, harbor = world.repository("atlas"), world.repository("harbor")
    for number, project in enumerate((atlas, harbor)):
        await world.service.set_working_directory(f"s{number}", str(project), owner=world.owner)

    known = await world.service.known_projects(world.owner)

    assert [each.root for each in known] == [str(harbor), str(atlas)]
    assert known[0].seen_at >= known[1].seen_at
    assert [each.name for each in await world.service.known_projects(world.owner, "ATL")] == ["atlas"]
    assert list(await world.service.known_projects(world.elsewhere)) == []


async def test_a_project_is_found_by_its_id_its_name_and_its_root(world: World) -> None:
    atlas = world.repository("atlas")
    session = await world.service.set_working_directory("s", str(atlas), owner=world.owner)

    for wanted in (str(session.project_id), "atlas", str(atlas)):
        assert await world.service.root_of_project(world.owner, wanted) == str(atlas)
    with pytest.raises(ProjectUnknownError) as caught:
        await world.service.root_of_project(world.owner, "harbor")
    assert caught.value.candidates == (("atlas", str(session.project_id), str(atlas)),)


# Sandboxes


@pytest.mark.row("C11", "B10")
async def test_two_sandboxes_never_meet(world: World) -> None:
    app, other = world.repository("app"), world.repository("other")
    await world.service.set_working_directory("s", str(app), owner=world.owner)
    await world.service.set_working_directory("s", str(other), owner=world.elsewhere)
    await _allocated(world, "s", values={"of": "ada"})
    allocated = await _allocated(world, "s", owner=world.elsewhere, user_id="bob")
    assert allocated.values() == {}

    await world.service.close_session("s", owner=world.elsewhere)
    await world.allocations.end(world.elsewhere, "s", user_id=None, is_deleted=True)

    assert await world.service.get_working_directory("s", owner=world.owner) == str(app)
    found = await world.allocations.find(world.owner, "s", user_id=None)
    assert found is not None
    assert (found.values(), found.status) == ({"of": "ada"}, SessionStatus.ACTIVE)


# Allocated sessions


async def _allocated(
    world: World,
    session_id: str | None = None,
    *,
    owner: Owner | None = None,
    user_id: str | None = None,
    seconds: float = HOUR,
    values: dict[str, object] | None = None,
) -> AllocatedSession:
    made = await world.allocations.allocate(
        owner or world.owner, session_id=session_id, user_id=user_id, seconds=seconds, values=values or {}
    )
    return made.session


@pytest.mark.row("C2", "C4")
async def test_an_allocated_session_is_found_with_all_that_was_said(world: World) -> None:
    before = time.time()
    made = await world.allocations.allocate(
        world.owner, session_id=None, user_id="ada", seconds=HOUR, values={"a": [1, 2.5, None, {"b": "ü"}]}
    )

    found = await world.allocations.find(world.owner, made.session.session_id, user_id="ada")

    assert made.is_new
    assert found == made.session
    assert (found.user_id, found.status, found.revision) == ("ada", SessionStatus.ACTIVE, 1)
    assert found.values() == {"a": [1, 2.5, None, {"b": "ü"}]}
    assert before + HOUR - 1 <= await world.allocations.expires_at(found) <= time.time() + HOUR + 1


@pytest.mark.row("C2", "B11")
async def test_a_chosen_id_is_its_owner_s_already_and_a_stranger_s_error(world: World) -> None:
    first = await _allocated(world, "fixed", user_id="ada", values={"secret": 1})

    again = await world.allocations.allocate(
        world.owner, session_id="fixed", user_id="ada", seconds=2 * HOUR, values={"other": 2}
    )
    with pytest.raises(SessionTakenError) as caught:
        await _allocated(world, "fixed", user_id="mallory")

    assert (again.is_new, again.session.values()) == (False, {"secret": 1})
    assert again.session.deadline == first.deadline
    assert caught.value.session_id == "fixed"


@pytest.mark.row("C3", "C12")
async def test_somebody_else_s_session_reads_as_unknown(world: World) -> None:
    await _allocated(world, "s", user_id="ada")

    assert await world.allocations.validate(world.owner, "s", user_id="ada")
    assert await world.allocations.validate(world.owner, "s", user_id=None)
    assert not await world.allocations.validate(world.owner, "s", user_id="mallory")
    assert await world.allocations.find(world.owner, "s", user_id="mallory") is None
    assert not await world.allocations.end(world.owner, "s", user_id="mallory", is_deleted=True)
    with pytest.raises(UnknownSessionError):
        await world.allocations.increment(world.owner, "s", "n", 1, user_id="mallory")


@pytest.mark.parametrize("session_id", ["../../etc", "a\nb", "x" * 100_000, "", 7])
@pytest.mark.row("B11")
async def test_what_cannot_be_an_id_is_allocated_to_nobody(world: World, session_id: Any) -> None:
    with pytest.raises(SessionError) as caught:
        await _allocated(world, session_id)

    assert type(caught.value) is SessionError
    assert (await world.allocations.stats(world.owner))["active"] == 0


@pytest.mark.parametrize("user_id", ["", "a\nb", "x" * 100_000])
async def test_what_cannot_be_a_user_is_refused(world: World, user_id: str) -> None:
    with pytest.raises(UserIdError, match="a user's id is text"):
        await _allocated(world, "s", user_id=user_id)
    assert await world.allocations.find(world.owner, "s", user_id=None) is None


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, 1e12])
@pytest.mark.row("C6", "B12", "B16")
async def test_a_time_to_live_that_is_none_is_an_error_and_nothing_is_made(world: World, seconds: float) -> None:
    with pytest.raises(TimeToLiveError):
        await _allocated(world, "s", seconds=seconds)
    assert await world.allocations.find(world.owner, "s", user_id=None) is None

    made = await _allocated(world, "s")
    with pytest.raises(TimeToLiveError):
        await world.allocations.extend(world.owner, "s", seconds, user_id=None)
    found = await world.allocations.find(world.owner, "s", user_id=None)
    assert found is not None
    assert found.deadline == made.deadline


@pytest.mark.row("C6")
async def test_more_time_is_added_to_what_there_was(world: World) -> None:
    made = await _allocated(world, "s")

    extended = await world.allocations.extend(world.owner, "s", 1.5, user_id=None)

    assert extended.deadline == pytest.approx(made.deadline + 1.5)


@pytest.mark.row("C5")
async def test_values_are_merged_or_replaced(world: World) -> None:
    await _allocated(world, "s", values={"a": 1, "b": 1})

    merged = await world.allocations.update(world.owner, "s", {"b": 2}, user_id=None, merge=True)
    replaced = await world.allocations.update(world.owner, "s", {"c": 3}, user_id=None, merge=False)

    assert merged.values() == {"a": 1, "b": 2}
    assert replaced.values() == {"c": 3}


@pytest.mark.parametrize(
    "values", [{"a": object()}, {"a": math.nan}, {1: "a"}, {"a": "x" * 70_000}, {"a": "\ud800"}, ["a"]]
)
@pytest.mark.row("B15")
async def test_what_is_no_small_json_is_refused_and_the_session_goes_on(world: World, values: Any) -> None:
    with pytest.raises(MetadataError):
        await _allocated(world, "s", values=values)
    await _allocated(world, "s", values={"kept": 1})
    with pytest.raises(MetadataError):
        await world.allocations.update(world.owner, "s", values, user_id=None, merge=True)

    found = await world.allocations.find(world.owner, "s", user_id=None)
    assert found is not None
    assert found.values() == {"kept": 1}
    assert await world.allocations.validate(world.owner, "s", user_id=None)


async def test_all_that_a_session_may_remember_comes_back(world: World) -> None:
    values: dict[str, object] = {"text": "ü\u0001" * 8_000}

    made = await _allocated(world, "s", values=values)

    assert made.values() == values


@pytest.mark.row("C5", "C13", "B15")
async def test_a_hundred_increments_at_once_give_a_hundred(world: World) -> None:
    await _allocated(world, "s")
    sums: list[float] = []

    async def add() -> None:
        sums.append(await world.allocations.increment(world.owner, "s", "n", 1, user_id=None))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(add)

    assert sorted(sums) == list(range(1, 101))
    found = await world.allocations.find(world.owner, "s", user_id=None)
    assert found is not None
    assert found.values() == {"n": 100}


async def test_whole_numbers_stay_whole_and_others_do_not(world: World) -> None:
    await _allocated(world, "s", values={"big": 2**60, "word": "x"})

    big = await world.allocations.increment(world.owner, "s", "big", 1, user_id=None)
    half = await world.allocations.increment(world.owner, "s", "half", 0.5, user_id=None)

    assert (big, type(big), half) == (2**60 + 1, int, 0.5)
    for name, by in (("word", 1), ("big", math.inf), ("big", True)):
        with pytest.raises(MetadataError):
            await world.allocations.increment(world.owner, "s", name, by, user_id=None)


@pytest.mark.row("C13")
async def test_of_a_list_the_first_give_way(world: World) -> None:
    await _allocated(world, "s")

    values: list[JsonValue] = ["a", None, {"b": 1}]
    lengths = [await world.allocations.append(world.owner, "s", "log", value, user_id=None, most=2) for value in values]

    found = await world.allocations.find(world.owner, "s", user_id=None)
    assert found is not None
    assert (lengths, found.values()) == ([1, 2, 2], {"log": [None, {"b": 1}]})


@pytest.mark.row("C13")
async def test_of_many_who_take_a_value_at_once_one_gets_it(world: World) -> None:
    await _allocated(world, "s", values={"code": {"digits": "123456"}})
    taken: list[object] = []

    async def take() -> None:
        taken.append(await world.allocations.take(world.owner, "s", "code", user_id=None))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(take)

    assert [each for each in taken if each is not None] == [{"digits": "123456"}]
    assert len(taken) == 20


@pytest.mark.row("C5")
async def test_a_value_is_replaced_only_if_it_is_what_was_expected(world: World) -> None:
    await _allocated(world, "s")

    async def replace(expected: Any, value: Any) -> bool:
        return await world.allocations.compare_and_set(world.owner, "s", "v", expected, value, user_id=None)

    assert await replace(None, {"a": 1})
    assert not await replace(None, "lost")
    assert not await replace({"a": 2}, "lost")
    assert await replace({"a": 1}, "won")
    found = await world.allocations.find(world.owner, "s", user_id=None)
    assert found is not None
    assert found.values() == {"v": "won"}


@pytest.mark.parametrize(
    ("is_deleted", "status"), [(True, SessionStatus.TERMINATED), (False, SessionStatus.INVALIDATED)]
)
@pytest.mark.row("C7", "C10", "B13")
async def test_a_session_that_was_ended_is_over_for_good(world: World, is_deleted: bool, status: SessionStatus) -> None:
    await _allocated(world, "s", values={"a": 1})

    assert await world.allocations.end(world.owner, "s", user_id=None, is_deleted=is_deleted)
    assert not await world.allocations.end(world.owner, "s", user_id=None, is_deleted=is_deleted)

    assert not await world.allocations.validate(world.owner, "s", user_id=None)
    found = await world.allocations.find(world.owner, "s", user_id=None)
    assert found is not None
    assert (found.status, found.values()) == (status, {})
    assert found.ended_at is not None
    for again in (
        world.allocations.update(world.owner, "s", {}, user_id=None, merge=True),
        world.allocations.allocate(world.owner, session_id="s", user_id=None, seconds=HOUR, values={}),
    ):
        with pytest.raises(SessionEndedError) as caught:
            await again
        assert (caught.value.session_id, caught.value.status) == ("s", status.value)


async def test_the_end_of_an_allocated_session_ends_where_it_works(world: World) -> None:
    app = world.repository("app")
    await _allocated(world, "s")
    await world.service.set_working_directory("s", str(app), owner=world.owner)

    await world.allocations.end(world.owner, "s", user_id=None, is_deleted=True)

    assert await world.service.get_working_directory("s", owner=world.owner) is None
    with pytest.raises(SessionError):
        await world.service.set_working_directory("s", str(app), owner=world.owner)


@pytest.mark.row("C8", "C10", "B17")
async def test_those_whose_time_ran_out_are_counted_and_stay_known_as_expired(world: World) -> None:
    short = [(await _allocated(world, seconds=0.001)).session_id for _ in range(3)]
    await _allocated(world, "long")
    with anyio.fail_after(5):
        while await world.allocations.validate(world.owner, short[-1], user_id=None):
            await anyio.lowlevel.checkpoint()

    await world.allocations.cleanup(world.owner)

    assert await world.allocations.cleanup(world.owner) == 0
    for each in short:
        found = await world.allocations.find(world.owner, each, user_id=None)
        assert found is not None
        assert found.status is SessionStatus.EXPIRED
    assert (await world.allocations.stats(world.owner))["active"] == 1


@pytest.mark.row("C9")
async def test_the_counts_are_of_the_sandbox(world: World) -> None:
    await _allocated(world, "s")

    stats, other = await world.allocations.stats(world.owner), await world.allocations.stats(world.elsewhere)

    assert {"active", "hits", "misses", "expired", "ended", "most"} <= set(stats)
    assert (stats["active"], other["active"]) == (1, 0)
