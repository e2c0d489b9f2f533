"""What an answer about directories rests on, and whether it still holds.

While an answer is made, everything that was looked at leaves a proof. As long as each proof can be had again,
looking again would give the same answer; so an answer is never older than the check of its proofs.

A directory or file is proven by its identity: device, inode, size, and the times of its last changes. A change
within the same tick of the file system's clock as the look leaves the identity as it was, so an identity younger
than two seconds proves nothing (git calls this "racily clean"): `is_settled` says so. The time that counts
is ctime: unlike mtime, nobody can set it.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Evidence", "Proof", "Refusal", "all_hold"]

SETTLED_AFTER_NS = 2_000_000_000

_MAX_LINKS = 40  # as Linux has it
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

Proof = tuple[str, "Callable[[str], object]", object]
"""A path, a way to look at it, and what was seen."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file was not read; never holds anything of its content."""

    problem: str


def all_hold(proofs: tuple[Proof, ...]) -> bool:
    """Look again; tell whether everything is as it was."""
    return all(look(path) == seen for path, look, seen in proofs)


class Evidence:
    """The proofs of one answer, gathered while looking. Every method that looks leaves a proof.

    Args:
        now_ns: when the look began, on the clock that stamps files.
    """

    def __init__(self, now_ns: int) -> None:
        self._proofs: dict[str, Proof] = {}
        self._identified: dict[str, os.stat_result] = {}
        self._settled_before_ns = now_ns - SETTLED_AFTER_NS
        self.is_settled = True

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """All proofs, the most likely to fail first."""
        return tuple(reversed(self._proofs.values()))

    def identify(self, path: str) -> os.stat_result:
        """Return what *path* itself is; it is proven whole: its names or content, owner and mode.

        Asked again it gives the same: what is read afterwards rests on the identity from before.

        Raises:
            OSError: it cannot be seen; nothing is proven.
        """
        if path in self._identified:
            return self._identified[path]
        status = self._identified[path] = os.lstat(path)
        self._proofs[path] = (path, _identity, _identity_of(status))
        if status.st_ctime_ns > self._settled_before_ns:
            self.is_settled = False
        return status

    def see_from_outside(self, path: str) -> os.stat_result:
        """Return what *path* is; only its device, owner and mode are proven, not what it holds.

        Raises:
            OSError: it cannot be seen; nothing is proven.
        """
        status = os.lstat(path)
        self._prove_weakly(path, _standing, _standing_of(status))
        return status

    def read(self, path: str, limit: int, *, directory: int | None = None) -> bytes | Refusal | None:
        """Return what a file holds, up to one byte more than *limit*; None if it does not exist.

        What is no plain file (link, pipe, device) is refused, not followed and never waited for.

        Args:
            path: of the file; absolute.
            limit: in bytes; a file that is larger is returned cut, one byte over it.
            directory: an open descriptor of the file's directory, if that is known to be the right one.
        """
        try:
            if not stat.S_ISREG(self.identify(path).st_mode):
                return Refusal("is not a plain file")
            name = path if directory is None else os.path.basename(path)
            with os.fdopen(os.open(name, _OPEN_FLAGS, dir_fd=directory), "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return Refusal("is not a plain file")
                return _read_up_to(file.fileno(), limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            self._prove_weakly(path, _is_absent, True)
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                return Refusal("is not a plain file")
            return Refusal(f"cannot be read ({os.strerror(error.errno or 0)})")

    def resolve(self, path: str) -> str:
        """Return *path*, which is absolute, with its symlinks resolved; each component is proven.

        Raises:
            FileNotFoundError, NotADirectoryError: it does not exist.
            OSError: it cannot be followed.
        """
        resolved, is_directory, links = "", True, 0
        left = path.split("/")[::-1]
        while left:
            name = left.pop()
            if name in ("", "."):
                continue
            if not is_directory:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            if name == "..":
                resolved = resolved.rpartition("/")[0]
                continue
            here = f"{resolved}/{name}"
            kind = self._kind(here)
            if kind != stat.S_IFLNK:
                resolved, is_directory = here, kind == stat.S_IFDIR
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(here)
            self._proofs[here] = (here, _target, target)
            if target.startswith("/"):
                resolved = ""
            left.extend(target.split("/")[::-1])
        return resolved or "/"

    def _kind(self, path: str) -> int:
        try:
            kind = stat.S_IFMT(os.lstat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            self._prove_weakly(path, _is_absent, True)
            raise
        self._prove_weakly(path, _file_type, kind)
        return kind

    def _prove_weakly(self, path: str, look: Callable[[str], object], seen: object) -> None:
        """Keep a proof, unless one that says more is there: the identity says all that the others say."""
        kept = self._proofs.get(path)
        if kept is None or kept[1] is _file_type:
            self._proofs[path] = (path, look, seen)


def _read_up_to(file: int, limit: int) -> bytes:
    parts = []
    while limit > 0 and (part := os.read(file, limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


# Ways to look. What cannot be seen is None, which is never what a proof holds.


def _identity_of(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_dev)


def _identity(path: str) -> tuple[int, ...] | None:
    try:
        return _identity_of(os.lstat(path))
    except OSError:
        return None


def _standing_of(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_mode, status.st_uid, status.st_gid, status.st_dev)


def _standing(path: str) -> tuple[int, ...] | None:
    try:
        return _standing_of(os.lstat(path))
    except OSError:
        return None


def _file_type(path: str) -> int | None:
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except OSError:
        return None


def _target(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _is_absent(path: str) -> bool | None:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return None
    return False
