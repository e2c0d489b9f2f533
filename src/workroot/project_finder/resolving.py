"""From a path as it was given to the directory it stands for: links resolved, spelled as the disk spells it.

Two spellings of one directory must not be two projects. Where a file system folds case or composition, another
spelling leads to the same device and inode, and the parent's list of names says which one is right.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from workroot.project_finder.proofs import file_type, is_absent, link_target
from workroot.project_finder.spelling import other_spellings, spelling_in

if TYPE_CHECKING:
    from workroot.project_finder.evidence import Evidence

__all__ = ["MAX_STEPS", "MagicLinkError", "resolve"]

MAX_STEPS = 256
"""How many names are followed on the way to one directory, those of its links counted.

Each is looked at in every call, and takes a time that grows with its depth: 1,900 levels held up everybody for half
a second.
"""

_MAX_LINKS = 40  # as Linux has it


class MagicLinkError(OSError):
    """A way leads through a link of `/proc`, which stands for something else in every process.

    Attributes:
        link: its path.
    """

    def __init__(self, link: str) -> None:
        self.link = link
        super().__init__(errno.ELOOP, os.strerror(errno.ELOOP), link)


def resolve(path: str, evidence: Evidence) -> str:
    """Return *path*, which is absolute, with its symlinks resolved and as the disk spells it.

    Each component is proven.

    Raises:
        FileNotFoundError, NotADirectoryError: it does not exist.
        MagicLinkError: it leads through a link that must not be followed.
        OSError: it cannot be followed.
    """
    resolved, is_directory, links, steps = "", True, 0, 0
    left = path.split("/")[::-1]
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        steps += 1
        if steps > MAX_STEPS:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        if not is_directory:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        if name == "..":
            resolved = resolved.rpartition("/")[0]
            continue
        here, kind = _component(resolved, name, evidence)
        if kind != stat.S_IFLNK:
            resolved, is_directory = here, kind == stat.S_IFDIR
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        evidence.rest_on(resolved or "/", is_on_the_way=True)
        target = _target_of(here, evidence)
        if target.startswith("/"):
            resolved = ""
        left.extend(target.split("/")[::-1])
    return resolved or "/"


def _component(parent: str, name: str, evidence: Evidence) -> tuple[str, int]:
    """Return where a name leads, as the disk spells it, and its file type."""
    path = f"{parent}/{name}"
    evidence.enter(path)
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        evidence.prove_weakly(path, is_absent, True)
        raise
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        path = _as_spelled_on_disk(parent, name, status, evidence)
    evidence.prove_weakly(path, file_type, kind)
    return path, kind


def _target_of(link: str, evidence: Evidence) -> str:
    if evidence.mounts.is_magic(link):
        raise MagicLinkError(link)
    target = os.readlink(link)
    evidence.prove_weakly(link, link_target, target)
    return target


def _as_spelled_on_disk(parent: str, name: str, status: os.stat_result, evidence: Evidence) -> str:
    """Return the path of a directory as its parent lists it.

    The list is asked for only where another spelling leads to the same directory: one more look where case counts.
    """
    path = f"{parent}/{name}"
    if not any(_is_same(f"{parent}/{other}", status) for other in other_spellings(name)):
        return path
    try:
        evidence.identify(parent or "/")
        listed = spelling_in(os.listdir(parent or "/"), name)
    except OSError:  # it may be entered, but not listed
        return path
    return f"{parent}/{listed}" if listed is not None and _is_same(f"{parent}/{listed}", status) else path


def _is_same(path: str, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(path), status)
    except OSError:
        return False
