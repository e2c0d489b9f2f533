"""Spellings, without a file system."""

from __future__ import annotations

import pytest

from workroot.project_finder.spelling import folded, other_spellings, spelling_in

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("name", ["2024", "...", "_-_"])
def test_a_name_that_no_file_system_folds_has_no_other_spelling(name: str) -> None:
    assert other_spellings(name) == ()


def test_other_spellings_differ_in_case_and_in_composition() -> None:
    assert other_spellings("Repo") == ("rEPO",)
    assert other_spellings(COMPOSED) == ("CAF\u00e9", DECOMPOSED)
    assert other_spellings(DECOMPOSED) == ("CAFE\u0301", COMPOSED)
    assert other_spellings("\u044f") == ("\u042f",)


def test_all_spellings_of_a_name_are_folded_to_one() -> None:
    assert len({folded(name) for name in (COMPOSED, DECOMPOSED, COMPOSED.upper(), DECOMPOSED.upper())}) == 1
    assert folded("Repo") == folded("REPO") != folded("rep")


def test_a_name_stands_for_the_entry_that_is_spelled_like_it_or_else_for_the_only_one_alike() -> None:
    assert spelling_in(["repo", "Repo", "other"], "Repo") == "Repo"
    assert spelling_in(["Repo", "other"], "rEPO") == "Repo"
    assert spelling_in([COMPOSED], DECOMPOSED.upper()) == COMPOSED
    assert spelling_in(["repo", "Repo"], "REPO") is None
    assert spelling_in(["other"], "Repo") is None
