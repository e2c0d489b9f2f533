"""Ways to look at a path that are cheap to repeat: as long as one sees what it saw, nothing that counts has changed.

What cannot be seen is None, which is never what a proof holds.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Proof",
    "all_hold",
    "file_type",
    "identity",
    "identity_of",
    "is_absent",
    "link_target",
    "standing",
    "standing_of",
]

Proof = tuple[str, "Callable[[str], object]", object]
"""A path, a way to look at it, and what was seen."""


def all_hold(proofs: tuple[Proof, ...]) -> bool:
    """Look again; tell whether everything is as it was."""
    for path, look, seen in proofs:  # noqa: SIM110 -- a generator costs a tenth of a look, and this is each call's way
        if look(path) != seen:
            return False
    return True


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return what tells a file or directory, as it is, from all others and from itself after a change."""
    return (status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_dev)


def identity(path: str) -> tuple[int, ...] | None:
    """See that *path* is the same and unchanged: content or names, owner and mode."""
    try:
        return identity_of(os.lstat(path))
    except OSError:
        return None


def standing_of(status: os.stat_result) -> tuple[int, ...]:
    """Return who decides what a file or directory holds, and on which device it is."""
    return (status.st_mode, status.st_uid, status.st_gid, status.st_dev)


def standing(path: str) -> tuple[int, ...] | None:
    """See that *path* has the same type, owner, mode and device."""
    try:
        return standing_of(os.lstat(path))
    except OSError:
        return None


def file_type(path: str) -> int | None:
    """See that *path* is of the same type."""
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except OSError:
        return None


def link_target(path: str) -> str | None:
    """See that *path* is a link that says the same."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def is_absent(path: str) -> bool | None:
    """See that there is still nothing at *path*."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return None
    return False
