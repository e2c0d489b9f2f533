"""What the user allows of a project's config: which file, which bytes, and what is held back without it.

A config's name and id need no trust. What it could make us do, or say to a model, is withheld until the user has
allowed that very content. Allowed contents stand side by side, so switching branches does not ask again; one
changed byte is a new content. A denial holds for the file whatever its bytes, until it is revoked.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from workroot.escaping import escaped, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workroot.core.projects import ProjectConfig

__all__ = [
    "MAX_CONTENTS",
    "ConfigFile",
    "Decision",
    "TrustRecord",
    "TrustSubject",
    "Verdict",
    "Withheld",
    "allowing",
    "denying",
    "released",
    "revoking",
    "verdict",
    "warning",
    "withheld",
]

MAX_CONTENTS = 100
"""So many allowed contents of one file are kept; of more, those allowed longest ago are asked for again."""

_MAX_NAMES = 5
_MAX_NAME_CHARACTERS = 64


class Decision(StrEnum):
    """What the user said."""

    ALLOW = "allow"
    """Of one content of the file."""
    DENY = "deny"
    """Of the file, whatever its content."""


class Verdict(StrEnum):
    """What follows from it for one content."""

    ALLOWED = "allowed"
    DENIED = "denied"
    CHANGED = "changed"
    """Not this content, but another one of the same file was allowed."""
    UNKNOWN = "unknown"
    """Nobody was asked."""


class ConfigFile(NamedTuple):
    """Which file a decision is about.

    Attributes:
        repository: the repository's common directory, which its worktrees share; empty where none vouches for the file.
        path: from the top of the repository's worktrees down to the file; without a repository its absolute path.
    """

    repository: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSubject:
    """A config as it was read.

    Attributes:
        digest: SHA-256 of its bytes, in hex.
    """

    file: ConfigFile
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRecord:
    """A decision of the user.

    Attributes:
        subject: of a denial, the digest is what the file held then; it decides nothing.
        at: in seconds since the Unix epoch.
    """

    subject: TrustSubject
    decision: Decision
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """What of a config is held back.

    Attributes:
        commands: their names, as the config has them.
        servers: likewise.
    """

    instructions: bool = False
    commands: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.instructions or bool(self.commands) or bool(self.servers)


def verdict(records: Iterable[TrustRecord], subject: TrustSubject) -> Verdict:
    """Return what the user's decisions say about *subject*; the order of *records* does not matter."""
    of_file = [record for record in records if record.subject.file == subject.file]
    if any(record.decision is Decision.DENY for record in of_file):
        return Verdict.DENIED
    if any(record.subject.digest == subject.digest for record in of_file):
        return Verdict.ALLOWED
    return Verdict.CHANGED if of_file else Verdict.UNKNOWN


def allowing(records: Sequence[TrustRecord], subject: TrustSubject, at: float) -> tuple[TrustRecord, ...]:
    """Return *records* with *subject* allowed, as the last one. A denial of its file stays, and still wins."""
    others = tuple(record for record in records if record.subject != subject or record.decision is Decision.DENY)
    allowed = [record for record in others if record.subject.file == subject.file and record.decision is Decision.ALLOW]
    too_many = allowed[: max(0, len(allowed) - MAX_CONTENTS + 1)]
    kept = tuple(record for record in others if record not in too_many)
    return (*kept, TrustRecord(subject=subject, decision=Decision.ALLOW, at=at))


def denying(records: Sequence[TrustRecord], subject: TrustSubject, at: float) -> tuple[TrustRecord, ...]:
    """Return *records* with the file of *subject* denied; what was allowed of it is forgotten."""
    return (*revoking(records, subject.file), TrustRecord(subject=subject, decision=Decision.DENY, at=at))


def revoking(records: Sequence[TrustRecord], file: ConfigFile) -> tuple[TrustRecord, ...]:
    """Return *records* without any decision about *file*."""
    return tuple(record for record in records if record.subject.file != file)


def withheld(config: ProjectConfig, decided: Verdict) -> Withheld:
    """Return what of *config* is held back under that verdict; nothing if it is allowed, or asks for nothing."""
    if decided is Verdict.ALLOWED:
        return Withheld()
    return Withheld(
        instructions=config.instructions is not None,
        commands=tuple(name for name, _ in config.commands),
        servers=tuple(server.name for server in config.servers),
    )


def released(config: ProjectConfig, decided: Verdict) -> ProjectConfig:
    """Return *config* as it may be acted upon: without what is withheld."""
    if decided is Verdict.ALLOWED:
        return config
    return replace(config, instructions=None, commands=(), servers=())


def warning(held: Withheld, decided: Verdict, root: str) -> str | None:
    """Return one line that names what is withheld and says how to allow it; None if nothing is.

    Names come from the repository: they are escaped, cut, and of many only the first are shown.

    Args:
        held: what `withheld` returned.
        decided: why it is.
        root: the project's.
    """
    if not held:
        return None
    parts = ["instructions"] if held.instructions else []
    parts += [f"{kind}: {_listed(names)}" for kind, names in _kinds(held) if names]
    what, directory = ", ".join(parts), escaped(shlex.quote(root))
    if decided is Verdict.DENIED:
        return (
            f"withheld because the user denied it: {what}; `workroot trust --revoke {directory}` takes the denial back"
        )
    again = "the config changed since the user allowed it; " if decided is Verdict.CHANGED else ""
    return f"{again}withheld until the user allows it: {what}; run `workroot trust {directory}` in a terminal"


def _kinds(held: Withheld) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("commands", held.commands), ("servers", held.servers)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(shown(name, _MAX_NAME_CHARACTERS) for name in names[:_MAX_NAMES]) + more
