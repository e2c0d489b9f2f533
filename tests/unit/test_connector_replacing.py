from __future__ import annotations

import pytest

from workroot import __version__
from workroot.connector import replacing
from workroot.connector.replacing import is_newer, is_replaceable
from workroot.rendezvous import installation

ORDER = (
    "0.1.0.dev3",
    "0.1.0a1.dev2",
    "0.1.0a1",
    "0.1.0a2",
    "0.1.0a10",
    "0.1.0b1",
    "0.1.0rc1",
    "0.1.0",
    "0.1.0.post1.dev1",
    "0.1.0.post1",
    "0.1.1",
    "0.2",
    "0.9.9",
    "0.10.0",
    "1.0",
    "2026.11",
)


@pytest.mark.parametrize("index", range(len(ORDER)))
def test_versions_have_their_usual_order(index: int) -> None:
    assert [is_newer(ORDER[index], other) for other in ORDER] == [True] * index + [False] * (len(ORDER) - index)


@pytest.mark.parametrize(("one", "other"), [("1.0", "1"), ("1.0.0", "1.0"), ("1.0+local.2", "1.0"), ("v1.0", "1.0")])
def test_what_is_the_same_version_is_newer_in_neither_direction(one: str, other: str) -> None:
    assert not is_newer(one, other)
    assert not is_newer(other, one)


@pytest.mark.parametrize(
    "unreadable", [None, 2, "", "unknown", "1.0-custom", "1..2", "1.0 ", "\u0661.0", ["1"], "1" * 9000]
)
def test_what_cannot_be_read_as_a_version_is_not_newer_and_nothing_is_newer_than_it(unreadable: object) -> None:
    assert not is_newer(unreadable, "0.0.1")
    assert not is_newer("99.0", unreadable)


@pytest.mark.parametrize(
    ("version", "is_here", "expected"),
    [("1.0", True, True), ("2.0", True, False), ("3.0", True, False), ("1.0", False, False), (None, True, False)],
)
def test_only_an_older_daemon_of_the_same_installation_is_replaced(
    monkeypatch: pytest.MonkeyPatch, version: str | None, is_here: bool, expected: bool
) -> None:
    monkeypatch.setattr(replacing, "__version__", "2.0")
    where = installation() if is_here else "/elsewhere"
    assert is_replaceable({"version": version, "installation": where}) is expected


def test_a_daemon_that_says_nothing_of_itself_is_not_replaced() -> None:
    assert not is_replaceable({})
    assert not is_replaceable({"version": __version__, "installation": installation()})
