"""Writes a project's first config, `.workroot/config.toml`: whole or not at all, and never over another one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import tomlkit

from workroot.core.projects import CONFIG_NAMES, ConfigProblem, ProjectConfig, ProjectId
from workroot.errors import ConfigError, DirectoryError
from workroot.filesystem_evidence import Evidence, Refusal
from workroot.project_config import MAX_CONFIG_BYTES, parse_config

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["InitializedProject", "init_project"]

_OURS = tuple(name for name in CONFIG_NAMES if name.startswith(".workroot/"))
_EARLIER = tuple(name for name in CONFIG_NAMES if not name.startswith(".workroot/"))
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # FAT, some FUSE file systems


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializedProject:
    """What was written.

    Attributes:
        path: the new config.
        taken_over_from: the earlier system's config that gave name and id, or None; it was left as it is.
    """

    path: str
    name: str
    project_id: ProjectId
    taken_over_from: str | None = None


def _utc_now() -> datetime:
    return datetime.now(UTC)


def init_project(
    directory: str,
    *,
    name: str | None = None,
    project_id: str | None = None,
    take_over: bool = True,
    clock: Callable[[], datetime] = _utc_now,
) -> InitializedProject:
    """Write a config that makes *directory* a project.

    Args:
        directory: the project's root; absolute.
        name: 1 to 255 characters; None takes the earlier system's name, or else the directory's.
        project_id: UUID as text; None takes the earlier system's id, or else a new one.
        take_over: whether an earlier system's config in *directory* gives what is not said here.
        clock: gives the time of creation, with its zone.

    Raises:
        DirectoryError: *directory* is not an absolute path of an existing directory that can be written to.
        ConfigError: it has a config already, the earlier system's cannot be used, or name or id is not valid.
            Nothing was changed.
    """
    if not directory.startswith("/"):
        raise DirectoryError(directory, "Directory path must be absolute")
    if not os.path.isdir(directory):
        problem = "Path is not a directory" if os.path.exists(directory) else "Directory does not exist"
        raise DirectoryError(directory, problem)
    top = os.path.realpath(directory)
    for ours in _OURS:
        if os.path.lexists(os.path.join(top, ours)):
            raise ConfigError(os.path.join(top, ours), "exists already and was left as it is")
    earlier_path, earlier = _earlier_config(top) if take_over else (None, None)
    now = clock().isoformat(timespec="seconds")
    path = os.path.join(top, _OURS[0])
    if name is None:
        name = earlier.name if earlier else os.path.basename(top)
    if project_id is None:
        project_id = (earlier.project_id if earlier else None) or str(uuid4())
    created_at = (earlier.created_at if earlier else None) or now
    try:
        content = _config_text(name=name, project_id=project_id, created_at=created_at).encode()
    except UnicodeEncodeError:
        raise ConfigError(path, "must be valid Unicode; nothing was written", field="project.name") from None
    written = parse_config(content, path)
    if isinstance(written, ConfigProblem):
        raise ConfigError(path, f"{written.problem}; nothing was written", field=written.field)
    try:
        _write_new(path, content)
    except FileExistsError:
        raise ConfigError(path, "exists already and was left as it is") from None
    except OSError as error:
        problem = f"Directory cannot be written to ({os.strerror(error.errno or 0)})"
        raise DirectoryError(directory, problem) from error
    return InitializedProject(
        path=path, name=name, project_id=ProjectId(project_id.lower()), taken_over_from=earlier_path
    )


def _earlier_config(top: str) -> tuple[str, ProjectConfig] | tuple[None, None]:
    for name in _EARLIER:
        path = os.path.join(top, name)
        content = Evidence(0).read(path, MAX_CONFIG_BYTES)
        if content is None:
            continue
        if isinstance(content, Refusal):
            raise ConfigError(path, content.problem)
        config = parse_config(content, path)
        if isinstance(config, ConfigProblem):
            raise ConfigError(path, config.problem, line=config.line, field=config.field)
        return path, config
    return None, None


def _config_text(*, name: str, project_id: str, created_at: str) -> str:
    document = tomlkit.document()
    document.add(tomlkit.comment("This directory, and all below it, is one project for workroot."))
    document.add(tomlkit.comment("Keep this file under version control: the id is what the project is known by."))
    document.add("version", tomlkit.item("1.0"))
    document.add("created_at", tomlkit.item(created_at))
    document.add(tomlkit.nl())
    project = tomlkit.table()
    project.add("name", name)
    project.add("id", project_id)
    document.add("project", project)
    return tomlkit.dumps(document)


def _write_new(path: str, content: bytes) -> None:
    """Write a file that does not exist yet, so that it is there whole or not at all, after a crash too.

    Raises:
        FileExistsError: it exists; it was left as it is.
        OSError: it could not be written, and does not exist.
    """
    holder = os.path.dirname(path)
    try:
        os.mkdir(holder, 0o755)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(holder).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), holder) from None
    temporary = os.path.join(holder, f".config.{secrets.token_hex(8)}.tmp")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        _name_new(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    for changed in (holder, os.path.dirname(holder)):
        _sync_directory(changed)


def _name_new(temporary: str, path: str) -> None:
    try:
        os.link(temporary, path, follow_symlinks=False)  # unlike a rename, never over another file
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
        os.rename(temporary, path)


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
