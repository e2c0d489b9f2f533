"""Somebody else's provider: installed, found by its entry point, and held to the contract by the importable suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
import time
from contextlib import asynccontextmanager

from workroot.providers.contract import DEFAULT_TTL_SECONDS, checked_key, checked_ttl, checked_value

kept = {}


class Session:
    async def setex(self, key, ttl, value):
        checked_key(key), checked_value(value)
        kept[key] = value, time.monotonic() + checked_ttl(ttl)

    async def set(self, key, value):
        await self.setex(key, DEFAULT_TTL_SECONDS, value)

    async def get(self, key):
        checked_key(key)
        value, deadline = kept.get(key, (None, 0))
        return value if time.monotonic() < deadline else None

    async def delete(self, key):
        checked_key(key)
        return time.monotonic() < kept.pop(key, (None, 0))[1]

    async def close(self):
        pass


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

AUTHORS_TEST = """
import pytest
from workroot.providers import factory_for_env
from workroot.testing.provider_contract import ProviderContract


class TestValley(ProviderContract):
    @pytest.fixture
    def factory(self):
        return factory_for_env()
"""

BAD = {
    "its times are cut to whole seconds": (
        "checked_ttl(ttl)",
        "max(1, int(checked_ttl(ttl)))",
        "test_a_time_to_live_is_exact_and_its_fraction_counts",
    ),
    "its delete is always true": (
        "return time.monotonic() < kept.pop(key, (None, 0))[1]",
        "kept.pop(key, None); return True",
        "test_delete_tells_whether_there_was_a_value",
    ),
    "its delete counts as other systems do": (
        "return time.monotonic() < kept.pop(key, (None, 0))[1]",
        "return int(time.monotonic() < kept.pop(key, (None, 0))[1])",
        "test_delete_tells_whether_there_was_a_value",
    ),
    "its values never end": (
        "value if time.monotonic() < deadline else None",
        "value",
        "test_a_time_to_live_below_a_second_is_one",
    ),
    "it takes any time to live": (
        "checked_ttl(ttl)",
        "ttl",
        "test_what_is_no_time_to_live_is_an_error_and_changes_nothing",
    ),
    "it keeps what is no text": (
        "checked_key(key), checked_value(value)",
        "checked_key(key)",
        "test_a_value_that_is_no_text_is_an_error_and_changes_nothing",
    ),
    "reading prolongs": (
        "        value, deadline = kept.get(key, (None, 0))\n",
        "        value, deadline = kept.get(key, (None, 0))\n"
        "        if time.monotonic() < deadline: kept[key] = value, deadline + 1\n",
        "test_reading_a_value_does_not_prolong_it",
    ),
    "its uses share nothing": (
        "class Session:\n",
        "class Session:\n    def __init__(self):\n        global kept\n        kept = {}\n\n",
        "test_values_outlive_the_use_that_kept_them",
    ),
}


def run_authors_test(directory: Path, provider: str, *options: str) -> str:
    """Install *provider* in *directory* as a distribution, run its author's test and return what pytest said."""
    (directory / "valley.py").write_text(provider)
    info = directory / "valley-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: valley\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[workroot.providers]\nvalley = valley\n")
    (directory / "test_valley.py").write_text(AUTHORS_TEST)
    (directory / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:asyncio",
            *options,
            "test_valley.py",
        ],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(directory), "SESSION_PROVIDER": "valley"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.row("P5")
def test_the_suite_passes_a_good_provider_that_is_installed(tmp_path: Path) -> None:
    said = run_authors_test(tmp_path, GOOD)
    assert re.search(r"^5\d passed in", said, re.MULTILINE), said


@pytest.mark.row("P5", "B18")
@pytest.mark.parametrize("fault", BAD)
def test_the_suite_finds_a_bad_provider(tmp_path: Path, fault: str) -> None:
    good, bad, test = BAD[fault]
    assert GOOD.count(good) == 1
    said = run_authors_test(tmp_path, GOOD.replace(good, bad), "-k", test)
    assert re.search(rf"^FAILED test_valley\.py::TestValley::{test}\b", said, re.MULTILINE), said


def test_who_forgets_to_say_what_is_tested_is_told(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "from workroot.testing.provider_contract import ProviderContract\nclass TestNone(ProviderContract): ...\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "override the fixture `factory`" in done.stdout
