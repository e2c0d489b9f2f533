"""`docs/parity.md`: each row of what the earlier systems offer names the test that shows it, and that test passes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest
from parity_document import ROOT, defects_wanted, rows, rows_wanted

MOST_ROWS = 3  # that one test shows: more would show none of them well


@pytest.fixture(scope="module")
def named() -> dict[str, set[str]]:
    """The tests that the document names, and for which rows."""
    found: dict[str, set[str]] = {}
    for row in rows():
        for test in row.tests:
            found.setdefault(test, set()).add(row.name)
    return found


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory, named: dict[str, set[str]]) -> dict[str, set[str]]:
    """The tests that there are in the named files, and the rows that each says it shows."""
    listing = tmp_path_factory.mktemp("parity") / "listing"
    files = sorted({test.partition("::")[0] for test in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--row-listing", listing, *files], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (line.split("\t") for line in listing.read_text().splitlines())
    return {test: set(names) for test, *names in lines}


def test_every_row_and_every_defect_is_there_once_in_order() -> None:
    names = [row.name for row in rows()]

    assert [name for name in names if name[0] != "B"] == rows_wanted()
    assert [name for name in names if name[0] == "B"] == defects_wanted()


def test_every_row_says_something_and_names_a_test() -> None:
    assert [row.name for row in rows() if not row.tests or not all(row.says)] == []


def test_no_test_shows_more_than_three_rows(collected: dict[str, set[str]]) -> None:
    counts = {test: sum(name[0] != "B" for name in names) for test, names in collected.items()}

    assert {test: count for test, count in counts.items() if count > MOST_ROWS} == {}


def test_every_named_test_is_collected_and_says_the_same(
    named: dict[str, set[str]], collected: dict[str, set[str]]
) -> None:
    assert sorted(named.keys() - collected.keys()) == []
    unsaid = {test: names - collected[test] for test, names in named.items() if names - collected[test]}
    assert unsaid == {}, "the document says more than the test's mark `row`"


def test_every_named_test_passes(named: dict[str, set[str]], outcomes: Mapping[str, str], tmp_path: Path) -> None:
    """In a run of all tests, as they did there; those that this run has not come to are run here."""
    ended = {test: outcomes[test] for test in named.keys() & outcomes.keys()}
    ended |= ran(sorted(named.keys() - ended.keys()), tmp_path / "junit.xml")

    assert {test: ended.get(test, "not run") for test in named if ended.get(test) != "passed"} == {}


def ran(tests: list[str], report: Path) -> dict[str, str]:
    """Run *tests* in a process of their own, and return how each ended."""
    if not tests:
        return {}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
    subprocess.run(command, cwd=ROOT, capture_output=True, timeout=540, check=False)
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('file')}::{str(case.get('name')).partition('[')[0]}"
        outcome = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        found[name] = outcome if found.get(name, "passed") == "passed" else found[name]
    return found
