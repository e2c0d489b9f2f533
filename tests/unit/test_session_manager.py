"""`SessionManager`: the interface that programs know, over this process's sessions."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from fakes import DAY, HOUR, FakePlaces, Gate, HeldStore, ManualClock
from workroot.allocating.home_loop import HomeLoop
from workroot.core.sessions import Owner
from workroot.default_manager import get_session_context_manager, set_session_context_manager
from workroot.errors import (
    MetadataError,
    SessionEndedError,
    SessionError,
    SessionTakenError,
    SettingsError,
    StoreUnavailableError,
    TimeToLiveError,
    UnknownSessionError,
    UserIdError,
)
from workroot.request_context import RequestContext
from workroot.session_context import SessionContextManager
from workroot.session_manager import SessionManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore
from workroot.storage.sqlite import open_sqlite_store

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
RULES = SessionRules(sweep_seconds=1e6 * DAY)


@pytest.fixture(autouse=True)
def _no_sandbox_and_no_manager_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("CHUK_SANDBOX_ID", "CHUK_HOST_SANDBOX_ID"):
        monkeypatch.delenv(name, raising=False)
    set_session_context_manager(None)
    yield
    set_session_context_manager(None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store() -> HeldStore:
    return HeldStore(MemoryStore())


@pytest.fixture
async def sessions(clock: ManualClock, store: HeldStore) -> AsyncIterator[SessionContextManager]:
    async with SessionContextManager(store, FakePlaces({}), clock=clock, rules=RULES) as manager:
        yield manager


@pytest.fixture
def manager(sessions: SessionContextManager) -> SessionManager:
    return SessionManager("shop", sessions=sessions)


# The sandbox


@pytest.mark.row("C1")
def test_the_sandbox_is_the_argument_else_a_variable_else_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SessionManager().sandbox_id
    assert re.fullmatch(r"sandbox-[0-9a-f]{8}", made)
    assert SessionManager().sandbox_id != made
    monkeypatch.setenv("CHUK_HOST_SANDBOX_ID", "of-the-host")
    assert SessionManager().sandbox_id == "of-the-host"
    monkeypatch.setenv("CHUK_SANDBOX_ID", "of-the-process")
    assert SessionManager().sandbox_id == "of-the-process"
    assert SessionManager(sandbox_id="given").sandbox_id == "given"


@pytest.mark.row("B10", "C1")
async def test_a_managers_sandbox_does_not_leak_to_the_next_through_the_environment() -> None:
    before = dict(os.environ)

    first = SessionManager("shop")
    await first.allocate_session()

    assert dict(os.environ) == before
    assert SessionManager().sandbox_id != first.sandbox_id


@pytest.mark.parametrize("sandbox", ["", "../x", "a b", "x" * 129, "\ud800", "a/b"])
def test_what_cannot_be_a_sandbox_is_refused(monkeypatch: pytest.MonkeyPatch, sandbox: str) -> None:
    with pytest.raises(SettingsError, match="sandbox"):
        SessionManager(sandbox)


def test_a_variable_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHUK_SANDBOX_ID", "")
    monkeypatch.setenv("CHUK_HOST_SANDBOX_ID", "shop")

    assert SessionManager().sandbox_id == "shop"


def test_a_variable_that_cannot_be_a_sandbox_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHUK_SANDBOX_ID", "../x")

    with pytest.raises(SettingsError, match="CHUK_SANDBOX_ID"):
        SessionManager()


@pytest.mark.row("B10", "C11")
async def test_one_manager_per_sandbox_and_the_same_user_has_two_sessions(sessions: SessionContextManager) -> None:
    shop, library = SessionManager("shop", sessions=sessions), SessionManager("library", sessions=sessions)
    in_shop = await shop.allocate_session(user_id="alice", custom_metadata={"cart": 1})
    in_library = await library.allocate_session(user_id="alice")

    assert in_shop != in_library
    assert not await library.validate_session(in_shop)
    assert await library.get_session_info(in_shop) is None
    assert not await library.update_session_metadata(in_shop, {"cart": 0})
    assert not await library.extend_session_ttl(in_shop, 1)
    assert not await library.delete_session(in_shop)
    assert await shop.validate_session(in_shop)


def test_a_session_factory_is_refused_and_told_where_to_go() -> None:
    with pytest.raises(TypeError, match="sessions="):
        SessionManager("shop", lambda: None)


@pytest.mark.parametrize(
    "hours",
    [0, -1, float("nan"), float("inf"), True, "24", None, 10**400, pytest.param(-(10**5000), id="of 5000 digits")],
)
def test_a_default_time_to_live_that_makes_no_sense_is_refused(hours: Any) -> None:
    with pytest.raises(TimeToLiveError):
        SessionManager("shop", default_ttl_hours=hours)


# The life of a session


@pytest.mark.row("C2", "C4")
async def test_what_a_program_is_told_of_its_session(manager: SessionManager, clock: ManualClock) -> None:
    session_id = await manager.allocate_session(user_id="alice", ttl_hours=1.5, custom_metadata={"plan": "pro"})

    info = await manager.get_session_info(session_id)

    assert info is not None
    assert list(info) == [
        "session_id",
        "sandbox_id",
        "user_id",
        "created_at",
        "expires_at",
        "status",
        "last_accessed",
        "custom_metadata",
    ]
    assert (info["session_id"], info["sandbox_id"], info["user_id"]) == (session_id, "shop", "alice")
    assert (info["status"], info["custom_metadata"]) == ("active", {"plan": "pro"})
    assert type(info["status"]) is str
    for time in (info["created_at"], info["expires_at"], info["last_accessed"]):
        assert ISO.fullmatch(time)
    assert datetime.fromisoformat(info["created_at"]).timestamp() == clock.wall()
    assert datetime.fromisoformat(info["expires_at"]).timestamp() == clock.wall() + 1.5 * HOUR
    assert await manager.get_session_info("made-up") is None


@pytest.mark.row("C4", "B14")
async def test_what_a_program_is_told_are_copies(manager: SessionManager) -> None:
    session_id = await manager.allocate_session(custom_metadata={"nested": {"n": 1}})
    info, metadata = await manager.get_session_info(session_id), await manager.get_session_metadata(session_id)
    assert info is not None
    assert metadata is not None
    assert metadata.to_dict() == dict(info)

    info["custom_metadata"]["nested"] = 5
    metadata.custom_metadata["nested"] = 6
    metadata.status = "terminated"

    again = await manager.get_session_metadata(session_id)
    assert again is not None
    assert (again.custom_metadata, again.status) == ({"nested": {"n": 1}}, "active")


@pytest.mark.row("C3")
async def test_expiry_does_not_slide_and_is_told_the_same_each_time(
    manager: SessionManager, clock: ManualClock
) -> None:
    session_id = await manager.allocate_session(ttl_hours=1)
    before = await manager.get_session_info(session_id)
    assert before is not None

    clock.advance(59 * 60)
    clock.jump_wall_to(clock.wall() + 0.3)  # a wall clock that is kept in step
    assert await manager.validate_session(session_id)
    after = await manager.get_session_info(session_id)
    assert after is not None
    assert after["expires_at"] == before["expires_at"]
    assert after["last_accessed"] > before["last_accessed"]
    clock.advance(60)
    assert not await manager.validate_session(session_id)


@pytest.mark.row("C10")
async def test_status_says_how_a_session_ended(manager: SessionManager, clock: ManualClock) -> None:
    deleted, void, over = [await manager.allocate_session(ttl_hours=1) for _ in range(3)]
    clock.advance(60)
    assert await manager.delete_session(deleted)
    clock.advance(60)
    assert await manager.invalidate_session(void)
    clock.advance(HOUR)

    for session_id, status, lived in ((deleted, "terminated", 60), (void, "invalidated", 120), (over, "expired", HOUR)):
        assert await manager.get_session_info(session_id) is None
        assert await manager.get_session_metadata(session_id) is None
        info = await manager.get_session_info(session_id, include_ended=True)
        assert info is not None
        assert (info["status"], info["custom_metadata"]) == (status, {})
        began, ended = (datetime.fromisoformat(info[name]) for name in ("created_at", "expires_at"))
        assert (ended - began).total_seconds() == lived, "it says when it ended"
        assert not await manager.invalidate_session(session_id)
    assert await manager.cleanup_expired_sessions() == 1
    assert await manager.cleanup_expired_sessions() == 0


async def test_of_a_session_that_is_over_nothing_can_be_changed(manager: SessionManager) -> None:
    session_id = await manager.allocate_session()
    assert await manager.delete_session(session_id)

    assert not await manager.update_session_metadata(session_id, {"a": 1})
    assert not await manager.extend_session_ttl(session_id, 1)
    for call in (manager.increment(session_id, "n"), manager.append(session_id, "l", 1), manager.take(session_id, "n")):
        with pytest.raises(SessionEndedError):
            await call


async def test_a_user_without_a_name_is_not_the_user_of_the_request(manager: SessionManager) -> None:
    session_id = await manager.allocate_session(user_id="alice")

    async with RequestContext(user_id="alice"):
        assert await manager.validate_session(session_id)
        assert not await manager.validate_session(session_id, user_id="")


@pytest.mark.row("C7")
async def test_deleting_tells_whether_there_was_one(manager: SessionManager) -> None:
    session_id = await manager.allocate_session()

    assert [await manager.delete_session(session_id) for _ in range(2)] == [True, False]
    assert not await manager.validate_session(session_id)
    assert not await manager.delete_session("made-up")


@pytest.mark.row("B13", "C6")
async def test_two_managers_of_one_sandbox_see_one_truth(sessions: SessionContextManager) -> None:
    one, other = SessionManager("shop", sessions=sessions), SessionManager("shop", sessions=sessions)
    session_id = await one.allocate_session(ttl_hours=1)
    assert await other.validate_session(session_id)
    assert await one.extend_session_ttl(session_id, 0.5)
    told = await one.get_session_info(session_id)

    assert await other.validate_session(session_id)
    assert await other.get_session_info(session_id) == told, "a use in one does not undo what was extended in the other"
    await one.delete_session(session_id)

    assert not await other.validate_session(session_id)
    assert await one.get_session_info(session_id) is None, "and asking brings nothing back"


@pytest.mark.row("C6", "B16")
async def test_time_is_added_to_the_expiry_and_only_forward(manager: SessionManager, clock: ManualClock) -> None:
    session_id = await manager.allocate_session(ttl_hours=1)
    clock.advance(HOUR / 2)

    assert await manager.extend_session_ttl(session_id, 0.25)
    for hours in (-100, 0, float("nan"), True):
        with pytest.raises(TimeToLiveError):
            await manager.extend_session_ttl(session_id, hours)
    assert not await manager.extend_session_ttl("made-up", 1)

    clock.advance(0.75 * HOUR - 0.001)
    assert await manager.validate_session(session_id)
    clock.advance(0.001)
    assert not await manager.validate_session(session_id)


@pytest.mark.row("B12")
@pytest.mark.parametrize("hours", [0, -1, float("nan"), True, "1"])
async def test_no_hours_are_no_default(manager: SessionManager, hours: Any) -> None:
    with pytest.raises(TimeToLiveError):
        await manager.allocate_session(ttl_hours=hours)


async def test_a_session_lives_for_the_managers_default_where_nothing_else_is_said(
    sessions: SessionContextManager, clock: ManualClock
) -> None:
    session_id = await SessionManager("shop", default_ttl_hours=0.5, sessions=sessions).allocate_session()
    manager = SessionManager("shop", sessions=sessions)

    clock.advance(HOUR / 2 - 1)
    assert await manager.validate_session(session_id)
    clock.advance(1)
    assert not await manager.validate_session(session_id)


@pytest.mark.row("B11", "C12")
async def test_a_user_gets_no_others_session_by_its_name(manager: SessionManager) -> None:
    session_id = await manager.allocate_session("fixed", user_id="alice", custom_metadata={"secret": 1})
    assert session_id == "fixed"

    with pytest.raises(SessionTakenError):
        await manager.allocate_session("fixed", user_id="mallory")

    again = await manager.allocate("fixed", user_id="alice")
    assert (again.is_new, again.session.values()) == (False, {"secret": 1})


# What each call about a session comes to for a user whose it is not. `taken`: it is told that there is one, no more.
CALLS_OF_A_SESSION: dict[str, tuple[Callable[..., Awaitable[object]], object]] = {
    "allocate": (lambda of, name, **user: of.allocate(name, custom_metadata={"n": 0}, **user), SessionTakenError),
    "allocate_session": (lambda of, name, **user: of.allocate_session(name, **user), SessionTakenError),
    "append": (lambda of, name, **user: of.append(name, "items", 2, **user), UnknownSessionError),
    "compare_and_set": (lambda of, name, **user: of.compare_and_set(name, "n", 1, 2, **user), UnknownSessionError),
    "delete_session": (lambda of, name, **user: of.delete_session(name, **user), False),
    "extend_session_ttl": (lambda of, name, **user: of.extend_session_ttl(name, 1, **user), False),
    "get_session_info": (lambda of, name, **user: of.get_session_info(name, include_ended=True, **user), None),
    "get_session_metadata": (lambda of, name, **user: of.get_session_metadata(name, **user), None),
    "increment": (lambda of, name, **user: of.increment(name, "n", **user), UnknownSessionError),
    "invalidate_session": (lambda of, name, **user: of.invalidate_session(name, **user), False),
    "take": (lambda of, name, **user: of.take(name, "n", **user), UnknownSessionError),
    "update_session_metadata": (lambda of, name, **user: of.update_session_metadata(name, {"n": 0}, **user), False),
    "validate_session": (lambda of, name, **user: of.validate_session(name, **user), False),
}
CALLS_OF_THE_SANDBOX = {"cleanup_expired_sessions", "get_cache_stats", "stats"}
CALLS_THAT_READ_NOTHING = {
    "generate_artifact_key",
    "get_canonical_prefix",
    "get_session_prefix_pattern",
    "parse_grid_key",
}


def test_of_each_call_it_is_said_what_it_comes_to_for_another_user() -> None:
    public = {name for name, _ in inspect.getmembers(SessionManager, callable) if not name.startswith("_")}

    assert public == {*CALLS_OF_A_SESSION, *CALLS_OF_THE_SANDBOX, *CALLS_THAT_READ_NOTHING}


async def outcome_of(call: Awaitable[object]) -> object:
    try:
        return await call
    except SessionError as error:
        return type(error)


@pytest.mark.row("B11", "C12", "K2")
@pytest.mark.parametrize("is_of_request", [True, False], ids=["of the request", "as an argument"])
@pytest.mark.parametrize("name", CALLS_OF_A_SESSION)
async def test_to_another_user_a_session_is_unknown_in_every_call_and_nothing_changes(
    manager: SessionManager, sessions: SessionContextManager, store: HeldStore, name: str, is_of_request: bool
) -> None:
    call, outcome = CALLS_OF_A_SESSION[name]
    await manager.allocate_session("fixed", user_id="alice", custom_metadata={"n": 1, "items": [1]})
    assert await manager.validate_session("fixed")  # its use is noted, so the next asks memory alone
    before = await store.load(), sessions._ledger.allocations.all()

    if is_of_request:
        async with RequestContext(user_id="mallory"):
            came_of_it = await outcome_of(call(manager, "fixed"))
    else:
        came_of_it = await outcome_of(call(manager, "fixed", user_id="mallory"))

    assert came_of_it == outcome
    assert (await store.load(), sessions._ledger.allocations.all()) == before
    async with RequestContext(user_id="alice"):
        assert await outcome_of(call(manager, "fixed")) != outcome, "to her it is not"


async def test_the_acting_user_is_the_argument_else_the_requests_else_the_program_itself(
    manager: SessionManager,
) -> None:
    async with RequestContext(user_id="alice"):
        session_id = await manager.allocate_session(custom_metadata={"n": 1})
        assert await manager.validate_session(session_id)
    info = await manager.get_session_info(session_id)  # the program itself
    assert info is not None
    assert info["user_id"] == "alice"

    async with RequestContext(user_id="bob"):
        assert not await manager.validate_session(session_id)
        assert await manager.get_session_info(session_id) is None
        assert not await manager.update_session_metadata(session_id, {"n": 2})
        assert not await manager.delete_session(session_id)
        with pytest.raises(UnknownSessionError):
            await manager.increment(session_id, "n")
        assert await manager.validate_session(session_id, user_id="alice"), "an argument counts before the request"
        assert not await manager.validate_session(session_id, user_id="carol")
    assert not await manager.validate_session(session_id, user_id="bob")


NO_TEXT = [None, 5, b"fixed", ["fixed"], {}, object()]


@pytest.mark.parametrize("given", NO_TEXT, ids=lambda given: type(given).__name__)
async def test_what_is_no_text_is_no_session(manager: SessionManager, given: Any) -> None:
    await manager.allocate_session("fixed")
    nothing: dict[Callable[[Any], Awaitable[object]], object] = {
        manager.validate_session: False,
        manager.get_session_info: None,
        manager.get_session_metadata: None,
        manager.delete_session: False,
        manager.invalidate_session: False,
    }
    for look, answer in nothing.items():
        assert await look(given) is answer
    assert await manager.update_session_metadata(given, {"a": 1}) is False
    assert await manager.extend_session_ttl(given, 1) is False
    for call in (
        manager.increment(given, "n"),
        manager.append(given, "items", 1),
        manager.take(given, "n"),
        manager.compare_and_set(given, "n", None, 1),
    ):
        with pytest.raises(SessionError, match="text"):
            await call


async def test_errors_say_what_an_author_can_do_about_them(manager: SessionManager) -> None:
    with pytest.raises(UnknownSessionError) as unknown:
        await manager.increment("made-up", "n")
    with pytest.raises(SessionError) as impossible:
        await manager.allocate_session("../x")
    for refused in (unknown, impossible):
        assert "allocate_session()" in str(refused.value)
        assert "working_directory" not in str(refused.value)


@pytest.mark.parametrize(("hours", "told"), [(-1, "-1 hours"), ("1", "'1' hours"), (0, "0 hours"), (1e9, "0.0 hours")])
async def test_a_time_to_live_is_refused_in_the_words_it_was_given_in(
    manager: SessionManager, hours: Any, told: str
) -> None:
    await manager.allocate_session("fixed")
    for call in (manager.allocate_session(ttl_hours=hours), manager.extend_session_ttl("fixed", hours)):
        with pytest.raises(TimeToLiveError) as refused:
            await call
        assert str(refused.value).endswith(told)


@pytest.mark.parametrize("user_id", ["", "a\nb", 5])
async def test_what_can_be_no_user_is_not_called_metadata(manager: SessionManager, user_id: Any) -> None:
    with pytest.raises(UserIdError) as refused:
        await manager.allocate_session(user_id=user_id)
    assert isinstance(refused.value, ValueError)


# What it remembers


@pytest.mark.row("C5", "B15")
async def test_two_managers_that_update_at_once_lose_nothing(sessions: SessionContextManager) -> None:
    managers = [SessionManager("shop", sessions=sessions) for _ in range(5)]
    session_id = await managers[0].allocate_session(custom_metadata={"a": 1})

    await asyncio.gather(
        *(each.update_session_metadata(session_id, {f"from_{n}": n}) for n, each in enumerate(managers))
    )

    info = await managers[0].get_session_info(session_id)
    assert info is not None
    assert info["custom_metadata"] == {"a": 1, **{f"from_{n}": n for n in range(5)}}
    assert await managers[0].update_session_metadata(session_id, {"only": 1}, merge=False)
    info = await managers[0].get_session_info(session_id)
    assert info is not None
    assert info["custom_metadata"] == {"only": 1}
    assert not await managers[0].update_session_metadata("made-up", {})
    assert not await managers[0].update_session_metadata("../../etc", {})


@pytest.mark.row("B15")
async def test_a_value_that_is_no_json_is_an_error_and_the_session_goes_on(manager: SessionManager) -> None:
    session_id = await manager.allocate_session(custom_metadata={"a": 1})

    with pytest.raises(MetadataError):
        await manager.update_session_metadata(session_id, {"x": object()})

    assert await manager.validate_session(session_id)
    info = await manager.get_session_info(session_id)
    assert info is not None
    assert info["custom_metadata"] == {"a": 1}


@pytest.mark.row("C13")
async def test_counters_logs_and_codes_for_one_use(manager: SessionManager) -> None:
    session_id = await manager.allocate_session()

    await asyncio.gather(*(manager.increment(session_id, "calls") for _ in range(100)))
    for number in range(5):
        await manager.append(session_id, "tools", {"tool": "grep", "n": number}, most=2)
    assert await manager.compare_and_set(session_id, "code", None, "1234")
    assert not await manager.compare_and_set(session_id, "code", None, "9999")
    codes = await asyncio.gather(*(manager.take(session_id, "code") for _ in range(10)))

    assert sorted(codes, key=str) == ["1234"] + [None] * 9
    assert await manager.increment(session_id, "calls", 0.5) == 100.5
    info = await manager.get_session_info(session_id)
    assert info is not None
    assert info["custom_metadata"] == {"calls": 100.5, "tools": [{"tool": "grep", "n": n} for n in (3, 4)]}


# Trouble and figures


@pytest.mark.row("B13")
async def test_a_store_in_trouble_is_never_no_such_session(manager: SessionManager, store: HeldStore) -> None:
    session_id = await manager.allocate_session()
    calls = (
        manager.allocate_session,
        lambda: manager.update_session_metadata(session_id, {"a": 1}),
        lambda: manager.extend_session_ttl(session_id, 1),
        lambda: manager.delete_session(session_id),
        lambda: manager.increment(session_id, "n"),
    )

    for call in calls:
        store.fail(StoreUnavailableError("the disk is full"))
        with pytest.raises(StoreUnavailableError):
            await call()

    assert await manager.validate_session(session_id)


async def test_a_store_that_cannot_be_read_is_an_error_for_whoever_asks() -> None:
    class Unreadable(MemoryStore):
        async def load(self) -> Any:
            raise StoreUnavailableError("the disk is away")

    manager = SessionManager("shop", sessions=SessionContextManager(Unreadable(), FakePlaces({})))

    with pytest.raises(StoreUnavailableError):
        await manager.validate_session("made-up")


@pytest.mark.row("C9")
async def test_figures_have_the_names_that_programs_know(manager: SessionManager, clock: ManualClock) -> None:
    nothing = manager.get_cache_stats()
    assert (nothing["cached_sessions"], nothing["sandbox_id"], nothing["default_ttl_hours"]) == (0, "shop", 24)
    assert (nothing["hits"], nothing["max_cache_size"]) == (None, None), "nobody was asked yet"
    session_id = await manager.allocate_session()
    await manager.allocate_session(ttl_hours=1)
    for each in (session_id, session_id, "made-up"):
        await manager.validate_session(each)
    clock.advance(HOUR)

    assert manager.get_cache_stats() == {
        "cached_sessions": 1,
        "max_cache_size": 100_000,
        "sandbox_id": "shop",
        "default_ttl_hours": 24,
        "hits": 2,
        "misses": 1,
        "evictions": 0,
        "expired": 1,
        "ended": 0,
    }
    assert (await manager.stats())["active"] == 1


async def test_artifacts_of_a_session_have_keys_of_its_sandbox(manager: SessionManager) -> None:
    session_id = await manager.allocate_session()

    key = manager.generate_artifact_key(session_id, "report")

    assert key == f"{manager.get_canonical_prefix(session_id)}report"
    assert key.startswith(manager.get_session_prefix_pattern())
    parsed = manager.parse_grid_key(key)
    assert parsed is not None
    assert (parsed["sandbox_id"], parsed["session_id"], parsed["artifact_id"]) == ("shop", session_id, "report")
    assert manager.generate_artifact_key(session_id, "report", "page/1") == f"{key}/page/1"


async def test_sessions_of_a_database_are_there_again_after_a_restart(tmp_path: Any) -> None:
    async def run(sessions: SessionContextManager) -> SessionManager:
        await sessions.start()
        return SessionManager("shop", sessions=sessions, owner=Owner("uid:1000"))

    async with open_sqlite_store(tmp_path / "sessions.db") as kept:
        first = SessionContextManager(kept, FakePlaces({}))
        manager = await run(first)
        active, gone, void = [await manager.allocate_session(user_id="alice") for _ in range(3)]
        assert await asyncio.gather(*(manager.increment(active, "n") for _ in range(20))) == list(range(1, 21))
        await manager.extend_session_ttl(active, 1)
        told = await manager.get_session_info(active)
        await manager.delete_session(gone)
        await manager.invalidate_session(void)
        await first.stop()
    async with (
        open_sqlite_store(tmp_path / "sessions.db") as kept,
        SessionContextManager(kept, FakePlaces({})) as second,
    ):
        manager = await run(second)
        assert await manager.validate_session(active, user_id="alice")
        info = await manager.get_session_info(active)
        assert info is not None
        assert told is not None
        assert info["custom_metadata"] == {"n": 20}
        assert info["created_at"] == told["created_at"]
        later = datetime.fromisoformat(info["expires_at"]) - datetime.fromisoformat(told["expires_at"])
        assert 0 <= later.total_seconds() + 1e-3 < 5, "the time between counts only as far as it is sure to have passed"
        for session_id, status in ((gone, "terminated"), (void, "invalidated")):
            ended = await manager.get_session_info(session_id, include_ended=True)
            assert ended is not None
            assert ended["status"] == status
            with pytest.raises(SessionEndedError):
                await manager.allocate_session(session_id)


# The manager of the process, and its event loops


async def test_without_another_the_manager_of_the_process_keeps_the_sessions() -> None:
    manager = SessionManager("shop")

    session_id = await manager.allocate_session()

    assert await get_session_context_manager().allocations.validate(manager.owner, session_id, user_id=None)
    assert await SessionManager("shop").validate_session(session_id)


@pytest.mark.row("B4")
def test_one_event_loop_after_another_uses_the_same_sessions() -> None:
    manager = SessionManager("shop")

    async def allocate() -> str:
        session_id = await manager.allocate_session()
        await asyncio.gather(*(manager.increment(session_id, "n") for _ in range(10)))  # some wait for others
        return session_id

    async def count(session_id: str) -> list[int | float]:
        return await asyncio.gather(*(manager.increment(session_id, "n") for _ in range(10)))

    async def is_kept_here() -> bool:
        is_active = await manager.validate_session(session_id)
        kept_in = get_session_context_manager().home_loop
        return is_active and kept_in is asyncio.get_running_loop()

    session_id = asyncio.run(allocate())

    assert asyncio.run(count(session_id)) == list(range(11, 21))
    assert asyncio.run(is_kept_here()), "and so swept, and written late"


@pytest.mark.row("B4")
def test_a_loop_that_ended_in_the_middle_of_things_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    sessions = SessionContextManager(MemoryStore(), FakePlaces({}), clock=clock)
    manager, left = SessionManager("shop", sessions=sessions), asyncio.new_event_loop()

    async def begin() -> str:
        session_id = await manager.allocate_session()
        await clock.wait_sleepers(2)
        clock.advance(2)  # late writes are written, and whoever writes them waits for more
        while len(clock.due_times()) > 1 or len(sessions._ledger.behind):
            await checkpoint()
        for _ in range(5):
            await checkpoint()
        return session_id

    async def use() -> None:
        with anyio.fail_after(5):
            await sessions.start()
            # Noted at once, that must wake nobody in the other loop.
            assert await sessions.allocations.validate(manager.owner, session_id, user_id=None)
            assert await manager.validate_session(session_id)
            await manager.update_session_metadata(session_id, {"a": 1})
            await clock.wait_sleepers(3)  # one there, which sleeps for ever, and two here
            clock.advance(2)
            while len(sessions._ledger.behind):  # whoever writes late has begun anew here
                await checkpoint()

    def is_gone(*_: object, **__: object) -> None:
        raise RuntimeError("Event loop is closed")

    session_id = left.run_until_complete(begin())
    with monkeypatch.context() as gone:
        gone.setattr(left, "call_soon", is_gone)
        gone.setattr(left, "is_closed", lambda: True)
        asyncio.run(use())
    for task in (tasks := asyncio.all_tasks(left)):
        task.cancel()
    left.run_until_complete(asyncio.wait(tasks))
    left.close()


@pytest.mark.row("B4", "B15", "S8")
def test_several_event_loops_at_once_use_the_same_sessions_and_lose_nothing() -> None:
    manager, together = SessionManager("shop"), threading.Barrier(4)
    ready = threading.Event()
    ids: list[str] = []
    failures: list[BaseException] = []

    async def count() -> None:
        with anyio.fail_after(20):
            if not ids:
                raise AssertionError("nobody allocated")
            for _ in range(25):
                await manager.increment(ids[0], "n")
                assert await manager.validate_session(ids[0])
            await asyncio.to_thread(together.wait, 20)  # the home stays until all are done

    async def first() -> None:
        ids.append(await manager.allocate_session())
        ready.set()
        await count()

    def run(make: Any) -> None:
        try:
            asyncio.run(make())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(first,))]
    threads[0].start()
    assert ready.wait(20)
    threads += [threading.Thread(target=run, args=(count,)) for _ in range(3)]
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert failures == []

    async def total() -> object:
        info = await manager.get_session_info(ids[0])
        assert info is not None
        return info["custom_metadata"]

    assert asyncio.run(total()) == {"n": 100}


@pytest.mark.row("B4")
async def test_sessions_that_were_started_in_one_loop_stay_there_whoever_calls_first(
    sessions: SessionContextManager,
) -> None:
    manager, here = SessionManager("shop", sessions=sessions), asyncio.get_running_loop()

    session_id = await asyncio.to_thread(lambda: asyncio.run(manager.allocate_session()))

    assert sessions.home_loop is here
    assert await manager.validate_session(session_id)


def reached(gate: Gate) -> threading.Event:
    """Return what is set when somebody arrives at *gate*, in whatever event loop."""
    event = threading.Event()

    class Reached:
        def set(self) -> None:
            event.set()

    gate.reached = Reached()  # type: ignore[assignment]  # all of an event that a gate needs
    return event


@pytest.mark.row("B4")
async def test_a_call_whose_loop_ends_under_it_is_told_to_come_again(clock: ManualClock, store: HeldStore) -> None:
    manager = SessionManager("shop", sessions=SessionContextManager(store, FakePlaces({}), clock=clock, rules=RULES))
    started, leave = threading.Event(), threading.Event()

    async def live() -> None:
        await manager.validate_session("made-up")
        started.set()
        await asyncio.to_thread(leave.wait, 20)

    home = threading.Thread(target=asyncio.run, args=(live(),))
    home.start()
    await asyncio.to_thread(started.wait, 20)
    gate = store.hold()
    with anyio.fail_after(20):
        call = asyncio.ensure_future(manager.allocate_session())
        await asyncio.to_thread(reached(gate).wait, 20)
        leave.set()
        with pytest.raises(StoreUnavailableError, match="repeat"):
            await call
        await asyncio.to_thread(home.join)

        assert await manager.validate_session(await manager.allocate_session())
        await manager._reached._home.service.stop()  # type: ignore[union-attr]  # it has one by now


@pytest.mark.row("B4")
async def test_a_call_whose_loop_stops_under_it_without_a_word_is_told_to_come_again() -> None:
    home = HomeLoop(SessionContextManager(MemoryStore(), FakePlaces({})))
    there, begun = asyncio.new_event_loop(), threading.Event()

    async def nothing() -> None:
        pass

    async def wait_for_ever() -> None:
        begun.set()
        there.stop()  # what has begun there stands still from now on
        await anyio.sleep_forever()

    def live() -> None:
        asyncio.set_event_loop(there)
        there.run_until_complete(home.call(nothing))
        there.call_soon(running.set)
        there.run_forever()

    running = threading.Event()
    thread = threading.Thread(target=live)
    thread.start()
    try:
        assert await asyncio.to_thread(running.wait, 20)
        with anyio.fail_after(10), pytest.raises(StoreUnavailableError, match="repeat the call"):
            await home.call(wait_for_ever)
        assert begun.is_set()
    finally:
        await asyncio.to_thread(thread.join, 20)
        await asyncio.to_thread(_end, there)


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what stands still in a loop that has stopped, and close it."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.wait(tasks))
    loop.close()


async def test_what_another_loop_does_for_whoever_is_cancelled_is_cancelled_there() -> None:
    home = HomeLoop(SessionContextManager(MemoryStore(), FakePlaces({})))
    started, leave, cancelled = threading.Event(), threading.Event(), threading.Event()

    async def nothing() -> None:
        pass

    async def live() -> None:
        await home.call(nothing)
        started.set()
        await asyncio.to_thread(leave.wait, 20)

    async def wait_for_ever() -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    try:
        assert await asyncio.to_thread(started.wait, 20)
        started.clear()
        call = asyncio.ensure_future(home.call(wait_for_ever))
        assert await asyncio.to_thread(started.wait, 20)
        call.cancel()
        assert await asyncio.to_thread(cancelled.wait, 5), "long before that loop ends and cancels all"
        await asyncio.wait([call])
        assert call.cancelled()
    finally:
        leave.set()
        await asyncio.to_thread(thread.join)


async def test_whoever_is_cancelled_while_another_loop_works_for_them_is_cancelled(
    clock: ManualClock, store: HeldStore
) -> None:
    manager = SessionManager("shop", sessions=SessionContextManager(store, FakePlaces({}), clock=clock, rules=RULES))
    started, leave = threading.Event(), threading.Event()

    async def live() -> None:
        await manager.validate_session("made-up")
        started.set()
        await asyncio.to_thread(leave.wait, 20)

    home = threading.Thread(target=asyncio.run, args=(live(),))
    home.start()
    try:
        await asyncio.to_thread(started.wait, 20)
        gate = store.hold()
        call = asyncio.ensure_future(manager.allocate_session())
        with anyio.fail_after(20):
            await asyncio.to_thread(reached(gate).wait, 20)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
    finally:
        leave.set()
        await asyncio.to_thread(home.join)


async def test_no_call_begins_in_a_loop_that_ends_where_it_would_hold_up_all_others(
    clock: ManualClock, store: HeldStore
) -> None:
    manager = SessionManager("shop", sessions=SessionContextManager(store, FakePlaces({}), clock=clock, rules=RULES))
    leave, ends = threading.Event(), threading.Event()

    async def tell_the_end() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ends.set()

    async def live() -> None:
        await manager.allocate_session("fixed")
        running = asyncio.get_running_loop()
        running.run_in_executor(None, leave.wait, 20)  # a loop goes on until its threads have ended
        telling = running.create_task(tell_the_end())
        await checkpoint()
        assert not telling.done()

    home = threading.Thread(target=asyncio.run, args=(live(),))
    home.start()
    try:
        assert await asyncio.to_thread(ends.wait, 20)
        with pytest.raises(StoreUnavailableError, match="repeat the call"):
            await manager.increment("fixed", "n")
    finally:
        leave.set()
        await asyncio.to_thread(home.join)

    assert await manager.increment("fixed", "n") == 1, "it was not carried out there"


FORKED = """
import asyncio, os, signal, sys
from workroot.session_manager import SessionManager

manager = SessionManager("shop")

def child():
    if process := os.fork():
        assert os.waitpid(process, 0)[1] == 0, "the child did not get its answer"
        return
    signal.alarm(5)  # one that hangs is ended
    try:
        asyncio.run(manager.allocate_session())
    except Exception as error:
        os._exit(0 if getattr(error, "code", None) == "store_unavailable" else 1)
    os._exit(2)

async def main():
    assert await manager.validate_session(await manager.allocate_session())
    child()
    assert await manager.validate_session(await manager.allocate_session()), "its own go on"

asyncio.run(main())
child()
"""


def test_a_forked_process_is_told_that_the_sessions_are_kept_elsewhere() -> None:
    program = [sys.executable, "-W", "ignore", "-c", FORKED]
    ran = subprocess.run(program, check=False, capture_output=True, text=True, timeout=30)

    assert (ran.returncode, ran.stderr) == (0, "")
