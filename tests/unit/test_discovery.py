"""The search from a directory upward, over a tree that exists only in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import pytest

from workroot.core.discovery import (
    Attributes,
    Finding,
    FoundConfig,
    Rules,
    find_owner,
)
from workroot.core.placing import place_of, project_of
from workroot.core.projects import ConfigProblem, Directory, ProjectConfig, ProjectId, Repository, StopReason

NAMESPACE = UUID("6f1d6a3e-52a4-4b0c-9a53-0e6f0c1de111")
ADA, EVE, ROOT = 1000, 1001, 0
ADAS_GROUP, STAFF = 1000, 50
RULES = Rules(user_id=ADA, private_group_id=ADAS_GROUP, home=Directory("/home/ada"))
SOME_ID = ProjectId("123e4567-e89b-42d3-a456-426614174000")


@dataclass
class Tree:
    """A `View`: what is not named is an empty directory of Ada's; above her home all is root's."""

    configs: dict[str, ProjectConfig | ConfigProblem] = field(default_factory=dict)
    repositories: dict[str, Repository] = field(default_factory=dict)
    standing: dict[str, Attributes] = field(default_factory=dict)
    looked_into: list[str] = field(default_factory=list)

    def attributes(self, level: Directory) -> Attributes:
        return self.standing.get(level, directory())

    def config(self, level: Directory) -> FoundConfig | None:
        self.looked_into.append(level)
        content = self.configs.get(level)
        return None if content is None else FoundConfig(root=level, path=config_path(level), content=content)

    def repository(self, level: Directory) -> Repository | None:
        self.looked_into.append(level)
        return self.repositories.get(level)


def directory(*, device: int = 1, owner: int = ADA, group: int = ADAS_GROUP, mode: int = 0o755) -> Attributes:
    return Attributes(device=device, owner_id=owner, group_id=group, mode=mode)


def config_path(level: str) -> str:
    return f"{level}/.workroot/config.toml"


def repository(root: str, *, main: str | None = None) -> Repository:
    return Repository(
        root=Directory(root),
        name=(main or root).rpartition("/")[2],
        common_directory=Directory(f"{main or root}/.git"),
        main_root=Directory(main) if main else None,
    )


def search(tree: Tree, start: str, rules: Rules = RULES) -> Finding:
    return find_owner(Directory(start), tree, rules)


def test_the_nearest_config_wins() -> None:
    tree = Tree(configs={"/home/ada/a": ProjectConfig(name="outer"), "/home/ada/a/b": ProjectConfig(name="inner")})

    finding = search(tree, "/home/ada/a/b/c")

    assert finding.config is not None
    assert finding.config.root == "/home/ada/a/b"
    assert (finding.stop, finding.stopped_at) == (StopReason.CONFIG, "/home/ada/a/b")


def test_a_config_that_cannot_be_used_is_not_replaced_by_an_outer_one() -> None:
    problem = ConfigProblem(path="/home/ada/a/b/.workroot/config.toml", problem="is missing", field="version")
    tree = Tree(
        configs={"/home/ada/a": ProjectConfig(name="outer"), "/home/ada/a/b": problem},
        repositories={"/home/ada/a": repository("/home/ada/a")},
    )

    place = place_of(search(tree, "/home/ada/a/b/c"), "/given", NAMESPACE)

    assert place.project is None
    assert (place.config_path, place.config_error) == (problem.path, problem)
    assert (place.stop, place.stopped_at, place.given) == (StopReason.CONFIG, "/home/ada/a/b", "/given")


def test_a_version_control_root_ends_the_search_and_is_the_project() -> None:
    tree = Tree(
        configs={"/home/ada/a": ProjectConfig(name="outer")},
        repositories={"/home/ada/a/b": repository("/home/ada/a/b")},
    )

    finding = search(tree, "/home/ada/a/b/c/d")
    project = project_of(finding, NAMESPACE)

    assert (finding.stop, finding.stopped_at) == (StopReason.REPOSITORY, "/home/ada/a/b")
    assert finding.levels == ("/home/ada/a/b/c/d", "/home/ada/a/b/c", "/home/ada/a/b")
    assert project is not None
    assert (project.root, project.name, project.worktree_of, project.config) == ("/home/ada/a/b", "b", None, None)


def test_a_config_at_the_version_control_root_counts() -> None:
    tree = Tree(
        configs={"/home/ada/a": ProjectConfig(name="said", project_id=SOME_ID)},
        repositories={"/home/ada/a": repository("/home/ada/a")},
    )

    project = project_of(search(tree, "/home/ada/a/src"), NAMESPACE)

    assert project is not None
    assert (project.name, project.project_id, project.root) == ("said", SOME_ID, "/home/ada/a")
    assert project.config_path == "/home/ada/a/.workroot/config.toml"


def test_worktrees_share_id_and_name_and_keep_their_roots() -> None:
    main, other = "/home/ada/repo", "/home/ada/repo-feature"
    tree = Tree(repositories={main: repository(main), other: repository(other, main=main)})

    first = project_of(search(tree, f"{main}/src"), NAMESPACE)
    second = project_of(search(tree, f"{other}/src"), NAMESPACE)

    assert first is not None
    assert second is not None
    assert (first.project_id, first.name) == (second.project_id, second.name)
    assert (first.root, first.worktree_of) == (main, None)
    assert (second.root, second.worktree_of) == (other, main)


def test_a_config_below_the_root_of_a_worktree_is_matched_with_the_one_in_the_main_checkout() -> None:
    main, other = "/home/ada/repo", "/home/ada/repo-feature"
    config = ProjectConfig(name="part")
    tree = Tree(
        configs={f"{main}/part": config, f"{other}/part": config},
        repositories={main: repository(main), other: repository(other, main=main)},
    )

    whole = project_of(search(tree, main), NAMESPACE)
    first = project_of(search(tree, f"{main}/part/src"), NAMESPACE)
    second = project_of(search(tree, f"{other}/part"), NAMESPACE)

    assert whole is not None
    assert first is not None
    assert second is not None
    assert first.project_id == second.project_id != whole.project_id
    assert (second.root, second.worktree_of) == (f"{other}/part", f"{main}/part")


def test_a_config_without_an_id_keeps_the_id_of_its_repository() -> None:
    bare = Tree(repositories={"/home/ada/a": repository("/home/ada/a")})
    named = Tree(repositories=bare.repositories, configs={"/home/ada/a": ProjectConfig(name="named")})

    before, after = (project_of(search(tree, "/home/ada/a"), NAMESPACE) for tree in (bare, named))

    assert before is not None
    assert after is not None
    assert before.project_id == after.project_id


def test_a_config_outside_every_repository_gets_its_id_from_its_root_and_the_namespace() -> None:
    tree = Tree(configs={"/home/ada/a": ProjectConfig(name="a"), "/home/ada/b": ProjectConfig(name="a")})

    ids = {
        project.project_id
        for start, namespace in [("/home/ada/a", NAMESPACE), ("/home/ada/a/x", NAMESPACE), ("/home/ada/b", NAMESPACE)]
        if (project := project_of(search(tree, start), namespace))
    }
    elsewhere = project_of(search(tree, "/home/ada/a"), UUID(int=1))

    assert len(ids) == 2
    assert elsewhere is not None
    assert elsewhere.project_id not in ids


def test_home_is_the_last_level_and_its_own_config_counts() -> None:
    above = Tree(configs={"/home": ProjectConfig(name="shared")})
    within = Tree(configs={"/home/ada": ProjectConfig(name="mine")})

    finding = search(above, "/home/ada/a")
    assert (finding.stop, finding.stopped_at, finding.config) == (StopReason.HOME, "/home/ada", None)
    assert project_of(finding, NAMESPACE) is None

    project = project_of(search(within, "/home/ada/a"), NAMESPACE)
    assert project is not None
    assert project.root == "/home/ada"


@pytest.mark.parametrize(
    "standing",
    [
        pytest.param(directory(owner=EVE), id="another user's"),
        pytest.param(directory(owner=ROOT, mode=0o1777), id="sticky and shared"),
        pytest.param(directory(mode=0o757), id="writable by others"),
        pytest.param(directory(group=STAFF, mode=0o775), id="writable by a group of several"),
    ],
)
@pytest.mark.parametrize("start", ["/srv/shared", "/srv/shared/mine"])
@pytest.mark.row("B5")
def test_a_level_where_others_decide_is_not_looked_into(standing: Attributes, start: str) -> None:
    tree = Tree(
        configs={"/srv/shared": ProjectConfig(name="planted")},
        repositories={"/srv/shared": repository("/srv/shared")},
        standing={"/srv/shared": standing},
    )

    finding = search(tree, start)

    assert "/srv/shared" not in tree.looked_into
    assert (finding.stop, finding.stopped_at, finding.barrier) == (StopReason.OWNER, start, "/srv/shared")
    assert project_of(finding, NAMESPACE) is None


@pytest.mark.parametrize(
    "standing",
    [
        pytest.param(directory(owner=ROOT, group=ROOT), id="root's"),
        pytest.param(directory(mode=0o775), id="writable by the user's own group"),
        pytest.param(directory(mode=0o700), id="private"),
    ],
)
def test_a_level_where_only_the_user_and_root_decide_is_looked_into(standing: Attributes) -> None:
    tree = Tree(configs={"/srv/work": ProjectConfig(name="work")}, standing={"/srv/work": standing})

    assert search(tree, "/srv/work/a").config is not None


def test_a_group_that_is_not_the_users_alone_is_nobodys_friend() -> None:
    tree = Tree(standing={"/srv/work": directory(mode=0o775)})

    assert search(tree, "/srv/work/a", Rules(user_id=ADA)).stop is StopReason.OWNER


def test_a_level_on_another_device_is_not_looked_into() -> None:
    tree = Tree(
        configs={"/mnt": ProjectConfig(name="beyond")},
        standing={"/mnt/disk": directory(device=7), "/mnt/disk/a": directory(device=7)},
    )

    finding = search(tree, "/mnt/disk/a")

    assert (finding.stop, finding.stopped_at, finding.barrier) == (StopReason.MOUNT, "/mnt/disk", "/mnt")
    assert "/mnt" not in tree.looked_into


def test_a_config_found_below_a_barrier_still_counts() -> None:
    tree = Tree(configs={"/srv/shared/a": ProjectConfig(name="a")}, standing={"/srv/shared": directory(owner=EVE)})

    finding = search(tree, "/srv/shared/a/b")

    assert (finding.stop, finding.stopped_at) == (StopReason.CONFIG, "/srv/shared/a")


def test_the_top_of_the_file_system_is_looked_into_and_ends_the_search() -> None:
    finding = search(Tree(), "/srv/a")
    assert (finding.stop, finding.levels) == (StopReason.FILESYSTEM_ROOT, ("/srv/a", "/srv", "/"))

    tree = Tree(configs={"/": ProjectConfig(name="container")}, repositories={"/": repository("/")})
    project = project_of(search(tree, "/srv/a"), NAMESPACE)
    assert project is not None
    assert (project.root, project.name) == ("/", "container")


def test_the_64th_level_is_the_last_one() -> None:
    deep = "/srv" + "/d" * 64
    level_64, level_65 = "/srv/d", "/srv"

    counted = search(Tree(configs={level_64: ProjectConfig(name="near")}), deep)
    missed = search(Tree(configs={level_65: ProjectConfig(name="far")}), deep)

    assert counted.stop is StopReason.CONFIG
    assert (missed.stop, missed.stopped_at, len(missed.levels)) == (StopReason.DEPTH, level_64, 64)
