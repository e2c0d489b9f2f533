"""The documented examples of providers: basic use, a code that is valid once, cached results, a provider of one's own.

Not as documented: Redis, which comes later. How a code is used is not documented; that function is ours.
"""

from __future__ import annotations

import asyncio
import runpy
from pathlib import Path

import pytest

from examples.programs import custom_provider, kept_values
from examples.programs.surroundings import computed
from workroot.errors import ProviderNotFoundError
from workroot.providers import factory_for_env, get_session, shared_file
from workroot.session_manager import SessionManager

PROGRAMS = Path(__file__).with_name("programs")


@pytest.fixture(params=["memory", "sqlite"])
def provider(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.setenv("SESSION_PROVIDER", name)
    monkeypatch.setenv("WORKROOT_SESSION_PROVIDER_PATH", str(tmp_path / "values.db"))
    return name


@pytest.mark.row("P2")
@pytest.mark.usefixtures("provider")
def test_the_basic_use_of_a_provider_is_as_documented(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(PROGRAMS / "provider_basics.py"))
    assert capsys.readouterr().out == "kept: ada\n"

    async def left() -> str | None:
        async with get_session() as values:
            found = await values.get("user:7")
        await shared_file.close_files()
        return found

    assert asyncio.run(left()) is None


async def test_the_short_form_keeps_a_value_for_the_default_time() -> None:
    async with get_session() as session:
        await session.set("key", "value")
        assert await session.get("key") == "value"


@pytest.mark.parametrize("name", ["memory", "mem", "inmemory"])
async def test_each_documented_name_of_the_memory_is_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_PROVIDER", name)
    code = await kept_values.create_verification_code("ada")
    monkeypatch.delenv("SESSION_PROVIDER")
    assert await kept_values.use_verification_code("ada", code)


@pytest.mark.parametrize("name", ["redis", "redis_store"])
def test_redis_says_that_it_comes_later(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_PROVIDER", name)
    with pytest.raises(ProviderNotFoundError, match="comes with a later"):
        factory_for_env()


@pytest.mark.usefixtures("provider")
async def test_a_code_is_valid_once() -> None:
    code = await kept_values.create_verification_code("ada")
    assert await kept_values.create_verification_code("bob") != code
    assert await kept_values.use_verification_code("ada", "wrong") is False
    assert await kept_values.use_verification_code("bob", code) is False
    assert await kept_values.use_verification_code("ada", code) is True
    assert await kept_values.use_verification_code("ada", code) is False
    await shared_file.close_files()


@pytest.mark.row("C13")
@pytest.mark.usefixtures("provider")
async def test_of_a_hundred_who_use_a_code_at_the_same_time_one_is_let_in() -> None:
    code = await kept_values.create_verification_code("ada")
    let_in = await asyncio.gather(*(kept_values.use_verification_code("ada", code) for _ in range(100)))
    assert let_in.count(True) == 1
    await shared_file.close_files()


async def test_a_code_that_a_session_remembers_is_taken_once() -> None:
    manager = SessionManager(sandbox_id="webapp")
    session_id = await manager.allocate_session(user_id="ada", custom_metadata={"code": "123456"})
    taken = await asyncio.gather(*(manager.take(session_id, "code") for _ in range(100)))
    assert sorted(taken, key=str) == ["123456"] + [None] * 99


@pytest.mark.row("C13")
@pytest.mark.usefixtures("provider")
async def test_a_result_is_computed_once_and_kept() -> None:
    assert await kept_values.cache_expensive_computation({"a": 1, "b": 2}) == {"sum": 3}
    assert await kept_values.cache_expensive_computation({"b": 2, "a": 1}) == {"sum": 3}
    assert await kept_values.cache_expensive_computation({"a": 5}) == {"sum": 5}
    assert computed == [{"a": 1, "b": 2}, {"a": 5}]
    await shared_file.close_files()


async def test_a_provider_of_ones_own_is_used_in_the_documented_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_PROVIDER", custom_provider.__name__)
    code = await kept_values.create_verification_code("ada")
    assert custom_provider.kept == {"verify:ada": (600, code)}
    assert await kept_values.use_verification_code("ada", code) is True
    assert custom_provider.kept == {}
