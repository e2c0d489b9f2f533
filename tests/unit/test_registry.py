"""The projects that somebody has worked in."""

from __future__ import annotations

from typing import Any

import pytest

from workroot.core.changes import ProjectForgotten, ProjectSeen
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
    other_id = "0c1c2c8e-0000-4000-8000-000000000004"
    note(registry, ADA, project("Tool", "/srv/tool", project_id=other_id), now=200.0)

    with pytest.raises(ProjectUnknownError, match="several known projects") as caught:
        registry.root_of(ADA, "Tool")

    assert caught.value.is_ambiguous
    assert caught.value.candidates == (("Tool", other_id, "/srv/tool"), ("Tool", TOOL.project_id, "/opt/tool"))
    assert f"Tool at /srv/tool (id {other_id})" in str(caught.value)


def test_a_worktree_of_one_project_does_not_give_way_to_the_main_checkout_of_another(
    registry: ProjectRegistry,
) -> None:
    note(registry, ADA, project("Tool", "/srv/fix", project_id="another", worktree_of="/srv/tool"), now=200.0)

    with pytest.raises(ProjectUnknownError) as caught:
        registry.root_of(ADA, "Tool")

    assert [root for _, _, root in caught.value.candidates] == ["/srv/fix", "/opt/tool"]


def test_two_checkouts_of_one_project_are_told_apart_by_their_roots(registry: ProjectRegistry) -> None:
    note(registry, ADA, project("app", "/srv/app"), now=200.0)

    with pytest.raises(ProjectUnknownError) as caught:
        registry.root_of(ADA, APP_ID)
    assert caught.value.is_ambiguous

    assert registry.root_of(ADA, "/srv/app") == "/srv/app"


@pytest.mark.parametrize("wanted", ["/work/fix", "/work/fix/", "/work/fix//"])
def test_a_project_is_found_by_its_root(registry: ProjectRegistry, wanted: str) -> None:
    assert registry.root_of(ADA, wanted) == "/work/fix"


@pytest.mark.parametrize("wanted", ["/work", "/work/fix/src", "work/fix", "", "/"])
def test_a_path_that_is_no_known_root_names_no_project(registry: ProjectRegistry, wanted: str) -> None:
    with pytest.raises(ProjectUnknownError) as caught:
        registry.root_of(ADA, wanted)
    assert not caught.value.is_ambiguous


def test_an_unknown_name_is_refused_with_the_last_five(registry: ProjectRegistry) -> None:
    for number in range(4):
        note(registry, ADA, project(f"p{number}", f"/p/{number}", project_id=f"id-{number}"), now=300.0 + number)

    with pytest.raises(ProjectUnknownError, match="no known project has the id, name or root 'nothing'") as caught:
        registry.root_of(ADA, "nothing")

    assert [(name, root) for name, _, root in caught.value.candidates] == [
        ("p3", "/p/3"),
        ("p2", "/p/2"),
        ("p1", "/p/1"),
        ("p0", "/p/0"),
        ("Tool", "/opt/tool"),
    ]


def test_what_a_store_kept_is_known_again(registry: ProjectRegistry) -> None:
    again = ProjectRegistry()

    again.load(ProjectSeen(ADA, known) for known in registry.known(ADA))

    assert again.known(ADA) == registry.known(ADA)
    assert note(again, ADA, TOOL, now=103.0) == (None, False)


# Around a directory


@pytest.mark.parametrize(
    ("directory", "roots"),
    [
        ("/", ["/opt/tool", "/work/fix", "/work/app"]),
        ("/work", ["/work/fix", "/work/app"]),
        ("/work/", ["/work/fix", "/work/app"]),
        ("/work/app", []),
        ("/wor", []),
        ("/nowhere", []),
    ],
)
def test_projects_below_a_directory_are_those_whose_roots_lie_in_it(
    registry: ProjectRegistry, directory: str, roots: list[str]
) -> None:
    assert [known.root for known in registry.below(ADA, directory)] == roots


def test_a_name_that_begins_alike_does_not_lie_below() -> None:
    registry = ProjectRegistry()
    for number, root in enumerate(["/", "/a", "/a/b", "/a-b", "/a/b/c", "/a.b", "/a0", "/ab/c"]):
        note(registry, ADA, project(root, root), now=float(number))

    assert [known.root for known in registry.below(ADA, "/a")] == ["/a/b/c", "/a/b"]
    assert len(registry.below(ADA, "/")) == 7


@pytest.mark.parametrize(
    ("directory", "root"),
    [
        ("/work/app", "/work/app"),
        ("/work/app/src/deep", "/work/app"),
        ("/work/app/part/src", "/work/app/part"),
        ("/work/apple", None),
        ("/work", None),
        ("/", None),
    ],
)
def test_a_directory_is_held_by_the_nearest_project_at_or_above_it(
    registry: ProjectRegistry, directory: str, root: str | None
) -> None:
    note(registry, ADA, project("part", "/work/app/part", project_id="part"), now=1.0)

    held = registry.holds(ADA, directory)

    assert (held.root if held else None) == root


def test_the_top_of_the_file_system_holds_what_is_below() -> None:
    registry = ProjectRegistry()
    note(registry, ADA, project("container", "/"), now=1.0)

    for directory in ("/", "/srv/x"):
        held = registry.holds(ADA, directory)
        assert held is not None
        assert held.root == "/"


def test_what_others_know_is_neither_below_nor_above(registry: ProjectRegistry) -> None:
    assert registry.below(EVE, "/work") == []
    assert registry.holds(EVE, "/work/app") is None


def test_a_project_seen_again_is_below_once(registry: ProjectRegistry) -> None:
    note(registry, ADA, project("renamed", "/work/app"), now=500.0)

    assert [known.name for known in registry.below(ADA, "/work")] == ["renamed", "app"]


def test_what_lies_below_is_found_without_a_look_at_the_rest() -> None:
    """Of 5,000 roots those are compared that two binary searches touch."""
    compared = 0

    class Root(str):
        def __lt__(self, other: str) -> bool:
            nonlocal compared
            compared += 1
            return str.__lt__(self, other)

        def __gt__(self, other: str) -> bool:
            nonlocal compared
            compared += 1
            return str.__gt__(self, other)

        def startswith(self, *prefix: Any) -> bool:
            nonlocal compared
            compared += 1
            return str.startswith(self, *prefix)

    registry = ProjectRegistry()
    for number in range(5000):
        note(registry, ADA, project("p", Root(f"/p/{number:04}/x"), project_id=str(number)), now=1.0)
    compared = 0

    assert [known.project_id for known in registry.below(ADA, "/p/2500")] == ["2500"]
    assert compared < 50


def test_an_id_can_be_taken_from_a_root_for_everybody_who_knows_it(registry: ProjectRegistry) -> None:
    note(registry, EVE, APP, now=7.0)

    changes = registry.with_id(APP.root, ProjectId("local"))

    assert [(seen.owner, seen.project.root, seen.project.project_id) for seen in changes] == [
        (ADA, "/work/app", "local"),
        (EVE, "/work/app", "local"),
    ]
    for seen in changes:
        registry.put(seen)
    assert registry.with_id(APP.root, ProjectId("local")) == []
    assert registry.root_of(ADA, APP_ID) == "/work/fix"


# Room


def room(registry: ProjectRegistry, owner: Owner, new: Project, *, now: float) -> list[tuple[Owner, str]]:
    """Work in a project, let others give way to it, and return which."""
    seen, _ = registry.planned(owner, new, now=now)
    assert seen is not None
    gone = registry.in_the_way_of(seen)
    for each in gone:
        registry.forget(each)
    registry.put(seen)
    return [(each.owner, each.root) for each in gone]


def test_of_more_than_may_be_known_the_one_seen_longest_ago_gives_way(registry: ProjectRegistry) -> None:
    registry.most = 3
    note(registry, ADA, APP, now=200.0)

    assert room(registry, EVE, APP, now=300.0) == [(ADA, "/work/fix")]
    assert registry.count() == 3
    assert [known.root for known in registry.known(ADA)] == ["/work/app", "/opt/tool"]
    assert [known.root for known in registry.below(ADA, "/work")] == ["/work/app"]


def test_a_project_that_is_known_needs_no_room(registry: ProjectRegistry) -> None:
    registry.most = 3

    assert room(registry, ADA, APP, now=300.0) == []
    assert registry.count() == 3


def test_a_lower_bound_is_kept_from_the_next_new_project_on(registry: ProjectRegistry) -> None:
    registry.most = 1

    assert room(registry, EVE, APP, now=300.0) == [(ADA, "/work/app"), (ADA, "/work/fix"), (ADA, "/opt/tool")]
    assert registry.known(ADA) == []
    assert registry.below(ADA, "/") == []
    assert registry.holds(ADA, "/work/app") is None
    assert room(registry, ADA, TOOL, now=301.0) == [(EVE, "/work/app")]


def test_what_is_not_known_can_be_forgotten_too(registry: ProjectRegistry) -> None:
    registry.forget(ProjectForgotten(EVE, APP.root))
    registry.forget(ProjectForgotten(ADA, Directory("/unknown")))

    assert registry.count() == 3


def test_projects_are_loaded_in_the_order_in_which_they_were_seen() -> None:
    source, registry = ProjectRegistry(), ProjectRegistry()
    seen = [source.planned(ADA, each, now=now)[0] for each, now in ((APP, 300.0), (WORKTREE, 100.0), (TOOL, 200.0))]
    registry.load(each for each in seen if each is not None)
    registry.most = 3

    assert room(registry, EVE, APP, now=400.0) == [(ADA, "/work/fix")]
