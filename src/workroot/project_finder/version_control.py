"""Is this directory the root of a repository, and which worktrees share it?

What git keeps is read as data: no program is run, no setting of a repository is followed. A `.git` file
(worktree, submodule) names a directory, and that one's `commondir` file the directory that worktrees share.

Whoever made a directory made its `.git` file too: an unpacked archive can name any repository of the user's. So what
is named has to lead back to the level, in a file that lies in the repository: `gitdir` for a worktree,
`core.worktree` for a submodule. Only if what that names is gone is the `.git` file taken at its word: somebody moved
a worktree or a main checkout, and it keeps the id that it had.

A `.git` file that leads nowhere still is a root: git does not look further up either, and an outer project must not
win because of it. The directory is a repository by itself then.
"""

from __future__ import annotations

import os.path
import re
import stat
from typing import TYPE_CHECKING

from workroot.core.projects import Directory, Repository
from workroot.project_finder.git_config import CoreSettings, core_settings
from workroot.project_finder.resolving import resolve

if TYPE_CHECKING:
    from workroot.project_finder.evidence import Evidence

__all__ = ["find_repository"]

_MAX_FILE_BYTES = 4096
_MAX_CONFIG_BYTES = 64 * 1024
_OTHER_MARKERS = (".hg", ".jj")
_MARKERS = frozenset({".git", *_OTHER_MARKERS})
_HEAD = re.compile(rb"ref: .+|[0-9a-f]{40}\s*|[0-9a-f]{64}\s*")


def find_repository(level: Directory, evidence: Evidence) -> Repository | None:
    """Return the repository whose root *level* is, or None. The level itself is proven by the caller."""
    marker = _below(level, ".git")
    kind = evidence.type_below(marker)
    if kind == stat.S_IFDIR:
        return _own(level, marker)
    if kind == stat.S_IFREG:
        return _named_by_file(level, marker, evidence)
    if kind == stat.S_IFLNK and (linked := _named_by_link(level, marker, evidence)) is not None:
        return linked
    for name in _OTHER_MARKERS:
        marker = _below(level, name)
        if evidence.type_below(marker) == stat.S_IFDIR:
            return _own(level, marker)
    return _bare(level, evidence)


def _named_by_link(level: Directory, marker: str, evidence: Evidence) -> Repository | None:
    """Return the repository that a `.git` link leads to; None if it leads to none."""
    try:
        target = resolve(marker, evidence)
        kind = stat.S_IFMT(evidence.see_from_outside(target).st_mode)
    except OSError:
        return None
    if kind == stat.S_IFREG:
        return _named_by_file(level, target, evidence)
    if kind != stat.S_IFDIR:
        return None
    return _own(level, target if _is_text(target) and _is_kept_for(level, target, evidence) else marker)


def _named_by_file(level: Directory, marker: str, evidence: Evidence) -> Repository:
    """Return the repository that a `.git` file names, or else the level as one by itself."""
    own = _own(level, _below(level, ".git"))
    named = _path_in(marker, evidence, prefix="gitdir:")
    if named is None:
        return own
    try:
        private = resolve(_joined(level, named), evidence)
        is_directory = stat.S_ISDIR(evidence.see_from_outside(private).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return _gone(level, os.path.normpath(_joined(level, named)), evidence) or own
    except OSError:
        return own
    return _kept_in(level, private, evidence) or own if is_directory and _is_text(private) else own


def _kept_in(level: Directory, private: str, evidence: Evidence) -> Repository | None:
    """Return the repository that keeps the state of *level* in *private*; None if it says otherwise."""
    shared = _path_in(f"{private}/commondir", evidence)
    if shared is None:
        return _own(level, private) if _is_kept_for(level, private, evidence) else None
    common = os.path.dirname(os.path.dirname(private))
    if not _is_worktree_of(common, private, shared, level, evidence):
        return None
    evidence.rest_on(private)
    return _worktree(level, common)


def _gone(level: Directory, private: str, evidence: Evidence) -> Repository | None:
    """Return the repository whose directory for this level is no more; None if only that directory went."""
    if not _is_text(private):
        return None
    common = os.path.dirname(os.path.dirname(private))
    if os.path.basename(os.path.dirname(private)) != "worktrees" or not common.endswith(".git"):
        return _own(level, private)
    return None if evidence.is_there(common) else _worktree(level, common)


def _is_worktree_of(common: str, private: str, shared: str, level: Directory, evidence: Evidence) -> bool:
    """Tell whether *private* is where *common* keeps the state of its worktree *level*."""
    try:
        is_shared = resolve(_joined(private, shared), evidence) == common
    except OSError:
        return False
    if not is_shared or os.path.dirname(private) != f"{common}/worktrees":
        return False
    named = _path_in(f"{private}/gitdir", evidence)
    if named is None or os.path.basename(named) != ".git":
        return False
    return _leads_back(level, _joined(private, os.path.dirname(named)), evidence)


def _is_kept_for(level: Directory, private: str, evidence: Evidence) -> bool:
    """Tell whether an administrative directory that shares nothing may belong to *level*, which names it."""
    config = _core_settings(f"{private}/config", evidence)
    worktree = config.worktree or _core_settings(f"{private}/config.worktree", evidence).worktree
    if worktree is not None:
        return _leads_back(level, _joined(private, worktree), evidence)
    if not _MARKERS.isdisjoint(private.split("/")):
        return False  # it is another checkout's
    return not config.is_bare or os.path.dirname(private) == level  # `repo/.bare`


def _leads_back(level: Directory, named: str, evidence: Evidence) -> bool:
    """Tell whether the worktree *named* by a repository is *level*, or is no more."""
    try:
        worktree = resolve(named, evidence)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return worktree == level or not evidence.is_there(_below(worktree, ".git"))


def _worktree(level: Directory, common: str) -> Repository:
    """Return the repository that keeps its state in *common* and has a worktree at *level*."""
    top, name = os.path.split(common)
    if name == ".git":
        main = Directory(top) if top != level else None
        return Repository(root=level, name=_name_of(top), common_directory=Directory(common), main_root=main)
    return Repository(root=level, name=_name_of_bare(common), common_directory=Directory(common))


def _bare(level: Directory, evidence: Evidence) -> Repository | None:
    """Return the bare repository that *level* is, or None; a directory within a `.git` is no root."""
    head = _below(level, "HEAD")
    if evidence.type_below(head) != stat.S_IFREG or ".git" in level.split("/"):
        return None
    if any(evidence.type_below(_below(level, name)) != stat.S_IFDIR for name in ("objects", "refs")):
        return None
    content = evidence.read(head, _MAX_FILE_BYTES)
    if not isinstance(content, bytes) or _HEAD.match(content) is None:
        return None
    return Repository(root=level, name=_name_of_bare(level), common_directory=level)


def _own(level: Directory, common: str) -> Repository:
    return Repository(root=level, name=_name_of(level), common_directory=Directory(common))


def _path_in(path: str, evidence: Evidence, *, prefix: str = "") -> str | None:
    """Return the one path that a small file of git's holds, or None if it holds something else."""
    text = _text_of(path, _MAX_FILE_BYTES, evidence).rstrip("\r\n")
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


def _below(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"


def _joined(base: str, path: str) -> str:
    return path if path.startswith("/") else f"{base}/{path}"


def _name_of(directory: str) -> str:
    return os.path.basename(directory) or "/"


def _name_of_bare(directory: str) -> str:
    top, name = os.path.split(directory)
    name = name.removesuffix(".git")
    return _name_of(top) if not name or name.startswith(".") else name  # `repo/.bare` with worktrees beside it


def _is_text(path: str) -> bool:
    """Tell whether a path can be sent to a client: it is Unicode."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
