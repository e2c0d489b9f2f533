"""What every suite shares: the option `--full`, and real daemons in directories of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from real_daemon import Home

_outcomes = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run slow suites at their stated counts")
    parser.addoption("--row-listing", type=Path, help="write which rows of docs/parity.md each test says it shows")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what has a larger count with `--full`; what looks at how others ended comes last."""
    for item in items:
        if "is_full" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
    items.sort(key=lambda item: "outcomes" in getattr(item, "fixturenames", ()))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write a line a test if that was asked for: its file and name, and its rows, with tabs between."""
    if (path := session.config.getoption("--row-listing")) is None:
        return
    found: dict[str, set[str]] = {}
    for item in session.items:
        names = found.setdefault(item.nodeid.partition("[")[0], set())
        names.update(name for mark in item.iter_markers("row") for name in mark.args)
    path.write_text("".join("\t".join((test, *sorted(names))) + "\n" for test, names in found.items()))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_outcomes] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how each test ended; with parameters, how the worst of them did."""
    report = yield
    if report.when == "call" or report.outcome != "passed":
        ended = item.config.stash[_outcomes]
        name = report.nodeid.partition("[")[0]
        ended[name] = report.outcome if ended.get(name, "passed") == "passed" else ended[name]
    return report


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """How the tests ended that this run has come to: by file and name, `passed`, `failed` or `skipped`."""
    found: dict[str, str] = request.config.stash[_outcomes]
    return found


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
