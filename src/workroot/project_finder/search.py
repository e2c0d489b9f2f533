"""One search from a real directory upward: what was seen, and what that rests on."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.core.discovery import Finding, find_owner
from workroot.core.projects import Directory
from workroot.errors import DirectoryError
from workroot.project_finder.evidence import Evidence
from workroot.project_finder.level_view import LevelView
from workroot.project_finder.proofs import Proof, all_hold
from workroot.project_finder.resolving import MagicLinkError, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from workroot.core.discovery import Rules
    from workroot.project_finder.mounts import Mount, Mounts

__all__ = ["Seen", "search", "unusable"]

_MAX_PATH_BYTES = 4095
_MAX_ECHOED_CHARACTERS = 1000


@dataclass(slots=True, kw_only=True)
class Seen:
    """What a search saw.

    Attributes:
        proofs: while all of them hold, another search would see the same.
        is_settled: the proofs can be relied on.
        rests_on: the directories to watch.
        is_local: no mount that may hang was touched.
        mounts: those of the last look.
    """

    finding: Finding
    proofs: tuple[Proof, ...]
    is_settled: bool
    rests_on: tuple[str, ...]
    is_local: bool
    mounts: Mounts

    def still_holds(self, mounts: Mounts, touch: Callable[[Mount], None] | None) -> bool:
        """Look again, at the proofs alone; *touch* is called before a mount is touched that may hang."""
        if mounts is not self.mounts and not self._leads_the_same_way(mounts):
            return False
        self.mounts = mounts
        if self.is_local or touch is None:
            return all_hold(self.proofs)
        for proof in self.proofs:
            if (mount := mounts.touched_by(proof[0])) is not None:
                touch(mount)
            if not all_hold((proof,)):
                return False
        return True

    def _leads_the_same_way(self, mounts: Mounts) -> bool:
        """Tell whether the mounts that changed have nothing to do with what was seen."""
        before = self.mounts
        return mounts.magic == before.magic and all(
            mounts.touched_by(path) == before.touched_by(path) for path, _, _ in self.proofs
        )


def search(
    directory: str,
    rules: Rules,
    config_names: tuple[str, ...],
    *,
    now_ns: int,
    mounts: Mounts,
    touch: Callable[[Mount], None] | None = None,
) -> Seen:
    """Look at *directory* and upward.

    Args:
        directory: as the caller spelled it.
        rules: where the search may go.
        config_names: what to look for at each level.
        now_ns: the time, on the clock that stamps files.
        mounts: which mounts may hang.
        touch: called before one of them is touched; what it raises ends the search.

    Raises:
        DirectoryError: it is not an absolute path of an existing, readable directory.
    """
    _check_spelling(directory)
    evidence = Evidence(now_ns, mounts=mounts, touch=touch)
    try:
        real = _real_directory(directory, evidence)
        finding = find_owner(real, LevelView(evidence, rules, config_names), rules)
    except MagicLinkError as error:
        problem = f"Directory cannot be used ({error.link} stands for another one in every process)"
        raise unusable(directory, problem) from None
    except (FileNotFoundError, NotADirectoryError):
        raise unusable(directory, "Directory does not exist") from None
    except PermissionError:
        raise unusable(directory, "Directory is not readable") from None
    except OSError as error:
        raise unusable(directory, f"Directory cannot be used ({os.strerror(error.errno or 0)})") from None
    return Seen(
        finding=finding,
        proofs=evidence.proofs,
        is_settled=evidence.is_settled,
        rests_on=evidence.rests_on,
        is_local=evidence.is_local,
        mounts=mounts,
    )


def unusable(directory: str, problem: str) -> DirectoryError:
    """Return the error that says *problem* of a directory: Unicode without NUL, and not without end."""
    text = directory[: _MAX_ECHOED_CHARACTERS + 1].encode(errors="backslashreplace").decode().replace("\0", "\\x00")
    return DirectoryError(
        text if len(text) <= _MAX_ECHOED_CHARACTERS else f"{text[:_MAX_ECHOED_CHARACTERS]}...", problem
    )


def _check_spelling(directory: str) -> None:
    try:
        size = len(directory.encode())
    except UnicodeEncodeError:
        raise unusable(directory, "Directory path must be valid Unicode") from None
    if "\0" in directory:
        raise unusable(directory, "Directory path must not contain NUL")
    if size > _MAX_PATH_BYTES:
        raise unusable(directory, f"Directory path must not be longer than {_MAX_PATH_BYTES:,} bytes")
    if not directory.startswith("/"):
        raise unusable(directory, "Directory path must be absolute")


def _real_directory(directory: str, evidence: Evidence) -> Directory:
    real = Directory(resolve(directory, evidence))
    if not stat.S_ISDIR(evidence.see_from_outside(real).st_mode):
        raise unusable(directory, "Path is not a directory")
    if not os.access(real, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise unusable(directory, "Directory is not readable")
    try:
        real.encode()
    except UnicodeEncodeError:  # reached through a link: names on disk are bytes
        raise unusable(directory, "Directory path must be valid Unicode") from None
    return real
