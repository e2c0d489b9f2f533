"""Whatever the tree: the nearest wins, and a remembered answer is the one that a fresh search gives."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from workroot.core.discovery import Attributes, FoundConfig, Rules, find_owner
from workroot.core.placing import project_of
from workroot.core.projects import CONFIG_NAMES, Directory, ProjectConfig, Repository
from workroot.errors import DirectoryError
from workroot.project_finder import ProjectFinder

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
