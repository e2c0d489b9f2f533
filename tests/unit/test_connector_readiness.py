from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from workroot.connector.readiness import GONE, READ, WRITE, wait_ready

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["poll", "select"], autouse=True)
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test as on a system that has `poll`, and as on one that has not."""
    if request.param == "select":
        monkeypatch.delattr(select, "poll")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue  # the test closed it


def test_an_empty_pipe_can_be_written_and_not_read(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    assert wait_ready({reading: READ, writing: WRITE}, 0) == {writing: WRITE}


def test_what_was_written_can_be_read(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.write(writing, b"x")
    assert wait_ready({reading: READ, writing: 0}, None) == {reading: READ}


def test_a_full_pipe_cannot_be_written(pipe: tuple[int, int]) -> None:
    _, writing = pipe
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(1 << 16))
    assert wait_ready({writing: WRITE}, 0) == {}


def test_the_end_is_reported_to_who_reads(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(writing)
    assert wait_ready({reading: READ}, 0)[reading] & (READ | GONE)


def test_a_time_that_has_passed_is_no_error() -> None:
    assert wait_ready({}, -1.0) == {}
