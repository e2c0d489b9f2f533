"""Is this directory the root of a repository, and which worktrees share it?

What git keeps is read as data: no program is run, no setting of a repository is followed. A `.git` file
(worktree, submodule) names a directory, and that one's `commondir` file the directory that worktrees share.

A `.git` file that leads nowhere still is a root: git does not look further up either, and an outer project must not
win because a main checkout was moved. The directory is a project by itself then; if the way is written as
git writes it for worktrees, it keeps the id that it had.
"""

from __future__ import annotations

import os.path
import stat
from typing import TYPE_CHECKING

from workroot.core.projects import Directory, Repository

if TYPE_CHECKING:
    from workroot.filesystem_evidence import Evidence

__all__ = ["find_repository"]

_MAX_FILE_BYTES = 4096
_OTHER_MARKERS = (".hg", ".jj")


def find_repository(level: Directory, evidence: Evidence) -> Repository | None:
    """Return the repository whose root *level* is, or None. The level itself is proven by the caller."""
    marker = f"{level.rstrip('/')}/.git"
    kind = _kind(marker)
    if kind == stat.S_IFLNK:
        try:
            marker = evidence.resolve(marker)
        except OSError:
            kind = None
        else:
            kind = _kind(marker)
    if kind == stat.S_IFDIR and _is_text(marker):
        return _own(level, marker)
    if kind == stat.S_IFREG:
        return _named_by_file(level, marker, evidence)
    for name in _OTHER_MARKERS:
        marker = f"{level.rstrip('/')}/{name}"
        if _kind(marker) == stat.S_IFDIR:
            return _own(level, marker)
    return None


def _named_by_file(level: Directory, marker: str, evidence: Evidence) -> Repository:
    named = _path_in(marker, evidence, prefix="gitdir:")
    if named is None:
        return _own(level, marker)
    private = _resolved(level, named, evidence)
    shared = _path_in(f"{private}/commondir", evidence)
    if shared is not None:
        common = _resolved(private, shared, evidence)
    elif _is_left_by_a_worktree(private):
        common = os.path.dirname(os.path.dirname(private))
    else:
        common = private  # a submodule, or a repository whose administrative directory lies elsewhere
    if not _is_text(common):
        return _own(level, marker)
    if common == private:
        return _own(level, common)
    top, name = os.path.split(common)
    if name == ".git":
        main = Directory(top) if top != level else None
        return Repository(root=level, name=_name_of(top), common_directory=Directory(common), main_root=main)
    bare_name = name.removesuffix(".git")
    if not bare_name or bare_name.startswith("."):  # `repo/.bare` with worktrees beside it
        bare_name = _name_of(top)
    return Repository(root=level, name=bare_name, common_directory=Directory(common))


def _own(level: Directory, common: str) -> Repository:
    return Repository(root=level, name=_name_of(level), common_directory=Directory(common))


def _path_in(path: str, evidence: Evidence, *, prefix: str = "") -> str | None:
    """Return the one path that a small file of git's holds, or None if it holds something else."""
    content = evidence.read(path, _MAX_FILE_BYTES)
    if not isinstance(content, bytes) or len(content) > _MAX_FILE_BYTES or b"\0" in content:
        return None
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return None
    if not text.startswith(prefix) or "\n" in text:
        return None
    return text.removeprefix(prefix).strip(" ") or None


def _resolved(base: str, path: str, evidence: Evidence) -> str:
    absolute = path if path.startswith("/") else f"{base}/{path}"
    try:
        return evidence.resolve(absolute)
    except OSError:
        return os.path.normpath(absolute)


def _is_left_by_a_worktree(private: str) -> bool:
    """Tell whether a directory that says nothing of itself is where git keeps a worktree's state."""
    worktrees = os.path.dirname(private)
    return os.path.basename(worktrees) == "worktrees" and os.path.dirname(worktrees).endswith(".git")


def _kind(path: str) -> int | None:
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except OSError:
        return None


def _name_of(directory: str) -> str:
    return os.path.basename(directory) or "/"


def _is_text(path: str) -> bool:
    """Tell whether a path can be sent to a client: it is Unicode."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
