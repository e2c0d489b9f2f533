"""Which directories are file systems that may never answer: another machine serves them, or a program does.

A `stat` on a dead network mount does not return, and nothing can make it. So before a path is touched it is asked
here, by its text alone: this module never looks at what is mounted. Linux tells at once when the table of mounts
changes, and asking whether it did costs less than a microsecond; elsewhere the table is read at most once a second.

What is mounted at `/` counts as local whatever it is: without it, nothing here would run.
"""

from __future__ import annotations

import os
import re
import select
import sys
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from workroot.project_finder.spelling import folded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "Mount",
    "MountTable",
    "Mounts",
    "PolledMountTable",
    "WatchedMountTable",
    "may_hang",
    "mount_table",
    "remote_file_system",
]

_MAY_HANG = frozenset(
    {
        *("9p", "acfs", "afpfs", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "ftp", "fuse"),
        *("fusefs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "macfuse", "ncp", "ncpfs", "nfs", "nfs3", "nfs4"),
        *("ocfs2", "orangefs", "osxfuse", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"),
        *("webdav",),
    }
)
_REREAD_SECONDS = 1.0
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_CHUNK_BYTES = 64 * 1024


class Mount(NamedTuple):
    """One mount that may hang.

    Attributes:
        point: the directory where it is mounted.
        number: tells it from what was mounted there before; empty where the system has no such number.
    """

    point: str
    number: str = ""


@dataclass(frozen=True, slots=True)
class Mounts:
    """The mounts of one moment that need care.

    Attributes:
        remote: those that may hang.
        magic: where `/proc` is mounted; its links lead somewhere else in every process.
        generation: another number whenever one of these changed.
    """

    remote: tuple[Mount, ...] = ()
    magic: tuple[str, ...] = ("/proc",)
    generation: int = 0
    _prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, remote: Iterable[Mount], magic: Iterable[str] = ("/proc",), generation: int = 0) -> Mounts:
        """Return these mounts; what is mounted at `/` is left out."""
        kept = tuple(sorted(mount for mount in set(remote) if mount.point != "/"))
        return cls(kept, tuple(sorted(set(magic))), generation, tuple(f"{folded(mount.point)}/" for mount in kept))

    def touched_by(self, path: str) -> Mount | None:
        """Return the mount that has to answer when *path*, absolute and without links on its way, is looked at."""
        if not self._prefixes:
            return None
        way = f"{folded(path)}/"  # file systems may fold what they are asked for
        if not way.startswith(self._prefixes):
            return None
        return max(mount for mount, prefix in zip(self.remote, self._prefixes, strict=True) if way.startswith(prefix))

    def is_magic(self, path: str) -> bool:
        """Tell whether a symlink at *path* stands for something else in every process."""
        return any(path.startswith(f"{point}/") for point in self.magic)


class MountTable(Protocol):
    """Knows the mounts of now. Not for use by several threads at once."""

    def current(self) -> Mounts:
        """Return the mounts; the same object as before unless one of them changed."""


def mount_table() -> MountTable:
    """Return the table of this system."""
    if sys.platform == "linux":
        with suppress(OSError):  # no /proc
            return WatchedMountTable()
    return PolledMountTable()


def may_hang(kind: str) -> bool:
    """Tell whether a file system of this type, as the system names it, may leave a question without an answer."""
    kind = kind.lower()
    return kind in _MAY_HANG or kind.startswith("fuse.")


def remote_file_system(path: str, partitions: Callable[[], Iterable[tuple[str, str]]] | None = None) -> str | None:
    """Return the type of the file system that holds *path* if another machine or a program serves it, else None.

    Args:
        path: absolute, without links on its way; it is not looked at.
        partitions: gives mount point and type of every file system; None asks the system.
    """
    way = f"{path.rstrip('/')}/"
    best = ("", "")
    try:
        mounts = [*(partitions or _partitions)()]
    except OSError:  # no /proc: nobody can tell
        mounts = []
    for point, kind in mounts:
        if way.startswith(f"{point.rstrip('/')}/") and len(point) >= len(best[0]):
            best = point, kind
    point, kind = best
    return kind if point != "/" and may_hang(kind) else None


class WatchedMountTable:
    """The kernel's own table, read again when the kernel says that it changed (`proc_pid_mountinfo(5)`).

    Raises:
        OSError: there is no such table.
    """

    def __init__(self, path: str = "/proc/self/mountinfo") -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        self._changes = select.poll()
        self._changes.register(self._file, select.POLLPRI)
        self._mounts = _read_table(_whole(self._file), 0)

    def current(self) -> Mounts:
        """See `MountTable`."""
        if self._changes.poll(0):
            self._mounts = _newer(self._mounts, _read_table(_whole(self._file), self._mounts.generation + 1))
        return self._mounts


class PolledMountTable:
    """The table as psutil gives it, read at most once a second.

    Args:
        partitions: gives mount point and type of every file system, without waiting for one of them.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        partitions: Callable[[], Iterable[tuple[str, str]]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._partitions = partitions if partitions is not None else _partitions
        self._clock = clock
        self._read_at: float | None = None
        self._mounts = Mounts()

    def current(self) -> Mounts:
        """See `MountTable`."""
        now = self._clock()
        if self._read_at is None or now - self._read_at >= _REREAD_SECONDS:
            self._read_at = now
            remote = [Mount(point) for point, kind in self._partitions() if may_hang(kind)]
            self._mounts = _newer(self._mounts, Mounts.of(remote, generation=self._mounts.generation + 1))
        return self._mounts


def _newer(old: Mounts, new: Mounts) -> Mounts:
    return old if (old.remote, old.magic) == (new.remote, new.magic) else new


def _partitions() -> list[tuple[str, str]]:
    import psutil  # where the kernel's table can be read, nobody pays for this

    return [(partition.mountpoint, partition.fstype) for partition in psutil.disk_partitions(all=True)]


def _whole(file: int) -> bytes:
    os.lseek(file, 0, os.SEEK_SET)
    parts = []
    while part := os.read(file, _CHUNK_BYTES):
        parts.append(part)
    return b"".join(parts)


def _read_table(table: bytes, generation: int) -> Mounts:
    """Return what a table says in lines of `36 35 98:0 /dir /point options [tags] - type source options`."""
    remote, magic = [], ["/proc"]
    for line in table.splitlines():
        mount, _, file_system = line.partition(b" - ")
        fields, kind = mount.split(b" "), os.fsdecode(file_system.split(b" ")[0])
        if kind != "proc" and not may_hang(kind):
            continue
        point = os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), fields[4]))
        if kind == "proc":
            magic.append(point)
        else:
            remote.append(Mount(point, os.fsdecode(fields[0] + b"/" + fields[2])))
    return Mounts.of(remote, magic, generation)
