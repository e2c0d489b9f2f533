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

if TYPE_CHECKING:
    from workroot.core.projects import Place

__all__ = ["subject_of"]

_MAX_FILE_BYTES = 4096


def subject_of(place: Place) -> TrustSubject | None:
    """Return what a decision about the config found at *place* is bound to; None if no usable config was found.

    Reads two small files if the project is in a worktree beside its repository.
    """
    project, key = place.project, place.key
    if project is None or key is None or project.config is None or project.config_path is None:
        return None
    if not project.config.digest:
        return None
    file = ConfigFile("", project.config_path)
    top = project.root.removesuffix(key.path).rstrip("/") if key.repository else ""
    if key.repository and _is_vouched_for(top, key.repository):
        below_root = project.config_path.removeprefix(project.root.rstrip("/")).lstrip("/")
        file = ConfigFile(key.repository, f"{key.path}/{below_root}".lstrip("/"))
    return TrustSubject(file=file, digest=project.config.digest)


def _is_vouched_for(top: str, repository: str) -> bool:
    """Tell whether *repository* itself says that *top* is one of its worktrees."""
    if os.path.dirname(repository).rstrip("/") == top:
        return True  # it lies in the worktree: no file had to say so
    marker = f"{top}/.git"
    named = _line_of(marker)
    if named is None or not named.startswith("gitdir:"):
        return False
    private = os.path.realpath(os.path.join(top, named.removeprefix("gitdir:").strip(" ")))
    if os.path.dirname(private) != f"{repository}/worktrees":
        return False
    named_back = _line_of(f"{private}/gitdir")
    return named_back is not None and os.path.realpath(os.path.join(private, named_back)) == marker


def _line_of(path: str) -> str | None:
    """Return the one line that a small plain file holds; None if it holds something else."""
    content = Evidence(0).read(path, _MAX_FILE_BYTES)
    if not isinstance(content, bytes) or len(content) > _MAX_FILE_BYTES or b"\0" in content:
        return None
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return None
