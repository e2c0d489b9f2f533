"""Small disks of the tests' own, in memory, to be filled up and made read-only for real."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_DETACH = 2  # MNT_DETACH
_READ_ONLY, _REMOUNT = 1, 32  # MS_RDONLY, MS_REMOUNT
_libc = ctypes.CDLL(None, use_errno=True)


class MemoryDisk:
    """A mounted tmpfs.

    Attributes:
        point: the directory where it is mounted.
    """

    def __init__(self, point: Path) -> None:
        self.point = point

    def fill(self) -> None:
        """Leave no room on it."""
        with open(self._filler, "ab", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(b"\0" * 4096)

    def make_room(self) -> None:
        """Take away what fills it."""
        self._filler.unlink()

    def make_read_only(self, is_so: bool = True) -> None:
        """Let nobody write to it, or let them again; no file on it may be open for writing."""
        _mount(b"none", self.point, _REMOUNT | (_READ_ONLY if is_so else 0), b"")

    @property
    def _filler(self) -> Path:
        return self.point / "filler"


@contextmanager
def memory_disk(point: Path, *, kilobytes: int = 2048) -> Iterator[MemoryDisk]:
    """Mount a disk at *point*, a directory that is made if it is missing, and take it away at the end."""
    point.mkdir(parents=True, exist_ok=True)
    try:
        _mount(b"tmpfs", point, 0, f"size={kilobytes}k,mode=0700,uid={os.getuid()}".encode())
    except PermissionError:
        pytest.skip("mounting is not permitted")
    try:
        yield MemoryDisk(point)
    finally:
        _libc.umount2(os.fsencode(point), _DETACH)


def _mount(source: bytes, point: Path, flags: int, options: bytes) -> None:
    if _libc.mount(source, os.fsencode(point), b"tmpfs", flags, options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(point))
