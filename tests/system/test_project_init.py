"""A first config: whole or not at all, never over another one."""

from __future__ import annotations

import errno
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from workroot.core.projects import ProjectConfig
from workroot.errors import ConfigError, DirectoryError
from workroot.project_config import parse_config
from workroot.project_init import init_project

if TYPE_CHECKING:
    from pathlib import Path

SOME_ID = "123e4567-e89b-42d3-a456-426614174000"


def noon() -> datetime:
    return datetime(2026, 1, 2, 12, tzinfo=UTC)


def read(path: str) -> ProjectConfig:
    with open(path, "rb") as file:
        config = parse_config(file.read(), path)
    assert isinstance(config, ProjectConfig)
    return config


def files_in(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_new_config_says_who_the_project_is(tmp_path: Path) -> None:
    written = init_project(str(tmp_path), clock=noon)

    config = read(written.path)
    assert written.path == f"{tmp_path}/.workroot/config.toml"
    assert (config.name, config.version, config.created_at) == (tmp_path.name, "1.0", "2026-01-02T12:00:00+00:00")
    assert (written.name, written.project_id) == (config.name, config.project_id)
    assert UUID(written.project_id).version == 4
    assert written.taken_over_from is None


def test_only_the_config_is_left_behind_and_everybody_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        written = init_project(str(tmp_path))
    finally:
        os.umask(before)

    assert list(files_in(tmp_path)) == [written.path]
    assert stat.S_IMODE(os.stat(written.path).st_mode) == 0o644
    assert os.stat(written.path).st_nlink == 1


def test_name_and_id_can_be_said(tmp_path: Path) -> None:
    written = init_project(str(tmp_path), name='quo"ted\n', project_id=SOME_ID.upper())

    config = read(written.path)
    assert (config.name, config.project_id) == ('quo"ted\n', SOME_ID)
    assert written.project_id == SOME_ID


@pytest.mark.parametrize("name", [".workroot/config.toml", ".workroot/config.json"])
def test_a_config_that_exists_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / ".workroot").mkdir()
    (tmp_path / name).write_text("anything")
    before = files_in(tmp_path)

    with pytest.raises(ConfigError, match=f"{name}: exists already and was left as it is"):
        init_project(str(tmp_path))

    assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", [".workflow-mcp/config.json", ".codebase-mcp/config.json"])
def test_an_earlier_systems_name_and_id_are_taken_over(tmp_path: Path, name: str) -> None:
    earlier = tmp_path / name
    earlier.parent.mkdir()
    earlier.write_text(f'{{"version": "1.0", "project": {{"name": "old", "id": "{SOME_ID}"}}, "created_at": "2025"}}')

    written = init_project(str(tmp_path))

    config = read(written.path)
    assert (config.name, config.project_id, config.created_at) == ("old", SOME_ID, "2025")
    assert written.taken_over_from == str(earlier)
    assert earlier.exists()


def test_an_earlier_systems_config_is_passed_over_on_demand(tmp_path: Path) -> None:
    (tmp_path / ".codebase-mcp").mkdir()
    (tmp_path / ".codebase-mcp/config.json").write_text("not even JSON")

    written = init_project(str(tmp_path), take_over=False)

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
        init_project(str(tmp_path))

    assert str(raised.value) == (
        f"{earlier}: is not a plain file" if as_link else f"{earlier}:2: version: must be a string"
    )
    assert not (tmp_path / ".workroot").exists()


@pytest.mark.parametrize(
    ("name", "project_id", "field"),
    [
        ("", None, "project.name"),
        ("x" * 256, None, "project.name"),
        ("\udc80", None, "project.name"),
        ("x", "y", "project.id"),
    ],
)
def test_what_is_not_valid_is_not_written(tmp_path: Path, name: str, project_id: str | None, field: str) -> None:
    with pytest.raises(ConfigError, match="nothing was written") as raised:
        init_project(str(tmp_path), name=name, project_id=project_id)

    assert raised.value.field == field
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_none_is_refused_in_the_words_that_people_know(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory, problem in [
        ("relative", "Directory path must be absolute: relative"),
        (f"{tmp_path}/nowhere", f"Directory does not exist: {tmp_path}/nowhere"),
        (f"{tmp_path}/file", f"Path is not a directory: {tmp_path}/file"),
    ]:
        with pytest.raises(DirectoryError) as raised:
            init_project(directory)
        assert str(raised.value) == problem


@pytest.mark.parametrize("as_link", [False, True])
def test_nothing_is_written_through_what_is_not_a_directory(tmp_path: Path, as_link: bool) -> None:
    top, elsewhere = tmp_path / "top", tmp_path / "elsewhere"
    top.mkdir()
    elsewhere.mkdir()
    if as_link:
        (top / ".workroot").symlink_to(elsewhere)
    else:
        (top / ".workroot").touch()

    with pytest.raises(DirectoryError, match="Directory cannot be written to"):
        init_project(str(top))

    assert list(elsewhere.iterdir()) == []


class Links:
    """`os.link` of a file system; something may happen just before it answers."""

    def __init__(self, error: int | None, *, meanwhile: Path | None = None) -> None:
        self._error, self._meanwhile, self._link = error, meanwhile, os.link

    def __call__(self, source: str, target: str, *, follow_symlinks: bool) -> None:
        if self._meanwhile is not None:
            self._meanwhile.write_text("another's")
        if self._error is not None:
            raise OSError(self._error, os.strerror(self._error), target)
        self._link(source, target, follow_symlinks=follow_symlinks)


def test_a_file_system_without_hard_links_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", Links(errno.EPERM))

    written = init_project(str(tmp_path))

    assert list(files_in(tmp_path)) == [written.path]
    assert read(written.path).name == tmp_path.name


@pytest.mark.parametrize("error", [None, errno.EPERM])
def test_a_config_that_comes_up_meanwhile_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None
) -> None:
    path = tmp_path / ".workroot/config.toml"
    monkeypatch.setattr(os, "link", Links(error, meanwhile=path))

    with pytest.raises(ConfigError, match="exists already"):
        init_project(str(tmp_path))

    assert files_in(tmp_path) == {str(path): b"another's"}


def test_a_full_disk_leaves_no_half_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", Links(errno.ENOSPC))

    with pytest.raises(DirectoryError, match="No space left on device"):
        init_project(str(tmp_path))

    assert files_in(tmp_path) == {}
