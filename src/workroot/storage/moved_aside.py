"""A database that cannot be used makes room: it is moved away with its log, never overwritten, and kept.

The move is on the disk when it is reported: after a power failure there is either the old file at its place or all
of it aside.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ENDS", "moment", "move_aside", "sync_directory"]

ENDS = ("-wal", "-journal", "")
"""What follows a database's name in the names of its files. The log first: beside a new one it would pass for its."""


def move_aside(path: str, why: Literal["damaged", "replaced"], ends: tuple[str, ...] = ENDS) -> str:
    """Move the database at *path* away with what belongs to it, and return where it is now, as `PATH.WHY-TIME`.

    No connection to it may be open in this process, but one whose files have other names or none by now.

    Args:
        ends: what to move, if not all of it.

    Raises:
        OSError: it cannot be moved, or not all of it.
    """
    aside = next(
        name for name in _names(f"{path}.{why}-{moment()}") if not any(_is_there(f"{name}{end}") for end in ENDS)
    )
    for end in ends:
        with suppress(FileNotFoundError):
            os.rename(f"{path}{end}", f"{aside}{end}")
    with suppress(FileNotFoundError):
        os.unlink(f"{path}-shm")  # an index of the log, made anew by whoever reads it
    sync_directory(path)
    return aside


def moment() -> str:
    """Return the time of now as a part of a file's name."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")  # to the microsecond: no two copies share a name


def sync_directory(path: str) -> None:
    """See to it that the names in the directory of *path* outlive a power failure.

    Raises:
        OSError: they may not.
    """
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _names(name: str) -> Iterator[str]:
    yield name
    number = 1
    while True:
        number += 1
        yield f"{name}-{number}"


def _is_there(path: str) -> bool:
    return os.path.lexists(path)
