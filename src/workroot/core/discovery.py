"""Which project owns a directory: one procedure that a person can follow.

From the directory upward, at each level:

1. A level on another device ends the search (`MOUNT`), and so does one that another user owns or others
   may write to (`OWNER`); it is not looked into. This holds for the first level, too.
2. A config is looked for, unless a nearer one was found. Valid or not, it is the project's: an outer
   project never wins over a nearer config that cannot be used.
3. A version-control root is looked for; it ends the search (`REPOSITORY`), its own config counted.
4. The home directory (`HOME`), the top of the file system (`FILESYSTEM_ROOT`) and the 64th level (`DEPTH`)
   end it too, after they were looked at.

A config found makes the stop `CONFIG`; the way up to its repository is looked at all the same, since the
repository tells worktrees apart and gives the id where the config has none.

Nothing here touches a disk: what is seen at a level comes through a `View`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import UUID, uuid5

from workroot.core.projects import (
    ConfigProblem,
    Directory,
    Place,
    Project,
    ProjectConfig,
    ProjectId,
    Repository,
    StopReason,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Attributes", "Finding", "FoundConfig", "Rules", "View", "find_owner", "place_of", "project_of"]

MAX_LEVELS = 64

_WRITABLE_BY_OTHERS = 0o002
_WRITABLE_BY_GROUP = 0o020


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What the system says of a directory or file from outside, as `stat` gives it."""

    device: int
    owner_id: int
    group_id: int
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundConfig:
    """A config that was found, usable or not.

    Attributes:
        root: the level it speaks for.
    """

    root: Directory
    path: str
    content: ProjectConfig | ConfigProblem


class View(Protocol):
    """What can be seen at a level. Only `attributes` is asked about a level that is not looked into."""

    def attributes(self, level: Directory) -> Attributes:
        """Return how *level* looks from outside."""

    def config(self, level: Directory) -> FoundConfig | None:
        """Return the first config at *level* itself, or None."""

    def repository(self, level: Directory) -> Repository | None:
        """Return the repository whose root *level* is, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Where a search may go.

    Attributes:
        user_id: who we are (effective).
        private_group_id: the user's own group if nobody else is in it, else None.
        home: the search does not go above it; symlinks resolved.
    """

    user_id: int
    private_group_id: int | None = None
    home: Directory | None = None
    max_levels: int = MAX_LEVELS

    def trusts(self, seen: Attributes) -> bool:
        """Tell whether only the user (and root) decide what *seen* holds."""
        if seen.owner_id not in (self.user_id, 0) or seen.mode & _WRITABLE_BY_OTHERS:
            return False
        return not seen.mode & _WRITABLE_BY_GROUP or seen.group_id == self.private_group_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a search saw, and why it ended.

    Attributes:
        directory: where it began.
        levels: the levels looked into, nearest first; empty if not even the first one was.
        stopped_at: the level that decided; of `OWNER` and `MOUNT`, the last one before the barrier.
        barrier: the level that was not looked into, for `OWNER` and `MOUNT`.
        config: the nearest config, usable or not.
        repository: the nearest repository, at or above the config.
    """

    directory: Directory
    levels: tuple[Directory, ...]
    stop: StopReason
    stopped_at: Directory
    barrier: Directory | None = None
    config: FoundConfig | None = None
    repository: Repository | None = None


def find_owner(directory: Directory, view: View, rules: Rules) -> Finding:
    """Search from *directory* upward; the module's first lines are the procedure."""
    looked_at: list[Directory] = []
    config: FoundConfig | None = None
    repository: Repository | None = None
    barrier: Directory | None = None
    device: int | None = None
    stop = StopReason.FILESYSTEM_ROOT
    for level in _upward(directory):
        seen = view.attributes(level)
        if (refusal := _refusal(seen, device, rules)) is not None:
            stop, barrier = refusal, level
            break
        device = seen.device
        looked_at.append(level)
        config = config or view.config(level)
        repository = view.repository(level)
        if repository is not None:
            stop = StopReason.REPOSITORY
            break
        if level == rules.home:
            stop = StopReason.HOME
            break
        if len(looked_at) == rules.max_levels and level != "/":
            stop = StopReason.DEPTH
            break
    return Finding(
        directory=directory,
        levels=tuple(looked_at),
        stop=StopReason.CONFIG if config else stop,
        stopped_at=config.root if config else looked_at[-1] if looked_at else directory,
        barrier=barrier,
        config=config,
        repository=repository,
    )


def project_of(finding: Finding, namespace: UUID) -> Project | None:
    """Return the project that a finding names, or None.

    Args:
        finding: what a search saw.
        namespace: ids that no config gives derive from it, so another user's differ.
    """
    found, repository = finding.config, finding.repository
    if found is None:
        if repository is None:
            return None
        return Project(
            project_id=_derived_id(namespace, repository, repository.root),
            name=repository.name,
            root=repository.root,
            worktree_of=repository.main_root,
        )
    if isinstance(found.content, ConfigProblem):
        return None
    worktree_of = None
    if repository is not None and repository.main_root is not None:
        worktree_of = _join(repository.main_root, _below(found.root, repository.root))
    return Project(
        project_id=found.content.project_id or _derived_id(namespace, repository, found.root),
        name=found.content.name,
        root=found.root,
        worktree_of=worktree_of,
        config_path=found.path,
        config=found.content,
    )


def place_of(finding: Finding, given: str, namespace: UUID) -> Place:
    """Return the answer that a finding gives for the path *given*."""
    found = finding.config
    return Place(
        directory=finding.directory,
        given=given,
        project=project_of(finding, namespace),
        config_path=found.path if found else None,
        config_error=found.content if found and isinstance(found.content, ConfigProblem) else None,
        stopped_at=finding.stopped_at,
        stop=finding.stop,
    )


def _upward(directory: Directory) -> Iterator[Directory]:
    level = directory
    yield level
    while level != "/":
        level = Directory(level.rpartition("/")[0] or "/")
        yield level


def _refusal(seen: Attributes, device: int | None, rules: Rules) -> StopReason | None:
    if device is not None and seen.device != device:
        return StopReason.MOUNT
    return None if rules.trusts(seen) else StopReason.OWNER


def _derived_id(namespace: UUID, repository: Repository | None, root: Directory) -> ProjectId:
    if repository is None:
        return ProjectId(str(uuid5(namespace, f"directory:{root}")))
    below = _below(root, repository.root)
    return ProjectId(str(uuid5(namespace, f"repository:{repository.common_directory}\0{below}")))


def _below(directory: Directory, top: Directory) -> str:
    """Return the way from *top* down to *directory*; empty if they are the same."""
    return directory[len(top) :].lstrip("/")


def _join(top: Directory, below: str) -> Directory:
    return Directory(f"{top.rstrip('/')}/{below}") if below else top
