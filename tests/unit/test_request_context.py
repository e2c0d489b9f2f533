"""Who asked for what is being done right now."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from workroot.errors import SessionRequiredError, UserRequiredError, WorkrootError
from workroot.request_context import (
    CLEAR,
    RequestContext,
    clear_all,
    clear_metadata,
    get_current_context,
    get_metadata,
    get_progress_token,
    get_session_id,
    get_user_id,
    require_session_id,
    require_user_id,
    set_available_channels,
    set_metadata,
    set_progress_token,
    set_session_id,
    set_user_id,
    update_metadata,
)

NOTHING: dict[str, object] = {
    "session_id": None,
    "user_id": None,
    "progress_token": None,
    "metadata": {},
    "sampling_available": False,
    "elicitation_available": False,
    "roots_available": False,
}


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    with RequestContext():
        clear_all()
        yield


@pytest.mark.row("K1")
async def test_a_request_context_sets_what_is_given_and_restores_all_four() -> None:
    async with RequestContext("conv-1", "alice", 7, {"trace": "t"}) as entered:
        assert isinstance(entered, RequestContext)
        assert get_current_context() == NOTHING | {
            "session_id": "conv-1",
            "user_id": "alice",
            "progress_token": 7,
            "metadata": {"trace": "t"},
        }
    assert get_current_context() == NOTHING


def test_a_plain_with_block_does_the_same() -> None:
    with RequestContext("conv-1", "alice", "p", {"a": 1}) as entered:
        assert isinstance(entered, RequestContext)
        assert (get_session_id(), get_user_id(), get_progress_token(), get_metadata()) == (
            "conv-1",
            "alice",
            "p",
            {"a": 1},
        )
    assert get_current_context() == NOTHING


@pytest.mark.row("K1")
async def test_what_is_set_inside_of_a_block_is_undone_at_its_end() -> None:
    async with RequestContext("outer", "alice", 1, {"a": 1}):
        async with RequestContext():
            set_session_id("other")
            set_user_id("mallory")
            set_progress_token(2)
            update_metadata("a", 2)
            set_available_channels(sampling=True, elicitation=True, roots=True)
        assert get_current_context() == NOTHING | {
            "session_id": "outer",
            "user_id": "alice",
            "progress_token": 1,
            "metadata": {"a": 1},
        }


@pytest.mark.row("K1")
async def test_exceptions_pass_and_restore() -> None:
    with pytest.raises(ZeroDivisionError):
        async with RequestContext(user_id="alice"):
            raise ZeroDivisionError
    with pytest.raises(KeyError), RequestContext(user_id="alice"):
        raise KeyError
    assert get_user_id() is None


@pytest.mark.row("K2")
async def test_an_inner_context_wins_and_inherits_what_it_does_not_name() -> None:
    async with RequestContext("conv-1", "alice", 1, {"a": 1}):
        async with RequestContext(user_id="bob", metadata={}):
            assert get_current_context() == NOTHING | {
                "session_id": "conv-1",
                "user_id": "bob",
                "progress_token": 1,
                "metadata": {"a": 1},
            }
            async with RequestContext("conv-2", metadata={"b": 2}):
                assert (get_session_id(), get_user_id(), get_metadata()) == ("conv-2", "bob", {"b": 2})
            assert (get_session_id(), get_user_id(), get_metadata()) == ("conv-1", "bob", {"a": 1})
        assert get_user_id() == "alice"


def test_a_progress_token_of_zero_is_a_token() -> None:
    with RequestContext(progress_token=5), RequestContext(progress_token=0):
        assert get_current_context()["progress_token"] == 0


@pytest.mark.row("K2")
async def test_clear_takes_away_what_the_outer_context_has() -> None:
    async with RequestContext("conv-1", "alice", 1, {"a": 1}):
        async with RequestContext(session_id=CLEAR, user_id=CLEAR, progress_token=CLEAR, metadata=CLEAR):
            assert get_current_context() == NOTHING
        assert (get_session_id(), get_user_id(), get_progress_token(), get_metadata()) == (
            "conv-1",
            "alice",
            1,
            {"a": 1},
        )


@pytest.mark.row("K3")
def test_ids_are_none_until_they_are_set() -> None:
    assert (get_user_id(), get_session_id()) == (None, None)
    set_user_id("alice")
    set_session_id("conv-1")
    assert (get_user_id(), get_session_id()) == ("alice", "conv-1")
    set_user_id(None)
    set_session_id(None)
    assert (get_user_id(), get_session_id()) == (None, None)


@pytest.mark.row("K4")
@pytest.mark.parametrize("absent", [None, ""])
def test_a_required_id_that_is_absent_is_the_builtin_error_and_ours(absent: str | None) -> None:
    set_user_id(absent)
    set_session_id(absent)
    with pytest.raises(PermissionError, match="sign in") as no_user:
        require_user_id()
    with pytest.raises(RuntimeError, match="session_id") as no_session:
        require_session_id()
    assert isinstance(no_user.value, UserRequiredError)
    assert isinstance(no_session.value, SessionRequiredError)
    assert isinstance(no_user.value, WorkrootError)
    assert isinstance(no_session.value, WorkrootError)
    assert (no_user.value.code, no_session.value.code) == ("user_required", "session_required")


@pytest.mark.row("K4")
def test_a_required_id_that_is_there_is_returned() -> None:
    with RequestContext("conv-1", "alice"):
        assert (require_session_id(), require_user_id()) == ("conv-1", "alice")


@pytest.mark.row("K5")
def test_metadata_is_set_updated_and_cleared() -> None:
    set_metadata({"a": 1})
    update_metadata("b", [2])
    assert get_metadata() == {"a": 1, "b": [2]}
    set_metadata({"c": 3})
    assert get_metadata() == {"c": 3}
    clear_metadata()
    assert get_metadata() == {}


@pytest.mark.row("K5", "B24")
def test_metadata_is_never_aliased_at_any_depth() -> None:
    numbers = [1]
    given: dict[str, object] = {"list": numbers, "deep": {"x": [1]}}
    set_metadata(given)
    update_metadata("more", held := [1])
    with RequestContext(metadata=given) as entered:
        numbers.append(9)
        assert get_metadata() == {"list": [1], "deep": {"x": [1]}}
        assert isinstance(entered, RequestContext)
    held.append(9)
    expected = {"list": [1], "deep": {"x": [1]}, "more": [1]}
    assert get_metadata() == expected
    for read in (get_metadata, lambda: get_current_context()["metadata"]):
        deep = read()["deep"]
        assert isinstance(deep, dict)
        deep["x"].append(9)
    assert get_metadata() == expected


@pytest.mark.row("K5")
def test_metadata_that_cannot_be_copied_changes_nothing() -> None:
    set_metadata({"a": 1})
    generator = (number for number in range(1))
    with pytest.raises(TypeError):
        set_metadata({"g": generator})
    with pytest.raises(TypeError):
        update_metadata("g", generator)
    assert get_metadata() == {"a": 1}


@pytest.mark.row("K5")
def test_clear_all_forgets_everything_and_the_outer_context_comes_back() -> None:
    with RequestContext("outer", "alice"):
        with RequestContext("inner", metadata={"a": 1}, progress_token=3):
            set_available_channels(sampling=True, elicitation=True, roots=True)
            clear_all()
            assert get_current_context() == NOTHING
        assert (get_session_id(), get_user_id()) == ("outer", "alice")


@pytest.mark.row("K5")
def test_the_current_context_says_what_the_client_can_be_asked_for() -> None:
    set_available_channels(sampling=True, roots=True)
    found = get_current_context()
    assert (found["sampling_available"], found["elicitation_available"], found["roots_available"]) == (
        True,
        False,
        True,
    )


@pytest.mark.row("K6")
async def test_child_tasks_inherit_and_what_they_set_does_not_leak_back() -> None:
    async def child() -> str | None:
        inherited = get_user_id()
        set_user_id("child")
        update_metadata("from", "child")
        return inherited

    async with RequestContext(user_id="alice", metadata={"from": "parent"}):
        with anyio.fail_after(5):
            assert await asyncio.create_task(child()) == "alice"
            assert set(await asyncio.gather(child(), child())) == {"alice"}
        assert (get_user_id(), get_metadata()) == ("alice", {"from": "parent"})


@pytest.mark.row("K6")
async def test_threads_inherit_and_what_they_set_does_not_leak_back() -> None:
    def in_thread() -> str | None:
        inherited = get_session_id()
        set_session_id("thread")
        with RequestContext("deeper"):
            pass
        return inherited

    async with RequestContext("conv-1"):
        with anyio.fail_after(5):
            assert await asyncio.to_thread(in_thread) == "conv-1"
            assert await anyio.to_thread.run_sync(in_thread) == "conv-1"
        assert get_session_id() == "conv-1"


@pytest.mark.row("K6", "B24")
async def test_two_tasks_that_enter_one_instance_do_not_mix() -> None:
    shared = RequestContext(session_id="shared")
    both_inside, first_left = anyio.Event(), anyio.Event()
    after: dict[str, str | None] = {}

    async def first() -> None:
        set_session_id("t1")
        async with shared:
            await both_inside.wait()
        after["t1"] = get_session_id()
        first_left.set()

    async def second() -> None:
        set_session_id("t2")
        async with shared:
            both_inside.set()
            await first_left.wait()
            assert get_session_id() == "shared"
        after["t2"] = get_session_id()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            tasks.start_soon(second)
    assert after == {"t1": "t1", "t2": "t2"}


@pytest.mark.row("B24")
def test_one_instance_may_be_entered_inside_of_itself() -> None:
    shared = RequestContext(user_id="alice")
    set_user_id("outside")
    with shared:
        set_user_id("between")
        with shared:
            assert get_user_id() == "alice"
        assert get_user_id() == "between"
    assert get_user_id() == "outside"


def test_contexts_left_in_the_wrong_order_leave_nothing_behind() -> None:
    first, second = RequestContext(user_id="first"), RequestContext(user_id="second")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert get_user_id() is None
    second.__exit__(None, None, None)
    assert get_user_id() is None


async def test_a_generator_closed_in_another_context_does_no_harm() -> None:
    @contextlib.asynccontextmanager
    async def serving() -> AsyncIterator[None]:
        async with RequestContext(user_id="alice"):
            yield

    opened = serving()
    with anyio.fail_after(5):
        await asyncio.create_task(opened.__aenter__())
        set_user_id("bob")
        await asyncio.create_task(opened.__aexit__(None, None, None), context=contextvars.copy_context())
    assert get_user_id() == "bob"
