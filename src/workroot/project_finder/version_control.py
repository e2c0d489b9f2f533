"""Is this directory the root of a repository, and which worktrees share it?

What git keeps is read as data: no program is run, no setting of a repository is followed. A `.git` file
(worktree, submodule) names a directory, and that one's `commondir` file the directory that worktrees share.

Whoever made a directory made its `.git` file too: an unpacked archive can name any repository of the user's. So what
is named has to lead back to the level, in a file that lies in the repository: `gitdir` for a worktree,
`core.worktree` for a submodule. If what that names is gone, or the repository itself is, the `.git` file is taken at
its word only as far as the registry knows that repository (`core/standing.py`). A directory
elsewhere that says of no worktree that it is its own belongs to who is known to have it, or else comes first.

A `.git` file that leads nowhere still is a root: git does not look further up either, and an outer project must not
win because of it. The directory is a repository by itself then.
"""

from __future__ import annotations

import os.path
import re
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from workroot.core.projects import Directory, DirectoryNode, Repository
from workroot.project_finder.resolving import resolve
from workroot.project_finder.way_back import (
    MAX_FILE_BYTES,
    OTHER_MARKERS,
    Way,
    below,
    joined,
    main_checkout,
    path_in,
    way_from,
    way_from_worktree,
)

if TYPE_CHECKING:
    from workroot.project_finder.evidence import Evidence

__all__ = ["find_repository", "node_at"]

_SUBMODULE_OF_WORKTREE = re.compile(r"(.+?)/worktrees/[^/]+(/modules/.+)", re.DOTALL)
_HEAD = re.compile(rb"ref: .+|[0-9a-f]{40}\s*|[0-9a-f]{64}\s*")


def find_repository(level: Directory, evidence: Evidence) -> Repository | None:
    """Return the repository whose root *level* is, or None. The level itself is proven by the caller."""
    marker = below(level, ".git")
    kind = evidence.type_below(marker)
    if kind == stat.S_IFDIR:
        return _own(level, marker, evidence)
    if kind == stat.S_IFREG:
        return _named_by_file(level, marker, evidence)
    if kind == stat.S_IFLNK and (linked := _named_by_link(level, marker, evidence)) is not None:
        return linked
    for name in OTHER_MARKERS:
        marker = below(level, name)
        if evidence.type_below(marker) == stat.S_IFDIR:
            return _own(level, marker, evidence)
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
    own = _own(level, marker, evidence)
    return _kept_for(level, target, own, evidence) if _is_text(target) else own


def _named_by_file(level: Directory, marker: str, evidence: Evidence) -> Repository:
    """Return the repository that a `.git` file names, or else the level as one by itself."""
    own = _own(level, below(level, ".git"), evidence)
    named = path_in(marker, evidence, prefix="gitdir:")
    if named is None:
        return own
    try:
        private = resolve(joined(level, named), evidence)
        is_directory = stat.S_ISDIR(evidence.see_from_outside(private).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return replace(own, named=_gone(level, os.path.normpath(joined(level, named)), evidence))
    except OSError:
        return own
    return _kept_in(level, private, own, evidence) if is_directory and _is_text(private) else own


def _kept_in(level: Directory, private: str, own: Repository, evidence: Evidence) -> Repository:
    """Return the repository that keeps the state of *level* in *private*, or *own* if it says otherwise."""
    shared = path_in(f"{private}/commondir", evidence)
    if shared is None:
        return _kept_for(level, private, own, evidence)
    common = os.path.dirname(os.path.dirname(private))
    match way_from_worktree(common, private, shared, level, evidence):
        case Way.BACK:
            evidence.rest_on(private)
            return _worktree(level, common, evidence)
        case Way.GONE:
            evidence.rest_on(private)
            return replace(own, named=_worktree(level, common, evidence))
    return own


def _kept_for(level: Directory, private: str, own: Repository, evidence: Evidence) -> Repository:
    """Return the repository whose directory *private*, which shares nothing, *level* names, or *own*."""
    common = _shared_by_submodules(private, evidence)
    there = _own(level, common, evidence)
    if common != private:
        there = replace(there, main_root=main_checkout(common, evidence))
    match way_from(private, level, evidence):
        case Way.BACK:
            return there
        case Way.SILENT:
            return replace(there, is_silent=True)
        case Way.GONE:
            return replace(own, named=there)
    return own


def _shared_by_submodules(private: str, evidence: Evidence) -> str:
    """Return where the main checkout keeps a submodule that a worktree keeps in *private*; else *private*."""
    found = _SUBMODULE_OF_WORKTREE.fullmatch(private)
    if found is None:
        return private
    common = f"{found[1]}{found[2]}"
    try:
        is_directory = stat.S_ISDIR(evidence.see_from_outside(common).st_mode)
    except OSError:
        is_directory = False
    return common if is_directory else private


def _gone(level: Directory, private: str, evidence: Evidence) -> Repository | None:
    """Return the repository whose directory for this level is no more; None if only that directory went."""
    if not _is_text(private):
        return None
    common = os.path.dirname(os.path.dirname(private))
    if os.path.basename(os.path.dirname(private)) != "worktrees" or not common.endswith(".git"):
        return replace(_own(level, private, evidence), is_gone=True)
    return None if evidence.is_there(common) else replace(_worktree(level, common, evidence), is_gone=True)


def _worktree(level: Directory, common: str, evidence: Evidence) -> Repository:
    """Return the repository that keeps its state in *common* and has a worktree at *level*."""
    top, name = os.path.split(common)
    evidence.enter(common)
    kept, node = Directory(common), node_at(common)
    if name == ".git":
        main = Directory(top) if top != level else None
        return Repository(root=level, name=_name_of(top), common_directory=kept, main_root=main, node=node)
    return Repository(root=level, name=_name_of_bare(common), common_directory=kept, node=node)


def node_at(common: str) -> DirectoryNode | None:
    """Return what tells a repository's common directory from another at its path; of a `.git` file, its directory."""
    try:
        status = os.lstat(common)
        if not stat.S_ISDIR(status.st_mode):
            status = os.lstat(os.path.dirname(common))
    except OSError:
        return None
    return DirectoryNode.seen_as(status.st_dev, status.st_ino)


def _bare(level: Directory, evidence: Evidence) -> Repository | None:
    """Return the bare repository that *level* is, or None; a directory within a `.git` is no root."""
    head = below(level, "HEAD")
    if evidence.type_below(head) != stat.S_IFREG or ".git" in level.split("/"):
        return None
    if any(evidence.type_below(below(level, name)) != stat.S_IFDIR for name in ("objects", "refs")):
        return None
    content = evidence.read(head, MAX_FILE_BYTES)
    if not isinstance(content, bytes) or _HEAD.match(content) is None:
        return None
    return Repository(root=level, name=_name_of_bare(level), common_directory=level, node=node_at(level))


def _own(level: Directory, common: str, evidence: Evidence) -> Repository:
    evidence.enter(common)
    return Repository(root=level, name=_name_of(level), common_directory=Directory(common), node=node_at(common))


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
