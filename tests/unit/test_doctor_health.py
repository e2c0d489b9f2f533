"""What `workroot doctor` makes of what a daemon reports of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from doctor_findings import only, seen, states

from workroot.doctor import health
from workroot.doctor.asking import Daemon
from workroot.doctor.findings import Found, Private

LOOKS: tuple[Callable[[Daemon], Iterable[Found]], ...] = (
    health.look_at_store,
    health.look_at_watching,
    health.look_at_load,
    health.look_at_problems,
)


def saying(**status: object) -> Daemon:
    return Daemon(hello={"workroot": 1}, status=status)


@pytest.mark.parametrize("daemon", [Daemon(), saying(), saying(store=1, watching=[], descriptors="x", problems={})])
def test_of_what_a_daemon_does_not_report_nothing_is_said(daemon: Daemon) -> None:
    assert [list(look(daemon)) for look in LOOKS] == [[], [], [], []]


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ({"problem": None, "failed_commits": 0, "wal_bytes": None}, "ok"),
        ({"problem": "/x/workroot.db was deleted", "failed_commits": 4}, "problem"),
        ({"problem": None, "failed_commits": 4}, "note"),
        ({"problem": None, "failed_commits": 0, "wal_bytes": 100_000_000}, "warning"),
    ],
)
def test_a_store_that_keeps_nothing_is_a_problem(store: dict[str, object], expected: str) -> None:
    assert states(health.look_at_store(saying(store=store))) == [expected]


def test_what_is_in_memory_only_is_a_problem_and_says_why() -> None:
    store = {"problem": None, "memory_only_since": 1795266000.0, "memory_only_because": "/x/workroot.db is full"}

    found = only(health.look_at_store(saying(store=store)))

    assert found.state == "problem"
    assert Private(": memory only since 2026-11-21T13:00:00Z: /x/workroot.db is full") in found.seen


def test_what_is_refused_is_no_more_in_memory_than_before() -> None:
    store = {"problem": "full", "memory_only_since": 1.0, "memory_only_because": "full", "is_refusing": True}

    assert "cannot keep anything" in seen(only(health.look_at_store(saying(store=store))))


def test_another_journal_and_files_that_were_moved_are_worth_a_warning() -> None:
    store = {"problem": None, "journal_warning": "it lies on nfs4", "moved_aside": ["/x/workroot.db.damaged-1", "/y"]}

    found = list(health.look_at_store(saying(store=store)))

    assert states(found) == ["warning", "warning", "warning", "ok"]
    assert "it lies on nfs4" in seen(found[0])
    assert "was moved to /x/workroot.db.damaged-1" in seen(found[1])


@pytest.mark.parametrize(
    ("watching", "expected", "words"),
    [
        ({"watched": 3, "polled": 0, "failures": 0, "is_working": True}, "ok", "3 directories are watched"),
        ({"watched": 3, "polled": 2, "failures": 0, "is_working": True}, "ok", "2 are looked at"),
        ({"watched": 3, "polled": 0, "failures": 7, "is_working": True}, "note", "failed 7 times"),
        ({"watched": 0, "polled": 9, "failures": 7, "is_working": False}, "warning", "watching fails"),
    ],
)
def test_watching_that_fails_is_a_warning(watching: dict[str, object], expected: str, words: str) -> None:
    found = only(health.look_at_watching(saying(watching=watching)))

    assert (found.state, words in seen(found)) == (expected, True)


@pytest.mark.parametrize(
    ("used", "refusals", "expected"),
    [(10, {}, ["ok"]), (950, {}, ["warning"]), (10, {"rate_limit": 3, "<b>": 1}, ["ok", "note"])],
)
def test_a_daemon_near_its_limits_and_whom_it_refused_are_named(
    used: int, refusals: dict[str, int], expected: list[str]
) -> None:
    found = list(
        health.look_at_load(saying(descriptors={"used": used, "limit": 1000}, refusals=refusals, connections=2))
    )

    assert states(found) == expected
    assert "<b>" not in "".join(seen(one) for one in found)
    assert ("rate_limit 3" in seen(found[-1])) is bool(refusals)


def test_what_failed_last_is_named_by_its_source_and_its_text_is_private() -> None:
    problems = [
        {"time": "t", "level": "ERROR", "logger": "workroot.daemon", "message": f"of /home/ada {number}", "count": 2}
        for number in range(5)
    ]

    found = list(health.look_at_problems(saying(problems=problems)))

    assert states(found) == ["note"] * 3
    assert seen(found[-1]) == "error of workroot.daemon, 2 times, last at t: of /home/ada 4"
    assert all("ada" not in part for one in found for part in one.seen if not isinstance(part, Private))
    assert states(health.look_at_problems(saying(problems=[]))) == ["ok"]
    assert ", once, " in seen(only(health.look_at_problems(saying(problems=[{**problems[0], "count": 1}]))))
