"""Under which id a project is known: claims, the registry's last ids, and who was first."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid5

import pytest

from workroot.core.discovery import Finding, FoundConfig
from workroot.core.identities import Identities, joined_ids
from workroot.core.placing import paths_to_ask, place_of, project_of, rivals_of
from workroot.core.projects import (
    ConfigProblem,
    Directory,
    DirectoryNode,
    KnownId,
    Place,
    ProjectConfig,
    ProjectId,
    ProjectKey,
    Repository,
    StopReason,
)
from workroot.core.standing import key_of, roots_to_ask, still_stands_by

NAMESPACE = UUID("6f1d6a3e-52a4-4b0c-9a53-0e6f0c1de111")
SHARED = ProjectId("123e4567-e89b-42d3-a456-426614174000")
OTHER = ProjectId("123e4567-e89b-42d3-a456-426614174001")
SHOP = ProjectConfig(name="shop", project_id=SHARED)
NAMELESS = ProjectConfig(name="shop")
BROKEN = ConfigProblem(path="/work/a/.workroot/config.toml", problem="is not valid TOML", line=3)


def repository(root: str, *, main: str | None = None) -> Repository:
    return Repository(
        root=Directory(root),
        name=(main or root).rpartition("/")[2],
        common_directory=Directory(f"{main or root}/.git"),
        main_root=Directory(main) if main else None,
    )


def found(
    root: str,
    content: ProjectConfig | ConfigProblem | None = None,
    *,
    within: Repository | None = None,
    node: DirectoryNode | None = None,
) -> Finding:
    """Return what is seen at *root*: its config, and the repository that it is in, if it is in one."""
    config = (
        FoundConfig(root=Directory(root), path=f"{root}/.workroot/config.toml", content=content) if content else None
    )
    return Finding(
        directory=Directory(root),
        levels=(Directory(root),),
        stop=StopReason.CONFIG if config else StopReason.REPOSITORY if within else StopReason.HOME,
        stopped_at=Directory(root),
        config=config,
        repository=within,
        root_node=node,
    )


def clone(
    root: str,
    content: ProjectConfig | ConfigProblem | None = SHOP,
    *,
    main: str | None = None,
    node: DirectoryNode | None = None,
) -> Finding:
    """Return what is seen at the top of a repository; *node* is its common directory's."""
    return found(root, content, within=replace(repository(root, main=main), node=node))


def local_id(key: ProjectKey) -> str:
    where = f"repository:{key.repository}\0{key.path}" if key.repository else f"directory:{key.path}"
    return str(uuid5(NAMESPACE, where))


def look(finding: Finding, identities: Identities, *gone: str) -> Place:
    """Return the answer for a finding; the holders whose roots are named are gone, and so are the paths."""
    return place_of(
        finding,
        finding.directory,
        NAMESPACE,
        identities,
        lambda known: known.root not in gone,
        is_there=lambda path: path not in gone,
    )


def act(finding: Finding, identities: Identities, *gone: str) -> Place:
    """Look, and keep what the registry has to keep, as whoever acts upon the answer does."""
    place = look(finding, identities, *gone)
    for known in (place.known_id, *place.displaced):
        if known is not None:
            identities.put(known)
    return place


def id_of(place: Place) -> str | None:
    return place.project.project_id if place.project else None


A, B = "/work/a", "/work/b"
KEY_A, KEY_B = ProjectKey("/work/a/.git", ""), ProjectKey("/work/b/.git", "")
KNOWN_A = KnownId(key=KEY_A, project_id=SHARED, name="shop", root=Directory(A))
NODE, REMOUNTED, ANOTHER = DirectoryNode(1, 7), DirectoryNode(2, 7), DirectoryNode(1, 8)
PLAIN_A = replace(KNOWN_A, key=ProjectKey("", A), node=NODE)
WEB = replace(KNOWN_A, key=ProjectKey("/work/a/.git", "web"), root=Directory(f"{A}/web"))


# What a project is known by


@pytest.mark.parametrize(
    ("finding", "key"),
    [
        pytest.param(clone(A), KEY_A, id="a repository with a config"),
        pytest.param(clone(A, None), KEY_A, id="a repository without one"),
        pytest.param(clone("/wt/x", main=A), KEY_A, id="a worktree"),
        pytest.param(found(f"{A}/web", SHOP, within=repository(A)), ProjectKey("/work/a/.git", "web"), id="nested"),
        pytest.param(found(A, SHOP), ProjectKey("", A), id="outside of repositories"),
        pytest.param(found("/", SHOP, within=repository("/")), ProjectKey("//.git", ""), id="the top"),
        pytest.param(found(A), None, id="nothing"),
    ],
)
def test_a_project_is_known_by_its_repository_and_the_way_down_or_by_its_root(
    finding: Finding, key: ProjectKey | None
) -> None:
    assert key_of(finding) == key


# Ids that nobody disputes


def test_an_id_in_a_config_is_the_projects_and_is_to_be_kept() -> None:
    place = look(clone(A), Identities())

    assert (id_of(place), place.key) == (SHARED, KEY_A)
    assert place.known_id == KNOWN_A
    assert (place.warnings, place.displaced) == ((), ())


def test_what_is_kept_already_is_not_to_be_kept_again() -> None:
    identities = Identities()
    act(clone(A), identities)

    assert look(clone(A), identities).known_id is None


@pytest.mark.parametrize(
    ("finding", "key"),
    [
        (clone(A, None), KEY_A),
        (clone(A, NAMELESS), KEY_A),
        (found(f"{A}/web", NAMELESS, within=repository(A)), ProjectKey("/work/a/.git", "web")),
        (found(A, NAMELESS), ProjectKey("", A)),
    ],
)
def test_a_project_without_an_id_has_one_that_follows_from_where_it_is(finding: Finding, key: ProjectKey) -> None:
    assert id_of(look(finding, Identities())) == local_id(key)


def test_a_finding_by_itself_gives_the_project_without_a_registry() -> None:
    project = project_of(clone(A), NAMESPACE)

    assert project is not None
    assert (project.project_id, project.name, project.root) == (SHARED, "shop", A)
    place = place_of(clone(A), A, NAMESPACE)
    assert (place.key, place.known_id, place.identities_seen) == (KEY_A, None, None)


def test_two_projects_with_one_name_are_two_projects() -> None:
    identities = Identities()

    first, second = act(found(A, NAMELESS), identities), act(found(B, NAMELESS), identities)

    assert first.project is not None
    assert second.project is not None
    assert first.project.name == second.project.name
    assert first.project.project_id != second.project.project_id
    assert second.warnings == ()


# Two that claim one id


def test_of_two_clones_that_claim_one_id_the_second_one_gets_an_id_of_its_own() -> None:
    identities = Identities()
    act(clone(A), identities)

    second = act(clone(B), identities)

    assert id_of(second) == local_id(KEY_B)
    assert second.project is not None
    assert second.project.name == "shop"
    assert id_of(look(clone(A), identities)) == SHARED


def test_a_conflict_is_said_with_the_cure_and_without_the_others_path() -> None:
    identities = Identities()
    act(clone(A), identities)

    [warning] = look(clone(B), identities).warnings

    assert warning.startswith("id_conflict")
    assert "workroot projects join" in warning
    assert f"{B}/.workroot/config.toml" in warning
    assert A not in warning


def test_first_come_stays_first_however_often_the_two_are_looked_at() -> None:
    identities = Identities()

    ids = [id_of(act(clone(root), identities)) for root in (A, B, B, A, B, A)]

    assert ids == [SHARED, local_id(KEY_B), local_id(KEY_B), SHARED, local_id(KEY_B), SHARED]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(found(A, SHOP), found(B, SHOP), id="two directories outside of repositories"),
        pytest.param(found(A, SHOP), clone(B), id="a directory and a repository"),
        pytest.param(clone(A), found(B, SHOP), id="a repository and a directory"),
        pytest.param(clone(A), found(f"{B}/web", SHOP, within=repository(B)), id="a repository and a part of another"),
    ],
)
def test_a_claim_conflicts_wherever_the_other_one_is(first: Finding, second: Finding) -> None:
    identities = Identities()
    act(first, identities)

    place = look(second, identities)

    assert id_of(place) not in (None, SHARED)
    assert len(place.warnings) == 1


def test_worktrees_of_one_repository_share_an_id_and_never_conflict() -> None:
    identities = Identities()
    act(clone(A), identities)

    place = look(clone("/wt/x", main=A), identities)

    assert (id_of(place), place.warnings, place.known_id) == (SHARED, (), None)
    assert place.project is not None
    assert (place.project.root, place.project.worktree_of) == ("/wt/x", A)


def test_two_directories_of_one_repository_may_claim_one_id() -> None:
    identities = Identities()
    act(clone(A), identities)

    assert id_of(look(found(f"{A}/web", SHOP, within=repository(A)), identities)) == SHARED


def test_worktrees_with_different_names_do_not_rewrite_each_others() -> None:
    identities = Identities()
    act(clone(A), identities)
    other = clone("/wt/x", replace(SHOP, name="shop of the branch"), main=A)

    assert look(other, identities).known_id is None
    renamed = look(clone(A, replace(SHOP, name="renamed")), identities)
    assert renamed.known_id == replace(KNOWN_A, name="renamed")


# The first one leaves


def test_an_id_is_taken_over_from_one_that_is_gone_and_the_gone_one_loses_it() -> None:
    identities = Identities()
    act(clone(A), identities)

    moved = act(clone(B), identities, A)

    assert (id_of(moved), moved.warnings) == (SHARED, ())
    assert moved.displaced == (replace(KNOWN_A, project_id=ProjectId(local_id(KEY_A))),)
    assert [holder.key for holder in identities.holders_of(SHARED)] == [KEY_B]


def test_one_that_comes_back_after_its_id_was_taken_over_is_the_second_one() -> None:
    identities = Identities()
    act(clone(A), identities)
    act(clone(B), identities, A)

    assert id_of(act(clone(A), identities)) == local_id(KEY_A)
    assert id_of(act(clone(B), identities)) == SHARED
    assert id_of(act(clone(A, None), identities)) == local_id(KEY_A)


def test_one_in_conflict_gets_the_id_when_the_first_one_claims_another() -> None:
    identities = Identities()
    act(clone(A), identities)
    act(clone(B), identities)
    act(clone(A, ProjectConfig(name="fork", project_id=OTHER)), identities)

    place = act(clone(B), identities)

    assert (id_of(place), place.warnings) == (SHARED, ())


def test_one_in_conflict_that_is_given_another_id_has_that() -> None:
    identities = Identities()
    act(clone(A), identities)
    act(clone(B), identities)

    place = act(clone(B, replace(SHOP, project_id=OTHER)), identities)

    assert (id_of(place), place.warnings) == (OTHER, ())


@pytest.mark.parametrize(
    ("known", "seen", "is_repository_there", "stands"),
    [
        pytest.param(KNOWN_A, [clone(A)], True, True, id="as before"),
        pytest.param(KNOWN_A, [clone(A, None)], True, True, id="its config is missing"),
        pytest.param(KNOWN_A, [clone(A, BROKEN)], True, True, id="its config is broken"),
        pytest.param(KNOWN_A, [clone(A, NAMELESS)], True, True, id="its config claims none"),
        pytest.param(KNOWN_A, [clone(A, replace(SHOP, project_id=OTHER))], True, False, id="it claims another"),
        pytest.param(KNOWN_A, [], False, False, id="it is gone"),
        pytest.param(KNOWN_A, [], True, True, id="a worktree is gone"),
        pytest.param(KNOWN_A, [clone(A, main="/work/c")], False, False, id="another repository is there"),
        pytest.param(
            replace(KNOWN_A, key=ProjectKey("", A)), [clone(A)], False, False, id="its directory is a repository now"
        ),
        pytest.param(replace(KNOWN_A, key=ProjectKey("", A)), [], True, False, id="its directory is gone"),
        pytest.param(PLAIN_A, [found(A, NAMELESS, node=NODE)], False, True, id="its config claims none any more"),
        pytest.param(PLAIN_A, [found(A, NAMELESS, node=ANOTHER)], False, False, id="another directory is there"),
        pytest.param(PLAIN_A, [found(A, SHOP, node=ANOTHER)], False, True, id="another one, which claims the id"),
        pytest.param(WEB, [clone(A, None)], True, True, id="a branch is without the part of the repository"),
        pytest.param(WEB, [clone(A, None)], False, False, id="a part of another repository"),
        pytest.param(WEB, [found(f"{A}/web", SHOP)], False, False, id="a part of no repository any more"),
        pytest.param(
            WEB,
            [clone(A, None), found(f"{A}/web", replace(SHOP, project_id=OTHER), within=repository(A))],
            True,
            False,
            id="the part claims another in another checkout",
        ),
        pytest.param(
            KNOWN_A, [found(A, SHOP, within=replace(repository(A), is_gone=True))], False, False, id="only named"
        ),
    ],
)
def test_a_project_stands_by_its_id_unless_it_is_gone_or_claims_another(
    known: KnownId, seen: list[Finding], is_repository_there: bool, stands: bool
) -> None:
    assert still_stands_by(known, seen, is_repository_there=is_repository_there) == stands


# The registry's last id


@pytest.mark.parametrize("name", ["shop", "another name"])
def test_a_config_that_lost_its_id_keeps_the_one_of_before(name: str) -> None:
    identities = Identities()
    act(clone(A), identities)

    place = look(clone(A, ProjectConfig(name=name)), identities)

    assert place.project is not None
    assert (place.project.project_id, place.project.name, place.warnings) == (SHARED, name, ())


def test_a_repository_whose_config_is_missing_keeps_id_and_name_with_a_warning() -> None:
    identities = Identities()
    act(clone(A), identities)

    place = look(clone(A, None), identities)

    assert place.project is not None
    assert (place.project.project_id, place.project.name, place.project.config) == (SHARED, "shop", None)
    assert place.config_path is None
    [warning] = place.warnings
    assert "config of the project in /work/a is missing" in warning
    assert place.known_id is None


def test_a_worktree_whose_branch_has_no_config_keeps_id_and_name_of_its_repository() -> None:
    identities = Identities()
    act(clone(A), identities)

    place = look(clone("/wt/x", None, main=A), identities)

    assert place.project is not None
    assert (place.project.project_id, place.project.name, place.project.root) == (SHARED, "shop", "/wt/x")
    assert "in /wt/x is missing" in place.warnings[0]


def test_a_repository_that_never_had_a_config_misses_none() -> None:
    identities = Identities()
    act(clone(A, None), identities)

    place = look(clone(A, None), identities)

    assert (id_of(place), place.warnings, place.known_id) == (local_id(KEY_A), (), None)


def test_a_config_broken_at_the_root_of_a_repository_leaves_it_id_and_name() -> None:
    identities = Identities()
    act(clone(A), identities)

    place = look(clone(A, BROKEN), identities)

    assert place.project is not None
    assert (place.project.project_id, place.project.name, place.project.config) == (SHARED, "shop", None)
    assert (place.config_error, place.config_path) == (BROKEN, f"{A}/.workroot/config.toml")
    assert place.known_id is None


def test_a_broken_config_that_nobody_knew_before_gives_no_project_away() -> None:
    place = look(clone(A, BROKEN), Identities())

    assert (place.project, place.config_error, place.key, place.known_id) == (None, BROKEN, None, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            found(f"{A}/web", SHOP, within=repository(A)),
            found(f"{A}/web", BROKEN, within=repository(A)),
            id="below the root of a repository",
        ),
        pytest.param(found(A, SHOP), found(A, BROKEN), id="outside of repositories"),
    ],
)
def test_a_config_broken_elsewhere_gives_no_project_though_it_was_known(before: Finding, after: Finding) -> None:
    identities = Identities()
    act(before, identities)

    place = look(after, identities)

    assert (place.project, place.config_error) == (None, BROKEN)


def test_the_local_id_of_a_conflict_outlives_a_missing_config() -> None:
    identities = Identities()
    act(clone(A), identities)
    act(clone(B), identities)

    assert id_of(look(clone(B, None), identities)) == local_id(KEY_B)


# Another one at the same path


@pytest.mark.parametrize("content", [None, NAMELESS, BROKEN])
def test_another_repository_at_the_same_path_inherits_nothing(content: ProjectConfig | ConfigProblem | None) -> None:
    identities = Identities()
    act(clone(A, node=NODE), identities)

    place = act(clone(A, content, node=ANOTHER), identities)

    assert id_of(place) == (None if content is BROKEN else local_id(KEY_A))
    assert place.warnings == ()
    if content is None:
        assert place.project is not None
        assert place.project.name == "a"
        assert place.known_id == KnownId(
            key=KEY_A, project_id=ProjectId(local_id(KEY_A)), name="a", root=Directory(A), node=ANOTHER
        )


def test_another_repository_that_claims_the_id_has_it_and_is_known_from_then_on() -> None:
    identities = Identities()
    act(clone(A, node=NODE), identities)

    place = act(clone(A, node=ANOTHER), identities)

    assert (id_of(place), place.known_id) == (SHARED, replace(KNOWN_A, node=ANOTHER))


@pytest.mark.parametrize(("before", "now"), [(NODE, NODE), (NODE, REMOUNTED), (NODE, None), (None, NODE)])
def test_a_repository_on_another_device_or_of_unknown_node_is_the_same(
    before: DirectoryNode | None, now: DirectoryNode | None
) -> None:
    identities = Identities()
    act(clone(A, node=before), identities)

    place = look(clone(A, None, node=now), identities)

    assert id_of(place) == SHARED
    assert place.known_id == (replace(KNOWN_A, node=NODE) if before is None else None)


def test_another_directory_outside_of_repositories_inherits_nothing() -> None:
    identities = Identities()
    act(found(A, SHOP, node=NODE), identities)

    assert id_of(look(found(A, NAMELESS, node=NODE), identities)) == SHARED
    assert id_of(look(found(A, NAMELESS, node=ANOTHER), identities)) == local_id(ProjectKey("", A))


def test_numbers_too_large_for_a_store_are_cut() -> None:
    assert DirectoryNode.seen_as(2**64 - 1, 2**63 + 5) == DirectoryNode(2**63 - 1, 5)


# A directory that becomes a repository


@pytest.mark.parametrize(
    "finding",
    [
        found(A, NAMELESS, within=repository(A), node=NODE),
        found(A, NAMELESS, within=repository("/work"), node=NODE),
    ],
)
def test_a_directory_that_becomes_a_repository_or_a_part_of_one_keeps_its_id(finding: Finding) -> None:
    identities = Identities()
    before = act(found(A, NAMELESS, node=NODE), identities)

    place = act(finding, identities)

    assert id_of(place) == id_of(before)
    assert place.known_id is not None
    assert place.known_id.key == key_of(finding)
    assert id_of(look(finding, identities)) == id_of(before)


def test_another_directory_that_is_a_repository_does_not_get_the_id() -> None:
    identities = Identities()
    act(found(A, NAMELESS, node=NODE), identities)

    assert id_of(look(found(A, NAMELESS, within=repository(A), node=ANOTHER), identities)) == local_id(KEY_A)


# Where a project lives


def test_the_root_is_kept_anew_when_the_old_one_is_gone() -> None:
    identities = Identities()
    act(clone("/wt/x", main=A), identities)
    assert look(clone(A), identities).known_id is None

    assert look(clone(A), identities, "/wt/x").known_id == KNOWN_A
    assert paths_to_ask(clone(A), identities) == ("/wt/x",)
    assert paths_to_ask(clone("/wt/x", main=A), identities) == ()


def test_a_part_of_a_repository_is_asked_for_in_all_its_checkouts_that_are_known() -> None:
    identities = Identities()
    kept = replace(WEB, root=Directory("/wt/x/web"))
    identities.load([kept, replace(KNOWN_A, root=Directory("/wt/y")), replace(KNOWN_A, key=KEY_B)])

    assert roots_to_ask(kept, identities) == ("/wt/x/web", f"{A}/web", "/wt/y/web")
    assert roots_to_ask(PLAIN_A, identities) == (A,)
    bare = replace(KNOWN_A, key=ProjectKey("/work/a.git", ""), root=Directory("/wt/z"))
    assert roots_to_ask(bare, identities) == ("/wt/z",)
    top = replace(WEB, key=ProjectKey("//.git", "web"), root=Directory("/web"))
    identities.put(top)
    assert roots_to_ask(top, identities) == ("/web",)


# Repositories that do not confirm their worktree


def naming(root: str, named: Repository, content: ProjectConfig | None = SHOP) -> Finding:
    """Return what is seen at a level whose `.git` file names a repository that names something that is gone."""
    return found(root, content, within=replace(repository(root), named=replace(named, root=Directory(root))))


def test_a_level_that_only_names_a_repository_is_one_by_itself() -> None:
    identities = Identities()
    act(clone(A), identities)

    place = act(naming(B, repository(A), None), identities)

    assert (place.key, id_of(place)) == (KEY_B, local_id(KEY_B))


def test_a_level_that_is_known_to_be_a_repositorys_still_is_when_that_names_something_gone() -> None:
    identities = Identities()
    act(clone(B, main=A), identities)

    place = look(naming(B, repository(A), None), identities)

    assert (place.key, id_of(place)) == (KEY_A, SHARED)


def test_a_level_that_only_names_a_repository_takes_no_id_from_it() -> None:
    identities = Identities()
    act(clone(A), identities)

    place = act(naming(B, repository(A)), identities, A)

    assert (id_of(place), place.displaced, len(place.warnings)) == (local_id(KEY_B), (), 1)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_level_of_a_repository_that_is_gone_is_what_it_was_if_that_is_known(is_known: bool) -> None:
    identities, worktree = Identities(), naming(B, replace(repository(A), is_gone=True), None)
    if is_known:
        act(clone(A), identities)

    place = act(worktree, identities, A)

    assert (place.key, id_of(place)) == ((KEY_A, SHARED) if is_known else (KEY_B, local_id(KEY_B)))
    assert (place.known_id is None) == is_known
    assert place_of(worktree, B, NAMESPACE).key == KEY_A


def test_nothing_is_kept_of_a_repository_that_is_gone() -> None:
    identities = Identities()
    act(clone(B, main=A), identities)

    renamed = replace(SHOP, name="renamed", project_id=None)
    place = look(naming(B, replace(repository(A), is_gone=True), renamed), identities)

    assert (place.key, id_of(place), place.known_id) == (KEY_A, SHARED, None)


SILENT = Repository(root=Directory(A), name="a", common_directory=Directory("/gits/a.git"), is_silent=True)


def test_of_two_levels_that_name_a_silent_directory_the_one_that_is_known_has_it() -> None:
    identities, key = Identities(), ProjectKey("/gits/a.git", "")
    second = found(B, None, within=replace(SILENT, root=Directory(B)))
    act(found(A, SHOP, within=SILENT), identities)
    assert paths_to_ask(second, identities) == (f"{A}/.git", A)

    place = look(second, identities)

    assert (place.key, id_of(place)) == (KEY_B, local_id(KEY_B))
    [warning] = place.warnings
    assert f"the git directory that {B} names is another checkout's" in warning
    assert A not in warning
    assert look(found(A, SHOP, within=SILENT), identities).key == key


def test_a_checkout_with_a_silent_directory_that_moved_keeps_its_id() -> None:
    identities = Identities()
    act(found(A, SHOP, within=SILENT), identities)

    place = look(found(B, None, within=replace(SILENT, root=Directory(B))), identities, A, f"{A}/.git")

    assert id_of(place) == SHARED
    assert place.known_id is not None
    assert place.known_id.root == B


# Joining


def test_joined_projects_have_the_id_that_both_claim() -> None:
    identities = Identities()
    act(clone(A), identities)
    second = act(clone(B), identities)

    for known in joined_ids(second, identities):
        identities.put(known)

    for root in (A, B):
        place = look(clone(root), identities)
        assert (id_of(place), place.warnings, place.known_id) == (SHARED, (), None)


def test_what_is_joined_stays_so_without_its_config() -> None:
    identities = Identities()
    act(clone(A), identities)
    for known in joined_ids(act(clone(B), identities), identities):
        identities.put(known)

    assert id_of(act(clone(B, None), identities)) == SHARED
    assert id_of(act(clone(B), identities)) == SHARED


def test_a_third_clone_is_not_joined_by_the_others_being_so() -> None:
    identities = Identities()
    act(clone(A), identities)
    for known in joined_ids(act(clone(B), identities), identities):
        identities.put(known)

    third = act(clone("/work/c"), identities)
    assert id_of(third) == local_id(ProjectKey("/work/c/.git", ""))

    for known in joined_ids(third, identities):
        identities.put(known)
    assert id_of(look(clone("/work/c"), identities)) == SHARED
    assert len(identities.holders_of(SHARED)) == 3


@pytest.mark.parametrize("finding", [clone(A), clone(A, NAMELESS), clone(A, None), found(A)])
def test_one_that_disputes_nothing_needs_no_joining(finding: Finding) -> None:
    identities = Identities()

    assert joined_ids(act(finding, identities), identities) == ()


# What people should know


def test_a_field_that_a_project_cannot_set_is_said_to_be_ignored() -> None:
    place = look(clone(A, replace(SHOP, ignored=("trusted_directories", "model_may_move"))), Identities())

    assert place.warnings == (
        f"trusted_directories in {A}/.workroot/config.toml has no effect",
        f"model_may_move in {A}/.workroot/config.toml has no effect",
    )


# The registry itself


def test_what_was_loaded_is_known() -> None:
    identities = Identities()

    identities.load([KNOWN_A, replace(KNOWN_A, key=KEY_B, is_joined=True)])

    assert identities.of(KEY_A) == KNOWN_A
    assert identities.of(ProjectKey("/elsewhere/.git", "")) is None
    assert [holder.key for holder in identities.holders_of(SHARED)] == [KEY_A, KEY_B]


def test_the_revision_grows_with_what_changes_and_only_then() -> None:
    identities = Identities()
    revisions = []

    for known in (KNOWN_A, KNOWN_A, replace(KNOWN_A, name="x"), replace(KNOWN_A, name="x", project_id=OTHER)):
        identities.put(known)
        revisions.append(identities.revision)

    assert revisions == [1, 1, 2, 3]
    assert identities.holders_of(SHARED) == ()


def test_an_answer_is_outdated_once_somebody_else_has_kept_its_id() -> None:
    identities = Identities()
    first, second = look(clone(A), identities), look(clone(B), identities)
    assert identities.is_current(first)
    assert id_of(first) == id_of(second) == SHARED

    identities.put(KNOWN_A)

    assert not identities.is_current(second)
    assert identities.is_current(look(clone(B), identities))


def test_an_answer_is_outdated_once_its_project_was_joined() -> None:
    identities = Identities()
    act(clone(A), identities)
    act(clone(B), identities)
    place = look(clone(B), identities)
    assert place.known_id is None

    for known in joined_ids(place, identities):
        identities.put(known)

    assert not identities.is_current(place)


def test_an_answer_stays_current_when_another_project_is_kept() -> None:
    identities = Identities()
    place = look(clone(A), identities)

    act(found("/work/c", replace(SHOP, project_id=OTHER)), identities)

    assert identities.is_current(place)


def test_an_answer_that_rests_on_no_registry_is_never_outdated() -> None:
    identities = Identities()
    place = place_of(clone(A), A, NAMESPACE)

    identities.put(KNOWN_A)

    assert identities.is_current(place)
    assert identities.is_current(look(found(A), identities))


def test_rivals_are_those_elsewhere_that_have_the_id_claimed() -> None:
    identities = Identities()
    act(clone(A), identities)

    assert rivals_of(clone(B), identities) == (KNOWN_A,)
    for finding in (clone(A), clone("/wt/x", main=A), clone(B, NAMELESS), clone(B, None), clone(B, BROKEN), found(B)):
        assert rivals_of(finding, identities) == ()
