"""The projects that somebody has worked in."""

from __future__ import annotations

import pytest

from workroot.core.changes import ProjectSeen
from workroot.core.projects import Directory, KnownProject, Project, ProjectId
from workroot.core.sessions import Owner
from workroot.errors import ProjectUnknownError
from workroot.registry import ProjectRegistry

ADA, EVE = Owner("uid:1000"), Owner("uid:1001")
ADA_ELSEWHERE = Owner("uid:1000", "other")
APP_ID = "5b8f2f0e-6d1c-4b39-9f6e-0d2f4c1f7a11"


def project(name: str, root: str, *, project_id: str = APP_ID, worktree_of: str | None = None) -> Project:
    return Project(
        project_id=ProjectId(project_id),
        name=name,
        root=Directory(root),
        worktree_of=Directory(worktree_of) if worktree_of else None,
    )


APP = project("app", "/work/app")
WORKTREE = project("app", "/work/fix", worktree_of="/work/app")
TOOL = project("Tool", "/opt/tool", project_id="0c1c2c8e-0000-4000-8000-000000000002")


@pytest.fixture
def registry() -> ProjectRegistry:
    registry = ProjectRegistry()
    for number, each in enumerate([APP, WORKTREE, TOOL]):
        note(registry, ADA, each, now=100.0 + number)
    return registry


def note(registry: ProjectRegistry, owner: Owner, seen: Project, *, now: float) -> tuple[ProjectSeen | None, bool]:
    """Work in a project, as a session does."""
    planned, is_new = registry.planned(owner, seen, now=now)
    if planned is not None:
        registry.put(planned)
    return planned, is_new


def test_a_project_is_written_when_it_is_new() -> None:
    seen, is_new = note(ProjectRegistry(), ADA, WORKTREE, now=100.0)

    assert is_new
    assert seen == ProjectSeen(
        ADA,
        KnownProject(
            project_id=ProjectId(APP_ID),
            name="app",
            root=Directory("/work/fix"),
            worktree_of=Directory("/work/app"),
            seen_at=100.0,
        ),
    )


@pytest.mark.parametrize(("later", "written"), [(0.0, False), (59.9, False), (60.0, True), (-3600.0, False)])
def test_a_project_seen_again_is_written_once_a_minute_and_is_not_new(
    registry: ProjectRegistry, later: float, written: bool
) -> None:
    seen, is_new = note(registry, ADA, TOOL, now=102.0 + later)

    assert (seen is not None) == written
    assert not is_new


@pytest.mark.parametrize(
    "changed",
    [
        project("renamed", "/work/app"),
        project("app", "/work/app", project_id="0c1c2c8e-0000-4000-8000-000000000003"),
        project("app", "/work/app", worktree_of="/elsewhere"),
    ],
)
def test_a_project_that_changed_is_written_at_once_and_is_news(registry: ProjectRegistry, changed: Project) -> None:
    seen, is_new = note(registry, ADA, changed, now=100.5)

    assert seen is not None
    assert is_new
    assert (seen.project.project_id, seen.project.name, seen.project.worktree_of) == (
        changed.project_id,
        changed.name,
        changed.worktree_of,
    )
    assert registry.count() == 3


def test_a_change_is_never_older_than_what_it_replaces(registry: ProjectRegistry) -> None:
    """A store keeps the latest seen: with a wall clock set back, the new name would be lost."""
    seen, _ = note(registry, ADA, project("renamed", "/opt/tool"), now=-1.0)

    assert seen is not None
    assert seen.project.seen_at == 102.0


def test_the_latest_seen_comes_first(registry: ProjectRegistry) -> None:
    assert [known.root for known in registry.known(ADA)] == ["/opt/tool", "/work/fix", "/work/app"]


@pytest.mark.parametrize(
    ("query", "roots"),
    [
        ("TOOL", ["/opt/tool"]),
        ("/WORK", ["/work/fix", "/work/app"]),
        ("5B8F2F0E", ["/work/fix", "/work/app"]),
        ("", ["/opt/tool", "/work/fix", "/work/app"]),
        ("nothing", []),
    ],
)
def test_a_query_is_looked_for_in_name_id_and_root(registry: ProjectRegistry, query: str, roots: list[str]) -> None:
    assert [known.root for known in registry.known(ADA, query)] == roots


@pytest.mark.parametrize("stranger", [EVE, ADA_ELSEWHERE])
def test_an_owner_sees_its_own_projects_only(registry: ProjectRegistry, stranger: Owner) -> None:
    assert registry.known(stranger) == []
    with pytest.raises(ProjectUnknownError) as caught:
        registry.root_of(stranger, "Tool")
    assert caught.value.candidates == ()

    note(registry, stranger, APP, now=1.0)
    assert registry.count() == 4
    assert len(registry.known(ADA)) == 3


@pytest.mark.parametrize("wanted", [APP_ID, APP_ID.upper(), "app"])
def test_of_several_worktrees_the_main_checkout_is_meant(registry: ProjectRegistry, wanted: str) -> None:
    assert registry.root_of(ADA, wanted) == "/work/app"


def test_a_worktree_is_found_when_it_is_the_only_one() -> None:
    registry = ProjectRegistry()
    note(registry, ADA, WORKTREE, now=1.0)

    assert registry.root_of(ADA, "app") == "/work/fix"


def test_a_name_that_two_projects_have_is_refused_with_both(registry: ProjectRegistry) -> None:
    note(registry, ADA, project("Tool", "/srv/tool", project_id="0c1c2c8e-0000-4000-8000-000000000004"), now=200.0)

    with pytest.raises(ProjectUnknownError) as caught:
        registry.root_of(ADA, "Tool")

    assert caught.value.candidates == ("Tool at /srv/tool", "Tool at /opt/tool")


def test_an_unknown_name_is_refused_with_the_last_five(registry: ProjectRegistry) -> None:
    for number in range(4):
        note(registry, ADA, project(f"p{number}", f"/p/{number}", project_id=f"id-{number}"), now=300.0 + number)

    with pytest.raises(ProjectUnknownError, match="no known project has the id or name 'nothing'") as caught:
        registry.root_of(ADA, "nothing")

    assert caught.value.candidates == ("p3 at /p/3", "p2 at /p/2", "p1 at /p/1", "p0 at /p/0", "Tool at /opt/tool")


def test_what_a_store_kept_is_known_again(registry: ProjectRegistry) -> None:
    again = ProjectRegistry()

    again.load(ProjectSeen(ADA, known) for known in registry.known(ADA))

    assert again.known(ADA) == registry.known(ADA)
    assert note(again, ADA, TOOL, now=103.0) == (None, False)
