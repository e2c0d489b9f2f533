"""A small file that is the user's alone: read when it changed, replaced as a whole, changed by one process at a time.

What is not exactly that (a link, another owner, a mode that lets others in, a directory that others may write to) is
refused and left as it is: whoever put it there must not decide anything by it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workroot.errors import WorkrootError

__all__ = ["PrivateFile"]

_SETTLED_SECONDS = 2  # a younger file may change once more within its time stamps' grain
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_Content = TypeVar("_Content")


class PrivateFile(Generic[_Content]):
    """One file of the user's, and what was read of it last.

    Args:
        path: of the file.
        parse: makes of its bytes what the caller works with; what it raises is passed on.
        empty: what there is as long as there is no file.
        error: makes the error of a text that says what is wrong, and the cure.
        max_bytes: a larger file is refused, and none is written.
        clock: the clock that stamps files, in seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        parse: Callable[[bytes], _Content],
        empty: _Content,
        error: Callable[[str], WorkrootError],
        max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._parse, self._empty, self._error = path, parse, empty, error
        self._max_bytes, self._clock = max_bytes, clock
        self._read: tuple[tuple[int, ...], _Content] | None = None

    def load(self) -> _Content:
        """Return what the file holds now.

        Raises:
            WorkrootError: made by `error`; the file cannot be used, or `parse` raised it.
        """
        try:
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return self._empty
        except OSError as error:
            raise self._error(f"{self._path} cannot be read: {error.strerror}") from error
        try:
            self._check_directory(directory)
            return self._load_from(directory)
        finally:
            os.close(directory)

    @contextmanager
    def changing(self) -> Iterator[Callable[[bytes], None]]:
        """Keep other processes from changing the file; yields what replaces it by new bytes.

        Raises:
            WorkrootError: made by `error`; nothing was written.
        """
        directory = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._check_directory(directory)
            fcntl.flock(directory, fcntl.LOCK_EX)
            self._remove_leftovers(directory)
            held = directory
            yield lambda content: self._replace(content, held)
        except OSError as error:
            raise self._error(f"{self._path} cannot be written: {error.strerror}") from error
        finally:
            if directory is not None:
                os.close(directory)

    def _load_from(self, directory: int) -> _Content:
        try:
            status = os.stat(self._path.name, dir_fd=directory, follow_symlinks=False)
            if self._read is not None and _identity(status) == self._read[0]:
                return self._read[1]
            self._read = None
            self._check_file(status)
            descriptor = os.open(self._path.name, _READ_FLAGS, dir_fd=directory)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                self._check_file(status)
                content = file.read(self._max_bytes + 1)
        except FileNotFoundError:
            self._read = None
            return self._empty
        except OSError as error:
            if error.errno == errno.ELOOP:  # it became a link after it was looked at
                raise self._not_ours() from error
            raise self._error(f"{self._path} cannot be read: {error.strerror}") from error
        self._check_size(content)
        parsed = self._parse(content)
        if self._clock() - max(status.st_mtime, status.st_ctime) > _SETTLED_SECONDS:
            self._read = (_identity(status), parsed)
        return parsed

    def _check_directory(self, directory: int) -> None:
        status = os.fstat(directory)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise self._error(
                f"{self._path.parent} must belong to you, and nobody else may write to it; "
                f"look whether all in it is yours, then correct its owner and mode (0700)"
            )

    def _check_file(self, status: os.stat_result) -> None:
        # no name at all: it was replaced between being opened and being looked at
        is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink <= 1
        if not is_ours or status.st_mode & 0o077:
            raise self._not_ours()

    def _not_ours(self) -> WorkrootError:
        return self._error(
            f"{self._path} must be a plain file with a single name that belongs to you, and that nobody else can read "
            f"or write (mode 0600); look whether all in it is yours, then correct that, or move it away and begin anew"
        )

    def _check_size(self, content: bytes) -> None:
        if len(content) > self._max_bytes:
            raise self._error(f"{self._path} would be or is larger than {self._max_bytes} bytes; remove some of it")

    def _replace(self, content: bytes, directory: int) -> None:
        self._check_size(content)
        temporary = f"{self._temporary_prefix}{secrets.token_hex(8)}"
        descriptor = os.open(temporary, _WRITE_FLAGS, 0o600, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)  # an unusual umask may have taken too much
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, self._path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
            raise
        os.fsync(directory)
        self._read = None

    @property
    def _temporary_prefix(self) -> str:
        return f".{self._path.name}."

    def _remove_leftovers(self, directory: int) -> None:
        """Remove what a process left that was killed while it wrote; the lock is ours, so nobody writes now."""
        for name in os.listdir(directory):
            if name.startswith(self._temporary_prefix):
                os.unlink(name, dir_fd=directory)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
