"""`SessionManager` over the running daemon: the same interface, the same promises, whatever becomes of the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from real_daemon import Home

from workroot.daemon_client.client import DaemonClient, connect
from workroot.errors import (
    DaemonUnavailableError,
    MetadataError,
    SessionEndedError,
    SessionError,
    SessionTakenError,
    TimeToLiveError,
    UnknownSessionError,
    UserIdError,
)
from workroot.session_manager import SessionManager


@pytest.fixture
async def client(home: Home) -> AsyncIterator[DaemonClient]:
    home.start()
    async with connect(home=str(home.state)) as client:
        yield client


async def info_of(manager: SessionManager, session_id: str) -> Any:
    info = await manager.get_session_info(session_id, include_ended=True)
    assert info is not None
    return info


@pytest.mark.row("C2", "C4", "C11")
async def test_the_interface_is_the_same_and_sandboxes_do_not_meet(client: DaemonClient) -> None:
    shop, library = SessionManager("shop", sessions=client), SessionManager("library", sessions=client)

    session_id = await shop.allocate_session(user_id="alice", ttl_hours=1.5, custom_metadata={"a": 1})

    assert await shop.validate_session(session_id, user_id="alice")
    assert not await shop.validate_session(session_id, user_id="bob")
    assert not await library.validate_session(session_id)
    info = await info_of(shop, session_id)
    assert (info["sandbox_id"], info["user_id"], info["status"]) == ("shop", "alice", "active")
    assert await shop.update_session_metadata(session_id, {"b": 2})
    assert await shop.extend_session_ttl(session_id, 0.5)
    extended = await info_of(shop, session_id)
    assert extended["custom_metadata"] == {"a": 1, "b": 2}
    assert extended["expires_at"] > info["expires_at"]
    with pytest.raises(SessionTakenError):
        await shop.allocate_session(session_id, user_id="mallory")
    with pytest.raises(TimeToLiveError):
        await shop.extend_session_ttl(session_id, -1)
    with pytest.raises(UnknownSessionError):
        await library.increment(session_id, "n")
    assert (await shop.stats())["active"] == 1
    figures = shop.get_cache_stats()
    assert figures["cached_sessions"] == 0, "this process holds none of them"
    unknown = ("max_cache_size", "hits", "misses", "expired", "ended")
    assert [figures[name] for name in unknown] == [None] * 5, "nobody measured that here"


@pytest.mark.parametrize("given", [None, 5, ["fixed"]], ids=["None", "number", "list"])
async def test_what_is_no_text_is_no_session_here_as_in_the_same_process(client: DaemonClient, given: Any) -> None:
    manager = SessionManager("shop", sessions=client)

    assert await manager.validate_session(given) is False
    assert await manager.get_session_info(given) is None
    assert await manager.update_session_metadata(given, {"a": 1}) is False
    assert await manager.extend_session_ttl(given, 1) is False
    assert await manager.delete_session(given) is False
    for call in (manager.increment(given, "n"), manager.take(given, "n")):
        with pytest.raises(SessionError, match="text"):
            await call
    with pytest.raises(MetadataError):
        await manager.take("fixed", given)


async def test_errors_are_those_of_the_same_process(client: DaemonClient) -> None:
    manager = SessionManager("shop", sessions=client)

    with pytest.raises(UnknownSessionError, match=r"allocate_session\(\)"):
        await manager.increment("made-up", "n")
    with pytest.raises(UserIdError):
        await manager.allocate_session(user_id="")


@pytest.mark.row("C5", "C13")
async def test_counters_of_a_hundred_callers_are_exact(client: DaemonClient) -> None:
    manager = SessionManager("shop", sessions=client)
    session_id = await manager.allocate_session(custom_metadata={"code": "1234"})

    sums = await asyncio.gather(*(manager.increment(session_id, "calls") for _ in range(100)))
    codes = await asyncio.gather(*(manager.take(session_id, "code") for _ in range(10)))

    assert sorted(sums) == list(range(1, 101))
    assert sorted(codes, key=str) == ["1234"] + [None] * 9


@pytest.mark.row("B13", "C7", "C10")
async def test_what_was_answered_outlives_a_daemon_that_is_killed(home: Home, client: DaemonClient) -> None:
    manager = SessionManager("shop", sessions=client)
    over = await manager.allocate_session(ttl_hours=1 / 3600)
    active, deleted, void = [await manager.allocate_session() for _ in range(3)]
    assert await manager.increment(active, "n", 5) == 5
    assert await manager.delete_session(deleted)
    assert await manager.invalidate_session(void)
    with anyio.fail_after(20):
        while await manager.validate_session(over):
            await checkpoint()

    home.kill_daemon()
    with pytest.raises(DaemonUnavailableError):  # never "no such session"
        await manager.validate_session(active)
    home.start()

    assert await manager.validate_session(active)
    assert (await info_of(manager, active))["custom_metadata"] == {"n": 5}
    for session_id, status in ((over, "expired"), (deleted, "terminated"), (void, "invalidated")):
        assert not await manager.validate_session(session_id)
        assert (await info_of(manager, session_id))["status"] == status
        with pytest.raises(SessionEndedError):
            await manager.allocate_session(session_id)
