"""Files that somebody put in a config's place: none is waited for, none is leaked, none takes the memory."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from trees import CONFIG, NAMESPACE, NOBODY, CountingClock, make_config, make_git_repository, needs_root, owner

from workroot.core.projects import Place, StopReason
from workroot.errors import DirectoryError
from workroot.project_finder import ProjectFinder
from workroot.project_finder.evidence import Evidence, Refusal

SECRET = "sk-live-4f1c9f"
"""What must never be said, whatever file it is in."""


@pytest.fixture
def finder() -> ProjectFinder:
    return ProjectFinder(NAMESPACE, clock_ns=CountingClock(ahead_seconds=10))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path.resolve()


@pytest.fixture
def secret(base: Path) -> Path:
    """A key file of the user's that even reads like a config."""
    path = base / "key"
    path.write_text(CONFIG.format(SECRET))
    path.chmod(0o600)
    return path


def assert_refused(place: Place, said: str) -> None:
    """It ends the search, an outer project does not win, and nothing of it is told."""
    assert (place.project, place.stop) == (None, StopReason.CONFIG)
    assert place.config_error is not None
    assert said in str(place.config_error)
    assert SECRET not in repr(place)


def as_pipe(path: Path, secret: Path) -> None:
    os.mkfifo(path)


def as_socket(path: Path, secret: Path) -> None:
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as listener:  # a socket's path has at most 107 bytes
        listener.bind(path.name)


def as_zero_device(path: Path, secret: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may make a device")
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))


def as_terminal(path: Path, secret: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may make a device")
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(5, 0))


def as_directory(path: Path, secret: Path) -> None:
    path.mkdir()


def as_link_to_a_secret(path: Path, secret: Path) -> None:
    path.symlink_to(secret)


def as_link_to_itself(path: Path, secret: Path) -> None:
    path.symlink_to(path.name)


def as_link_to_nothing(path: Path, secret: Path) -> None:
    path.symlink_to("nothing")


def as_hard_link_to_a_secret(path: Path, secret: Path) -> None:
    os.link(secret, path)


def as_sparse_file(path: Path, secret: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**31)


def as_one_byte_too_large(path: Path, secret: Path) -> None:
    path.write_text(CONFIG.format("x").ljust(64 * 1024 + 1, "\n"))


def as_broken_text_around_a_secret(path: Path, secret: Path) -> None:
    path.write_text(f"{SECRET} = = {SECRET}\n")


def as_wrong_value_with_a_secret(path: Path, secret: Path) -> None:
    path.write_text(f'version = "{SECRET}"\n[project]\nname = ["{SECRET}"]\n')


def as_deep_keys(path: Path, secret: Path) -> None:
    path.write_text(CONFIG.format("x") + "a." * 20 + "b = 1\n")


def as_deep_nesting(path: Path, secret: Path) -> None:
    path.write_text(CONFIG.format("x") + "\n".join(["a = [" + "[" * 2000] * 10))


def as_everybodys_file(path: Path, secret: Path) -> None:
    path.write_text(CONFIG.format(SECRET))
    path.chmod(0o666)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (as_pipe, "is not a plain file"),
        (as_socket, "is not a plain file"),
        (as_zero_device, "is not a plain file"),
        (as_terminal, "is not a plain file"),
        (as_directory, "is not a plain file"),
        (as_link_to_a_secret, "is not a plain file"),
        (as_link_to_itself, "is not a plain file"),
        (as_link_to_nothing, "is not a plain file"),
        (as_hard_link_to_a_secret, "is a hard link"),
        (as_sparse_file, "is larger than 64 KiB"),
        (as_one_byte_too_large, "is larger than 64 KiB"),
        (as_broken_text_around_a_secret, "is not valid TOML"),
        (as_wrong_value_with_a_secret, "version: must be two numbers"),
        (as_deep_keys, "has a key of more than 16 parts"),
        (as_deep_nesting, "is nested deeper than 16 levels"),
        (as_everybodys_file, "others may write to it"),
    ],
)
def test_what_is_no_honest_config_is_refused_and_ends_the_search(
    base: Path, finder: ProjectFinder, secret: Path, make: Callable[[Path, Path], None], said: str
) -> None:
    make_config(base, "outer")
    path = base / "repo/.workroot/config.toml"
    path.parent.mkdir(parents=True)
    make(path, secret)

    assert_refused(finder.find_now(f"{base}/repo"), said)


def test_a_file_of_exactly_64_kib_is_read(base: Path, finder: ProjectFinder) -> None:
    path = make_config(base)
    path.write_text(path.read_text().ljust(64 * 1024, "\n"))

    assert owner(finder.find_now(str(base))).name == "p"


def test_a_large_file_takes_no_memory(base: Path, finder: ProjectFinder, secret: Path) -> None:
    path = base / ".workroot/config.toml"
    path.parent.mkdir()
    as_sparse_file(path, secret)
    finder.explain_now(str(base))
    tracemalloc.start()
    try:
        finder.explain_now(str(base))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_directory_of_configs_behind_a_link_is_not_followed(base: Path, finder: ProjectFinder, secret: Path) -> None:
    make_config(base / "elsewhere", SECRET)
    (base / "repo").mkdir()
    (base / "repo/.workroot").symlink_to(base / "elsewhere/.workroot")

    assert_refused(finder.find_now(f"{base}/repo"), "lies behind a symbolic link")


def test_no_directory_on_the_way_to_a_config_may_be_a_link(base: Path, secret: Path) -> None:
    make_config(base / "elsewhere", SECRET, "b/config.toml")
    (base / "repo").mkdir()
    (base / "repo/a").symlink_to(base / "elsewhere")
    finder = ProjectFinder(NAMESPACE, config_names=["a/b/config.toml"])

    assert_refused(finder.find_now(f"{base}/repo"), "lies behind a symbolic link")


# What is swapped between the look and the opening


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (as_pipe, "is not a plain file"),
        (as_zero_device, "is not a plain file"),
        (as_link_to_a_secret, "is not a plain file"),
        (as_hard_link_to_a_secret, "is a hard link"),
        (as_sparse_file, "is larger than 64 KiB"),
        (as_everybodys_file, "others may write to it"),
    ],
)
def test_what_counts_is_the_file_that_was_opened(
    base: Path,
    finder: ProjectFinder,
    secret: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path, Path], None],
    said: str,
) -> None:
    path = make_config(base / "repo")
    real_open, swaps = os.open, list[str]()

    def open_after_a_swap(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if name == path.name and not swaps:
            swaps.append(name)
            path.unlink()
            make(path, secret)
        return real_open(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_after_a_swap)

    assert_refused(finder.find_now(f"{base}/repo"), said)
    assert swaps


def test_a_file_that_was_replaced_while_it_was_opened_is_looked_at_again(
    base: Path, finder: ProjectFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_config(base / "repo", "old")
    (path.parent / "new").write_text(CONFIG.format("new"))
    real_open = os.open

    def open_after_a_swap(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if name == path.name:
            monkeypatch.undo()
            (path.parent / "new").replace(path)
        return real_open(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_after_a_swap)

    assert owner(finder.find_now(f"{base}/repo")).name == "new"
    path.write_text(CONFIG.format("newer"))
    assert owner(finder.find_now(f"{base}/repo")).name == "newer"


def test_the_directory_that_was_opened_is_the_one_that_is_read_from(
    base: Path, finder: ProjectFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_config(base / "repo", "honest")
    make_config(base / "elsewhere", SECRET)
    real_open = os.open

    def open_then_swap(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        opened = real_open(name, flags, mode, dir_fd=dir_fd)
        if name == f"{base}/repo/.workroot":
            monkeypatch.undo()
            (base / "repo/.workroot").rename(base / "repo/before")
            (base / "repo/.workroot").symlink_to(base / "elsewhere/.workroot")
        return opened

    monkeypatch.setattr(os, "open", open_then_swap)

    assert owner(finder.find_now(f"{base}/repo")).name == "honest"
    assert_refused(finder.find_now(f"{base}/repo"), "lies behind a symbolic link")


def test_a_key_that_loses_its_second_name_once_it_is_opened_is_refused(
    base: Path, finder: ProjectFinder, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_config(base / "repo")
    path.unlink()
    os.link(secret, path)
    real_open = os.open

    def open_then_unlink(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        opened = real_open(name, flags, mode, dir_fd=dir_fd)
        if name == path.name:
            path.unlink()
            path.write_text(CONFIG.format("honest"))
            monkeypatch.undo()
        return opened

    monkeypatch.setattr(os, "open", open_then_unlink)

    place = finder.find_now(f"{base}/repo")

    assert SECRET not in repr(place)
    assert owner(place).name == "honest"


def test_a_file_that_changes_each_time_it_is_read_is_refused_and_not_remembered(
    base: Path, finder: ProjectFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_config(base / "repo")
    real_open = os.open

    def open_then_replace(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        opened = real_open(name, flags, mode, dir_fd=dir_fd)
        if name == path.name:
            (path.parent / "new").write_text(CONFIG.format("new"))
            (path.parent / "new").replace(path)
        return opened

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", open_then_replace)
        assert_refused(finder.find_now(f"{base}/repo"), "was changed while it was read; ask again")

    assert owner(finder.find_now(f"{base}/repo")).name == "new"


def test_a_directory_of_configs_that_vanishes_before_it_is_opened_is_absent(
    base: Path, finder: ProjectFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_config(base, "outer")
    make_config(base / "repo", "inner")
    real_open = os.open

    def rename_then_open(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if name == f"{base}/repo/.workroot":
            (base / "repo/.workroot").rename(base / "repo/away")
            monkeypatch.undo()
        return real_open(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", rename_then_open)

    assert owner(finder.find_now(f"{base}/repo")).name == "outer"
    (base / "repo/away").rename(base / "repo/.workroot")
    assert owner(finder.find_now(f"{base}/repo")).name == "inner"


@pytest.mark.parametrize("size", [4095, 4090, 4080])
def test_where_no_path_of_a_config_fits_there_is_none(base: Path, finder: ProjectFinder, size: int) -> None:
    make_config(base, "outer")
    deep = str(base)
    with chdir(base):
        while len(deep) < size:
            left = size - len(deep) - 1
            name = "d" * (left if left <= 200 else min(200, left - 2))
            os.mkdir(name)
            os.chdir(name)
            deep += f"/{name}"
    assert len(deep) == size
    try:
        assert owner(finder.find_now(deep)).name == "outer"
    finally:
        shutil.rmtree(f"{base}/{'d' * 200}")


# All files together


def test_all_files_of_one_answer_together_are_bounded(base: Path) -> None:
    for number in range(5):
        (base / str(number)).write_bytes(b"x" * 60_000)
    evidence = Evidence(0)

    read = [evidence.read(f"{base}/{number}", 64 * 1024) for number in range(5)]

    assert [isinstance(content, bytes) for content in read] == [True, True, True, True, False]
    assert isinstance(read[4], Refusal)
    assert "too large together" in read[4].problem


# Owners


AS_NOBODY = f"""
import os, sys
from workroot.project_finder import ProjectFinder
trusted = [word[1:] for word in sys.argv[1:] if word.startswith("+")]
directories = [word for word in sys.argv[1:] if not word.startswith("+")]
ProjectFinder("{NAMESPACE}").find_now(directories.pop(0))  # loads what is loaded on first use
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
for directory in directories:
    place = ProjectFinder("{NAMESPACE}", trusted_directories=trusted).find_now(directory)
    print(place.stop, place.project and place.project.name, place.config_error and place.config_error.problem)
"""


Search = Callable[..., list[str]]


@pytest.fixture
def as_nobody(base: Path) -> Search:
    """Searches as the user nobody, in a process of its own; words that begin with + are trusted directories."""
    make_config(base / "warm")

    def search(*words: object) -> list[str]:
        command = [sys.executable, "-c", AS_NOBODY, f"{base}/warm", *map(str, words)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return search


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory of root's that the user nobody can reach, as it cannot reach those of `tmp_path`."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        (Path(made) / "public").mkdir()
        yield Path(made).resolve() / "public"


def give(top: Path, user: int) -> Path:
    for path in (top, *top.rglob("*")):
        os.chown(path, user, -1, follow_symlinks=False)
    return top


@needs_root
def test_a_trusted_directory_and_what_is_below_it_may_belong_to_others(as_nobody: Search, public: Path) -> None:
    make_config(public / "theirs/shop", "shop")
    make_git_repository(public / "theirs/cloned")
    give(public / "theirs", 1234)
    (public / "theirs/shop").chmod(0o775)
    (public / "theirs/shop/.workroot/config.toml").chmod(0o664)
    directories = (public / "theirs/shop", public / "theirs/cloned")

    assert as_nobody(*directories) == ["owner None None", "owner None None"]
    assert as_nobody(f"+{public}/theirs", *directories) == ["config shop None", "repository cloned None"]
    assert as_nobody(f"+{public}/theirs/cloned", *directories) == ["owner None None", "repository cloned None"]
    assert as_nobody(f"+{public}/their", *directories) == ["owner None None", "owner None None"]

    (public / "link").symlink_to("theirs")
    assert as_nobody(f"+{public}/link/", *directories) == ["config shop None", "repository cloned None"]


@needs_root
@pytest.mark.parametrize("shared", [".workroot", ".workroot/config.toml"])
def test_what_everybody_may_write_to_is_refused_in_a_trusted_directory_too(
    as_nobody: Search, public: Path, shared: str
) -> None:
    make_config(public / "theirs", "theirs")
    give(public / "theirs", 1234)
    (public / "theirs" / shared).chmod(0o777)

    problem = "belongs to another user, or others may write to it"
    assert as_nobody(f"+{public}/theirs", public / "theirs") == [f"config None {problem}"]


@needs_root
def test_a_sticky_directory_of_all_users_never_counts_and_what_is_in_it_may(as_nobody: Search, public: Path) -> None:
    make_config(public / "tmp", "planted")
    (public / "tmp").chmod(0o1777)
    give(make_config(public / "tmp/mine", "mine").parents[1], NOBODY)
    give(make_config(public / "tmp/theirs", "theirs").parents[1], 1234)
    (public / "tmp/empty").mkdir()
    give(public / "tmp/empty", NOBODY)

    assert as_nobody(*(public / "tmp" / name for name in ("mine", "theirs", "empty"))) == [
        "config mine None",
        "owner None None",
        "owner None None",
    ]


@needs_root
def test_a_config_of_another_user_in_ones_own_directory_is_refused(as_nobody: Search, public: Path) -> None:
    path = make_config(public / "mine", SECRET)
    give(public / "mine", NOBODY)
    os.chown(path, 1234, -1)

    (line,) = as_nobody(public / "mine")

    assert line == "config None belongs to another user, or others may write to it"


# What is another directory in every process


@pytest.mark.parametrize(
    "directory", ["/proc/self", "/proc/self/cwd", "/proc/thread-self/cwd", "/proc/self/root/etc", "/dev/fd"]
)
def test_the_daemon_s_own_view_is_nobody_s_directory(finder: ProjectFinder, directory: str) -> None:
    with pytest.raises(DirectoryError) as raised:
        finder.find_now(directory)

    assert "stands for another one in every process" in str(raised.value)


def test_a_link_of_one_process_s_is_not_followed_either(base: Path, finder: ProjectFinder) -> None:
    (base / "link").symlink_to(f"/proc/{os.getpid()}/cwd")
    for directory in (f"/proc/{os.getpid()}/cwd", f"/proc/{os.getpid()}/root/etc", f"{base}/link"):
        with pytest.raises(DirectoryError, match="stands for another one in every process"):
            finder.find_now(directory)
