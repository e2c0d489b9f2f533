"""Makes a directory a project of its own: writes its first config, or completes the one that is there.

Nothing is written that workroot would not read afterwards, and a config that is there keeps all that somebody wrote.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from workroot.core.discovery import Attributes
from workroot.core.projects import CONFIG_NAMES, ConfigProblem, Directory, ProjectConfig, ProjectId, StopReason
from workroot.errors import ConfigError, DirectoryError
from workroot.project_config import MAX_CONFIG_BYTES, parse_config, writing
from workroot.project_config.editing import CannotEditError, edited_text, new_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workroot.core.discovery import Finding, FoundConfig, Rules

__all__ = ["InitializedProject", "init_project"]

_NAME = ".workroot/config.toml"
_HOLDER = ".workroot/"

_NOT_LOOKED_INTO = {
    StopReason.OWNER: "Directory belongs to another user, or others may write there, so no config in it is read"
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializedProject:
    """What the project is now, and what was done for it.

    Attributes:
        path: the config that says so.
        is_new: there was none; it was written.
        changed: the fields of a config that was there which were added or changed, without `updated_at`.
        taken_over_from: the earlier system's config that gave name and id, or None; it was left as it is.
    """

    path: str
    name: str
    project_id: ProjectId
    is_new: bool = False
    changed: tuple[str, ...] = ()
    taken_over_from: str | None = None


def _utc_now() -> datetime:
    return datetime.now(UTC)


def init_project(
    directory: str,
    *,
    look: Callable[[str], Finding],
    rules: Rules,
    name: str | None = None,
    may_take_over: Callable[[str], bool] = lambda _path: True,
    config_names: Sequence[str] = CONFIG_NAMES,
    clock: Callable[[], datetime] = _utc_now,
) -> InitializedProject:
    """Give *directory* a config with a name and an id, or complete the one that it has.

    Args:
        directory: the project's root; absolute.
        look: searches from a directory upward, as the daemon does.
        rules: whose files the daemon reads.
        name: 1 to 255 characters; None leaves the name that is there, takes over the earlier system's, or else takes
            the repository's or the directory's.
        may_take_over: asked, with the path of an earlier system's config in *directory*, whether that gives what is
            not said here.
        config_names: where the daemon looks for a config.
        clock: gives the time of the change, with its zone.

    Raises:
        DirectoryError: *directory* is not an absolute path of an existing directory whose config would be read, or it
            cannot be written to.
        ConfigError: the config that is there cannot be used or edited, or name is not valid. Nothing was changed.
    """
    finding = look(directory)
    if not finding.levels:
        raise DirectoryError(directory, _NOT_LOOKED_INTO.get(finding.stop, "Directory is not looked into"))
    top = finding.levels[0]
    path = os.path.join(top, _NAME)
    if writing.remove_leftovers(path, clock().timestamp()):
        finding = look(directory)
    if name is not None:
        _check_spelling(name, path)
    found = finding.config if finding.config is not None and finding.config.root == top else None
    if found is not None and found.path.startswith(os.path.join(top, _HOLDER)):
        config = _usable(found)
        if found.path == path:
            return _complete(path, config, name=name, clock=clock)
        return _left_alone(found.path, config, name=name)
    _check_is_read(path, found, top, config_names, rules)
    earlier = _usable(found) if found is not None and may_take_over(found.path) else None
    if earlier is None or found is None:
        repository = finding.repository
        own_name = repository.name if repository is not None and repository.root == top else os.path.basename(top)
        return _create(path, ProjectConfig(name=own_name if name is None else name), clock)
    made = _create(path, replace(earlier, name=earlier.name if name is None else name), clock)
    return replace(made, taken_over_from=found.path)


def _usable(found: FoundConfig) -> ProjectConfig:
    problem = found.content
    if isinstance(problem, ConfigProblem):
        raise ConfigError(problem.path, problem.problem, line=problem.line, field=problem.field)
    return problem


def _check_spelling(name: str, path: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ConfigError(path, "must be valid Unicode; nothing was written", field="project.name") from None


def _check_is_read(path: str, found: FoundConfig | None, top: str, names: Sequence[str], rules: Rules) -> None:
    """Refuse to write what would not be read: another config comes first, or others may write beside it."""
    if _NAME not in names:
        raise ConfigError(path, "would not be read, for the setting config_names does not list it")
    if found is not None and os.path.relpath(found.path, top) in names[: names.index(_NAME)]:
        raise ConfigError(found.path, f"is there, and the setting config_names puts it before {_NAME}")
    holder = os.path.dirname(path)
    try:
        status = os.lstat(holder)
    except OSError:
        return  # it is made, or that fails
    seen = Attributes(device=status.st_dev, owner_id=status.st_uid, group_id=status.st_gid, mode=status.st_mode)
    if not rules.may_read(Directory(holder), seen):
        problem = "Directory belongs to another user, or others may write to it, so no config in it is read"
        raise DirectoryError(holder, problem)


def _create(path: str, config: ProjectConfig, clock: Callable[[], datetime]) -> InitializedProject:
    now = clock().isoformat(timespec="seconds")
    project_id = config.project_id or ProjectId(str(uuid4()))
    content = new_text(
        replace(config, project_id=project_id, created_at=config.created_at or now, version="1.0")
    ).encode()
    _check(content, path, config.name, project_id)
    directory = os.path.dirname(os.path.dirname(path))
    try:
        writing.write_new(path, content)
    except FileExistsError:
        raise ConfigError(
            path, "exists already: it was written meanwhile by another program, and was left as it is"
        ) from None
    except OSError as error:
        problem = f"Directory cannot be written to ({os.strerror(error.errno or 0)})"
        raise DirectoryError(directory, problem) from error
    return InitializedProject(path=path, name=config.name, project_id=project_id, is_new=True)


def _complete(
    path: str, config: ProjectConfig, *, name: str | None, clock: Callable[[], datetime]
) -> InitializedProject:
    wanted = _wanted(config, name)
    known = InitializedProject(
        path=path,
        name=wanted.get("name", config.name),
        project_id=ProjectId(wanted.get("id", config.project_id or "")),
        changed=tuple(f"project.{key}" for key in wanted),
    )
    if not wanted:
        return known
    try:
        was = writing.read_to_replace(path, MAX_CONFIG_BYTES)
        if parse_config(was.content, path) != config:
            raise ConfigError(path, "was changed meanwhile by another program; it was left as it is")
        text = was.content.decode("utf-8-sig")
        mark = was.content[: len(was.content) - len(text.encode())]
        content = mark + edited_text(text, project=wanted, now=clock()).encode()
        _check(content, path, known.name, known.project_id)
        writing.replace(path, content, was)
    except CannotEditError:
        raise ConfigError(path, f"cannot be edited by a program; {_by_hand(wanted)}") from None
    except OSError as error:
        problem = f"cannot be written to ({os.strerror(error.errno or 0)}); it was left as it is"
        raise ConfigError(path, problem) from error
    return known


def _left_alone(path: str, config: ProjectConfig, *, name: str | None) -> InitializedProject:
    """Answer for a config of ours in JSON: it is not edited, since nothing keeps how somebody laid it out."""
    wanted = _wanted(config, name)
    if wanted or config.project_id is None:
        raise ConfigError(path, f"is JSON, which is not edited; {_by_hand(wanted)}")
    return InitializedProject(path=path, name=config.name, project_id=config.project_id)


def _wanted(config: ProjectConfig, name: str | None) -> dict[str, str]:
    wanted = {"id": str(uuid4())} if config.project_id is None else {}
    return wanted if name in (None, config.name) else {**wanted, "name": name}


def _by_hand(wanted: dict[str, str]) -> str:
    fields = " and ".join(f'{key} "{value}"' for key, value in wanted.items())
    return f"write {fields} into its project table; it was left as it is"


def _check(content: bytes, path: str, name: str, project_id: str) -> None:
    """Refuse to write what would not be understood, or otherwise than meant."""
    written = parse_config(content, path)
    if isinstance(written, ConfigProblem):
        raise ConfigError(path, f"{written.problem}; nothing was written", field=written.field)
    if (written.name, written.project_id) != (name, project_id):
        raise CannotEditError
