"""The answer to one call, as values: where its caller works, and how that is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from workroot.core.signs import Source
from workroot.errors import ProjectNeededError

if TYPE_CHECKING:
    from workroot.core.projects import Place, Project
    from workroot.core.sessions import Alias, PinnedSign, SessionContext
    from workroot.core.signs import Authority

__all__ = ["Alternative", "Outcome", "Resolution", "SessionClaim", "Skipped", "Step", "Switch", "Verdict", "nowhere"]


@dataclass(frozen=True, slots=True)
class SessionClaim:
    """Which session a call claims, and by what.

    Attributes:
        by: `handle` (the caller passed it), `conversation` (the client's own id), `alias` (the connection's
            default session) or `none`.
    """

    by: Literal["handle", "conversation", "alias", "none"]
    name: str | Alias | None = None


class Outcome(StrEnum):
    """How a decision ended."""

    DECIDED = "decided"
    UNKNOWN = "unknown"
    """No sign says where."""
    AMBIGUOUS = "ambiguous"
    """Signs name several projects, or a directory above several of them."""
    STALE = "stale"
    """The session was set against its client's signs, and those have changed since."""


class Verdict(StrEnum):
    """What became of a sign."""

    DECIDES = "decides"
    AGREES = "agrees"
    DIFFERS = "differs"
    """It names another directory, and a better sign decided."""
    CANDIDATE = "candidate"
    """It names a directory, and nothing could be decided."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another directory that the signs name, or a candidate of an ambiguous answer."""

    directory: str
    source: Source
    detail: str
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One sign of a call, best first, with its value and what became of it.

    Attributes:
        directory: as the sign gives it.
        reason: why it was skipped; empty otherwise.
        project: name of the project that owns the directory, if one does.
    """

    source: Source
    detail: str
    directory: str
    verdict: Verdict
    reason: str = ""
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A sign that was not followed, and why."""

    source: Source
    detail: str
    directory: str
    reason: str


@dataclass(frozen=True, slots=True)
class Switch:
    """What a session has to become, because its client or a project moved.

    Attributes:
        place: where it works from now on.
        signs: what its pin has to remember.
    """

    place: Place
    signs: tuple[PinnedSign, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The answer to one call.

    Attributes:
        session: the session in force, or None.
        claim: by what the call claims its session.
        is_default_session: the connection stood for it; the caller passed no handle.
        place: the directory and the project that the caller is in there, or None when unknown or ambiguous.
        looked_at: the same with the project that owns the directory, even if the caller is not in it.
        outcome: how the decision ended.
        source: the kind of sign that decided.
        detail: which one of that kind; of an unknown directory, why.
        authority: whose word it was; None when unknown.
        alternatives: what other signs name; the candidates when the answer is ambiguous.
        steps: each sign, best first.
        switch: what the session has to become before this is answered.
        previous: the session as it was before this call moved it.
    """

    session: SessionContext | None = None
    claim: SessionClaim = SessionClaim("none")
    is_default_session: bool = False
    place: Place | None
    looked_at: Place | None = None
    outcome: Outcome
    source: Source
    detail: str
    authority: Authority | None = None
    warnings: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    steps: tuple[Step, ...] = ()
    switch: Switch | None = None
    previous: SessionContext | None = None

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The signs that were not followed."""
        return tuple(
            Skipped(step.source, step.detail, step.directory, step.reason)
            for step in self.steps
            if step.verdict == Verdict.SKIPPED
        )

    def required_project(self) -> Project:
        """Return the project that the caller works in.

        Raises:
            ProjectNeededError: it is in none, or it is not known in which; names the candidates.
        """
        if self.outcome is Outcome.DECIDED and self.place is not None and self.place.project is not None:
            return self.place.project
        candidates = [other.directory for other in self.alternatives[:5]]
        if self.place is None:
            raise ProjectNeededError(f"it is not known in which one you work ({self.detail})", candidates)
        why = "; ".join(self.warnings) or f"no project owns {self.place.directory}"
        raise ProjectNeededError(why, candidates)


def nowhere(why: str) -> Resolution:
    """Return the answer to a caller of whom it cannot be said where it works."""
    return Resolution(place=None, outcome=Outcome.UNKNOWN, source=Source.UNKNOWN, detail=why)
