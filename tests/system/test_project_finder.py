"""Real directories, real files, real git."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from trees import CONFIG, NAMESPACE, NOBODY, CountingClock, git, make_config, make_git_repository, needs_root, owner

from workroot.core.projects import Directory, StopReason
from workroot.errors import DirectoryError
from workroot.project_finder import ProjectFinder, rules_of_this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def clock() -> CountingClock:
    return CountingClock(ahead_seconds=10)


@pytest.fixture
def finder(clock: CountingClock) -> ProjectFinder:
    return ProjectFinder(NAMESPACE, clock_ns=clock)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path.resolve()


# The directory that was given


def test_what_is_no_directory_is_refused_in_the_words_that_people_know(base: Path, finder: ProjectFinder) -> None:
    (base / "file").touch()
    (base / "loop").symlink_to("loop")
    (base / "dangling").symlink_to("nowhere")
    for directory, message in [
        ("", "Directory path must be absolute: "),
        ("relative/path", "Directory path must be absolute: relative/path"),
        ("~/code", "Directory path must be absolute: ~/code"),
        (f"{base}/nowhere", f"Directory does not exist: {base}/nowhere"),
        (f"{base}/nowhere/else", f"Directory does not exist: {base}/nowhere/else"),
        (f"{base}/file/..", f"Directory does not exist: {base}/file/.."),
        (f"{base}/file/below", f"Directory does not exist: {base}/file/below"),
        (f"{base}/dangling", f"Directory does not exist: {base}/dangling"),
        (f"{base}/file", f"Path is not a directory: {base}/file"),
        (f"{base}/loop", f"Directory cannot be used (Too many levels of symbolic links): {base}/loop"),
        (f"{base}/{'x' * 256}", f"Directory cannot be used (File name too long): {base}/{'x' * 256}"),
        ("/a\0b", "Directory path must not contain NUL: /a\\x00b"),
        ("/a\udcffb", "Directory path must be valid Unicode: /a\\udcffb"),
    ]:
        with pytest.raises(DirectoryError) as raised:
            finder.find_now(directory)
        assert str(raised.value) == message
        str(raised.value).encode()


def test_a_path_of_4095_bytes_is_looked_for_and_a_longer_one_is_not(finder: ProjectFinder) -> None:
    with pytest.raises(DirectoryError, match="Directory does not exist"):
        finder.find_now("/ä" * 1365)
    with pytest.raises(DirectoryError) as raised:
        finder.find_now("/ä" * 1365 + "/")

    assert str(raised.value).startswith("Directory path must not be longer than 4,095 bytes: /ä/ä")
    assert len(str(raised.value)) < 1100


def test_a_directory_whose_real_name_is_no_text_is_refused(base: Path, finder: ProjectFinder) -> None:
    os.mkdir(os.fsencode(base) + b"/\xff")
    (base / "link").symlink_to(os.fsdecode(b"\xff"))

    with pytest.raises(DirectoryError, match="Directory path must be valid Unicode"):
        finder.find_now(f"{base}/link")


AS_NOBODY = f"""
import os, sys
from workroot.errors import DirectoryError
from workroot.project_finder import ProjectFinder
finder = ProjectFinder("{NAMESPACE}")
finder.find_now(sys.argv[1])  # loads what is loaded on first use: nobody may not reach the libraries
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
for directory in sys.argv[2:]:
    try:
        place = ProjectFinder("{NAMESPACE}").find_now(directory)
        print(place.stop, place.stopped_at, place.config_path, place.config_error, place.project and place.project.root)
    except DirectoryError as error:
        print(error)
"""


def as_nobody(own: Path, *directories: Path) -> list[str]:
    """Search as the user nobody, in a process of its own; return one line for each directory."""
    make_config(own / "warm")
    words = [sys.executable, "-c", AS_NOBODY, str(own / "warm"), *map(str, directories)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    assert not done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory of root's that the user nobody can reach, as it cannot reach those of `tmp_path`."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        (Path(made) / "public").mkdir()
        yield Path(made).resolve() / "public"


@needs_root
def test_a_directory_that_cannot_be_read_is_refused(base: Path, public: Path) -> None:
    for name, mode in [("no-list", 0o711), ("no-entry", 0o744), ("closed", 0o700)]:
        (public / name / "below").mkdir(parents=True)
        (public / name).chmod(mode)

    lines = as_nobody(base, public / "no-list", public / "no-entry", public / "closed", public / "closed/below")

    assert lines == [
        f"Directory is not readable: {public}/no-list",
        f"Directory is not readable: {public}/no-entry",
        f"Directory is not readable: {public}/closed",
        f"Directory is not readable: {public}/closed/below",
    ]


@needs_root
def test_another_users_directory_is_not_looked_into_and_roots_is(base: Path, public: Path) -> None:
    for name, user in [("nobodys", NOBODY), ("roots", 0), ("anothers", 1234)]:
        make_config(public / name, name)
        for path in (public / name, public / name / ".workroot", public / name / ".workroot/config.toml"):
            os.chown(path, user, -1)
    (public / "anothers/below").mkdir()
    os.chown(public / "anothers/below", NOBODY, -1)

    lines = as_nobody(base, public / "nobodys", public / "roots", public / "anothers", public / "anothers/below")

    assert lines == [
        f"config {public}/nobodys {public}/nobodys/.workroot/config.toml None {public}/nobodys",
        f"config {public}/roots {public}/roots/.workroot/config.toml None {public}/roots",
        f"owner {public}/anothers None None None",
        f"owner {public}/anothers/below None None None",
    ]


@needs_root
def test_a_config_that_cannot_be_read_stops_the_search(base: Path, public: Path) -> None:
    make_config(public, "outer")
    unreadable = make_config(public / "a", "inner")
    unreadable.chmod(0o600)

    assert as_nobody(base, public / "a") == [
        f"config {public}/a {unreadable} {unreadable}: cannot be read (Permission denied) None"
    ]


def test_a_directory_is_known_by_its_real_path_and_by_the_one_given(base: Path, finder: ProjectFinder) -> None:
    (base / "real/below").mkdir(parents=True)
    (base / "link").symlink_to("real")
    make_config(base / "real")

    place = finder.find_now(f"{base}/link/.//below/../below/")

    assert (place.directory, place.given) == (f"{base}/real/below", f"{base}/link/.//below/../below/")
    assert owner(place).root == f"{base}/real"


async def test_the_port_gives_the_same_answer(base: Path, finder: ProjectFinder) -> None:
    make_config(base)

    assert await finder.find(str(base)) == finder.find_now(str(base))


# Configs


@pytest.mark.row("S11")
def test_within_a_level_the_first_name_wins_and_the_nearest_level_before_it(base: Path, finder: ProjectFinder) -> None:
    names = (".codebase-mcp/config.json", ".workflow-mcp/config.json", ".workroot/config.json", ".workroot/config.toml")
    (base / "a").mkdir()
    for name in names:
        make_config(base, name, name)
        assert owner(finder.find_now(f"{base}/a")).name == name

    make_config(base / "a", "near", names[0])
    assert owner(finder.find_now(f"{base}/a")).name == "near"


def test_the_names_of_configs_are_a_setting(base: Path) -> None:
    make_config(base, "usual")
    make_config(base, "other", "other.json")

    place = ProjectFinder(NAMESPACE, config_names=["other.json"]).find_now(str(base))

    assert (owner(place).name, place.config_path) == ("other", f"{base}/other.json")


def unusable_as_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def unusable_as_pipe(path: Path) -> None:
    os.mkfifo(path)


def unusable_as_socket(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # a socket's path has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(before)


def unusable_as_directory(path: Path) -> None:
    path.mkdir()


def unusable_as_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**31)


def unusable_as_shared(path: Path) -> None:
    path.write_text(CONFIG.format("x"))
    path.chmod(0o666)


def unusable_as_syntax(path: Path) -> None:
    path.write_text(CONFIG.format("x") + "name\n")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (unusable_as_link, ": is not a plain file"),
        (unusable_as_pipe, ": is not a plain file"),
        (unusable_as_socket, ": is not a plain file"),
        (unusable_as_directory, ": is not a plain file"),
        (unusable_as_huge, ": is larger than 64 KiB"),
        (unusable_as_shared, ": belongs to another user, or others may write to it"),
        (unusable_as_syntax, ":5: is not valid TOML: expected '=' after a key in a key/value pair"),
    ],
)
def test_a_config_that_cannot_be_used_stops_the_search_and_is_said(
    base: Path, finder: ProjectFinder, make: Callable[[Path], None], said: str
) -> None:
    make_config(base, "outer")
    path = base / "a/.workroot/config.toml"
    path.parent.mkdir(parents=True)
    make(path)
    make_config(base / "a", "other name, same level", ".workroot/config.json")

    place = finder.find_now(f"{base}/a")

    assert (place.project, place.config_path, place.stop) == (None, str(path), StopReason.CONFIG)
    assert str(place.config_error) == f"{path}{said}"


def test_a_config_behind_a_linked_or_shared_directory_is_not_used(base: Path, finder: ProjectFinder) -> None:
    make_config(base / "elsewhere")
    (base / "linked").mkdir()
    (base / "linked/.workroot").symlink_to("../elsewhere/.workroot")
    make_config(base / "shared").parent.chmod(0o777)

    linked, shared = finder.find_now(f"{base}/linked"), finder.find_now(f"{base}/shared")

    assert (linked.project, shared.project) == (None, None)
    assert "lies behind a symbolic link" in str(linked.config_error)
    assert "others may write to it" in str(shared.config_error)


def test_a_file_named_like_a_configs_directory_is_no_config(base: Path, finder: ProjectFinder) -> None:
    make_config(base)
    (base / "a").mkdir()
    (base / "a/.workroot").touch()

    assert owner(finder.find_now(f"{base}/a")).root == str(base)


# Where a search ends


def test_a_directory_that_everybody_may_write_to_is_never_looked_into(base: Path, finder: ProjectFinder) -> None:
    shared = base / "shared"
    make_config(shared, "planted")
    (shared / "mine").mkdir()
    shared.chmod(0o1777)

    place = finder.find_now(f"{shared}/mine")

    assert (place.project, place.stop, place.stopped_at) == (None, StopReason.OWNER, f"{shared}/mine")
    assert finder.find_now(str(shared)).stop is StopReason.OWNER


def test_home_is_the_last_level(base: Path, clock: CountingClock) -> None:
    rules = replace(rules_of_this_process(), home=Directory(f"{base}/home"))
    finder = ProjectFinder(NAMESPACE, rules=rules, clock_ns=clock)
    make_config(base, "above")
    (base / "home/code").mkdir(parents=True)

    place = finder.find_now(f"{base}/home/code")
    assert (place.project, place.stop, place.stopped_at) == (None, StopReason.HOME, f"{base}/home")

    make_config(base / "home", "home")
    assert owner(finder.find_now(f"{base}/home/code")).name == "home"


def test_the_rules_know_the_home_of_this_process(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "real").mkdir()
    (base / "link").symlink_to("real")
    monkeypatch.setenv("HOME", f"{base}/link")

    rules = rules_of_this_process()

    assert (rules.user_id, rules.home) == (os.geteuid(), f"{base}/real")


def test_the_search_does_not_leave_a_mount(finder: ProjectFinder) -> None:
    place = finder.find_now("/proc/sys")

    assert (place.stop, place.stopped_at, place.project) == (StopReason.MOUNT, "/proc", None)


def test_a_search_can_be_explained(base: Path, finder: ProjectFinder) -> None:
    (base / "a/b").mkdir(parents=True)
    make_config(base / "a")

    finding = finder.explain_now(f"{base}/a/b")

    assert finding.levels[:3] == (f"{base}/a/b", f"{base}/a", f"{base}")
    assert finding.config is not None
    assert finding.config.root == f"{base}/a"


# Version control


def test_a_git_repository_is_the_project(base: Path, finder: ProjectFinder) -> None:
    repository = make_git_repository(base / "repo")
    (repository / "src").mkdir()
    make_config(base, "outer")

    place = finder.find_now(f"{repository}/src")
    project = owner(place)

    assert (place.stop, place.config_path) == (StopReason.REPOSITORY, None)
    assert (project.root, project.name, project.worktree_of) == (str(repository), "repo", None)
    assert owner(finder.find_now(f"{repository}/.git/hooks")).root == str(repository)


@pytest.mark.parametrize("marker", [".hg", ".jj"])
def test_other_systems_roots_end_the_search_too(base: Path, finder: ProjectFinder, marker: str) -> None:
    make_config(base, "outer")
    (base / "repo" / marker).mkdir(parents=True)

    assert owner(finder.find_now(f"{base}/repo")).root == f"{base}/repo"


def test_worktrees_share_id_and_name_and_keep_their_roots(base: Path, finder: ProjectFinder) -> None:
    repository = make_git_repository(base / "repo")
    git(repository, "worktree", "add", str(base / "feature"))
    (base / "feature/src").mkdir()

    main, other = owner(finder.find_now(str(repository))), owner(finder.find_now(f"{base}/feature/src"))

    assert (other.project_id, other.name) == (main.project_id, "repo")
    assert (other.root, other.worktree_of) == (f"{base}/feature", str(repository))


def test_a_config_within_a_worktree_knows_its_like_in_the_main_checkout(base: Path, finder: ProjectFinder) -> None:
    repository = make_git_repository(base / "repo")
    make_config(repository / "part", "part")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "second")
    git(repository, "worktree", "add", str(base / "feature"))

    main, other = owner(finder.find_now(f"{repository}/part")), owner(finder.find_now(f"{base}/feature/part"))

    assert (other.project_id, other.name) == (main.project_id, "part")
    assert (other.root, other.worktree_of) == (f"{base}/feature/part", f"{repository}/part")
    assert main.worktree_of is None
    assert main.project_id != owner(finder.find_now(str(repository))).project_id


@pytest.mark.parametrize("bare", ["repo.git", "repo/.bare"])
def test_worktrees_of_a_bare_repository_share_id_and_name(base: Path, finder: ProjectFinder, bare: str) -> None:
    source = make_git_repository(base / "source")
    (base / bare).parent.mkdir(exist_ok=True)
    git(base, "clone", "--bare", str(source), bare)
    for name in ("one", "two"):
        git(base / bare, "worktree", "add", "-b", name, str(base / name))

    one, two = owner(finder.find_now(f"{base}/one")), owner(finder.find_now(f"{base}/two"))

    assert one.project_id == two.project_id
    assert (one.name, two.name) == ("repo", "repo")
    assert (one.root, two.root) == (f"{base}/one", f"{base}/two")
    assert (one.worktree_of, two.worktree_of) == (None, None)


def test_a_submodule_is_a_project_of_its_own(base: Path, finder: ProjectFinder) -> None:
    library = make_git_repository(base / "library")
    repository = make_git_repository(base / "repo")
    git(repository, "submodule", "add", str(library), "worktrees/lib")

    inner = owner(finder.find_now(f"{repository}/worktrees/lib"))
    outer = owner(finder.find_now(f"{repository}/worktrees"))

    assert stat.S_ISREG((repository / "worktrees/lib/.git").stat().st_mode)
    assert (inner.root, inner.name, inner.worktree_of) == (f"{repository}/worktrees/lib", "lib", None)
    assert outer.root == str(repository)
    assert len({inner.project_id, outer.project_id, owner(finder.find_now(str(library))).project_id}) == 3


def test_a_repository_kept_elsewhere_is_a_project_by_its_worktree(base: Path, finder: ProjectFinder) -> None:
    (base / "repo").mkdir()
    git(base / "repo", "init", "--separate-git-dir", str(base / "kept"))
    (base / "linked").mkdir()
    (base / "linked/.git").symlink_to("../kept")

    separate, linked = owner(finder.find_now(f"{base}/repo")), owner(finder.find_now(f"{base}/linked"))

    assert (separate.root, separate.name) == (f"{base}/repo", "repo")
    assert (linked.root, linked.project_id) == (f"{base}/linked", separate.project_id)


def test_a_worktree_whose_main_checkout_is_gone_keeps_its_id_and_its_root(base: Path, finder: ProjectFinder) -> None:
    repository = make_git_repository(base / "repo")
    git(repository, "worktree", "add", str(base / "feature"))
    before = finder.find_now(f"{base}/feature")

    shutil.rmtree(repository)

    assert finder.find_now(f"{base}/feature").project == before.project


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense\n", b"gitdir:\n", b"gitdir: /nowhere\nmore\n", b"gitdir: \xff\n", b"gitdir: /" + b"x" * 5000],
)
def test_a_git_file_that_makes_no_sense_does_not_let_an_outer_project_win(
    base: Path, finder: ProjectFinder, content: bytes
) -> None:
    make_config(base, "outer")
    (base / "a/b").mkdir(parents=True)
    (base / "a/.git").write_bytes(content)

    place = finder.find_now(f"{base}/a/b")

    assert (owner(place).root, owner(place).name, place.stop) == (f"{base}/a", "a", StopReason.REPOSITORY)


@pytest.mark.parametrize("target", ["nowhere", ".git"])
def test_what_is_neither_file_nor_directory_is_no_marker(base: Path, finder: ProjectFinder, target: str) -> None:
    make_config(base, "outer")
    (base / "a").mkdir()
    (base / "a/.git").symlink_to(target)
    (base / "b").mkdir()
    os.mkfifo(base / "b/.git")

    assert owner(finder.find_now(f"{base}/a")).root == str(base)
    assert owner(finder.find_now(f"{base}/b")).root == str(base)


# What is to be watched


def test_an_answer_rests_on_the_levels_the_configs_directories_and_last_what_holds_the_links(
    base: Path, finder: ProjectFinder
) -> None:
    make_config(base / "repo/part")
    (base / "repo/.git").mkdir()
    (base / "repo/.workflow-mcp").mkdir()
    (base / "repo/part/src").mkdir()
    (base / "links").mkdir()
    (base / "links/link").symlink_to("../repo/part")

    assert finder.find_now(f"{base}/links/link/src").rests_on == (
        f"{base}/repo/part/src",
        f"{base}/repo/part",
        f"{base}/repo/part/.workroot",
        f"{base}/repo",
        f"{base}/links",
    )


def test_an_answer_rests_on_64_directories_at_most_and_on_the_nearest(base: Path, finder: ProjectFinder) -> None:
    level = base
    for _ in range(60):
        level /= "d"
        (level / ".workroot").mkdir(parents=True)

    rests_on = finder.find_now(str(level)).rests_on

    assert len(rests_on) == 64
    assert rests_on[:2] == (str(level), f"{level}/.workroot")


# Answers that are remembered


def test_an_answer_is_searched_for_once(base: Path, finder: ProjectFinder, clock: CountingClock) -> None:
    make_config(base)

    places = [finder.find_now(str(base)) for _ in range(3)]

    assert places[0] is places[1] is places[2]
    assert clock.searches == 1


def test_what_changed_a_moment_ago_is_looked_at_again(base: Path) -> None:
    make_config(base)
    clock = CountingClock()
    finder = ProjectFinder(NAMESPACE, clock_ns=clock)

    finder.find_now(str(base))
    finder.find_now(str(base))

    assert clock.searches == 2


def test_a_file_with_a_time_in_the_future_is_remembered_all_the_same(
    base: Path, finder: ProjectFinder, clock: CountingClock
) -> None:
    path = make_config(base)
    os.utime(path, (4e9, 4e9))

    finder.find_now(str(base))
    finder.find_now(str(base))

    assert clock.searches == 1


@pytest.mark.row("S13")
def test_only_so_many_answers_are_remembered_and_the_used_ones_stay(base: Path, clock: CountingClock) -> None:
    finder = ProjectFinder(NAMESPACE, clock_ns=clock, max_remembered=2)
    for name in "abc":
        (base / name).mkdir()

    for name in ("a", "b", "a", "c", "a"):
        finder.find_now(f"{base}/{name}")
    assert clock.searches == 3

    finder.find_now(f"{base}/b")
    assert clock.searches == 4


def test_a_level_above_that_is_opened_to_others_no_longer_counts(base: Path, finder: ProjectFinder) -> None:
    (base / "a/b").mkdir(parents=True)
    make_config(base / "a")
    assert finder.find_now(f"{base}/a/b").project is not None

    (base / "a").chmod(0o777)
    assert finder.find_now(f"{base}/a/b").stop is StopReason.OWNER

    (base / "a").chmod(0o755)
    assert finder.find_now(f"{base}/a/b").project is not None


def test_a_directory_that_is_shared_from_now_on_gets_the_id_of_the_others(base: Path, finder: ProjectFinder) -> None:
    private = base / "kept/worktrees/x"
    private.mkdir(parents=True)
    for name, named in [("main", base / "kept"), ("other", private)]:
        (base / name).mkdir()
        (base / name / ".git").write_text(f"gitdir: {named}\n")
    main = owner(finder.find_now(f"{base}/main"))
    assert owner(finder.find_now(f"{base}/other")).project_id != main.project_id

    (private / "gitdir").write_text(f"{base}/other/.git\n")
    (private / "commondir").write_text("../..\n")

    assert owner(finder.find_now(f"{base}/other")).project_id == main.project_id


def test_a_kept_repository_that_comes_back_behind_a_link_is_known_by_its_real_path(
    base: Path, finder: ProjectFinder
) -> None:
    (base / "disk/kept").mkdir(parents=True)
    for name, named in [("main", base / "disk/kept"), ("other", base / "mounted/kept")]:
        (base / name).mkdir()
        (base / name / ".git").write_text(f"gitdir: {named}\n")
    main = owner(finder.find_now(f"{base}/main"))
    assert owner(finder.find_now(f"{base}/other")).project_id != main.project_id

    (base / "mounted").symlink_to("disk")

    assert owner(finder.find_now(f"{base}/other")).project_id == main.project_id


def test_a_directory_that_is_gone_is_not_answered_from_memory(base: Path, finder: ProjectFinder) -> None:
    make_config(base)
    (base / "a").mkdir()
    finder.find_now(f"{base}/a")

    (base / "a").rmdir()

    with pytest.raises(DirectoryError, match="Directory does not exist"):
        finder.find_now(f"{base}/a")


def test_a_parent_that_became_a_link_changes_the_real_path(base: Path, finder: ProjectFinder) -> None:
    (base / "a/repo/.git").mkdir(parents=True)
    assert owner(finder.find_now(f"{base}/a/repo")).root == f"{base}/a/repo"

    (base / "a").rename(base / "moved")
    (base / "a").symlink_to("moved")

    assert owner(finder.find_now(f"{base}/a/repo")).root == f"{base}/moved/repo"


def test_no_descriptor_stays_open(base: Path, finder: ProjectFinder) -> None:
    make_config(base / "a")
    unusable_as_pipe(make_config(base / "b").with_name("other"))
    (base / "c/.git").mkdir(parents=True)
    before = len(os.listdir("/dev/fd"))

    for _ in range(20):
        for name in "abc":
            finder.explain_now(f"{base}/{name}")

    assert len(os.listdir("/dev/fd")) == before
