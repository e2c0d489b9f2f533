"""Does the repository that a directory names lead back to it?

What a repository says of its worktree lies in its own directory: `gitdir` for a worktree, `core.worktree` for a
submodule. It is read as data.
"""

from __future__ import annotations

import os.path
from enum import Enum, auto
from typing import TYPE_CHECKING

from workroot.core.projects import Directory
from workroot.project_finder.git_config import CoreSettings, core_settings
from workroot.project_finder.resolving import resolve

if TYPE_CHECKING:
    from workroot.project_finder.evidence import Evidence

__all__ = [
    "MAX_FILE_BYTES",
    "OTHER_MARKERS",
    "Way",
    "below",
    "joined",
    "main_checkout",
    "path_in",
    "way_from",
    "way_from_worktree",
]

MAX_FILE_BYTES = 4096
OTHER_MARKERS = (".hg", ".jj")
_MAX_CONFIG_BYTES = 64 * 1024
_MARKERS = frozenset({".git", *OTHER_MARKERS})


class Way(Enum):
    """Where the word leads that a repository has on its worktree."""

    BACK = auto()
    """To the level that names the repository."""
    SILENT = auto()
    """It has none."""
    GONE = auto()
    """To what is gone."""
    ELSEWHERE = auto()


def way_from_worktree(common: str, private: str, shared: str, level: Directory, evidence: Evidence) -> Way:
    """Return where *private* leads, if it is where *common* keeps the state of a worktree."""
    try:
        is_shared = resolve(joined(private, shared), evidence) == common
    except OSError:
        return Way.ELSEWHERE
    if not is_shared or os.path.dirname(private) != f"{common}/worktrees":
        return Way.ELSEWHERE
    named = path_in(f"{private}/gitdir", evidence)
    if named is None or os.path.basename(named) != ".git":
        return Way.ELSEWHERE
    return _way_to(level, joined(private, os.path.dirname(named)), evidence)


def way_from(private: str, level: Directory, evidence: Evidence) -> Way:
    """Return where an administrative directory that shares nothing leads; *level* names it."""
    config = _core_settings(f"{private}/config", evidence)
    worktree = config.worktree or _core_settings(f"{private}/config.worktree", evidence).worktree
    if worktree is not None:
        return _way_to(level, joined(private, worktree), evidence)
    if not _MARKERS.isdisjoint(private.split("/")):
        return Way.ELSEWHERE  # it is another checkout's
    if private.startswith(below(level, "")):
        return Way.BACK if os.path.dirname(private) == level or not config.is_bare else Way.ELSEWHERE  # `repo/.bare`
    return Way.ELSEWHERE if config.is_bare else Way.SILENT


def main_checkout(private: str, evidence: Evidence) -> Directory | None:
    """Return the worktree that a submodule's directory says is its own, if that one says the same; else None."""
    named = _core_settings(f"{private}/config", evidence).worktree
    if named is None:
        return None
    try:
        worktree = resolve(joined(private, named), evidence)
        back = path_in(below(worktree, ".git"), evidence, prefix="gitdir:")
        is_own = back is not None and resolve(joined(worktree, back), evidence) == private
    except OSError:
        return None
    return Directory(worktree) if is_own else None


def _way_to(level: Directory, named: str, evidence: Evidence) -> Way:
    """Return where the worktree *named* by a repository is: at *level*, or no more."""
    try:
        worktree = resolve(named, evidence)
    except (FileNotFoundError, NotADirectoryError):
        return Way.GONE
    except OSError:
        return Way.ELSEWHERE
    if worktree == level:
        return Way.BACK
    return Way.ELSEWHERE if evidence.is_there(below(worktree, ".git")) else Way.GONE


def path_in(path: str, evidence: Evidence, *, prefix: str = "") -> str | None:
    """Return the one path that a small file of git's holds, or None if it holds something else."""
    text = _text_of(path, MAX_FILE_BYTES, evidence).rstrip("\r\n")
    if not text.startswith(prefix) or "\n" in text:
        return None
    return text.removeprefix(prefix).strip(" ") or None


def _core_settings(path: str, evidence: Evidence) -> CoreSettings:
    return core_settings(_text_of(path, _MAX_CONFIG_BYTES, evidence))


def _text_of(path: str, limit: int, evidence: Evidence) -> str:
    """Return what a plain file holds; empty if there is none, or it is too large, or no text."""
    content = evidence.read(path, limit)
    if not isinstance(content, bytes) or b"\0" in content:
        return ""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return ""


def below(directory: str, name: str) -> str:
    """Return the path of what *directory* holds under a name."""
    return f"{directory.rstrip('/')}/{name}"


def joined(base: str, path: str) -> str:
    """Return a path that a file of git's holds, relative to *base* unless it is absolute."""
    return path if path.startswith("/") else f"{base}/{path}"
