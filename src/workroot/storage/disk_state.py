"""Why a database cannot be written, with what to do about it: what the disk itself shows, or else what SQLite says."""

from __future__ import annotations

from workroot import lost_disks
from workroot.storage.failures import unavailable

__all__ = ["why_unwritable"]


def why_unwritable(path: str, failure: Exception) -> str:
    """Return what keeps the database at *path* from being written, and what to do about it.

    Args:
        failure: what happened when it was to be opened or written.
    """
    return lost_disks.why_unwritable(path, failure) or str(unavailable(path, failure))
