"""A file system that folds case and composition: whatever the spelling, one directory is one project."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuse_mounts import FoldingTree, mounted
from trees import NAMESPACE, owner

from workroot.project_finder import ProjectFinder

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.fixture
def folding(tmp_path: Path) -> Iterator[tuple[Path, FoldingTree]]:
    top = tmp_path.resolve() / "Disk"
    with mounted(top) as device:
        tree = FoldingTree(device, ["Code/Repo/.git", "Code/Repo/Source", f"Code/{COMPOSED}/.git", "Code/2024/.git"])
        yield top, tree
    tree.wait_closed()


@pytest.fixture
def disk(folding: tuple[Path, FoldingTree]) -> Path:
    return folding[0]


@pytest.fixture
def finder() -> ProjectFinder:
    return ProjectFinder(NAMESPACE, clock_ns=lambda: time.time_ns() + 10**10)


@pytest.mark.parametrize(
    "spelled", ["Code/Repo/Source", "code/repo/source", "CODE/Repo/SOURCE", "cODE/rEPO/../Repo/source"]
)
def test_a_directory_has_one_root_and_one_id_however_it_is_spelled(
    disk: Path, finder: ProjectFinder, spelled: str
) -> None:
    place = finder.find_now(f"{disk}/{spelled}")

    assert (place.directory, place.given) == (f"{disk}/Code/Repo/Source", f"{disk}/{spelled}")
    assert (owner(place).root, owner(place).name) == (f"{disk}/Code/Repo", "Repo")
    assert owner(place) == owner(finder.find_now(f"{disk}/Code/Repo"))


@pytest.mark.parametrize("spelled", [COMPOSED, DECOMPOSED, COMPOSED.upper(), DECOMPOSED.upper()])
def test_composed_and_decomposed_letters_are_one_name_where_the_disk_says_so(
    disk: Path, finder: ProjectFinder, spelled: str
) -> None:
    assert owner(finder.find_now(f"{disk}/code/{spelled}")).root == f"{disk}/Code/{COMPOSED}"


def test_a_link_with_another_spelling_leads_to_the_same_root(disk: Path, finder: ProjectFinder) -> None:
    (disk.parent / "link").symlink_to("Disk/CODE/repo")

    assert owner(finder.find_now(f"{disk.parent}/link")).root == f"{disk}/Code/Repo"


def test_the_answer_for_another_spelling_is_remembered_too(disk: Path, finder: ProjectFinder) -> None:
    assert finder.find_now(f"{disk}/code/2024") is finder.find_now(f"{disk}/code/2024")


def test_a_directory_that_is_spelled_otherwise_from_now_on_has_that_root(
    folding: tuple[Path, FoldingTree], finder: ProjectFinder
) -> None:
    disk, tree = folding
    assert owner(finder.find_now(f"{disk}/code/repo")).root == f"{disk}/Code/Repo"

    tree.spell("Code", "Repo", "rePO")

    assert owner(finder.find_now(f"{disk}/code/repo")).root == f"{disk}/Code/rePO"


def test_where_case_counts_two_spellings_are_two_directories(tmp_path: Path, finder: ProjectFinder) -> None:
    for name in ("repo", "REPO", COMPOSED, DECOMPOSED):
        (tmp_path / name / ".git").mkdir(parents=True)

    for name in ("repo", "REPO", COMPOSED, DECOMPOSED):
        assert owner(finder.find_now(f"{tmp_path.resolve()}/{name}")).root == f"{tmp_path.resolve()}/{name}"
