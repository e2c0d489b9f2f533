"""Which provider the environment names, and what is said when it names none."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workroot.errors import NoFactoryError, ProviderNotFoundError, SettingsError
from workroot.providers import factory_for_env, get_session, memory, shared_file
from workroot.providers.memory import MemoryProvider
from workroot.providers.sqlite import SqliteProvider
from workroot.settings import load_settings

OWN_PROVIDER = """
from contextlib import asynccontextmanager

class Session:
    kept = {}
    async def setex(self, key, ttl, value): self.kept[key] = value
    async def get(self, key): return self.kept.get(key)
    async def delete(self, key): return self.kept.pop(key, None) is not None
    async def close(self): self.closed = True

def factory():
    @asynccontextmanager
    async def _ctx():
        session = Session()
        try:
            yield session
        finally:
            await session.close()
    return _ctx
"""


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    memory.forget_all()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that modules and installed distributions are found in."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    importlib.invalidate_caches()


def install(packages: Path, distribution: str, *entry_points: str) -> None:
    info = packages / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[workroot.providers]\n" + "\n".join(entry_points) + "\n")


async def kind_of(**environment: str) -> str:
    async with factory_for_env(environment)() as session:
        return type(session).__name__


@pytest.mark.row("P1")
@pytest.mark.parametrize("name", ["memory", "mem", "inmemory", "MEMORY", "  Mem \n", "", "   "])
async def test_the_names_of_memory_are_read_without_case_and_blanks(name: str) -> None:
    assert await kind_of(SESSION_PROVIDER=name) == MemoryProvider.__name__


@pytest.mark.parametrize("name", ["sqlite", " SQLite "])
async def test_sqlite_keeps_its_values_in_the_file_that_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "values.db"
    environment = {"SESSION_PROVIDER": name, "WORKROOT_SESSION_PROVIDER_PATH": str(path)}
    async with get_session(environment) as session:
        assert isinstance(session, SqliteProvider)
        await session.setex("key", 60, "x")
    await shared_file.close_files()
    assert path.stat().st_size > 0


async def test_without_a_path_the_file_is_in_the_state_directory_which_is_made(tmp_path: Path) -> None:
    state = tmp_path / "below" / "state"
    async with get_session({"SESSION_PROVIDER": "sqlite", "WORKROOT_HOME": str(state)}) as session:
        await session.setex("key", 60, "x")
    await shared_file.close_files()
    assert (state / "session_values.db").exists()
    assert state.stat().st_mode & 0o777 == 0o700


async def test_a_relative_path_is_an_error_that_names_its_variable() -> None:
    with pytest.raises(SettingsError, match="WORKROOT_SESSION_PROVIDER_PATH: must be the absolute path"):
        factory_for_env({"SESSION_PROVIDER": "sqlite", "WORKROOT_SESSION_PROVIDER_PATH": "values.db"})


@pytest.mark.row("P6")
async def test_without_any_environment_values_are_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    async with factory_for_env()() as session:
        await session.setex("user:123", 300, "alice")
    async with get_session() as session:
        assert await session.get("user:123") == "alice"


async def test_a_variable_of_ours_wins_over_one_of_theirs() -> None:
    environment = {"WORKROOT_SESSION_PROVIDER": "memory", "SESSION_PROVIDER": "no_such_module"}
    assert await kind_of(**environment) == MemoryProvider.__name__
    with pytest.raises(ProviderNotFoundError):
        factory_for_env(environment | {"WORKROOT_SESSION_PROVIDER": ""})


def test_the_daemon_takes_the_variables_of_providers_for_no_slip_of_its_own(tmp_path: Path) -> None:
    names = ("SESSION_PROVIDER", "SESSION_PROVIDER_PATH", "SESSION_DEFAULT_TTL")
    load_settings({"WORKROOT_HOME": str(tmp_path)} | {f"WORKROOT_{name}": "x" for name in names})


@pytest.mark.parametrize("name", ["redis", "Redis_Store"])
def test_redis_is_refused_with_what_to_use_instead(name: str) -> None:
    with pytest.raises(ImportError, match=r"comes with a later workroot\. Use `sqlite`"):
        factory_for_env({"SESSION_PROVIDER": name})


@pytest.mark.row("P1")
@pytest.mark.parametrize("name", ["no_such_module", "no.such.module", ".relative", "ends.", "..", "memry"])
def test_an_unknown_name_is_an_import_error_that_lists_the_known_ones(name: str, packages: Path) -> None:
    install(packages, "theirs", "valley = valley:factory")
    with pytest.raises(ImportError, match="memory, mem, inmemory, sqlite, valley"):
        factory_for_env({"SESSION_PROVIDER": name})


@pytest.mark.row("P1")
def test_a_module_without_factory_is_an_attribute_error(packages: Path) -> None:
    (packages / "bare_provider.py").write_text("x = 1\n")
    with pytest.raises(AttributeError, match=r"'bare_provider' is no provider: it has no `factory`"):
        factory_for_env({"SESSION_PROVIDER": "bare_provider"})


def test_a_factory_that_returns_nothing_to_open_is_an_attribute_error(packages: Path) -> None:
    (packages / "odd_provider.py").write_text("def factory():\n    return 'session'\n")
    with pytest.raises(NoFactoryError, match=r"its `factory\(\)` returns no function"):
        factory_for_env({"SESSION_PROVIDER": "odd_provider"})


def test_a_module_that_cannot_be_imported_says_why(packages: Path) -> None:
    (packages / "needy_provider.py").write_text("import a_library_that_is_missing\n")
    with pytest.raises(
        ProviderNotFoundError,
        match="provider 'needy_provider' cannot be imported: ModuleNotFoundError: No module named 'a_library_that_is_m",
    ):
        factory_for_env({"SESSION_PROVIDER": "needy_provider"})


@pytest.mark.row("P5")
async def test_a_module_of_ones_own_is_a_provider_as_documented(packages: Path) -> None:
    (packages / "CustomProvider.py").write_text(OWN_PROVIDER)
    async with factory_for_env({"SESSION_PROVIDER": "CustomProvider"})() as session:
        await session.setex("key", 60, "x")
    async with get_session({"SESSION_PROVIDER": " CustomProvider "}) as session:
        assert await session.get("key") == "x"


@pytest.mark.row("P5")
@pytest.mark.parametrize("value", ["valley.store", "valley.store:factory"])
async def test_a_provider_is_found_by_its_entry_point(value: str, packages: Path) -> None:
    (packages / "valley").mkdir()
    (packages / "valley" / "__init__.py").write_text("")
    (packages / "valley" / "store.py").write_text(OWN_PROVIDER)
    install(packages, "valley", f"Valley = {value}")
    async with factory_for_env({"SESSION_PROVIDER": "VALLEY"})() as session:
        assert type(session).__module__ == "valley.store"


async def test_no_distribution_takes_the_place_of_a_built_in_provider(packages: Path) -> None:
    (packages / "taker.py").write_text(OWN_PROVIDER)
    install(packages, "taker", "memory = taker", "redis = taker")
    assert await kind_of(SESSION_PROVIDER="memory") == MemoryProvider.__name__
    assert await kind_of(SESSION_PROVIDER="redis") == "Session", "what is not built in, a distribution may offer"


def test_two_distributions_that_offer_one_name_are_an_error_that_names_both(packages: Path) -> None:
    install(packages, "one", "valley = one.store")
    install(packages, "two", "valley = two.store")
    with pytest.raises(ProviderNotFoundError, match=r"offered as one\.store and as two\.store"):
        factory_for_env({"SESSION_PROVIDER": "valley"})


@pytest.mark.parametrize("code", ["raise RuntimeError('no licence')", "def factory(:"])
def test_whatever_a_provider_raises_at_import_names_the_provider(code: str, packages: Path) -> None:
    (packages / "failing_provider.py").write_text(code + "\n")
    install(packages, "failing", "valley = failing_provider:factory")
    for name in ("failing_provider", "valley"):
        with pytest.raises(
            ProviderNotFoundError, match=rf"provider '{name}'.* cannot be imported: \w+Error: "
        ) as caught:
            factory_for_env({"SESSION_PROVIDER": name})
        assert isinstance(caught.value.__cause__, RuntimeError | SyntaxError)


def test_an_entry_point_that_cannot_be_imported_says_why(packages: Path) -> None:
    install(packages, "valley", "valley = a_module_that_is_missing")
    with pytest.raises(ProviderNotFoundError, match="No module named 'a_module_that_is_missing'"):
        factory_for_env({"SESSION_PROVIDER": "valley"})


@pytest.mark.row("P2")
@pytest.mark.parametrize("name", ["SESSION_DEFAULT_TTL", "WORKROOT_SESSION_DEFAULT_TTL"])
async def test_the_default_time_to_live_is_read_from_the_environment(name: str) -> None:
    async with get_session({name: "1e-9"}) as session:  # over before anybody can look
        await session.set("key", "x")
        assert await session.get("key") is None


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "an hour", "1e99"])
def test_a_default_time_that_is_none_is_an_error_that_names_its_variable(text: str) -> None:
    with pytest.raises(SettingsError, match="SESSION_DEFAULT_TTL: "):
        factory_for_env({"SESSION_DEFAULT_TTL": text})
