"""The documented page on tests: two fixtures and three tests, by the names and in the form that they have there.

All is as documented. What follows them is ours: the same fixtures, times that run out.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from fakes import HOUR, FakePlaces, ManualClock
from workroot import SessionManager
from workroot.providers import Provider, factory_for_env
from workroot.session_context import SessionContextManager
from workroot.storage.memory import MemoryStore


@pytest.fixture
async def session() -> AsyncIterator[Provider]:
    """A provider's values, of this test alone."""
    os.environ["SESSION_PROVIDER"] = "memory"

    open_values = factory_for_env()
    async with open_values() as session:
        yield session


@pytest.fixture
async def session_manager() -> AsyncIterator[SessionManager]:
    """A manager, of this test alone."""
    os.environ["SESSION_PROVIDER"] = "memory"

    mgr = SessionManager(sandbox_id="test-app")
    yield mgr  # noqa: PT022 -- as documented


@pytest.mark.asyncio
async def test_session_storage(session: Provider) -> None:
    await session.setex("a key", 60, "a value")
    found = await session.get("a key")
    assert found == "a value"


@pytest.mark.asyncio
async def test_session_management(session_manager: SessionManager) -> None:
    session_id = await session_manager.allocate_session(user_id="a user", custom_metadata={"role": "tester"})

    assert await session_manager.validate_session(session_id)

    key = session_manager.generate_artifact_key(session_id, "an-artifact")
    assert key.startswith("grid/test-app/")

    await session_manager.update_session_metadata(session_id, {"noted": "here"})

    info = await session_manager.get_session_info(session_id)
    assert info is not None
    assert info["custom_metadata"]["noted"] == "here"
    assert info["custom_metadata"]["role"] == "tester"


@pytest.mark.asyncio
async def test_multi_tenant_isolation(session_manager: SessionManager) -> None:
    tenant_a_mgr = SessionManager(sandbox_id="tenant-a")
    tenant_b_mgr = SessionManager(sandbox_id="tenant-b")

    in_a = await tenant_a_mgr.allocate_session(user_id="ada")
    in_b = await tenant_b_mgr.allocate_session(user_id="ada")

    key_in_a = tenant_a_mgr.generate_artifact_key(in_a, "doc-1")
    key_in_b = tenant_b_mgr.generate_artifact_key(in_b, "doc-1")

    assert "tenant-a" in key_in_a
    assert "tenant-b" in key_in_b
    assert key_in_a != key_in_b


async def test_what_one_test_keeps_another_does_not_find(session: Provider, session_manager: SessionManager) -> None:
    assert await session.get("a key") is None
    assert session_manager.get_cache_stats()["cached_sessions"] == 0


async def test_a_session_is_over_when_its_time_has_run_out() -> None:
    clock = ManualClock()
    async with SessionContextManager(MemoryStore(), FakePlaces({}), clock=clock) as kept:
        manager = SessionManager(sandbox_id="test-app", sessions=kept)
        session_id = await manager.allocate_session(user_id="a user", ttl_hours=1)
        clock.advance(HOUR - 1)
        assert await manager.validate_session(session_id) is True
        clock.advance(1)
        assert await manager.validate_session(session_id) is False
        assert await manager.get_session_info(session_id) is None
