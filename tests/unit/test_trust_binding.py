from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from workroot.core.projects import Directory, Place, Project, ProjectConfig, ProjectId, ProjectKey, StopReason
from workroot.core.trust import ConfigFile
from workroot.project_finder.mounts import Mount, Mounts
from workroot.trust import subject_of

NAME = ".workroot/config.toml"


def place(root: Path, repository: Path | None, below: str = "", *, digest: str = "a" * 64, name: str = NAME) -> Place:
    path = f"{str(root).rstrip('/')}/{name}"
    project = Project(
        project_id=ProjectId("5f0c7f5e-95a3-4f5e-9d8c-3a3a3a3a3a3a"),
        name="shop",
        root=Directory(str(root)),
        config_path=path,
        config=ProjectConfig(name="shop", digest=digest),
    )
    return Place(
        directory=Directory(str(root)),
        given=str(root),
        project=project,
        config_path=path,
        stopped_at=Directory(str(root)),
        stop=StopReason.CONFIG,
        key=ProjectKey(str(repository), below) if repository is not None else ProjectKey("", str(root)),
    )


def bound_to(at: Place) -> ConfigFile:
    subject = subject_of(at)
    assert subject is not None
    assert subject.digest == "a" * 64
    return subject.file


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository."""
    top = tmp_path / "shop"
    (top / ".git" / "worktrees").mkdir(parents=True)
    return top


def add_worktree(repository: Path, worktree: Path, *, back: str | bytes | None = None) -> Path:
    """Make a worktree as git does, and return its private directory."""
    private = repository / "worktrees" / worktree.name
    private.mkdir(parents=True)
    worktree.mkdir(parents=True)
    (worktree / ".git").write_text(f"gitdir: {private}\n")
    (private / "commondir").write_text("../..\n")
    text = f"{worktree}/.git\n" if back is None else back
    (private / "gitdir").write_bytes(text if isinstance(text, bytes) else text.encode())
    return private


def test_outside_of_repositories_it_is_the_path(tmp_path: Path) -> None:
    assert bound_to(place(tmp_path, None)) == ConfigFile("", f"{tmp_path}/{NAME}")


def test_at_the_top_of_the_file_system_it_is_the_path_too() -> None:
    assert bound_to(place(Path("/"), None)) == ConfigFile("", f"/{NAME}")
    assert bound_to(place(Path("/"), Path("/.git"))) == ConfigFile("/.git", NAME)


def test_in_a_repository_it_is_the_path_within(shop: Path) -> None:
    assert bound_to(place(shop, shop / ".git")) == ConfigFile(f"{shop}/.git", NAME)
    assert bound_to(place(shop / "web", shop / ".git", "web")) == ConfigFile(f"{shop}/.git", f"web/{NAME}")


def test_the_name_of_the_config_is_a_part_of_it(shop: Path) -> None:
    earlier = ".codebase-mcp/config.json"

    assert bound_to(place(shop, shop / ".git", name=earlier)) == ConfigFile(f"{shop}/.git", earlier)


def test_a_worktree_that_its_repository_names_shares_it(shop: Path, tmp_path: Path) -> None:
    add_worktree(shop / ".git", tmp_path / "fix")

    assert bound_to(place(tmp_path / "fix", shop / ".git")) == bound_to(place(shop, shop / ".git"))
    assert bound_to(place(tmp_path / "fix" / "web", shop / ".git", "web")) == ConfigFile(f"{shop}/.git", f"web/{NAME}")


def test_a_worktree_with_relative_links_shares_it(shop: Path, tmp_path: Path) -> None:
    add_worktree(shop / ".git", tmp_path / "fix", back="../../../../fix/.git\n")
    (tmp_path / "fix" / ".git").write_text("gitdir: ../shop/.git/worktrees/fix\n")

    assert bound_to(place(tmp_path / "fix", shop / ".git")) == ConfigFile(f"{shop}/.git", NAME)


def test_worktrees_of_a_bare_repository_share_it(tmp_path: Path) -> None:
    bare = tmp_path / "shop.git"
    for name in ("main", "fix"):
        add_worktree(bare, tmp_path / name)

    assert (
        bound_to(place(tmp_path / "main", bare))
        == bound_to(place(tmp_path / "fix", bare))
        == ConfigFile(str(bare), NAME)
    )


def borrowed(shop: Path, worktree: Path, how: str) -> None:
    """Let *worktree* point into the repository, as an archive that was unpacked may do."""
    add_worktree(shop / ".git", shop.with_name("real"))
    worktree.mkdir()
    marker = worktree / ".git"
    match how:
        case "the private directory of another worktree":
            marker.write_text(f"gitdir: {shop}/.git/worktrees/real\n")
        case "a private directory that is not there":
            marker.write_text(f"gitdir: {shop}/.git/worktrees/gone\n")
        case "the repository itself":
            marker.write_text(f"gitdir: {shop}/.git\n")
        case "a link to the repository":
            marker.symlink_to(shop / ".git")
        case "a private directory of its own that names the repository":
            own = worktree / "private" / "worktrees" / "x"
            own.mkdir(parents=True)
            (own / "commondir").write_text(f"{shop}/.git\n")
            (own / "gitdir").write_text(f"{marker}\n")
            marker.write_text(f"gitdir: {own}\n")
        case "nothing":
            pass
        case "text that is none":
            marker.write_bytes(b"gitdir: \xff\n")
        case "another word":
            marker.write_text(f"{shop}/.git/worktrees/real\n")
        case "a NUL":
            marker.write_bytes(f"gitdir: {shop}/.git/worktrees/real\0\n".encode())
        case "too much":
            marker.write_text(f"gitdir: {shop}/.git/worktrees/real{' ' * 5000}\n")
        case _:
            raise AssertionError(how)


@pytest.mark.parametrize(
    "how",
    [
        "the private directory of another worktree",
        "a private directory that is not there",
        "the repository itself",
        "a link to the repository",
        "a private directory of its own that names the repository",
        "nothing",
        "text that is none",
        "another word",
        "a NUL",
        "too much",
    ],
)
def test_what_only_says_that_it_is_a_worktree_cannot_borrow_a_grant(shop: Path, tmp_path: Path, how: str) -> None:
    evil = tmp_path / "evil"
    borrowed(shop, evil, how)

    assert bound_to(place(evil, shop / ".git")) == ConfigFile("", f"{evil}/{NAME}")


@pytest.mark.parametrize("back", ["", "elsewhere/.git\n", b"\xff", "/\0"])
def test_a_repository_that_names_another_worktree_does_not_vouch(shop: Path, tmp_path: Path, back: str | bytes) -> None:
    add_worktree(shop / ".git", tmp_path / "fix", back=back)

    assert bound_to(place(tmp_path / "fix", shop / ".git")) == ConfigFile("", f"{tmp_path}/fix/{NAME}")


def test_what_the_repository_says_at_great_length_is_not_believed(shop: Path, tmp_path: Path) -> None:
    fix = tmp_path / "fix"
    private = add_worktree(shop / ".git", fix, back=f"{fix}/.git" + "\n" * 3000)
    assert bound_to(place(fix, shop / ".git")).repository == f"{shop}/.git"

    (private / "gitdir").write_text(f"{fix}/.git" + "\n" * 5000)

    assert bound_to(place(fix, shop / ".git")).repository == ""


def test_a_pipe_in_the_marker_s_place_is_not_waited_for(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "evil").mkdir()
    os.mkfifo(tmp_path / "evil" / ".git")

    assert bound_to(place(tmp_path / "evil", shop / ".git")).repository == ""


@pytest.mark.parametrize("far", ["fix", "shop/.git/worktrees", "shop/.git/worktrees/fix/gitdir"])
def test_a_worktree_is_not_asked_about_on_a_mount_that_may_hang(shop: Path, tmp_path: Path, far: str) -> None:
    add_worktree(shop / ".git", tmp_path / "fix")
    at = place(tmp_path / "fix", shop / ".git")
    mounts = Mounts.of([Mount(f"{tmp_path}/{far}")])

    subject = subject_of(at, mounts)

    assert subject is not None
    assert subject.file.repository == ""
    assert bound_to(at).repository == f"{shop}/.git"


def test_a_link_into_a_mount_that_may_hang_is_not_followed_for_a_worktree(shop: Path, tmp_path: Path) -> None:
    private = add_worktree(shop / ".git", tmp_path / "fix")
    (tmp_path / "link").symlink_to(private)
    (tmp_path / "fix/.git").write_text("gitdir: ../link\n")
    at = place(tmp_path / "fix", shop / ".git")
    assert bound_to(at).repository == f"{shop}/.git"

    subject = subject_of(at, Mounts.of([Mount(str(private))]))

    assert subject is not None
    assert subject.file.repository == ""


def test_without_a_usable_config_there_is_nothing_to_bind(shop: Path) -> None:
    whole = place(shop, shop / ".git")
    assert whole.project is not None
    without = [
        replace(whole, project=None),
        replace(whole, key=None),
        replace(whole, project=replace(whole.project, config=None)),
        replace(whole, project=replace(whole.project, config_path=None)),
        place(shop, shop / ".git", digest=""),
    ]

    assert [subject_of(each) for each in without] == [None] * len(without)
