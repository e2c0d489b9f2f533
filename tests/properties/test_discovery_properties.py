"""Whatever the tree: the nearest wins, and a remembered answer is the one that a fresh search gives."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from workroot.core.discovery import Attributes, FoundConfig, Rules, find_owner
from workroot.core.placing import project_of
from workroot.core.projects import CONFIG_NAMES, ConfigProblem, Directory, ProjectConfig, Repository, StopReason
from workroot.errors import DirectoryError
from workroot.project_finder import ProjectFinder, rules_of_this_process

NAMESPACE = "6f1d6a3e-52a4-4b0c-9a53-0e6f0c1de111"
OURS = Attributes(device=1, owner_id=0, group_id=0, mode=0o755)


class Levels:
    """A `View` of one long path: the levels that hold a config, and those that are repositories."""

    def __init__(self, configs: set[Directory], repositories: set[Directory]) -> None:
        self._configs, self._repositories = configs, repositories

    def attributes(self, level: Directory) -> Attributes:
        return OURS

    def config(self, level: Directory) -> FoundConfig | None:
        content = ProjectConfig(name=level)
        return FoundConfig(root=level, path=f"{level}/c", content=content) if level in self._configs else None

    def repository(self, level: Directory) -> Repository | None:
        if level not in self._repositories:
            return None
        return Repository(root=level, name=level, common_directory=Directory(f"{level}/.git"))


@given(data=st.data(), depth=st.integers(1, 70))
def test_the_nearest_level_that_says_something_is_the_project(data: st.DataObject, depth: int) -> None:
    levels = [Directory("/" + "/".join("d" * n)) for n in range(depth, 0, -1)]
    some = st.sets(st.sampled_from(levels))
    configs, repositories = data.draw(some), data.draw(some)

    finding = find_owner(levels[0], Levels(configs, repositories), Rules(user_id=0))
    project = project_of(finding, UUID(NAMESPACE))

    nearest = next((level for level in levels[:64] if level in configs | repositories), None)
    assert (project.root if project else None) == nearest
    assert list(finding.levels) == [*levels, "/"][: len(finding.levels)]


# Levels of every kind, against the procedure said in another way


ADA, EVE, ADAS_GROUP, STAFF = 1000, 1001, 1000, 50
SOUND = ProjectConfig(name="sound")
BROKEN = ConfigProblem(path="c", problem="is broken")


@dataclass(frozen=True)
class Level:
    config: ProjectConfig | ConfigProblem | None
    is_repository: bool
    attributes: Attributes


ATTRIBUTES = st.builds(
    Attributes,
    device=st.sampled_from([1, 1, 1, 1, 1, 1, 1, 2]),
    owner_id=st.sampled_from([ADA, ADA, ADA, ADA, 0, EVE]),
    group_id=st.sampled_from([ADAS_GROUP, STAFF]),
    mode=st.sampled_from([0o755, 0o755, 0o700, 0o750, 0o775, 0o757, 0o777, 0o1777]),
)
LEVELS = st.lists(
    st.builds(
        Level,
        config=st.sampled_from([None, None, None, SOUND, BROKEN]),
        is_repository=st.sampled_from([False, False, False, True]),
        attributes=ATTRIBUTES,
    ),
    min_size=1,
    max_size=12,
)


class Described:
    """A `View` of levels that are described, the deepest first, `/` last."""

    def __init__(self, levels: list[Level]) -> None:
        self._levels = levels

    def paths(self) -> list[Directory]:
        depth = len(self._levels) - 1
        return [Directory("/" + "/".join("abcdefghijklm"[:n])) for n in range(depth, -1, -1)]

    def _at(self, path: Directory) -> Level:
        return self._levels[self.paths().index(path)]

    def attributes(self, level: Directory) -> Attributes:
        return self._at(level).attributes

    def config(self, level: Directory) -> FoundConfig | None:
        content = self._at(level).config
        return FoundConfig(root=level, path=f"{level}/c", content=content) if content is not None else None

    def repository(self, level: Directory) -> Repository | None:
        return Levels(set(), {level} if self._at(level).is_repository else set()).repository(level)


def is_barred(levels: list[Level], paths: list[Directory], number: int, rules: Rules) -> StopReason | None:
    """Say it level by level, without a loop and without a state: the section on stop rules, word by word."""
    seen = levels[number].attributes
    if number > 0 and seen.device != levels[number - 1].attributes.device:
        return StopReason.MOUNT
    below_a_trusted_one = any(paths[number:][above] in rules.trusted for above in range(len(paths) - number))
    if below_a_trusted_one:
        return None
    if seen.owner_id not in (0, ADA):
        return StopReason.OWNER
    if seen.mode % 0o10 in (0o2, 0o3, 0o6, 0o7):
        return StopReason.OWNER
    if seen.mode // 0o10 % 0o10 in (0o2, 0o3, 0o6, 0o7) and seen.group_id != ADAS_GROUP:
        return StopReason.OWNER
    return None


def test_a_search_sees_what_the_procedure_says(is_full: bool) -> None:
    @settings(max_examples=10_000 if is_full else 200, deadline=None)
    @given(levels=LEVELS, data=st.data())
    def check(levels: list[Level], data: st.DataObject) -> None:
        view = Described(levels)
        paths = view.paths()
        home = data.draw(st.sampled_from([None, None, *paths]), "home")
        trusted = tuple(data.draw(st.lists(st.sampled_from(paths), max_size=2), "trusted"))
        limit = data.draw(st.sampled_from([64, 64, 64, 3]), "max_levels")
        rules = Rules(user_id=ADA, private_group_id=ADAS_GROUP, home=home, trusted=trusted, max_levels=limit)

        finding = find_owner(paths[0], view, rules)

        barriers = [number for number in range(len(levels)) if is_barred(levels, paths, number, rules)]
        repositories = [number for number in range(len(levels)) if levels[number].is_repository]
        ends = {len(levels) - 1, limit - 1, *repositories, *([paths.index(home)] if home is not None else [])}
        seen = min([min(ends) + 1, *barriers])
        configs = [number for number in range(seen) if levels[number].config is not None]
        assert list(finding.levels) == paths[:seen]
        assert finding.barrier == (paths[seen] if barriers and barriers[0] == seen <= min(ends) else None)
        assert (finding.config.root if finding.config else None) == (paths[configs[0]] if configs else None)
        found = repositories[0] if repositories and repositories[0] < seen else None
        assert (finding.repository.root if finding.repository else None) == (
            paths[found] if found is not None else None
        )
        if configs:
            assert (finding.stop, finding.stopped_at) == (StopReason.CONFIG, paths[configs[0]])
        elif finding.barrier is not None:
            assert finding.stop is is_barred(levels, paths, seen, rules)
        elif found is not None:
            assert finding.stop is StopReason.REPOSITORY
        else:
            assert finding.stop in (StopReason.HOME, StopReason.DEPTH, StopReason.FILESYSTEM_ROOT)

    check()


# Trees of every kind, on a real disk

IN_TREE = ("a", "a/b", "a/b/c", "a/b/c/d", "x", "x/y", "x/y/z")
CONFIG_KINDS = ("toml", "json", "earlier", "broken", "pipe", "link", "hard link", "shared", "behind a link", "huge")
REPOSITORY_KINDS = (
    *("git", "hg", "jj", "bare", "worktree", "moved worktree", "submodule", "kept elsewhere", "linked"),
    *("nonsense", "stolen checkout", "stolen worktree", "pruned worktree", "claims to share", "stolen submodule"),
)
USABLE = ("toml", "json", "earlier")
OTHER_USER = 1234
TEXT = 'version = "1.0"\n[project]\nname = "x"\n'
JSON_TEXT = '{"version": "1.0", "project": {"name": "x"}}'


@dataclass(frozen=True)
class Kind:
    config: str | None
    repository: str | None
    is_shared: bool
    is_anothers: bool


KINDS = st.builds(
    Kind,
    config=st.sampled_from([None] * 6 + list(CONFIG_KINDS)),
    repository=st.sampled_from([None] * 10 + list(REPOSITORY_KINDS)),
    is_shared=st.sampled_from([False] * 9 + [True]),
    is_anothers=st.sampled_from([False] * 9 + [os.geteuid() == 0]),
)
TREES = st.fixed_dictionaries(dict.fromkeys(IN_TREE, KINDS))


def build(base: Path, tree: dict[str, Kind]) -> None:
    """Make the tree, and beside it what its `.git` files name."""
    for name in ("main/.git/worktrees/real", "super/.git/modules/real", "kept", "checked-out"):
        (base / name).mkdir(parents=True)
    write(base / "main/.git/worktrees/real/commondir", "../..\n")
    write(base / "main/.git/worktrees/real/gitdir", f"{base}/checked-out/.git\n")
    write(base / "checked-out/.git", f"gitdir: {base}/main/.git/worktrees/real\n")
    write(base / "super/.git/modules/real/config", f"[core]\n\tworktree = {base}/checked-out\n")
    write(base / "secret", TEXT)
    for path in IN_TREE:
        (base / path).mkdir()
    for path, kind in tree.items():
        build_config(base, base / path, kind.config)
        build_repository(base, base / path, kind.repository, IN_TREE.index(path))
    for path, kind in tree.items():
        (base / path).chmod(0o777 if kind.is_shared else 0o755)
        if kind.is_anothers:
            os.chown(base / path, OTHER_USER, -1)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def build_config(base: Path, level: Path, kind: str | None) -> None:
    path = level / ".workroot/config.toml"
    match kind:
        case None:
            return
        case "json":
            write(level / ".workroot/config.json", JSON_TEXT)
        case "earlier":
            write(level / ".codebase-mcp/config.json", JSON_TEXT)
        case "behind a link":
            write(level / "elsewhere/config.toml", TEXT)
            (level / ".workroot").symlink_to("elsewhere")
        case _:
            path.parent.mkdir()
            make_file(base, path, kind)


def make_file(base: Path, path: Path, kind: str) -> None:
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to(base / "secret")
        case "hard link":
            path.hardlink_to(base / "secret")
        case "broken":
            path.write_text("[broken\n")
        case _:
            path.write_text(TEXT)
            if kind == "shared":
                path.chmod(0o666)
            if kind == "huge":
                os.truncate(path, 2**31)


def build_repository(base: Path, level: Path, kind: str | None, number: int) -> None:
    private, module = base / f"main/.git/worktrees/w{number}", base / f"super/.git/modules/m{number}"
    named: dict[str, object] = {
        "worktree": private,
        "moved worktree": private,
        "submodule": module,
        "kept elsewhere": base / "kept",
        "stolen checkout": base / "main/.git",
        "stolen worktree": base / "main/.git/worktrees/real",
        "pruned worktree": base / "main/.git/worktrees/none",
        "claims to share": level / "own/worktrees/w",
        "stolen submodule": base / "super/.git/modules/real",
        "nonsense": "",
    }
    if kind in named:
        write(level / ".git", f"gitdir: {named[kind]}\n")
    match kind:
        case "git" | "hg" | "jj":
            (level / f".{kind}").mkdir()
        case "linked":
            (level / ".git").symlink_to(base / "kept")
        case "bare":
            for name in ("objects", "refs"):
                (level / name).mkdir()
            write(level / "HEAD", "ref: refs/heads/main\n")
        case "worktree" | "moved worktree":
            write(private / "commondir", "../..\n")
            write(private / "gitdir", f"{level if kind == 'worktree' else base / 'gone'}/.git\n")
        case "claims to share":
            write(level / "own/worktrees/w/commondir", f"{base}/main/.git\n")
            write(level / "own/worktrees/w/gitdir", f"{level}/.git\n")
        case "submodule":
            write(module / "config", f"[core]\n\tworktree = {level}\n")


def common_of(base: Path, level: Path, kind: str, number: int) -> str:
    """Return the common directory that a repository honestly has."""
    honest: dict[str, object] = {
        "hg": level / ".hg",
        "jj": level / ".jj",
        "bare": level,
        "worktree": base / "main/.git",
        "submodule": base / f"super/.git/modules/m{number}",
        "kept elsewhere": base / "kept",
        "linked": base / "kept",
    }
    return str(honest.get(kind, level / ".git"))


def expected(base: Path, tree: dict[str, Kind], start: str, trusted: list[str]) -> tuple[object, ...]:
    """Return the config's root and whether it is usable, the repository's root and common directory, the barrier."""
    config: tuple[str, bool] | None = None
    for path in [start, *(str(parent) for parent in Path(start).parents)]:
        if path == ".":
            return config, None, None
        kind = tree[path]
        is_trusted = any(path == top or Path(top) in Path(path).parents for top in trusted)
        if (kind.is_shared or kind.is_anothers) and not is_trusted:
            return config, None, f"{base}/{path}"
        if kind.config is not None and config is None:
            config = (f"{base}/{path}", kind.config in USABLE)
        if kind.repository is not None:
            common = common_of(base, base / path, kind.repository, IN_TREE.index(path))
            return config, (f"{base}/{path}", common), None
    raise AssertionError


def test_a_real_tree_is_seen_as_it_was_made(is_full: bool) -> None:
    @settings(max_examples=10_000 if is_full else 200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        tree=TREES,
        start=st.sampled_from(IN_TREE),
        way=st.sampled_from(["{}", "link/{}", "./x/../{}/", "chain/{}"]),
        trusted=st.lists(st.sampled_from(IN_TREE), max_size=2),
    )
    def check(tree: dict[str, Kind], start: str, way: str, trusted: list[str]) -> None:
        with tempfile.TemporaryDirectory() as made:
            base = Path(made).resolve()
            build(base, tree)
            (base / "link").symlink_to(".")
            (base / "chain").symlink_to("link/x/../link")
            rules = replace(
                rules_of_this_process([f"{base}/link/{path}" for path in trusted]), home=Directory(str(base))
            )
            clock_ns = time.time_ns() + 10_000_000_000
            finder = ProjectFinder(NAMESPACE, rules=rules, clock_ns=lambda: clock_ns)

            finding = finder.explain_now(f"{base}/{way.format(start)}")

            found, repository = finding.config, finding.repository
            assert (
                (found.root, isinstance(found.content, ProjectConfig)) if found is not None else None,
                (repository.root, repository.common_directory) if repository is not None else None,
                finding.barrier,
            ) == expected(base, tree, start, trusted)
            assert finding.directory == f"{base}/{start}"
            place = finder.find_now(f"{base}/{start}")
            assert finder.find_now(f"{base}/{start}") is place
            assert set(finding.levels) <= set(place.rests_on)
            assert all(os.path.isdir(directory) for directory in place.rests_on)

    check()


# Answers that are remembered

TOPS = ("", "a", "a/b", "a/b/c", "other")
CONTENTS = (b'version = "1.0"\n[project]\nname = "one"\n', b'version = "1.0"\n[project]\nname = "two"\n', b"[broken\n")
JSON_CONTENTS = (b'{"version": "1.0", "project": {"name": "uno"}}', b"{")
some_top = st.sampled_from(TOPS)


class RememberedAnswers(RuleBasedStateMachine):
    """Files come, change and go; a finder that remembers says what one without a memory says.

    Its clock is ahead, so it remembers at once. What that would forgive, a change within one tick of the
    file system's clock, does not happen here: every change begins in a tick of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp())
        self.searches = 0
        self.finder = ProjectFinder(NAMESPACE, clock_ns=self.clock)

    def clock(self) -> int:
        self.searches += 1
        return time.time_ns() + 10_000_000_000

    def teardown(self) -> None:
        shutil.rmtree(self.base)

    @initialize()
    def make_tree(self) -> None:
        (self.base / "a/b/c").mkdir(parents=True)
        (self.base / "other").mkdir()
        (self.base / "link").symlink_to("a/b")

    def next_tick(self) -> None:
        clock = self.base / "clock"
        clock.touch()
        before = clock.stat().st_ctime_ns
        deadline = time.monotonic() + 5
        while clock.stat().st_ctime_ns == before and time.monotonic() < deadline:
            os.utime(clock)

    @rule(top=some_top, name=st.sampled_from(CONFIG_NAMES), which=st.integers(0, 2), replaced=st.booleans())
    def write_config(self, top: str, name: str, which: int, replaced: bool) -> None:
        self.next_tick()
        path = self.base / top / name
        content = CONTENTS[which] if name.endswith(".toml") else JSON_CONTENTS[which % 2]
        if not (self.base / top).is_dir():
            return
        path.parent.mkdir(exist_ok=True)
        if replaced:
            (path.parent / "new").write_bytes(content)
            (path.parent / "new").replace(path)
        else:
            path.write_bytes(content)

    @rule(top=some_top, name=st.sampled_from(CONFIG_NAMES), whole=st.booleans())
    def remove_config(self, top: str, name: str, whole: bool) -> None:
        self.next_tick()
        path = self.base / top / name
        if whole:
            shutil.rmtree(path.parent, ignore_errors=True)
        elif path.parent.is_dir():
            path.unlink(missing_ok=True)

    @rule(top=some_top, as_file=st.booleans())
    def make_repository(self, top: str, as_file: bool) -> None:
        self.next_tick()
        marker = self.base / top / ".git"
        if marker.exists() or not marker.parent.is_dir():
            return
        if as_file:
            marker.write_text(f"gitdir: {self.base}/main/.git/worktrees/x\n")
        else:
            marker.mkdir()

    @rule(top=some_top)
    def remove_repository(self, top: str) -> None:
        self.next_tick()
        marker = self.base / top / ".git"
        if marker.is_dir():
            marker.rmdir()
        elif marker.parent.is_dir():
            marker.unlink(missing_ok=True)

    @rule(common=st.sampled_from([None, "", "../..", "../../../../elsewhere/.git"]))
    def change_what_worktrees_share(self, common: str | None) -> None:
        self.next_tick()
        private = self.base / "main/.git/worktrees/x"
        if common is None:
            shutil.rmtree(self.base / "main", ignore_errors=True)
            return
        private.mkdir(parents=True, exist_ok=True)
        if common:
            (private / "commondir").write_text(f"{common}\n")
        else:
            (private / "commondir").unlink(missing_ok=True)

    @rule(top=some_top, mode=st.sampled_from([0o755, 0o777, 0o700]))
    def change_mode(self, top: str, mode: int) -> None:
        self.next_tick()
        if (self.base / top).is_dir():
            (self.base / top).chmod(mode)

    @rule()
    def move_a_level_and_leave_a_link(self) -> None:
        self.next_tick()
        a, moved = self.base / "a", self.base / "moved"
        if a.is_symlink():
            a.unlink()
            moved.rename(a)
        else:
            a.rename(moved)
            a.symlink_to("moved")

    @rule(to=st.sampled_from(["a/b", "other", "a/b/c", "nowhere"]))
    def turn_the_link(self, to: str) -> None:
        self.next_tick()
        (self.base / "link").unlink()
        (self.base / "link").symlink_to(to)

    @rule()
    def replace_a_directory_by_a_file_and_back(self) -> None:
        self.next_tick()
        other = self.base / "other"
        if other.is_dir():
            shutil.rmtree(other)
            other.write_text("")
        else:
            other.unlink()
            other.mkdir()

    @invariant()
    def a_remembered_answer_is_the_one_of_now(self) -> None:
        for start in (*TOPS, "link", "link/c", "a/b/../b"):
            directory = f"{self.base}/{start}"
            assert answer(self.finder, directory) == answer(ProjectFinder(NAMESPACE), directory)

    @invariant()
    def an_answer_is_not_searched_for_twice(self) -> None:
        directory = f"{self.base}/a/b/c"
        answer(self.finder, directory)
        before = self.searches
        answer(self.finder, directory)
        assert self.searches == before


def answer(finder: ProjectFinder, directory: str) -> object:
    try:
        return finder.find_now(directory)
    except DirectoryError as error:
        return str(error)


RememberedAnswers.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestRememberedAnswers = RememberedAnswers.TestCase
