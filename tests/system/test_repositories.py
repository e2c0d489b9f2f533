"""Real repositories: bare ones, nested ones, worktrees, and `.git` files that somebody made by hand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from trees import NAMESPACE, CountingClock, git, make_config, make_git_repository, owner

from workroot.core.projects import StopReason
from workroot.project_finder import ProjectFinder


@pytest.fixture
def finder() -> ProjectFinder:
    return ProjectFinder(NAMESPACE, clock_ns=CountingClock(ahead_seconds=10))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path.resolve()


def common_directory(finder: ProjectFinder, directory: Path) -> str:
    repository = finder.explain_now(str(directory)).repository
    assert repository is not None
    return repository.common_directory


def make_git_file(level: Path, named: object) -> Path:
    level.mkdir(parents=True, exist_ok=True)
    (level / ".git").write_text(f"gitdir: {named}\n")
    return level


# Bare repositories


@pytest.mark.parametrize(("name", "said"), [("shop.git", "shop"), ("shop", "shop"), ("shop/.bare", "shop")])
def test_a_bare_repository_is_a_root_and_a_project(base: Path, finder: ProjectFinder, name: str, said: str) -> None:
    make_config(base, "outer")
    bare = base / name
    bare.mkdir(parents=True)
    git(bare, "init", "--bare")

    for directory in (bare, bare / "refs/heads"):
        place = finder.find_now(str(directory))
        assert (owner(place).root, owner(place).name, place.stop) == (str(bare), said, StopReason.REPOSITORY)


def test_a_bare_repository_and_its_worktrees_have_one_id(base: Path, finder: ProjectFinder) -> None:
    source = make_git_repository(base / "source")
    git(base, "clone", "--bare", str(source), "shop.git")
    git(base / "shop.git", "worktree", "add", "-b", "one", str(base / "one"))

    bare, worktree = owner(finder.find_now(f"{base}/shop.git")), owner(finder.find_now(f"{base}/one"))

    assert (bare.project_id, bare.name) == (worktree.project_id, worktree.name)


def test_a_checked_out_branch_by_its_hash_makes_no_difference_to_a_bare_repository(
    base: Path, finder: ProjectFinder
) -> None:
    source = make_git_repository(base / "source")
    git(base, "clone", "--bare", str(source), "shop.git")
    git(base / "shop.git", "update-ref", "--no-deref", "HEAD", "HEAD")
    assert b"ref:" not in (base / "shop.git/HEAD").read_bytes()

    assert owner(finder.find_now(f"{base}/shop.git")).root == f"{base}/shop.git"


def test_within_git_s_own_directory_the_checkout_is_the_project(base: Path, finder: ProjectFinder) -> None:
    library = make_git_repository(base / "library")
    repository = make_git_repository(base / "repo")
    git(repository, "submodule", "add", str(library), "lib")
    git(repository, "commit", "-m", "with a submodule")
    git(repository, "worktree", "add", str(base / "feature"))

    for inside in ("", "/refs/heads", "/modules/lib", "/modules/lib/refs", "/worktrees/feature"):
        assert owner(finder.find_now(f"{repository}/.git{inside}")).root == str(repository), inside


@pytest.mark.parametrize("missing", ["HEAD", "objects", "refs"])
def test_what_only_looks_a_little_like_a_bare_repository_is_none(
    base: Path, finder: ProjectFinder, missing: str
) -> None:
    make_config(base, "outer")
    (base / "a").mkdir()
    git(base / "a", "init", "--bare")
    shutil.move(base / "a" / missing, base / missing)

    assert owner(finder.find_now(f"{base}/a")).root == str(base)


def test_a_head_that_is_not_git_s_makes_no_repository(base: Path, finder: ProjectFinder) -> None:
    make_config(base, "outer")
    for name in ("objects", "refs"):
        (base / "a" / name).mkdir(parents=True)
    (base / "a/HEAD").write_text("a picture of a head\n")

    assert owner(finder.find_now(f"{base}/a")).root == str(base)


# Repositories and configs in one another


def test_the_nearest_of_nested_repositories_and_configs_wins(base: Path, finder: ProjectFinder) -> None:
    library = make_git_repository(base / "library")
    mono = make_git_repository(base / "mono")
    make_config(mono, "mono")
    make_config(mono / "apps/shop", "shop")
    git(mono, "submodule", "add", str(library), "apps/shop/vendor/lib")
    make_git_repository(mono / "apps/shop/cloned")
    (mono / "apps/blog").mkdir()

    for directory, name in [
        ("", "mono"),
        ("apps", "mono"),
        ("apps/blog", "mono"),
        ("apps/shop", "shop"),
        ("apps/shop/vendor", "shop"),
        ("apps/shop/vendor/lib", "lib"),
        ("apps/shop/cloned", "cloned"),
    ]:
        assert owner(finder.find_now(f"{mono}/{directory}")).name == name, directory


def test_a_submodule_within_a_worktree_and_one_within_a_submodule_are_projects(
    base: Path, finder: ProjectFinder
) -> None:
    inner = make_git_repository(base / "inner")
    middle = make_git_repository(base / "middle")
    git(middle, "submodule", "add", str(inner), "in")
    git(middle, "commit", "-m", "with inner")
    outer = make_git_repository(base / "outer")
    git(outer, "submodule", "add", str(middle), "mid")
    git(outer, "commit", "-m", "with middle")
    git(outer, "submodule", "update", "--init", "--recursive")
    git(outer, "worktree", "add", str(base / "feature"))
    git(base / "feature", "submodule", "update", "--init", "--recursive")

    for root, kept in [
        (outer / "mid", outer / ".git/modules/mid"),
        (outer / "mid/in", outer / ".git/modules/mid/modules/in"),
        (base / "feature/mid", outer / ".git/modules/mid"),
        (base / "feature/mid/in", outer / ".git/modules/mid/modules/in"),
    ]:
        assert owner(finder.find_now(str(root))).root == str(root)
        assert common_directory(finder, root) == str(kept)
    assert owner(finder.find_now(f"{base}/feature/mid")).worktree_of == str(outer / "mid")
    assert owner(finder.find_now(f"{outer}/mid")).worktree_of is None

    (outer / "mid/.git").unlink()
    assert owner(finder.find_now(f"{base}/feature/mid")).worktree_of is None


def test_a_submodule_whose_worktree_is_said_in_a_config_of_its_own_is_found(base: Path, finder: ProjectFinder) -> None:
    library = make_git_repository(base / "library")
    repository = make_git_repository(base / "repo")
    git(repository, "submodule", "add", str(library), "lib")
    git(repository / "lib", "sparse-checkout", "init")  # moves core.worktree to config.worktree

    assert "worktree =" in (repository / ".git/modules/lib/config.worktree").read_text()
    assert common_directory(finder, repository / "lib") == f"{repository}/.git/modules/lib"


# Worktrees that move


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_a_worktree_leads_to_its_repository_however_git_writes_it(base: Path, finder: ProjectFinder, form: str) -> None:
    repository = make_git_repository(base / "repo")
    git(repository, "worktree", "add", str(base / "feature"))
    if form == "relative":  # as git writes it since 2.48 with worktree.useRelativePaths
        (base / "feature/.git").write_text("gitdir: ../repo/.git/worktrees/feature\n")
        (repository / ".git/worktrees/feature/gitdir").write_text("../../../../feature/.git\n")

    assert owner(finder.find_now(f"{base}/feature")).worktree_of == str(repository)


def test_a_moved_worktree_is_a_project_by_itself_until_its_repository_knows(base: Path, finder: ProjectFinder) -> None:
    repository = make_git_repository(base / "repo")
    git(repository, "worktree", "add", str(base / "feature"))
    before = owner(finder.find_now(f"{base}/feature"))

    (base / "feature").rename(base / "moved")
    assert_is_by_itself(finder, base / "moved")
    (base / "feature").mkdir()  # something else, without a repository, is now where it was
    assert_is_by_itself(finder, base / "moved")

    git(base / "moved", "worktree", "repair")
    assert owner(finder.find_now(f"{base}/moved")).project_id == before.project_id


def test_a_submodule_of_a_worktree_is_by_itself_where_the_main_checkout_has_none(
    base: Path, finder: ProjectFinder
) -> None:
    library = make_git_repository(base / "library")
    repository = make_git_repository(base / "repo")
    git(repository, "submodule", "add", str(library), "lib")
    git(repository, "commit", "-m", "with a submodule")
    git(repository, "worktree", "add", str(base / "feature"))
    git(base / "feature", "submodule", "update", "--init")
    shutil.rmtree(repository / ".git/modules")

    kept = repository / ".git/worktrees/feature/modules/lib"
    assert common_directory(finder, base / "feature/lib") == str(kept)


def test_a_submodule_s_directory_whose_checkout_is_gone_cannot_be_claimed(base: Path, finder: ProjectFinder) -> None:
    library = make_git_repository(base / "library")
    repository = make_git_repository(base / "repo")
    git(repository, "submodule", "add", str(library), "lib")
    shutil.rmtree(repository / "lib")

    assert_is_by_itself(finder, make_git_file(base / "evil", f"{repository}/.git/modules/lib"))


def test_a_copied_worktree_is_a_project_by_itself(base: Path, finder: ProjectFinder) -> None:
    repository = make_git_repository(base / "repo")
    git(repository, "worktree", "add", str(base / "feature"))
    shutil.copytree(base / "feature", base / "copy", symlinks=True)

    original, copy = owner(finder.find_now(f"{base}/feature")), owner(finder.find_now(f"{base}/copy"))

    assert original.worktree_of == str(repository)
    assert (copy.root, copy.name, copy.worktree_of) == (f"{base}/copy", "copy", None)
    assert copy.project_id != original.project_id


def test_what_a_worktree_rests_on_is_named_for_watching(base: Path, finder: ProjectFinder) -> None:
    repository = make_git_repository(base / "repo")
    git(repository, "worktree", "add", str(base / "feature"))
    make_config(base / "feature/part")
    (base / "feature/part/src").mkdir()

    rests_on = finder.find_now(f"{base}/feature/part/src").rests_on

    assert rests_on == (
        f"{base}/feature/part/src",
        f"{base}/feature/part",
        f"{base}/feature/part/.workroot",
        f"{base}/feature",
        f"{repository}/.git/worktrees/feature",
    )


# `.git` files made by hand


def victim(base: Path) -> Path:
    repository = make_git_repository(base / "victim")
    git(repository, "worktree", "add", str(base / "victims-worktree"))
    return repository


def assert_is_by_itself(finder: ProjectFinder, level: Path) -> None:
    place = finder.find_now(str(level))
    assert (owner(place).root, owner(place).name, owner(place).worktree_of) == (str(level), level.name, None)
    assert common_directory(finder, level) == f"{level}/.git"


def test_a_git_file_cannot_claim_another_checkout(base: Path, finder: ProjectFinder) -> None:
    repository = victim(base)
    (base / "note").touch()
    for number, named in enumerate(
        [
            f"{repository}/.git",
            "../victim/.git",
            f"{repository}/.git/worktrees/victims-worktree",
            f"{repository}/.git/worktrees/nothing",
            f"{repository}/.git/refs",
            f"{base}/victims-worktree/.git",
            f"{repository}/.hg",
            f"{base}/note",
        ]
    ):
        (repository / ".hg").mkdir(exist_ok=True)
        assert_is_by_itself(finder, make_git_file(base / f"evil-{number}", named))


def test_a_git_link_cannot_claim_another_checkout(base: Path, finder: ProjectFinder) -> None:
    repository = victim(base)
    for number, target in enumerate([repository / ".git", base / "victims-worktree/.git"]):
        level = base / f"evil-{number}"
        level.mkdir()
        (level / ".git").symlink_to(target)
        assert_is_by_itself(finder, level)


def test_a_directory_that_says_of_itself_that_it_shares_another_repository_is_not_believed(
    base: Path, finder: ProjectFinder
) -> None:
    repository = victim(base)
    for number, private in enumerate(["private", "worktrees/x", "own/.git/worktrees/x"]):
        level = base / f"evil-{number}"
        kept = level / private
        kept.mkdir(parents=True)
        (kept / "commondir").write_text(f"{repository}/.git\n")
        (kept / "gitdir").write_text(f"{level}/.git\n")
        assert_is_by_itself(finder, make_git_file(level, kept))


def test_a_submodule_s_directory_cannot_be_claimed_by_another(base: Path, finder: ProjectFinder) -> None:
    library = make_git_repository(base / "library")
    repository = make_git_repository(base / "repo")
    git(repository, "submodule", "add", str(library), "lib")

    assert_is_by_itself(finder, make_git_file(base / "evil", f"{repository}/.git/modules/lib"))


def test_a_bare_repository_is_claimed_by_the_directory_around_it_only(base: Path, finder: ProjectFinder) -> None:
    (base / "repo/.bare").mkdir(parents=True)
    git(base / "repo/.bare", "init", "--bare")
    make_git_file(base / "repo", "./.bare")

    assert common_directory(finder, base / "repo") == f"{base}/repo/.bare"
    assert_is_by_itself(finder, make_git_file(base / "evil", f"{base}/repo/.bare"))


def test_a_git_file_is_one_hop(base: Path, finder: ProjectFinder) -> None:
    (base / "kept").mkdir()
    make_git_file(base / "second", base / "kept")

    assert_is_by_itself(finder, make_git_file(base / "first", base / "second/.git"))


@pytest.mark.parametrize("name", ["commondir", "gitdir"])
@pytest.mark.parametrize("how", ["pipe", "link", "huge", "binary"])
def test_git_s_small_files_are_read_as_data_and_never_waited_for(
    base: Path, finder: ProjectFinder, name: str, how: str
) -> None:
    repository = victim(base)
    file = repository / ".git/worktrees/victims-worktree" / name
    content = file.read_bytes()
    file.unlink()
    match how:
        case "pipe":
            os.mkfifo(file)
        case "link":
            (base / "elsewhere").write_bytes(content)
            file.symlink_to(base / "elsewhere")
        case "huge":
            file.write_bytes(content.rstrip() + b" " * 5000)
        case _:
            file.write_bytes(content + b"\0\xff")

    assert_is_by_itself(finder, base / "victims-worktree")


def test_a_git_file_that_leads_through_proc_is_not_followed(base: Path, finder: ProjectFinder) -> None:
    assert_is_by_itself(finder, make_git_file(base / "a", "/proc/self/cwd/.git"))
