"""Writes a config: whole or not at all, after a crash too, and never over what somebody else wrote meanwhile.

Everything happens within the opened directory that holds the file, so a directory that becomes a link leads nowhere.
Between the last look at a file and its replacement another program may still write; no file system that we
serve can rule that out, so the look is the last thing before it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.errors import ConfigError
from workroot.project_config.naming import name_new

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ReadFile", "read_to_replace", "remove_leftovers", "replace", "write_new"]

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_TEMPORARY = re.compile(r"\.config\.[0-9a-f]{16}\.tmp")
_ABANDONED_SECONDS = 3600
"""No writer takes so long: what is older was left behind by one that was killed."""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """What was read, and of what; it is replaced only while it is still that."""

    content: bytes
    status: os.stat_result


def write_new(path: str, content: bytes) -> None:
    """Write a file that does not exist yet, in a directory that may be made for it; everybody may read both.

    Raises:
        FileExistsError: it exists; it was left as it is.
        OSError: it could not be written, and does not exist.
    """
    holder_path, name = os.path.split(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(holder_path, 0o755)
    with _opened(holder_path) as holder:
        with _written(holder, content, 0o644) as temporary:
            name_new(temporary, name, holder)
        os.fsync(holder)
    with _opened(os.path.dirname(holder_path)) as above:
        os.fsync(above)


def read_to_replace(path: str, max_bytes: int) -> ReadFile:
    """Read a file that is to be replaced, up to one byte more than *max_bytes*.

    Raises:
        ConfigError: it is no plain file, it has several names, or it belongs to somebody else: replaced, it would not
            be what it was.
        OSError: it cannot be read.
    """
    with _opened(os.path.dirname(path)) as holder:
        if not stat.S_ISREG(_status(path, holder).st_mode):
            raise ConfigError(path, "is not a plain file; it was left as it is")
        with os.fdopen(os.open(os.path.basename(path), _READ_FLAGS, dir_fd=holder), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                raise ConfigError(path, "is not a plain file with a single name; it was left as it is")
            if status.st_uid != os.geteuid():
                raise ConfigError(path, "belongs to another user; it was left as it is")
            return ReadFile(file.read(max_bytes + 1), status)


def replace(path: str, content: bytes, was: ReadFile) -> None:
    """Put *content* in the place of a file, with the mode that it had.

    Raises:
        ConfigError: it is not the file any more that was read; it was left as it is.
        OSError: it could not be written, and was left as it is.
    """
    with _opened(os.path.dirname(path)) as holder:
        name = os.path.basename(path)
        with _written(holder, content, stat.S_IMODE(was.status.st_mode), group=was.status.st_gid) as temporary:
            if _identity(_status(path, holder)) != _identity(was.status):
                raise ConfigError(path, "was changed meanwhile by another program; it was left as it is")
            os.replace(temporary, name, src_dir_fd=holder, dst_dir_fd=holder)
        os.fsync(holder)


def remove_leftovers(path: str, now: float) -> bool:
    """Remove what writers of a config that were killed left beside it, and say whether there was any.

    That is a second name of the config itself, for which no reader would take it, and files that nobody writes any
    more. What cannot be removed stays.

    Args:
        path: of the config.
        now: in seconds since the Unix epoch.
    """
    is_removed = False
    with contextlib.suppress(OSError), _opened(os.path.dirname(path)) as holder:
        config = None
        with contextlib.suppress(FileNotFoundError):
            config = _status(path, holder)
        for name in filter(_TEMPORARY.fullmatch, os.listdir(holder)):
            with contextlib.suppress(OSError):
                status = os.stat(name, dir_fd=holder, follow_symlinks=False)
                if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                    continue
                if (config is not None and os.path.samestat(status, config)) or (
                    now - status.st_mtime > _ABANDONED_SECONDS
                ):
                    os.unlink(name, dir_fd=holder)
                    is_removed = True
    return is_removed


@contextmanager
def _opened(directory: str) -> Iterator[int]:
    descriptor = os.open(directory, _DIRECTORY_FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _written(holder: int, content: bytes, mode: int, *, group: int | None = None) -> Iterator[str]:
    """Yield the name of a new file that holds *content*, safe on the disk; what still has that name then, goes."""
    temporary = f".config.{secrets.token_hex(8)}.tmp"
    try:
        with os.fdopen(os.open(temporary, _WRITE_FLAGS, 0o600, dir_fd=holder), "wb") as file:
            file.write(content)
            file.flush()
            if group is not None:
                with contextlib.suppress(PermissionError):  # one that its owner is not in; only its owner gets less
                    os.fchown(file.fileno(), -1, group)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=holder)


def _status(path: str, holder: int) -> os.stat_result:
    return os.stat(os.path.basename(path), dir_fd=holder, follow_symlinks=False)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
