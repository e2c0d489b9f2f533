"""The disk below the state directory: what kind it is, what room it has, and how much of it is ours."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence

from workroot.doctor.findings import Found, Path, note, ok, problem, warning
from workroot.project_finder.mounts import remote_file_system

__all__ = ["look_at_file_system", "look_at_files_aside", "look_at_space", "look_at_usage"]

_LITTLE_BYTES = 100 * 1024 * 1024
_LITTLE_FILES = 1000
_LARGE_LOG_BYTES = 30_000_000
_LARGE_DATABASE_BYTES = 64 * 1024 * 1024
_MEGABYTE = 1_000_000
_ASIDE = re.compile(r"workroot\.db\.(damaged|replaced)-[0-9TZ-]+")

Partitions = Callable[[], Sequence[tuple[str, str]]]
"""Gives mount point and type of every file system."""


def look_at_file_system(state: str, *, partitions: Partitions | None = None) -> Iterator[Found]:
    """Look whether the state directory is on a disk of this machine: SQLite's log needs one."""
    directory = _existing(state)
    kind = remote_file_system(os.path.realpath(directory), partitions)
    if kind is not None:
        yield warning(
            f"the state directory is on a {kind} file system, served by another machine or a program: SQLite's "
            "write-ahead log is refused there, each change takes longer, and the file is as safe as that system is",
            cure=("set WORKROOT_HOME to a directory on a local disk, in your editors' entries too",),
        )
    else:
        yield ok("the state directory is on a disk of this machine")


def look_at_space(state: str, *, status_of: Callable[[str], os.statvfs_result] = os.statvfs) -> Iterator[Found]:
    """Look whether there is room, and whether it can be written to at all."""
    directory = _existing(state)
    status = status_of(directory)
    room, files = status.f_bavail * status.f_frsize, status.f_favail
    if status.f_flag & os.ST_RDONLY:
        yield problem(
            "the file system of the state directory is mounted read-only: nothing can be kept",
            cure=("mount it writable, or set WORKROOT_HOME to another place",),
        )
        return
    if not os.access(directory, os.W_OK):
        yield problem(
            Path(directory),
            " cannot be written to",
            cure=("correct its owner and mode, or set WORKROOT_HOME to another place",),
        )
    faults = [f"{room // _MEGABYTE} MB"] if room < _LITTLE_BYTES else []
    faults += [f"room for {files} files"] if status.f_files and files < _LITTLE_FILES else []
    if faults:
        grown = problem if room == 0 or (status.f_files and files == 0) else warning
        yield grown(
            f"only {' and '.join(faults)} left on the disk of the state directory: changes are refused once it is full",
            cure=("make room: `df -h ", Path(directory, quoted=True), "` shows the disk"),
        )
    else:
        yield ok(f"{room // _MEGABYTE} MB free")


def look_at_usage(state: str) -> Iterator[Found]:
    """Look how much of the disk is the daemon's."""
    log, database = os.path.join(state, "log"), os.path.join(state, "workroot.db")
    log_bytes = sum(_size(os.path.join(log, name)) for name in _names(log))
    database_bytes = sum(_size(f"{database}{end}") for end in ("", "-wal"))
    is_well = True
    if log_bytes > _LARGE_LOG_BYTES:
        is_well = False
        yield warning(
            f"the log takes {log_bytes // _MEGABYTE} MB, and 25 MB are the most that workroot writes",
            cure=("look what else is in it: `ls -l ", Path(log, quoted=True), "`"),
        )
    if database_bytes > _LARGE_DATABASE_BYTES:
        is_well = False
        yield warning(
            f"the database takes {database_bytes // _MEGABYTE} MB",
            cure=("lower the settings session_idle_seconds and ended_session_days, then run `workroot sweep`",),
        )
    if is_well:
        yield ok(f"database {_said(database_bytes)}, log {_said(log_bytes)}")


def look_at_files_aside(state: str) -> Iterator[Found]:
    """Look for databases that were moved out of the way: they are kept until somebody removes them."""
    found = sorted(name for name in _names(state) if _ASIDE.fullmatch(name))
    if not found:
        yield ok("no database was moved aside")
    for name in found:
        path, size = (
            os.path.join(state, name),
            _size(os.path.join(state, name)) + _size(os.path.join(state, f"{name}-wal")),
        )
        yield note(
            "a database that could not be used was kept as ",
            Path(path),
            f" ({_said(size)})",
            cure=("if you miss nothing, remove it: `rm ", Path(path, quoted=True), "*`"),
        )


def _existing(path: str) -> str:
    path = os.path.abspath(path)
    while not os.path.isdir(path) and path != "/":
        path = os.path.dirname(path)
    return path


def _names(directory: str) -> Sequence[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return ()


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _said(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB"
