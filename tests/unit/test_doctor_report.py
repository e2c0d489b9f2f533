"""How `workroot doctor` runs its checks, and what it makes of them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import pytest

from workroot.doctor import Check, Finding, Found, Report, State, examine
from workroot.doctor.findings import Name, note, ok, plain, problem, warning

CURE = ("do this",)


def finding(state: State) -> Finding:
    return Finding(f"a.{state}", state, Found(state=state, seen=("seen",), cure=() if state == "ok" else CURE))


def test_a_check_that_fails_says_so_and_the_others_go_on() -> None:
    def fails() -> Iterator[Found]:
        yield ok("fine")
        raise ZeroDivisionError("of /home/ada")

    found = list(examine([Check("a", "A", fails), Check("b", "B", lambda: [ok("fine")])]))

    assert [(one.id, one.found.state) for one in found] == [("a", "warning"), ("b", "ok")]
    assert plain(found[0].found.seen) == "this check failed (ZeroDivisionError: of /home/ada)"
    assert "--redact" in plain(found[0].found.cure)


def test_a_check_that_hangs_is_left_behind() -> None:
    release = threading.Event()

    def hangs() -> Iterable[Found]:
        release.wait(30)
        return [ok("late")]

    try:
        found = list(examine([Check("a", "A", hangs), Check("b", "B", lambda: [ok("fine")])], seconds=0.05))
    finally:
        release.set()

    assert [(one.id, one.found.state) for one in found] == [("a", "warning"), ("b", "ok")]
    assert "no answer" in plain(found[0].found.seen)


def test_a_check_may_find_several_things_or_nothing() -> None:
    checks = [Check("a", "A", lambda: [ok("1"), note("2", cure=CURE)]), Check("b", "B", list)]

    assert [one.found.state for one in examine(checks)] == ["ok", "note"]


@pytest.mark.parametrize("make", [note, warning, problem])
def test_whatever_is_not_well_comes_with_a_cure(make: type) -> None:
    with pytest.raises(ValueError, match="goes with a cure"):
        make("seen", cure=())


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        (["ok"], "ok"),
        (["ok", "note"], "note"),
        (["warning", "note"], "warning"),
        (["ok", "problem", "note"], "problem"),
    ],
)
def test_a_report_is_as_bad_as_its_worst_finding(states: list[State], worst: State) -> None:
    assert Report([finding(state) for state in states]).state == worst


def test_a_document_has_a_stable_form() -> None:
    document = Report([finding("ok"), finding("problem")]).document()

    assert list(document) == ["report", "version", "redacted", "state", "findings"]
    assert document["redacted"] is False
    assert document["findings"] == [
        {"check": "a.ok", "title": "ok", "state": "ok", "seen": "seen", "cure": None},
        {"check": "a.problem", "title": "problem", "state": "problem", "seen": "seen", "cure": "do this"},
    ]


def test_lines_end_with_a_count() -> None:
    lines = list(Report([finding("ok"), finding("problem"), finding("note"), finding("note")]).lines())

    assert lines[0].split() == ["ok", "ok", "seen"]
    assert lines[2].strip() == "-> do this"
    assert lines[-1] == "1 problem, 2 notes"
    assert list(Report([finding("ok")]).lines())[-1] == "all is well"


def test_a_redacted_report_says_so_and_shows_no_name() -> None:
    found = Finding("a", "A", note("of ", Name("ada"), cure=("ask ", Name("ada"))))
    report = Report([found], lambda text: "".join(part if isinstance(part, str) else "X" for part in text))

    assert report.document()["redacted"] is True
    assert "ada" not in str(report.document()) + "".join(report.lines())
