"""Which project owns a directory: one procedure that a person can follow.

From the directory upward, at each level:

1. A level on another device ends the search (`MOUNT`), and so does one that another user owns or others
   may write to (`OWNER`); it is not looked into. This holds for the first level, too. In the directories that the user
   trusts and below them, owner and mode of a level do not count.
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

from workroot.core.projects import (
    ConfigProblem,
    Directory,
    DirectoryNode,
    ProjectConfig,
    Repository,
    StopReason,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Attributes", "Finding", "FoundConfig", "Rules", "View", "find_owner"]

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
    inode: int | None = None


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
        trusted: at and below these, what other users own counts as the user's, as with git's `safe.directory`;
            symlinks resolved.
    """

    user_id: int
    private_group_id: int | None = None
    home: Directory | None = None
    trusted: tuple[Directory, ...] = ()
    max_levels: int = MAX_LEVELS

    def trusts(self, seen: Attributes) -> bool:
        """Tell whether only the user (and root) decide what *seen* holds."""
        if seen.owner_id not in (self.user_id, 0) or seen.mode & _WRITABLE_BY_OTHERS:
            return False
        return not seen.mode & _WRITABLE_BY_GROUP or seen.group_id == self.private_group_id

    def may_look_into(self, level: Directory, seen: Attributes) -> bool:
        """Tell whether a level may be looked into."""
        return self.trusts(seen) or self.is_trusted(level)

    def may_read(self, level: Directory, seen: Attributes) -> bool:
        """Tell whether a file or directory at *level* is one that a project may be described by.

        Trusting a directory means trusting its owners, never everybody: what all users may write to is refused.
        """
        return self.trusts(seen) or (not seen.mode & _WRITABLE_BY_OTHERS and self.is_trusted(level))

    def is_trusted(self, level: Directory) -> bool:
        """Tell whether *level* is a directory that the user trusts, or lies below one."""
        return any(level == top or level.startswith(f"{top.rstrip('/')}/") for top in self.trusted)


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
        root_node: of the level that the config speaks for, else of the repository's; None if unknown.
    """

    directory: Directory
    levels: tuple[Directory, ...]
    stop: StopReason
    stopped_at: Directory
    barrier: Directory | None = None
    config: FoundConfig | None = None
    repository: Repository | None = None
    root_node: DirectoryNode | None = None


def find_owner(directory: Directory, view: View, rules: Rules) -> Finding:
    """Search from *directory* upward; the module's first lines are the procedure."""
    looked_at: list[Directory] = []
    config: FoundConfig | None = None
    repository: Repository | None = None
    barrier: Directory | None = None
    device: int | None = None
    root_node: DirectoryNode | None = None
    stop = StopReason.FILESYSTEM_ROOT
    for level in _upward(directory):
        seen = view.attributes(level)
        if (refusal := _refusal(level, seen, device, rules)) is not None:
            stop, barrier = refusal, level
            break
        device = seen.device
        looked_at.append(level)
        is_below = config is not None
        config = config or view.config(level)
        repository = view.repository(level)
        if not is_below and (config is not None or repository is not None) and seen.inode is not None:
            root_node = DirectoryNode.seen_as(seen.device, seen.inode)
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
        root_node=root_node,
    )


def _upward(directory: Directory) -> Iterator[Directory]:
    level = directory
    yield level
    while level != "/":
        level = Directory(level.rpartition("/")[0] or "/")
        yield level


def _refusal(level: Directory, seen: Attributes, device: int | None, rules: Rules) -> StopReason | None:
    if device is not None and seen.device != device:
        return StopReason.MOUNT
    return None if rules.may_look_into(level, seen) else StopReason.OWNER
