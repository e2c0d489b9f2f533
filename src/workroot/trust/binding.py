"""To which file a decision about a config is bound, so that no other file can borrow it.

Worktrees share what their repository was allowed. But which repository a directory belongs to is said by a file in
that directory, and whoever made the directory wrote that file: an unpacked archive can point into any repository
of the user's. So a worktree counts as one only if its repository names it in turn; else the decision is bound to
the very path of the config.
"""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING

from workroot.core.trust import ConfigFile, TrustSubject
from workroot.project_finder.evidence import Evidence
from workroot.project_finder.mounts import mount_table
from workroot.project_finder.resolving import resolve

if TYPE_CHECKING:
    from typing import NoReturn

    from workroot.core.projects import Place
    from workroot.project_finder.mounts import Mount, Mounts

__all__ = ["subject_of"]

_MAX_FILE_BYTES = 4096


def subject_of(place: Place, mounts: Mounts | None = None) -> TrustSubject | None:
    """Return what a decision about the config found at *place* is bound to; None if no usable config was found.

    Reads two small files if the project is in a worktree beside its repository. Where one of them lies on a mount that
    may hang, it is not read, and the worktree not taken for one.

    Args:
        place: as it was found.
        mounts: which mounts may hang; None asks this system.
    """
    project, key = place.project, place.key
    if project is None or key is None or project.config is None or project.config_path is None:
        return None
    if not project.config.digest:
        return None
    file = ConfigFile("", project.config_path)
    top = project.root.removesuffix(key.path).rstrip("/") if key.repository else ""
    if key.repository and _is_vouched_for(top, key.repository, mounts):
        below_root = project.config_path.removeprefix(project.root.rstrip("/")).lstrip("/")
        file = ConfigFile(key.repository, f"{key.path}/{below_root}".lstrip("/"))
    return TrustSubject(file=file, digest=project.config.digest)


def _is_vouched_for(top: str, repository: str, mounts: Mounts | None) -> bool:
    """Tell whether *repository* itself says that *top* is one of its worktrees."""
    if os.path.dirname(repository).rstrip("/") == top:
        return True  # it lies in the worktree: no file had to say so
    evidence = Evidence(0, mounts=mounts if mounts is not None else mount_table().current(), touch=_refuse)
    try:
        return _name_each_other(top, repository, evidence)
    except (OSError, ValueError, _MayHangError):  # ValueError: NUL
        return False


def _name_each_other(top: str, repository: str, evidence: Evidence) -> bool:
    marker = f"{resolve(top, evidence)}/.git"
    named = _line_of(marker, evidence)
    if named is None or not named.startswith("gitdir:"):
        return False
    private = resolve(os.path.join(top, named.removeprefix("gitdir:").strip(" ")), evidence)
    if os.path.dirname(private) != f"{repository}/worktrees":
        return False
    named_back = _line_of(f"{private}/gitdir", evidence)
    return named_back is not None and resolve(os.path.join(private, named_back), evidence) == f"{top}/.git"


def _line_of(path: str, evidence: Evidence) -> str | None:
    """Return the one line that a small plain file holds; None if it holds something else."""
    content = evidence.read(path, _MAX_FILE_BYTES)
    if not isinstance(content, bytes) or len(content) > _MAX_FILE_BYTES or b"\0" in content:
        return None
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return None


class _MayHangError(Exception):
    """A mount would have to be touched that may hang."""


def _refuse(_: Mount) -> NoReturn:
    raise _MayHangError
