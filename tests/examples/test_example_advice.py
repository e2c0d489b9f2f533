"""The documented advice: times to live, metadata, many paths, one manager for a program, errors, environments.

Not as documented: the environment `production` wants Redis for its values, which comes later.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from examples.programs import advice, configuration
from examples.programs.surroundings import HTTPException
from fakes import FakePlaces, HeldStore
from workroot.default_manager import set_session_context_manager
from workroot.errors import ProviderNotFoundError, SessionError, StoreUnavailableError
from workroot.providers import factory_for_env, get_session
from workroot.session_context import SessionContextManager
from workroot.session_manager import SessionManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore


@pytest.fixture
def store() -> HeldStore:
    return HeldStore(MemoryStore())


@pytest.fixture
async def room_for_one(store: HeldStore) -> AsyncIterator[SessionContextManager]:
    """The sessions of the process, of which there may be one."""
    rules = SessionRules(max_allocated_sessions=1)
    async with SessionContextManager(store, FakePlaces({}), rules=rules) as kept:
        set_session_context_manager(kept)
        yield kept


async def test_a_thousand_paths_of_a_session_are_made_and_its_figures_are_updated_at_once() -> None:
    session_id, paths = await advice.many_paths_and_one_update()
    assert paths == [f"grid/my-app/{session_id}/artifact_{n}" for n in range(1000)]
    info = await advice.mgr.get_session_info(session_id)
    assert info is not None
    assert (info["custom_metadata"]["file_count"], info["custom_metadata"]["total_bytes"]) == (100, 1024000)


async def test_each_session_lives_for_the_hours_it_was_given_fractions_too() -> None:
    for hours, session_id in (await advice.times_to_live()).items():
        info = await advice.mgr.get_session_info(session_id)
        assert info is not None
        created, expires = (datetime.fromisoformat(info[name]) for name in ("created_at", "expires_at"))
        assert expires - created == pytest.approx(timedelta(hours=hours), abs=timedelta(seconds=1))


async def test_the_high_level_and_the_low_level_are_there_to_choose_from() -> None:
    assert isinstance(advice.high_level_or_low_level(True), SessionManager)
    open_values = advice.high_level_or_low_level(False)
    assert not isinstance(open_values, SessionManager)
    async with open_values() as values:
        await values.setex("key", 60, "value")
        assert await values.get("key") == "value"


async def test_a_session_remembers_how_its_user_logged_in() -> None:
    info = await advice.mgr.get_session_info(await advice.login_with_security_metadata())
    assert info is not None
    assert info["custom_metadata"]["security_level"] == "high"
    assert info["custom_metadata"]["login_method"] == "oauth"


async def test_two_environments_of_one_program_never_meet() -> None:
    session_id = await advice.production_mgr.allocate_session(user_id="ada")
    assert await advice.production_mgr.validate_session(session_id) is True
    assert await advice.staging_mgr.validate_session(session_id) is False


async def test_an_application_uses_one_manager_for_all_its_requests() -> None:
    application = advice.Application()
    ids = [await application.handle_request(user) for user in ("ada", "bob", "ada")]
    assert len(set(ids)) == 3
    assert all([await application.session_mgr.validate_session(each) for each in ids])


async def test_the_robust_operation_answers_what_is_known_of_a_new_session() -> None:
    info = await advice.robust_session_operation()
    assert info is not None
    assert (info["user_id"], info["status"]) == ("ada", "active")


@pytest.mark.usefixtures("room_for_one")
async def test_the_robust_operation_logs_that_there_is_no_room_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    assert await advice.robust_session_operation() is not None
    with caplog.at_level(logging.ERROR):
        assert await advice.robust_session_operation() is None
    assert "1 sessions are allocated" in caplog.text


@pytest.mark.usefixtures("room_for_one")
async def test_the_robust_operation_goes_on_when_the_store_is_in_trouble_and_works_again_after_it(
    store: HeldStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.fail(StoreUnavailableError("the disk is full"))
    assert await advice.robust_session_operation() is None
    assert "the disk is full" in caplog.text
    store.fail_no_more()
    assert await advice.robust_session_operation() is not None


async def test_the_robust_operation_handles_a_session_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def get_session_info(session_id: str) -> None:
        raise SessionError(session_id, "no longer usable")

    monkeypatch.setattr(advice.mgr, "get_session_info", get_session_info)
    assert await advice.robust_session_operation() is None
    assert "no longer usable" in caplog.text


async def test_a_protected_operation_needs_a_session_that_is_active() -> None:
    session_id = await advice.mgr.allocate_session(user_id="reset", ttl_hours=0.25)
    assert await advice.protected_operation(session_id) == "performed"

    assert await advice.mgr.delete_session(session_id) is True
    for bad in (session_id, "never-there", ""):
        with pytest.raises(HTTPException) as caught:
            await advice.protected_operation(bad)
        assert caught.value.status_code == 401


@pytest.mark.parametrize(
    ("environment", "sandbox"), [(None, "shop-dev"), ("development", "shop-dev"), ("testing", "shop-test")]
)
async def test_an_environment_has_its_sandbox_and_its_provider(
    environment: str | None, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment is not None:
        monkeypatch.setenv("ENVIRONMENT", environment)
    manager = configuration.get_session_manager("shop")

    assert manager.sandbox_id == sandbox
    assert os.environ["SESSION_PROVIDER"] == "memory"
    session_id = await manager.allocate_session(user_id="ada")
    assert await manager.validate_session(session_id)
    async with get_session() as values:
        await values.set("key", "value")
        assert await values.get("key") == "value"


async def test_in_production_sessions_work_and_values_say_that_redis_comes_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("REDIS_URL", "redis://localhost:6379/0")
    manager = configuration.get_session_manager("shop")

    assert manager.sandbox_id == "shop-prod"
    assert await manager.validate_session(await manager.allocate_session(user_id="ada"))
    with pytest.raises(ProviderNotFoundError, match="comes with a later"):
        factory_for_env()
