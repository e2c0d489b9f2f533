"""What every suite shares: the option `--full`, and real daemons in directories of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from real_daemon import Home


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run slow suites at their stated counts")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what has a larger count with `--full`."""
    for item in items:
        if "is_full" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def is_full(request: pytest.FixtureRequest) -> bool:
    """Whether slow suites run at their stated counts."""
    return bool(request.config.getoption("--full"))


@pytest.fixture
def home() -> Iterator[Home]:
    """A user's home of one test's own; no daemon runs in it until something starts one."""
    from real_daemon import open_home  # it imports the SDK, which the unit tests do without

    with open_home() as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Home]:
    """A home whose running daemon, with HTTP, is shared by a module's tests: each makes projects of its own."""
    from real_daemon import open_home

    with open_home(WORKROOT_HTTP="1") as made:
        made.start()
        yield made
