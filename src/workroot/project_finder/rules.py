"""Where a search may go on behalf of the user of this process."""

from __future__ import annotations

import grp
import os
import pwd
from typing import TYPE_CHECKING

from workroot.core.discovery import Rules
from workroot.core.projects import Directory
from workroot.project_finder.evidence import Evidence
from workroot.project_finder.mounts import Mounts, mount_table
from workroot.project_finder.resolving import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workroot.project_finder.mounts import Mount

__all__ = ["rules_of_this_process"]


def rules_of_this_process(trusted_directories: Iterable[str] = ()) -> Rules:
    """Return the rules for the user on whose behalf this process runs.

    Args:
        trusted_directories: absolute. What cannot be looked at now, or lies on a mount that may hang, is taken as it is
            spelled.
    """
    user_id, home, mounts = os.geteuid(), os.path.expanduser("~"), mount_table().current()
    return Rules(
        user_id=user_id,
        private_group_id=_private_group_of(user_id, os.getegid()),
        home=_real(home, mounts) if os.path.isabs(home) else None,
        trusted=tuple(_real(directory, mounts) for directory in trusted_directories),
    )


class _MayHangError(Exception):
    pass


def _real(directory: str, mounts: Mounts) -> Directory:
    def refuse(_mount: Mount) -> None:
        raise _MayHangError

    try:
        return Directory(resolve(directory, Evidence(0, mounts=mounts, touch=refuse)))
    except (OSError, _MayHangError):
        return Directory(os.path.normpath(directory))


def _private_group_of(user_id: int, group_id: int) -> int | None:
    """Return the group if it is the user's alone: named like the user, or neither has a name."""
    try:
        user = pwd.getpwuid(user_id).pw_name
    except KeyError:
        user = None
    try:
        group = grp.getgrgid(group_id).gr_name
    except KeyError:
        group = None
    return group_id if user == group else None
