"""What an answer about directories rests on, and whether it still holds.

While an answer is made, everything that was looked at leaves a proof. As long as each proof can be had again,
looking again would give the same answer; so an answer is never older than the check of its proofs.

A directory or file is proven by its identity: device, inode, size, and the times of its last changes. A change
within the same tick of the file system's clock as the look leaves the identity as it was, so an identity younger
than two seconds proves nothing (git calls this "racily clean"): `is_settled` says so. The time that counts
is ctime: unlike mtime, nobody can set it.

Before a mount is touched that may hang, `touch` is called. It may forbid that, by raising what is no `OSError`.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.project_finder.mounts import Mount, Mounts
from workroot.project_finder.proofs import Proof, file_type, identity, identity_of, is_absent, standing, standing_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Evidence", "Refusal"]

SETTLED_AFTER_NS = 2_000_000_000
MAX_READ_BYTES = 256 * 1024

_MAX_RESTS_ON = 64
_READ_ATTEMPTS = 2
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_NO_MOUNTS = Mounts()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file was not read; never holds anything of its content."""

    problem: str


class Evidence:
    """The proofs of one answer, gathered while looking. Every method that looks leaves a proof.

    Args:
        now_ns: when the look began, on the clock that stamps files.
        mounts: which mounts may hang.
        touch: called before one of them is touched; None touches them like any other.
        max_read_bytes: how much may be read of all files together.

    Attributes:
        mounts: as given.
        is_settled: what was seen cannot have changed since without leaving another identity.
        is_local: no mount that may hang was touched.
    """

    def __init__(
        self,
        now_ns: int,
        *,
        mounts: Mounts = _NO_MOUNTS,
        touch: Callable[[Mount], None] | None = None,
        max_read_bytes: int = MAX_READ_BYTES,
    ) -> None:
        self._proofs: dict[str, Proof] = {}
        self._identified: dict[str, os.stat_result] = {}
        self._rests_on: dict[str, None] = {}
        self._way_rests_on: dict[str, None] = {}
        self._settled_before_ns = now_ns - SETTLED_AFTER_NS
        self.mounts, self._touch = mounts, touch
        self._bytes_left = max_read_bytes
        self.is_settled = True
        self.is_local = True

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """All proofs, those of directories before what is in them.

        Where a link took a directory's place, that is seen before something is looked at behind it, which may hang.
        """
        return tuple(sorted(self._proofs.values(), key=lambda proof: len(proof[0])))

    @property
    def rests_on(self) -> tuple[str, ...]:
        """The directories to watch, in the order in which they were said, those on the way last; none that may hang."""
        return tuple({**self._rests_on, **self._way_rests_on})[:_MAX_RESTS_ON]

    def rest_on(self, directory: str, *, is_on_the_way: bool = False) -> None:
        """Say that the answer changes when something in *directory*, which was looked at, comes, goes or changes.

        Args:
            directory: absolute, links resolved.
            is_on_the_way: it only holds a link that was followed.
        """
        if self.mounts.touched_by(directory) is None:
            (self._way_rests_on if is_on_the_way else self._rests_on)[directory] = None

    def identify(self, path: str) -> os.stat_result:
        """Return what *path* itself is; it is proven whole: its names or content, owner and mode.

        Asked again it gives the same: what is read afterwards rests on the identity from before.

        Raises:
            OSError: it cannot be seen; nothing is proven.
        """
        if path in self._identified:
            return self._identified[path]
        self.enter(path)
        status = self._identified[path] = os.lstat(path)
        self._proofs[path] = (path, identity, identity_of(status))
        if status.st_ctime_ns > self._settled_before_ns:
            self.is_settled = False
        return status

    def see_from_outside(self, path: str) -> os.stat_result:
        """Return what *path* is; only its device, owner and mode are proven, not what it holds.

        Raises:
            OSError: it cannot be seen; nothing is proven.
        """
        self.enter(path)
        status = os.lstat(path)
        self.prove_weakly(path, standing, standing_of(status))
        return status

    def type_below(self, path: str) -> int | None:
        """Return the file type of what lies directly in a directory that is identified, or None.

        Leaves no proof: nothing comes, goes or becomes something else there unless the directory changes.
        """
        self.enter(path)
        try:
            return stat.S_IFMT(os.lstat(path).st_mode)
        except OSError:
            return None

    def is_there(self, path: str) -> bool:
        """Tell whether there is something at *path*; what cannot be seen is.

        The proof is that it is as there, or as little.
        """
        self.enter(path)
        try:
            self.prove_weakly(path, file_type, stat.S_IFMT(os.lstat(path).st_mode))
        except (FileNotFoundError, NotADirectoryError):
            self.prove_weakly(path, is_absent, True)
            return False
        except OSError:
            self.is_settled = False
        return True

    def read(
        self,
        path: str,
        limit: int,
        *,
        directory: int | None = None,
        refuses: Callable[[os.stat_result], str | None] = lambda _: None,
    ) -> bytes | Refusal | None:
        """Return what a file holds; None if it does not exist.

        What is no plain file (link, pipe, device) is refused, not followed and never waited for, and so is one that
        is larger than *limit*, before anything of it is read.

        Args:
            path: of the file; absolute.
            limit: in bytes.
            directory: an open descriptor of the file's directory, if that is known to be the right one.
            refuses: is shown what was really opened; returns the problem if it must not be read.
        """
        try:
            if not stat.S_ISREG(self.identify(path).st_mode):
                return Refusal("is not a plain file")
            return self._read_named(path if directory is None else os.path.basename(path), directory, limit, refuses)
        except (FileNotFoundError, NotADirectoryError):
            self.prove_weakly(path, is_absent, True)
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None  # and there never will be one
            link = error.errno == errno.ELOOP
            return Refusal("is not a plain file" if link else f"cannot be read ({os.strerror(error.errno or 0)})")

    def _read_named(
        self, name: str, directory: int | None, limit: int, refuses: Callable[[os.stat_result], str | None]
    ) -> bytes | Refusal:
        """Read what *name* stands for, before and after; if that is not what was seen, the proof will not hold.

        A file may be opened under a second name, and lose that before it is asked how many it has: so its name must
        still be there when it has but one.
        """
        for _ in range(_READ_ATTEMPTS):
            with os.fdopen(os.open(name, _OPEN_FLAGS, dir_fd=directory), "rb", buffering=0) as file:
                opened = os.fstat(file.fileno())
                content = self._read_opened(file.fileno(), opened, limit, refuses)
            if isinstance(content, Refusal):
                return content
            with suppress(FileNotFoundError, NotADirectoryError):
                now = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if identity_of(now) == identity_of(opened) and refuses(now) is None:
                    return content
        self.is_settled = False
        return Refusal("was changed while it was read; ask again")

    def _read_opened(
        self, file: int, status: os.stat_result, limit: int, refuses: Callable[[os.stat_result], str | None]
    ) -> bytes | Refusal:
        if not stat.S_ISREG(status.st_mode):
            return Refusal("is not a plain file")
        if (problem := refuses(status)) is not None:
            return Refusal(problem)
        if status.st_size > limit:
            return _too_large(limit)
        if status.st_size > self._bytes_left:
            return Refusal("is not read: the files read for this directory are too large together")
        content = _read_up_to(file, limit + 1)  # it may grow
        self._bytes_left -= len(content)
        return content if len(content) <= limit else _too_large(limit)

    def enter(self, path: str) -> None:
        """Call `touch` if *path*, which is looked at next, lies on a mount that may hang."""
        if (mount := self.mounts.touched_by(path)) is not None:
            if self._touch is not None:
                self._touch(mount)
            self.is_local = False

    def prove_weakly(self, path: str, look: Callable[[str], object], seen: object) -> None:
        """Keep a proof, unless one that says more is there: the identity says all that the others say."""
        kept = self._proofs.get(path)
        if kept is None or kept[1] is file_type:
            self._proofs[path] = (path, look, seen)


def _too_large(limit: int) -> Refusal:
    return Refusal(f"is larger than {limit // 1024} KiB")


def _read_up_to(file: int, limit: int) -> bytes:
    parts = []
    while limit > 0 and (part := os.read(file, limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)
