"""How the command line gets all sessions: page by page, whatever becomes of them meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import chain
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from fakes import FakePlaces, ManualClock
from workroot.control import Control
from workroot.core.changes import SessionSaved
from workroot.core.projects import Directory
from workroot.core.sessions import Owner, SessionContext, SessionId
from workroot.decisions import DecisionLog, SessionUnclearError
from workroot.errors import ControlError
from workroot.session_context import SessionContextManager
from workroot.storage.memory import MemoryStore

ADA, EVE = Owner("uid:1000"), Owner("user:eve")


def session(number: int, owner: Owner = ADA) -> SessionContext:
    return SessionContext(
        session_id=SessionId(f"wr_session_{number:04}"),
        owner=owner,
        working_directory=Directory("/work"),
        given_directory="/work",
        set_at=1.0,
        last_used=1.0,
    )


@pytest.fixture
async def manager() -> AsyncIterator[SessionContextManager]:
    store = MemoryStore()
    await store.commit([SessionSaved(session(number), float(number)) for number in range(450)])
    await store.commit([SessionSaved(session(9_000, EVE), 0.0)])
    async with SessionContextManager(store, FakePlaces({}), clock=ManualClock()) as manager:
        yield manager


@pytest.fixture
def control(manager: SessionContextManager) -> Control:
    return Control(manager, DecisionLog(), owner=ADA, facts={}, stop=lambda _: None, connections=lambda: 0)


def ids(page: dict[str, Any]) -> list[str]:
    return [row["session_id"] for row in page["sessions"]]


async def pages(control: Control) -> AsyncIterator[dict[str, Any]]:
    page = await control("sessions", {})
    yield page
    while "cursor" in page:
        page = await control("sessions", {"cursor": page["cursor"]})
        yield page


async def test_every_session_is_on_one_page_and_no_page_is_long(control: Control) -> None:
    listed = [ids(page) async for page in pages(control)]

    assert [len(page) for page in listed] == [200, 200, 51]
    everybody = {session(number).session_id for number in (*range(450), 9_000)}
    assert sorted(chain.from_iterable(listed)) == sorted(everybody)


async def test_after_a_full_page_with_the_last_session_an_empty_one_says_so() -> None:
    store = MemoryStore()
    await store.commit([SessionSaved(session(number)) for number in range(200)])
    async with SessionContextManager(store, FakePlaces({}), clock=ManualClock()) as manager:
        control = Control(manager, DecisionLog(), owner=ADA, facts={}, stop=lambda _: None, connections=lambda: 0)

        assert [len(ids(page)) async for page in pages(control)] == [200, 0]


async def test_a_list_goes_on_whatever_becomes_of_the_sessions(
    control: Control, manager: SessionContextManager
) -> None:
    first = await control("sessions", {})
    for number in range(450):
        await manager.close_session(session(number).session_id, owner=ADA)

    second = await control("sessions", {"cursor": first["cursor"]})

    assert len(ids(second)) == 200
    assert set(ids(first)).isdisjoint(ids(second))
    assert [len(ids(page)) async for page in pages(control)] == [1]


async def test_of_many_lists_that_nobody_reads_on_the_oldest_gives_way(control: Control) -> None:
    cursors = [(await control("sessions", {}))["cursor"] for _ in range(5)]

    with pytest.raises(ControlError, match="begin it again"):
        await control("sessions", {"cursor": cursors[0]})
    for cursor in cursors[1:]:
        assert len(ids(await control("sessions", {"cursor": cursor}))) == 200


async def test_a_list_that_was_read_to_its_end_cannot_be_read_on(control: Control) -> None:
    cursors = [page.get("cursor") async for page in pages(control)]

    with pytest.raises(ControlError):
        await control("sessions", {"cursor": cursors[0]})


async def test_a_cursor_that_is_none_is_refused(control: Control) -> None:
    with pytest.raises(TypeError):
        await control("sessions", {"cursor": 1})


@pytest.mark.parametrize("handle", ["wr_session_0007", "wr_session_0007..."])
async def test_a_session_is_found_by_its_handle_among_many(control: Control, handle: str) -> None:
    answer = await control("decisions", {"session": handle})

    assert answer["session"]["session_id"] == "wr_session_0007"


async def test_only_one_s_own_sessions_are_found(control: Control) -> None:
    with pytest.raises(SessionUnclearError, match="is no session that is remembered"):
        await control("decisions", {"session": session(9_000, EVE).session_id})


async def test_a_search_among_many_lets_others_go_on(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workroot.control._SLICE", 100)
    steps = 0

    async def count_steps() -> None:
        nonlocal steps
        while True:
            await checkpoint()
            steps += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count_steps)
        await control("decisions", {"session": "wr_session_0007"})
        tasks.cancel_scope.cancel()

    assert steps >= 3
