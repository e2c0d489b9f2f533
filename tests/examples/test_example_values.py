"""The documented examples of providers: basic use, a code that is valid once, results that are kept for an hour."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from pathlib import Path

import pytest

from workroot.providers import factory_for_env, get_session, shared_file
from workroot.session_manager import SessionManager


@pytest.fixture(params=["memory", "sqlite"])
async def provider(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.setenv("SESSION_PROVIDER", name)
    monkeypatch.setenv("WORKROOT_SESSION_PROVIDER_PATH", str(tmp_path / "values.db"))
    return name


@pytest.mark.row("P2")
@pytest.mark.usefixtures("provider")
async def test_the_basic_use_of_a_provider_is_as_documented() -> None:
    session_factory = factory_for_env()
    async with session_factory() as session:
        await session.setex("user:123", 300, "alice")
        assert await session.get("user:123") == "alice"
        await session.delete("user:123")
        assert await session.get("user:123") is None
    await shared_file.close_files()


async def test_the_short_form_keeps_a_value_for_the_default_time() -> None:
    async with get_session() as session:
        await session.set("key", "value")
        assert await session.get("key") == "value"


async def create_verification_code(user_id: str) -> str:
    code = secrets.token_urlsafe(8)
    session_factory = factory_for_env()
    async with session_factory() as session:
        await session.setex(f"verify:{user_id}", 600, code)
    return code


async def check_verification_code(user_id: str, code: str) -> bool:
    """Check as documented: look, compare, remove; the answer is whether it was this caller who removed it."""
    async with get_session() as session:
        kept = await session.get(f"verify:{user_id}")
        return kept is not None and secrets.compare_digest(kept, code) and await session.delete(f"verify:{user_id}")


@pytest.mark.usefixtures("provider")
async def test_a_code_is_valid_once() -> None:
    code = await create_verification_code("alice")
    assert await check_verification_code("alice", "wrong") is False
    assert await check_verification_code("bob", code) is False
    assert await check_verification_code("alice", code) is True
    assert await check_verification_code("alice", code) is False
    await shared_file.close_files()


@pytest.mark.row("C13")
@pytest.mark.usefixtures("provider")
async def test_of_a_hundred_who_use_a_code_at_the_same_time_one_is_let_in() -> None:
    code = await create_verification_code("alice")
    let_in = await asyncio.gather(*(check_verification_code("alice", code) for _ in range(100)))
    assert let_in.count(True) == 1
    await shared_file.close_files()


async def test_a_code_that_a_session_remembers_is_taken_once() -> None:
    manager = SessionManager(sandbox_id="webapp")
    session_id = await manager.allocate_session(user_id="alice", custom_metadata={"code": "123456"})
    taken = await asyncio.gather(*(manager.take(session_id, "code") for _ in range(100)))
    assert sorted(taken, key=str) == ["123456"] + [None] * 99


computed: list[dict[str, int]] = []


async def some_expensive_operation(params: dict[str, int]) -> dict[str, int]:
    computed.append(params)
    return {"sum": sum(params.values())}


async def cache_expensive_computation(params: dict[str, int]) -> object:
    cache_key = "cache:" + hashlib.md5(json.dumps(params, sort_keys=True).encode()).hexdigest()
    session_factory = factory_for_env()
    async with session_factory() as session:
        cached = await session.get(cache_key)
        if cached:
            return json.loads(cached)
        result = await some_expensive_operation(params)
        await session.setex(cache_key, 3600, json.dumps(result))
        return result


@pytest.mark.row("C13")
@pytest.mark.usefixtures("provider")
async def test_a_result_is_computed_once_and_kept() -> None:
    computed.clear()
    assert await cache_expensive_computation({"a": 1, "b": 2}) == {"sum": 3}
    assert await cache_expensive_computation({"b": 2, "a": 1}) == {"sum": 3}
    assert await cache_expensive_computation({"a": 5}) == {"sum": 5}
    assert computed == [{"a": 1, "b": 2}, {"a": 5}]
    await shared_file.close_files()
