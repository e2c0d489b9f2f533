"""What a check found: how bad it is, what was seen, and what to do about it.

Text is kept in parts, and every part that comes from the user's machine is marked as such: a report
that others may read leaves those out, and cannot forget one.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

__all__ = [
    "Check",
    "Finding",
    "Found",
    "Name",
    "Part",
    "Path",
    "Private",
    "State",
    "Text",
    "Veil",
    "note",
    "ok",
    "plain",
    "problem",
    "warning",
]

State: TypeAlias = Literal["ok", "note", "warning", "problem"]
"""How bad: nothing to say, worth knowing, may hurt later, something does not work or is not safe."""


class Veil(Protocol):
    """Replaces what others should not read, the same by the same."""

    def path(self, path: str) -> str:
        """Return *path* without the names in it that could tell something."""

    def name(self, name: str) -> str:
        """Return what stands for *name*."""


class Private:
    """A part of a text that comes from the user's machine; this one is withheld whole."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), self.text))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def shown(self) -> str:
        """Return it as it is."""
        return self.text

    def veiled(self, veil: Veil) -> str:
        """Return what others may read of it."""
        return "<withheld>"


class Name(Private):
    """A name that somebody chose: of a user, a host, a program, a project."""

    def veiled(self, veil: Veil) -> str:
        """Return what stands for it."""
        return veil.name(self.text)


class Path(Private):
    """A path.

    Args:
        path: of what; relative ones are kept as they are.
        quoted: write it as one word of a shell.
    """

    def __init__(self, path: str, *, quoted: bool = False) -> None:
        super().__init__(path)
        self.quoted = quoted

    def shown(self) -> str:
        """Return it, ready for a shell if it was asked for so."""
        return shlex.quote(self.text) if self.quoted else self.text

    def veiled(self, veil: Veil) -> str:
        """Return it with the names that are not workroot's or the system's replaced."""
        return veil.path(self.text)


Part: TypeAlias = str | Private
Text: TypeAlias = tuple[Part, ...]
"""Parts to be read one after the other. Those that are plain `str` are this program's own words, and numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One thing that a check saw.

    Attributes:
        state: how bad it is.
        seen: what was seen.
        cure: what to do, with the command; empty only if there is nothing to do because all is well.
    """

    state: State
    seen: Text
    cure: Text = ()

    def __post_init__(self) -> None:
        if (self.state == "ok") == bool(self.cure):
            raise ValueError(f"{self.state} goes {'without' if self.cure else 'with'} a cure: {self.seen}")


@dataclass(frozen=True, slots=True)
class Check:
    """One question about the installation and its daemon.

    Attributes:
        id: stable name, for programs.
        title: what it is about, for people.
        run: answers it; may raise, and may take too long.
    """

    id: str
    title: str
    run: Callable[[], Iterable[Found]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, with the check's id and title."""

    id: str
    title: str
    found: Found


def ok(*seen: Part) -> Found:
    """All is well."""
    return Found(state="ok", seen=seen)


def note(*seen: Part, cure: Text) -> Found:
    """Nothing is wrong, but somebody who looks for a reason should know."""
    return Found(state="note", seen=seen, cure=cure)


def warning(*seen: Part, cure: Text) -> Found:
    """It works, and may stop working or hurt."""
    return Found(state="warning", seen=seen, cure=cure)


def problem(*seen: Part, cure: Text) -> Found:
    """Something does not work, or is not safe."""
    return Found(state="problem", seen=seen, cure=cure)


def plain(text: Text) -> str:
    """Return *text* whole."""
    return "".join(part if isinstance(part, str) else part.shown() for part in text)
