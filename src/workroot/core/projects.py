"""What a project is, and what its config says of it.

Values only: reading and checking files is the work of adapters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, NewType

__all__ = [
    "CONFIG_NAMES",
    "ConfigProblem",
    "Directory",
    "DirectoryNode",
    "KnownId",
    "KnownProject",
    "Place",
    "Project",
    "ProjectConfig",
    "ProjectId",
    "ProjectKey",
    "Repository",
    "ServerDeclaration",
    "StopReason",
    "owner_of",
]

Directory = NewType("Directory", str)
"""A directory's absolute path, symlinks resolved."""

_MAX_NUMBER = (1 << 63) - 1

ProjectId = NewType("ProjectId", str)
"""A UUID as text. Two worktrees of one repository share it; their roots differ."""

CONFIG_NAMES = (
    ".workroot/config.toml",
    ".workroot/config.json",
    ".workflow-mcp/config.json",
    ".codebase-mcp/config.json",
)
"""Where a project's config is looked for at each level, first match wins: ours, then the earlier systems'."""


class StopReason(StrEnum):
    """Why the search from a directory upward ended where it did."""

    CONFIG = "config"
    """A config was found; valid or not, it ends the search."""
    REPOSITORY = "repository"
    """A version-control root was reached."""
    FILESYSTEM_ROOT = "filesystem_root"
    MOUNT = "mount"
    """The next level is on another device."""
    OWNER = "owner"
    """The next level belongs to another user, or others may write there."""
    HOME = "home"
    """The home directory was reached; a config in it still counts."""
    DEPTH = "depth"
    """64 levels were looked at."""


class DirectoryNode(NamedTuple):
    """What tells a directory from another one that comes to lie at its path, as `stat` gives it.

    The device's number may be another one after a restart; the inode stays for as long as the directory does.
    """

    device: int
    inode: int

    @classmethod
    def seen_as(cls, device: int, inode: int) -> DirectoryNode:
        """Return the node of what `stat` gave these numbers; a store keeps 63 bits of each."""
        return cls(device & _MAX_NUMBER, inode & _MAX_NUMBER)


class ProjectKey(NamedTuple):
    """What a project is known by on this machine, whatever its config claims; worktrees share it.

    Attributes:
        repository: the repository's common directory; empty outside of repositories.
        path: from the repository's root down to the project's, empty if they are the same; outside of
            repositories the project's root itself.
    """

    repository: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerDeclaration:
    """An MCP server that a project's config declares: a program to start, or a URL to call.

    Attributes:
        environment: variables that the program gets, by name.
    """

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    url: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectConfig:
    """The fields of a project's config file.

    Attributes:
        name: 1 to 255 characters.
        project_id: UUID as the file claims it, or None.
        auto_switch: a session that arrives here is in this project without being told.
        strict_mode: answers for directories outside the root are refused inside this project.
        dry_run: a switch is reported, not made.
        instructions: text for a model; withheld until the user allowed this very content.
        commands: programs by name, as the project wants them run; withheld likewise.
        servers: MCP servers to start; withheld likewise.
        digest: SHA-256 of the file's bytes, in hex; empty if there was no file.
        ignored: fields that have no effect although somebody may count on them, each with the reason.
    """

    name: str
    version: str = "1.0"
    project_id: ProjectId | None = None
    description: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    auto_switch: bool = True
    strict_mode: bool = False
    dry_run: bool = False
    instructions: str | None = None
    commands: tuple[tuple[str, str], ...] = ()
    servers: tuple[ServerDeclaration, ...] = ()
    digest: str = ""
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    """A config that was found and cannot be used; it ends the search all the same.

    Attributes:
        line: 1-based, or None where the format gives none.
        field: dotted name, or None for a fault of syntax or of reading.
        problem: never holds the file's content.
    """

    path: str
    problem: str
    line: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line is not None else self.path
        return f"{where}: {f'{self.field}: ' if self.field else ''}{self.problem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A version-control root.

    Attributes:
        root: this worktree's top directory.
        name: what people call it: the main checkout's directory, of a bare repository its own.
        common_directory: the administrative directory that all worktrees share.
        main_root: top directory of the main checkout if `root` is another worktree of it, else None.
        node: of the common directory; None if unknown.
        is_silent: the common directory lies elsewhere and says of no worktree that it is its own: anybody's `.git`
            file could name it.
        is_gone: the common directory does not exist.
        named: the repository that the `.git` file names, if that one's word on its worktree names what is gone; this
            one then is the level by itself.
    """

    root: Directory
    name: str
    common_directory: Directory
    main_root: Directory | None = None
    node: DirectoryNode | None = None
    is_silent: bool = False
    is_gone: bool = False
    named: Repository | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The project that owns a directory.

    Attributes:
        root: the directory that owns it: of a worktree, the worktree.
        worktree_of: the main checkout, if `root` is another worktree of it.
        config: None where a version-control root without a config is the project.
    """

    project_id: ProjectId
    name: str
    root: Directory
    worktree_of: Directory | None = None
    config_path: str | None = None
    config: ProjectConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A directory that was looked at: where it really is, and which project owns it.

    Attributes:
        directory: symlinks resolved.
        given: the path as it was given.
        project: None when no project owns it, or its config cannot be used.
        config_path: the config found, usable or not.
        stopped_at: the last level that was looked at.
        stop: why the search ended there.
        key: what the project is known by on this machine; None where there is none.
        known_id: what the registry has to keep before this answer is acted upon, or None if it keeps that already.
        displaced: what it has to keep with that of those whose id this project takes over, since they are gone.
        identities_seen: the registry's revision that the id rests on; None if it rests on none.
        warnings: what a person should know or repair: an id that another repository has, a field that is ignored.
        rests_on: the directories that have to be watched to hear of a change of this answer.
    """

    directory: Directory
    given: str
    project: Project | None
    config_path: str | None = None
    config_error: ConfigProblem | None = None
    stopped_at: Directory
    stop: StopReason
    key: ProjectKey | None = None
    known_id: KnownId | None = None
    displaced: tuple[KnownId, ...] = ()
    identities_seen: int | None = field(default=None, compare=False)
    warnings: tuple[str, ...] = ()
    rests_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownId:
    """The id under which a project was known last, as the registry keeps it: one row a key.

    Attributes:
        name: its name then.
        root: one of its roots, where it was seen last.
        is_joined: the user said that it is the same project as others with this id.
        node: of the repository's common directory, outside of repositories of the root; None if unknown.
    """

    key: ProjectKey
    project_id: ProjectId
    name: str
    root: Directory
    is_joined: bool = False
    node: DirectoryNode | None = None

    def is_of(self, node: DirectoryNode | None) -> bool:
        """Tell whether what is at the same path now is what was known; it is unless both are known and differ."""
        return self.node is None or node is None or self.node.inode == node.inode


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProject:
    """A project in which somebody has worked, as the registry keeps it: one row a root.

    Attributes:
        seen_at: when somebody last worked there, in seconds since the Unix epoch.
    """

    project_id: ProjectId
    name: str
    root: Directory
    worktree_of: Directory | None
    seen_at: float

    def is_of(self, project: Project) -> bool:
        """Tell whether nothing but the time would be kept anew of *project*."""
        return (self.project_id, self.name, self.root, self.worktree_of) == (
            project.project_id,
            project.name,
            project.root,
            project.worktree_of,
        )


def owner_of(place: Place) -> Directory:
    """Return the root of the project that owns a place, or where nobody does the place itself."""
    return place.project.root if place.project is not None else place.directory
