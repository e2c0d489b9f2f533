"""The directory that a command is about, as people write it."""

from __future__ import annotations

import os

from workroot.errors import DirectoryError

__all__ = ["absolute"]


def absolute(directory: str | None) -> str:
    """Return *directory* as an absolute path, or the current one for None.

    Raises:
        DirectoryError: the current directory is gone.
    """
    try:
        return os.path.abspath(directory or os.getcwd())
    except OSError:
        raise DirectoryError(os.environ.get("PWD", "."), "Directory does not exist") from None
