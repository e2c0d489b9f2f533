"""The files of a service: written with a mark, and touched again only if the mark is theirs.

The mark is a comment with a digest of all else in the file. So a file of somebody else's is told from one of
ours, and one of ours that was changed by hand from one that was not.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from dataclasses import dataclass
from enum import Enum

from workroot.errors import ServiceError

__all__ = ["FileState", "FoundFile", "UnitFile", "look", "remove", "write"]

_MARK = re.compile(r"^.*written by `workroot service install`.* sha256:([0-9a-f]{64}).*\n", re.MULTILINE)
_HINT = "written by `workroot service install`, which replaces it"
_MOST_BYTES = 64 * 1024
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FileState(Enum):
    """What is at the place of a file, measured by what would be written there."""

    ABSENT = "absent"
    CURRENT = "current"
    OUTDATED = "outdated"
    """Ours as it was written, for another installation or by another version."""
    EDITED = "edited"
    """Ours, and changed by hand since."""
    FOREIGN = "foreign"
    """Not ours: it is never replaced nor removed."""


@dataclass(frozen=True, slots=True)
class UnitFile:
    """A file as it should be.

    Attributes:
        path: where.
        text: the whole of it, its mark included.
    """

    path: str
    text: str

    @classmethod
    def marked(cls, path: str, text: str) -> UnitFile:
        """Return the file that holds *text*, with the mark where a comment of its kind may stand."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        if not text.startswith("<?xml"):
            return cls(path, f"# {_HINT}; sha256:{digest}\n{text}")
        declaration, rest = text.split("\n", 1)  # nothing may come before it
        return cls(path, f"{declaration}\n<!-- {_HINT}; sha256:{digest} -->\n{rest}")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """What is at a file's place.

    Attributes:
        content: of a plain file of this user's; None for all else.
    """

    state: FileState
    content: bytes | None = None


def look(file: UnitFile) -> FoundFile:
    """Return what is at the place of *file*; nothing is changed.

    Raises:
        OSError: it cannot be looked at; the error names the path.
    """
    try:
        descriptor = os.open(file.path, _READ_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return FoundFile(FileState.FOREIGN if os.path.lexists(file.path) else FileState.ABSENT)
    except OSError:
        if os.path.islink(file.path):
            return FoundFile(FileState.FOREIGN)  # `systemctl mask` makes a link to /dev/null
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return FoundFile(FileState.FOREIGN)
        with open(descriptor, "rb", closefd=False) as opened:
            content = opened.read(_MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    return FoundFile(_state_of(content, file.text), content)


def write(file: UnitFile, found: FoundFile) -> None:
    """Put *file* in the place of what was *found* there.

    Raises:
        ServiceError: something else is there by now, or it is not ours; it was left as it is.
        OSError: it cannot be written; what was there is untouched.
    """
    directory = os.path.dirname(file.path)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    temporary = os.path.join(directory, f".{os.path.basename(file.path)}.{secrets.token_hex(8)}")
    try:
        with open(os.open(temporary, _WRITE_FLAGS, 0o600), "wb") as opened:
            opened.write(file.text.encode())
            opened.flush()
            os.fsync(opened.fileno())
        _check_unchanged(file, found)
        os.replace(temporary, file.path)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise


def remove(file: UnitFile, found: FoundFile) -> None:
    """Remove what was *found* at the place of *file*.

    Raises:
        ServiceError: something else is there by now, or it is not ours; it was left as it is.
        OSError: it cannot be removed.
    """
    _check_unchanged(file, found)
    os.unlink(file.path)


def _check_unchanged(file: UnitFile, found: FoundFile) -> None:
    if found.state is FileState.FOREIGN:
        raise ServiceError(f"{file.path} is not one of workroot's files; move it away, or leave it")
    if look(file) != found:
        raise ServiceError(f"{file.path} has changed at this moment; look at it, and try again")


def _state_of(content: bytes, wanted: str) -> FileState:
    if content == wanted.encode():
        return FileState.CURRENT
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return FileState.FOREIGN
    if (mark := _MARK.search(text)) is None or len(content) > _MOST_BYTES:
        return FileState.FOREIGN
    rest = text[: mark.start()] + text[mark.end() :]
    is_whole = hashlib.sha256(rest.encode()).hexdigest() == mark[1]
    return FileState.OUTDATED if is_whole else FileState.EDITED
