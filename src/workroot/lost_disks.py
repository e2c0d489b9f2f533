"""What keeps a place from being written, in words for whoever can do something about it.

Standard library only, and of that only what is loaded anyway: the connector says this before it has a daemon.
"""

from __future__ import annotations

import errno
import os
from time import gmtime, strftime

__all__ = ["explained", "is_disk_lost", "memory_only", "why_unwritable"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOST = _FULL | {errno.EROFS, errno.EACCES, errno.EIO}


def is_disk_lost(error: OSError) -> bool:
    """Tell whether *error* says that nothing can be written there now, whatever it would be."""
    return error.errno in _LOST


def why_unwritable(path: str, failure: BaseException | None = None) -> str | None:
    """Return what keeps *path* from being written, and what to do about it; None if that cannot be seen.

    Args:
        path: of a file or a directory that may be missing.
        failure: what happened when it was tried, or an error that it caused.
    """
    cure = "or set WORKROOT_HOME to a directory elsewhere, in your editors' entries too"
    directory = path
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    number = _errno(failure)
    try:
        status = os.statvfs(directory)
    except OSError as error:
        return f"{directory} cannot be looked at ({error.strerror}): make it accessible, {cure}"
    if status.f_flag & os.ST_RDONLY or number == errno.EROFS:
        return f"{path} is on a file system that is mounted read-only: mount it writable, {cure}"
    if status.f_bavail == 0 or number in _FULL:
        return f"{path} cannot be written, its disk is full: free some space there, {cure}"
    for each in dict.fromkeys((path, directory)):
        if os.path.exists(each) and not os.access(each, os.R_OK | os.W_OK):
            return f"you may not write to {each}: correct its owner and mode, {cure}"
    return None


def memory_only(since: float, because: str) -> str:
    """Return the words for a store of which nothing reaches the disk.

    Args:
        since: when that began, in seconds since the Unix epoch.
        because: why, with what to do about it.
    """
    return f"memory only since {strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(since))}: {because}"


def explained(error: OSError) -> str:
    """Return what the system refused and to what, with the cure if one can be told."""
    if not isinstance(error.filename, str):
        return error.strerror or str(error)
    if is_disk_lost(error) and (why := why_unwritable(os.path.abspath(error.filename), error)) is not None:
        return why
    return f"{error.filename}: {error.strerror}; `workroot doctor` looks what is wrong there"


def _errno(failure: BaseException | None) -> int | None:
    cause = failure if failure is None or isinstance(failure, OSError) else failure.__cause__
    return cause.errno if isinstance(cause, OSError) else None
