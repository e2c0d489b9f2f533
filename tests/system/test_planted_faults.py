"""That the tests bite: each fault that matters most is planted in a copy of the tree, and a test notices it there."""

from __future__ import annotations

from functools import cache

import pytest
from planted_faults import FAULTS, Fault
from tree_copies import ROOT, Run, TreeCopy

RUN_SECONDS = 240.0
USUAL = 2
"""So many faults are planted without `--full`."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fault" in metafunc.fixturenames:
        faults = FAULTS if metafunc.config.getoption("--full") else FAULTS[:USUAL]
        metafunc.parametrize("fault", faults, ids=lambda fault: fault.name)


class Planter:
    """A copy of the tree in which one fault at a time is planted."""

    def __init__(self, copy: TreeCopy) -> None:
        self._copy = copy
        self.without_fault = cache(self._run)

    def with_fault(self, fault: Fault) -> Run:
        """Run its test with the fault, and take the fault out again."""
        try:
            for edit in fault.edits:
                self._copy.write(edit.path, edit.applied_to((self._copy.top / edit.path).read_text()))
            return self._run(fault.caught_by)
        finally:
            for edit in fault.edits:
                self._copy.restore(edit.path)

    def _run(self, test: str) -> Run:
        return self._copy.run([test], seconds=RUN_SECONDS)


@pytest.fixture(scope="module")
def planter(tmp_path_factory: pytest.TempPathFactory) -> Planter:
    return Planter(TreeCopy(tmp_path_factory.mktemp("planted") / "tree"))


@pytest.mark.usefixtures("is_full")
def test_a_planted_fault_is_caught_by_the_test_named_for_it(fault: Fault, planter: Planter) -> None:
    before = planter.without_fault(fault.caught_by)
    assert before.passed, f"fails without the fault, too:\n{before.output}"
    if " skipped" in before.output:
        pytest.skip(f"its test cannot be run here:\n{before.output}")

    planted = planter.with_fault(fault)

    assert planted.code == 1, f"{planted.code}: not noticed:\n{planted.output}"
    assert f"FAILED {fault.caught_by}" in planted.output, f"something else fails:\n{planted.output}"


@pytest.mark.parametrize("each", FAULTS, ids=lambda each: each.name)
def test_every_fault_is_an_edit_of_the_source_as_it_is(each: Fault) -> None:
    texts: dict[str, str] = {}
    for edit in each.edits:
        texts[edit.path] = edit.applied_to(texts.get(edit.path) or (ROOT / edit.path).read_text())
    for path, text in texts.items():
        compile(text, path, "exec")


def test_a_fault_whose_place_is_gone_is_an_error() -> None:
    edit = FAULTS[0].edits[0]

    with pytest.raises(LookupError, match="holds 0 times, not once"):
        edit.applied_to("a new text")
    with pytest.raises(LookupError, match="holds 2 times, not once"):
        edit.applied_to(edit.old * 2)
