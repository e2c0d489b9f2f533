"""A project's config is written whole or not at all, where it will be read, and never over somebody's words."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from uuid import UUID

import pytest
import tomlkit

from workroot.core.discovery import Finding, Rules
from workroot.core.projects import CONFIG_NAMES, Directory, ProjectConfig
from workroot.errors import ConfigError, DirectoryError
from workroot.project_config import naming, parse_config, writing
from workroot.project_finder import ProjectFinder, rules_of_this_process
from workroot.project_init import InitializedProject, init_project

SOME_ID = "123e4567-e89b-42d3-a456-426614174000"
NAMESPACE = "00000000-0000-0000-0000-000000000000"


def noon() -> datetime:
    return datetime(2026, 1, 2, 12, tzinfo=UTC)


def init(
    directory: Path | str,
    *,
    name: str | None = None,
    may_take_over: Callable[[str], bool] = lambda _path: True,
    config_names: tuple[str, ...] = CONFIG_NAMES,
    rules: Rules | None = None,
    clock: Callable[[], datetime] = noon,
) -> InitializedProject:
    rules = rules or rules_of_this_process()
    finder = ProjectFinder(NAMESPACE, rules=rules, config_names=config_names)
    return init_project(
        str(directory),
        look=finder.explain_now,
        rules=rules,
        name=name,
        may_take_over=may_take_over,
        config_names=config_names,
        clock=clock,
    )


def read(path: str) -> ProjectConfig:
    with open(path, "rb") as file:
        config = parse_config(file.read(), path)
    assert isinstance(config, ProjectConfig)
    return config


def files_in(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# A first config


def test_a_new_config_says_who_the_project_is(tmp_path: Path) -> None:
    written = init(tmp_path)

    config = read(written.path)
    assert written.path == f"{tmp_path}/.workroot/config.toml"
    assert (config.name, config.version, config.created_at) == (tmp_path.name, "1.0", "2026-01-02T12:00:00+00:00")
    assert (written.name, written.project_id, written.is_new) == (config.name, config.project_id, True)
    assert UUID(written.project_id).version == 4
    assert (written.taken_over_from, written.changed) == (None, ())


def test_each_project_gets_an_id_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    assert init(tmp_path / "a").project_id != init(tmp_path / "b").project_id


def test_only_the_config_is_left_behind_and_everybody_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        written = init(tmp_path)
    finally:
        os.umask(before)

    assert list(files_in(tmp_path)) == [written.path]
    assert stat.S_IMODE(os.stat(written.path).st_mode) == 0o644
    assert os.stat(written.path).st_nlink == 1


def test_a_umask_that_lets_everybody_write_does_not_make_a_config_that_is_not_read(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        init(tmp_path)
    finally:
        os.umask(before)

    found = ProjectFinder(NAMESPACE).explain_now(str(tmp_path)).config
    assert found is not None
    assert isinstance(found.content, ProjectConfig)


def test_a_name_can_be_said(tmp_path: Path) -> None:
    written = init(tmp_path, name='quo"ted\n')

    assert (written.name, read(written.path).name) == ('quo"ted\n', 'quo"ted\n')


def test_a_worktree_has_the_name_of_its_repository(tmp_path: Path) -> None:
    main, tree = tmp_path / "shop", tmp_path / "fix-42"
    administration = main / ".git/worktrees/fix-42"
    for directory in ("objects", "refs"):
        (main / ".git" / directory).mkdir(parents=True)
    write(main / ".git/HEAD", "ref: refs/heads/main\n")
    write(administration / "HEAD", "ref: refs/heads/fix-42\n")
    write(administration / "commondir", "../..\n")
    write(administration / "gitdir", f"{tree}/.git\n")
    write(tree / ".git", f"gitdir: {administration}\n")
    (tree / "src").mkdir()

    assert init(tree).name == "shop"
    assert init(tree / "src").name == "src"


@pytest.mark.parametrize(
    ("name", "problem"), [("", "empty"), ("x" * 256, "255"), (" \u200b", "visible"), ("\udc80", "")]
)
def test_a_name_that_is_not_valid_is_not_written(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"{problem}.*; nothing was written") as raised:
        init(tmp_path, name=name)

    assert raised.value.field == "project.name"
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_none_is_refused_in_the_words_that_people_know(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory, problem in [
        ("relative", "Directory path must be absolute: relative"),
        (f"{tmp_path}/nowhere", f"Directory does not exist: {tmp_path}/nowhere"),
        (f"{tmp_path}/file", f"Path is not a directory: {tmp_path}/file"),
    ]:
        with pytest.raises(DirectoryError) as raised:
            init(directory)
        assert str(raised.value) == problem


# Where it would not be read


def test_nothing_is_written_where_others_may_write(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)

    with pytest.raises(DirectoryError, match="others may write there, so no config in it is read"):
        init(shared)

    assert list(shared.iterdir()) == []


def test_a_directory_that_the_user_trusts_gets_a_config_all_the_same(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)

    written = init(shared, rules=replace(rules_of_this_process(), trusted=(Directory(str(shared)),)))

    assert read(written.path).name == "shared"


def test_nothing_is_written_into_another_users_directory(tmp_path: Path) -> None:
    somebody = Rules(user_id=os.geteuid() + 1)
    if os.geteuid() == 0:
        os.chown(tmp_path, 4711, -1)  # root's own would be trusted

    with pytest.raises(DirectoryError, match="belongs to another user"):
        init(tmp_path, rules=somebody)

    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_beside_what_others_may_write(tmp_path: Path) -> None:
    (tmp_path / ".workroot").mkdir()
    (tmp_path / ".workroot").chmod(0o777)

    with pytest.raises(DirectoryError, match=r"others may write to it.*\.workroot$"):
        init(tmp_path)

    assert files_in(tmp_path) == {}


def test_nothing_is_written_under_a_name_that_the_settings_do_not_know(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="config_names does not list it"):
        init(tmp_path, config_names=(".team/config.toml",))

    assert files_in(tmp_path) == {}


def test_nothing_is_written_that_another_config_would_hide(tmp_path: Path) -> None:
    write(tmp_path / ".team/config.toml", 'version = "1.0"\nproject.name = "x"\n')
    before = files_in(tmp_path)

    with pytest.raises(ConfigError, match=r"\.team/config.toml: is there, and .* before .workroot/config.toml"):
        init(tmp_path, config_names=(".team/config.toml", *CONFIG_NAMES))

    assert files_in(tmp_path) == before


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    top, elsewhere = tmp_path / "top", tmp_path / "elsewhere"
    top.mkdir()
    elsewhere.mkdir()
    (top / ".workroot").symlink_to(elsewhere)

    with pytest.raises(ConfigError, match="symbolic link"):
        init(top)

    assert list(elsewhere.iterdir()) == []


def test_nothing_is_written_where_a_file_stands_for_the_directory(tmp_path: Path) -> None:
    (tmp_path / ".workroot").touch()

    with pytest.raises(DirectoryError, match="Directory cannot be written to"):
        init(tmp_path)


class Links:
    """`os.link` of a file system; something may happen just before it answers."""

    def __init__(self, error: int | None, *, meanwhile: Path | None = None) -> None:
        self._error, self._meanwhile, self._link = error, meanwhile, os.link

    def __call__(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool) -> None:
        if self._meanwhile is not None:
            self._meanwhile.write_text("another's")
        if self._error is not None:
            raise OSError(self._error, os.strerror(self._error), target)
        self._link(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)


class Renames:
    """Stands for the system's rename that never replaces: it fails, or something happens right before it."""

    def __init__(self, error: int | None, *, meanwhile: Path | None = None) -> None:
        self._error, self._meanwhile, self._rename = error, meanwhile, naming.exclusive_rename()

    def __call__(self, source: int, old: bytes, target: int, new: bytes) -> int:
        if self._meanwhile is not None:
            self._meanwhile.write_text("another's")
        if self._error is not None:
            return self._error
        assert self._rename is not None
        return self._rename(source, old, target, new)


def without_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "_rename", None)


@pytest.mark.skipif(sys.platform != "linux" and sys.platform != "darwin", reason="the system has no such rename")
def test_the_system_has_the_rename_that_never_replaces() -> None:
    assert naming.exclusive_rename() is not None


def test_a_config_has_one_name_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", Links(errno.EIO))

    assert os.stat(init(tmp_path).path).st_nlink == 1


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM])
def test_a_file_system_without_such_a_rename_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    monkeypatch.setattr(naming, "_rename", Renames(error))

    written = init(tmp_path)

    assert list(files_in(tmp_path)) == [written.path]
    assert os.stat(written.path).st_nlink == 1


def test_a_config_that_comes_up_before_the_rename_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".workroot/config.toml"
    monkeypatch.setattr(naming, "_rename", Renames(None, meanwhile=path))

    with pytest.raises(ConfigError, match="exists already"):
        init(tmp_path)

    assert files_in(tmp_path) == {str(path): b"another's"}


def test_a_rename_that_fails_leaves_no_half_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "_rename", Renames(errno.ENOSPC))

    with pytest.raises(DirectoryError, match="No space left on device"):
        init(tmp_path)

    assert files_in(tmp_path) == {}


def test_a_file_system_without_hard_links_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_rename(monkeypatch)
    monkeypatch.setattr(os, "link", Links(errno.EPERM))

    written = init(tmp_path)

    assert list(files_in(tmp_path)) == [written.path]
    assert read(written.path).name == tmp_path.name


@pytest.mark.parametrize("error", [None, errno.EPERM])
def test_a_config_that_comes_up_meanwhile_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None
) -> None:
    path = tmp_path / ".workroot/config.toml"
    without_rename(monkeypatch)
    monkeypatch.setattr(os, "link", Links(error, meanwhile=path))

    with pytest.raises(ConfigError, match="exists already: it was written meanwhile by another program"):
        init(tmp_path)

    assert files_in(tmp_path) == {str(path): b"another's"}


def test_a_full_disk_leaves_no_half_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_rename(monkeypatch)
    monkeypatch.setattr(os, "link", Links(errno.ENOSPC))

    with pytest.raises(DirectoryError, match="No space left on device"):
        init(tmp_path)

    assert files_in(tmp_path) == {}


@pytest.mark.parametrize("has_rename", [True, False])
def test_of_two_at_once_one_writes_the_config_and_the_other_says_that_it_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_rename: bool
) -> None:
    if not has_rename:
        without_rename(monkeypatch)
    gate = Barrier(2)

    def look(directory: str) -> Finding:
        finding = ProjectFinder(NAMESPACE).explain_now(directory)
        gate.wait(5)  # both have seen that there is none
        return finding

    def run(name: str) -> InitializedProject | ConfigError:
        try:
            return init_project(str(tmp_path), look=look, rules=rules_of_this_process(), name=name, clock=noon)
        except ConfigError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        one, other = sorted(pool.map(run, ["a", "b"]), key=lambda result: isinstance(result, ConfigError))

    assert isinstance(one, InitializedProject)
    assert "exists already" in str(other)
    assert list(files_in(tmp_path)) == [one.path]
    assert read(one.path).name == one.name


def in_two_hours() -> datetime:
    return datetime.now(UTC) + timedelta(hours=2)


KILLED = """
import os, signal, sys
from workroot.project_config import naming, writing

top, has_rename = sys.argv[1], sys.argv[2] == "True"
if not has_rename:
    naming._rename = None
MODULES = {naming.__file__, writing.__file__}


def dies_before(step):
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        if frame.f_code.co_filename not in MODULES:
            return None
        if event == "line":
            lines += 1
            if lines == step:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


for step in range(1, 1000):
    os.mkdir(f"{top}/{step}")
    child = os.fork()
    if child == 0:
        sys.settrace(dies_before(step))
        writing.write_new(f"{top}/{step}/.workroot/config.toml", b'version = "1.0"\\nproject.name = "x"\\n')
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""
"""Writes configs, each time killed before the next line of our code, until one is written to the end."""


@pytest.mark.parametrize("has_rename", [True, False])
def test_killed_at_any_step_init_leaves_no_config_or_one_and_the_next_one_tidies_up(
    tmp_path: Path, has_rename: bool
) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(has_rename)], check=True, timeout=60)

    contents: list[object] = []
    for directory in sorted(tmp_path.iterdir(), key=lambda path: int(path.name)):
        found = ProjectFinder(NAMESPACE).explain_now(str(directory)).config
        contents.append(None if found is None else isinstance(found.content, ProjectConfig))
        written = init(directory, clock=in_two_hours)
        assert list(files_in(directory)) == [written.path]
        assert os.stat(written.path).st_nlink == 1
        assert read(written.path).project_id == written.project_id
    assert len(contents) > 20
    assert contents[0] is None
    assert contents[-1] is True
    assert (False in contents) is not has_rename  # for a moment the file has two names where there is no such rename


def test_what_was_left_behind_is_removed_when_nobody_can_be_writing_it(tmp_path: Path) -> None:
    holder = tmp_path / ".workroot"
    old, new, foreign, linked = (
        write(holder / name, "x")
        for name in (f".config.{'0' * 16}.tmp", f".config.{'1' * 16}.tmp", ".config.mine.tmp", "target")
    )
    link = holder / f".config.{'2' * 16}.tmp"
    link.symlink_to(linked)
    now = noon().timestamp()
    for path, age in ((old, 3700), (new, 3500), (foreign, 9999), (linked, 9999)):
        os.utime(path, (now - age, now - age))

    written = init(tmp_path)

    assert not old.exists()
    assert {new, foreign, linked, link, Path(written.path)} == set(holder.iterdir())


def test_another_file_with_a_second_name_is_not_taken_for_what_was_left_behind(tmp_path: Path) -> None:
    config = write(tmp_path / ".workroot/config.toml", 'version = "1.0"\nproject.name = "x"\n')
    os.link(config, tmp_path / "mine")

    with pytest.raises(ConfigError, match="hard link"):
        init(tmp_path)

    assert (tmp_path / "mine").exists()


# A config of an earlier system


@pytest.mark.parametrize("name", [".workflow-mcp/config.json", ".codebase-mcp/config.json"])
def test_who_an_earlier_systems_project_was_is_taken_over(tmp_path: Path, name: str) -> None:
    earlier = write(
        tmp_path / name,
        f'{{"version": "1.0", "project": {{"name": "old", "id": "{SOME_ID}"}}, "created_at": "2025", '
        f'"description": "long ago", "auto_switch": false, "strict_mode": true, "dry_run": true}}',
    )
    before = read(str(earlier))

    written = init(tmp_path)

    config = read(written.path)
    assert (config.name, config.project_id, config.created_at, config.description) == (
        "old",
        SOME_ID,
        "2025",
        "long ago",
    )
    assert (config.auto_switch, config.strict_mode, config.dry_run) == (False, True, True)
    assert written.taken_over_from == str(earlier)
    assert read(str(earlier)) == before


def test_a_name_that_is_said_is_stronger_than_an_earlier_one(tmp_path: Path) -> None:
    write(tmp_path / CONFIG_NAMES[2], f'{{"version": "1.0", "project": {{"name": "old", "id": "{SOME_ID}"}}}}')

    written = init(tmp_path, name="new")

    assert (written.name, written.project_id) == ("new", SOME_ID)


def test_an_earlier_systems_config_is_passed_over_on_demand(tmp_path: Path) -> None:
    earlier = write(tmp_path / ".codebase-mcp/config.json", "not even JSON")
    asked: list[str] = []

    def decline(path: str) -> bool:
        asked.append(path)
        return False

    written = init(tmp_path, may_take_over=decline)

    assert asked == [str(earlier)]
    assert (written.name, written.taken_over_from) == (tmp_path.name, None)


@pytest.mark.parametrize("as_link", [False, True])
def test_an_earlier_systems_config_that_cannot_be_used_is_said(tmp_path: Path, as_link: bool) -> None:
    earlier = tmp_path / ".codebase-mcp/config.json"
    earlier.parent.mkdir()
    if as_link:
        earlier.symlink_to("/etc/passwd")
    else:
        earlier.write_text('{\n"version": 1}')

    with pytest.raises(ConfigError) as raised:
        init(tmp_path)

    assert str(raised.value) == (
        f"{earlier}: is not a plain file" if as_link else f"{earlier}:2: version: must be a string"
    )
    assert not (tmp_path / ".workroot").exists()


# A config that is there

WRITTEN = '# ours\nversion = "1.0"\nnew_thing = 1 # soon\n\n[project]\nname = "x"\n'


def test_a_missing_id_is_added_and_all_else_stays(tmp_path: Path) -> None:
    path = write(tmp_path / ".workroot/config.toml", WRITTEN)
    path.chmod(0o600)

    done = init(tmp_path)

    assert (done.name, done.is_new, done.changed) == ("x", False, ("project.id",))
    assert UUID(done.project_id).version == 4
    assert path.read_text() == (
        '# ours\nversion = "1.0"\nupdated_at = "2026-01-02T12:00:00+00:00"\nnew_thing = 1 # soon\n\n'
        f'[project]\nname = "x"\nid = "{done.project_id}"\n'
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(files_in(tmp_path)) == [str(path)]


def test_a_name_is_changed_and_the_id_stays(tmp_path: Path) -> None:
    path = write(tmp_path / ".workroot/config.toml", WRITTEN + f'id = "{SOME_ID}"\n')

    done = init(tmp_path, name="y")

    assert (done.name, done.project_id, done.changed) == ("y", SOME_ID, ("project.name",))
    assert 'name = "y"\nid = ' in path.read_text()


@pytest.mark.parametrize("name", [None, "x"])
def test_a_config_that_says_it_all_is_not_written(tmp_path: Path, name: str | None) -> None:
    path = write(tmp_path / ".workroot/config.toml", WRITTEN + f'id = "{SOME_ID}"\n')
    before = path.stat()

    done = init(tmp_path, name=name)

    assert (done.name, done.project_id, done.is_new, done.changed) == ("x", SOME_ID, False, ())
    assert path.stat() == before


def test_a_byte_order_mark_stays(tmp_path: Path) -> None:
    path = write(tmp_path / ".workroot/config.toml", b"\xef\xbb\xbf" + WRITTEN.encode())

    init(tmp_path)

    assert path.read_bytes().startswith(b"\xef\xbb\xbf# ours")


def test_a_config_of_ours_in_json_is_not_edited_and_says_what_to_write(tmp_path: Path) -> None:
    path = write(tmp_path / ".workroot/config.json", '{"version": "1.0", "project": {"name": "x"}}')
    before = files_in(tmp_path)

    with pytest.raises(
        ConfigError, match=r'is JSON, which is not edited; write id "[0-9a-f-]{36}" and name "y" into its'
    ):
        init(tmp_path, name="y")

    assert files_in(tmp_path) == before
    path.write_text(json.dumps({"version": "1.0", "project": {"name": "x", "id": SOME_ID}}))
    assert (init(tmp_path).project_id, init(tmp_path).changed) == (SOME_ID, ())


@pytest.mark.parametrize("name", [".workroot/config.toml", ".workroot/config.json"])
def test_a_config_that_is_broken_is_said_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "[project]\nname = 5\n" if name.endswith("toml") else '{"version":\n"1.0", "project": {}}')
    before = files_in(tmp_path)

    with pytest.raises(
        ConfigError, match=f"{name}(:2: version: is missing|:2: project.name: is missing|: version: is)"
    ):
        init(tmp_path)

    assert files_in(tmp_path) == before


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_config_that_is_a_link_is_left_as_it_is(tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    elsewhere = write(tmp_path / "elsewhere/config.toml", WRITTEN)
    path = tmp_path / "top/.workroot/config.toml"
    path.parent.mkdir(parents=True)
    make(elsewhere, path)

    with pytest.raises(ConfigError, match=r"plain file|link"):
        init(tmp_path / "top")

    assert elsewhere.read_text() == WRITTEN


@pytest.mark.parametrize("form", ["text", "mode", "gone", "replaced"])
def test_a_config_that_changes_between_reading_and_writing_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    path = write(tmp_path / ".workroot/config.toml", WRITTEN)
    replaced = writing.replace

    def meanwhile(*arguments: object) -> None:
        if form == "text":
            path.write_text(WRITTEN.replace("soon", "late"))
        elif form == "mode":
            path.chmod(0o640)
        elif form == "gone":
            path.unlink()
        else:
            os.replace(write(tmp_path / "other", WRITTEN), path)
        changed.update(files_in(tmp_path))
        replaced(*arguments)  # type: ignore[arg-type]  # passed on as they came

    changed: dict[str, bytes] = {}
    monkeypatch.setattr(writing, "replace", meanwhile)

    with pytest.raises(ConfigError, match=r"changed meanwhile|No such file"):
        init(tmp_path)

    assert files_in(tmp_path) == changed


def test_a_config_that_changes_before_it_is_read_again_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / ".workroot/config.toml", WRITTEN)
    read_again = writing.read_to_replace

    def later(path_: str, limit: int) -> writing.ReadFile:
        path.write_text(WRITTEN.replace("soon", "late"))
        return read_again(path_, limit)

    monkeypatch.setattr(writing, "read_to_replace", later)

    with pytest.raises(ConfigError, match="changed meanwhile by another program"):
        init(tmp_path)

    assert path.read_text() == WRITTEN.replace("soon", "late")


@pytest.mark.parametrize(
    "made", [WRITTEN, WRITTEN + f'id = "{SOME_ID}"\n', "not TOML", WRITTEN.replace("new_thing = 1", "")]
)
def test_an_edit_that_would_not_say_what_is_meant_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    path = write(tmp_path / ".workroot/config.toml", WRITTEN)
    monkeypatch.setattr(tomlkit, "dumps", lambda _document: made)

    with pytest.raises(ConfigError, match=r'cannot be edited by a program; write id "[0-9a-f-]{36}" into its project'):
        init(tmp_path)

    assert path.read_text() == WRITTEN


def test_an_edit_that_fails_half_way_leaves_the_config_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / ".workroot/config.toml", WRITTEN)
    before = files_in(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(ConfigError, match=r"cannot be written to \(No space left on device\); it was left as it is"):
        init(tmp_path)

    assert files_in(tmp_path) == before


def test_an_edit_is_on_the_disk_before_it_has_the_name_and_its_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / ".workroot/config.toml", WRITTEN)
    done: list[str] = []
    sync, put = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def placed(*names: str, src_dir_fd: int, dst_dir_fd: int) -> None:
        done.append("name")
        put(*names, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", placed)

    init(tmp_path)

    assert done == ["file", "name", "directory"]


def test_a_config_that_would_become_too_large_is_left_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / ".workroot/config.toml", WRITTEN + "#\n" * ((64 * 1024 - len(WRITTEN)) // 2))
    before = path.read_bytes()

    with pytest.raises(ConfigError, match="is larger than 64 KiB; nothing was written"):
        init(tmp_path)

    assert path.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_config_is_not_replaced(tmp_path: Path) -> None:
    path = write(tmp_path / "config.toml", WRITTEN)
    os.chown(path, 4711, -1)

    with pytest.raises(ConfigError, match="belongs to another user; it was left as it is"):
        writing.read_to_replace(str(path), 1000)
