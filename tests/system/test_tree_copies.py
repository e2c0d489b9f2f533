"""Copies of the tree to be made wrong: what is planted there runs there, ends in time, and stays there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tree_copies import ROOT, TreeCopy

MODULE = "src/workroot/core/signs.py"

ENDLESS = """
import pytest

@pytest.fixture
def started(tmp_path):
    open({began!r}, "w").close()
    yield
    open({ended!r}, "w").close()

def test_it_never_ends(started):
    while True:
        pass
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> TreeCopy:
    return TreeCopy(tmp_path_factory.mktemp("copied") / "tree")


def first_line(copy: TreeCopy, *options: str) -> str:
    command = [copy.python, *options, "-c", "import workroot.core.signs as module; print(module.__doc__)"]
    done = subprocess.run([str(word) for word in command], cwd="/", check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[0]


def test_what_is_planted_runs_there_and_nowhere_else(copy: TreeCopy) -> None:
    source = (ROOT / MODULE).read_text()
    before = first_line(copy)
    for letter in "XYZ":  # of one size, within one second
        copy.write(MODULE, source.replace(source[3], letter, 1))
        assert first_line(copy) == first_line(copy, "-I") == letter + before[1:]
    assert (ROOT / MODULE).read_text() == source

    copy.restore(MODULE)
    assert first_line(copy) == before


def test_a_module_that_cannot_be_imported_is_told_from_one_that_can(copy: TreeCopy) -> None:
    assert copy.imports("workroot.core.signs")
    copy.write(MODULE, "raise ValueError")
    assert not copy.imports("workroot.core.signs")
    copy.restore(MODULE)


def test_a_run_says_whether_its_tests_passed(copy: TreeCopy) -> None:
    copy.write("tests/unit/test_planted.py", "def test_it():\n    assert False\n")
    failed = copy.run(["tests/unit/test_planted.py"], seconds=60)
    copy.write("tests/unit/test_planted.py", "def test_it():\n    assert True\n")
    passed = copy.run(["tests/unit/test_planted.py"], seconds=60)

    assert (failed.passed, failed.code) == (False, 1)
    assert "FAILED tests/unit/test_planted.py::test_it" in failed.output
    assert (passed.passed, passed.code) == (True, 0)


def test_a_run_without_tests_is_an_error(copy: TreeCopy) -> None:
    for name in ("tests/unit/test_none.py", "tests/unit/test_signs.py::test_none"):
        with pytest.raises(LookupError, match=r"finds no such tests: tests/unit/test_"):
            copy.run([name], seconds=60)


def test_a_run_that_does_not_end_is_ended_and_its_fixtures_are_too(copy: TreeCopy, tmp_path: Path) -> None:
    began, ended = tmp_path / "began", tmp_path / "ended"
    copy.write("tests/unit/test_endless.py", ENDLESS.format(began=str(began), ended=str(ended)))

    for seconds in (2, 8, 32):  # a busy machine takes its time to begin
        run = copy.run(["tests/unit/test_endless.py"], seconds=seconds)
        assert run.is_over_time
        assert not run.passed
        if began.exists():
            break

    assert ended.exists()
