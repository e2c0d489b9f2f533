"""The last decisions of each session, for `workroot why`: who asked, what was answered, and from which sign.

A call that was refused is a decision, too. What is kept is bounded, whatever clients send: so many decisions
of so many sessions, texts cut, and if it is too much all the same the session longest unused makes room.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from workroot.errors import WorkrootError
from workroot.redaction import short_session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workroot.core.answer import Alternative, Resolution, Step
    from workroot.core.projects import Place
    from workroot.core.sessions import Owner, SessionContext

__all__ = ["Decision", "DecisionLog", "SessionUnclearError", "whole_session_id"]

_PER_SESSION = 20
_SESSIONS = 1000
_CHARACTERS = 32_000_000
_MAX_STEPS = 32
_MAX_TEXT = 1000
_MAX_PATH = 4096
_LEAST_OF_HANDLE = 8
_LONGEST_HANDLE = 128

_Named = TypeVar("_Named", "Alternative", "Step")


class SessionUnclearError(WorkrootError):
    """What was given as a session is no handle of this user's, nor the beginning of just one."""

    code = "unclear_session"

    def __init__(self, given: str, problem: str) -> None:
        super().__init__(f"{given[:_LONGEST_HANDLE]!r} {problem}; `workroot sessions --json` has the handles")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One call that was told where it works, or why not.

    Attributes:
        at: in seconds since the Unix epoch.
        client: `clientInfo.name`, or None.
        tool: the tool or resource that was asked.
        resolution: None if the call was refused.
        error: code and text of the refusal, or None.
        claimed: of a refused call, the handle that it passed, or None.
    """

    at: float
    owner: Owner
    client: str | None
    tool: str
    resolution: Resolution | None = None
    error: tuple[str, str] | None = None
    claimed: str | None = None

    @property
    def session_id(self) -> str | None:
        """The session that the call was in, or claimed to be in."""
        if self.resolution is None:
            return self.claimed
        return self.resolution.session.session_id if self.resolution.session is not None else None


class DecisionLog:
    """Keeps the last 20 decisions of each of the last 1,000 sessions; calls without a session share one place.

    Args:
        max_characters: so many characters of text at most.
    """

    def __init__(self, *, max_characters: int = _CHARACTERS) -> None:
        self._kept: OrderedDict[tuple[Owner, str | None], deque[tuple[int, int, Decision]]] = OrderedDict()
        self._count = 0  # the order of decisions; the wall clock may jump
        self._characters, self._max_characters = 0, max_characters

    def record(self, decision: Decision) -> None:
        """Keep a decision, and let go of the oldest."""
        decision = _cut(decision)
        key = (decision.owner, decision.session_id)
        if decision.resolution is None and key not in self._kept:
            key = (decision.owner, None)  # anybody can make up handles; they must not push out sessions that are used
        self._count += 1
        kept, size = self._kept.setdefault(key, deque()), _size(decision)
        kept.append((self._count, size, decision))
        self._characters += size
        self._kept.move_to_end(key)
        if len(kept) > _PER_SESSION:
            self._characters -= kept.popleft()[1]
        while len(self._kept) > _SESSIONS or (self._characters > self._max_characters and len(self._kept) > 1):
            _, gone = self._kept.popitem(last=False)
            self._characters -= sum(size for _, size, _ in gone)

    def of_owner(
        self, owner: Owner, *, client: str | None = None, session_id: str | None = None, last: int | None = None
    ) -> list[Decision]:
        """Return the owner's decisions, newest last: with *client* or *session_id* theirs, at most *last* of them."""
        numbered = [
            (number, decision)
            for (whose, _), decisions in self._kept.items()
            if whose == owner
            for number, _, decision in decisions
            if (client is None or decision.client == client)
            and (session_id is None or decision.session_id == session_id)
        ]
        found = [decision for _, decision in sorted(numbered, key=lambda each: each[0])]
        return found if last is None else found[-last:] if last > 0 else []

    def sessions_of(self, owner: Owner) -> list[str]:
        """Return the sessions of the owner that decisions are kept of, those that have ended included."""
        return [session_id for whose, session_id in self._kept if whose == owner and session_id is not None]


def whole_session_id(given: str, known: Iterable[str]) -> str:
    """Return the one handle among *known* that *given* is, or begins, be it with the dots that stand for its rest.

    Raises:
        SessionUnclearError: there is none, or more than one, or it is the beginning of fewer than 8 characters.
    """
    handles = set(known)
    if given in handles:
        return given
    beginning = given.removesuffix("...")
    if len(beginning) < _LEAST_OF_HANDLE:
        raise SessionUnclearError(given, f"is too short; a session is named by {_LEAST_OF_HANDLE} characters or more")
    found = [handle for handle in handles if handle.startswith(beginning)]
    if len(found) != 1:
        raise SessionUnclearError(given, "begins several sessions" if found else "is no session that is remembered")
    return found[0]


# What is kept of a decision


def _cut(decision: Decision) -> Decision:
    client, error, claimed = decision.client, decision.error, decision.claimed
    if error is None and claimed is None and len(client or "") <= _MAX_TEXT and decision.resolution is not None:
        resolution = _cut_resolution(decision.resolution)
        return decision if resolution is decision.resolution else replace(decision, resolution=resolution)
    if error is not None:
        text = error[1]
        if claimed:
            text = text.replace(claimed, short_session(claimed))
        error = (error[0], _short(text))
    return replace(
        decision,
        client=_short(client) if client is not None else None,
        resolution=_cut_resolution(decision.resolution) if decision.resolution is not None else None,
        error=error,
        claimed=claimed[:_LONGEST_HANDLE] if claimed is not None else None,
    )


def _cut_resolution(resolution: Resolution) -> Resolution:
    if not _is_to_be_cut(resolution):
        return resolution
    return replace(
        resolution,
        session=_cut_session(resolution.session),
        previous=_cut_session(resolution.previous),
        place=_cut_place(resolution.place) if resolution.place is not None else None,
        detail=_short(resolution.detail),
        warnings=tuple(_short(warning) for warning in resolution.warnings[:_MAX_STEPS]),
        alternatives=tuple(_cut_named(each) for each in resolution.alternatives[:_MAX_STEPS]),
        steps=tuple(_cut_named(each) for each in resolution.steps[:_MAX_STEPS]),
        switch=None,
    )


def _is_to_be_cut(resolution: Resolution) -> bool:
    """Tell whether something is to be left out: mostly nothing is, and to copy a resolution costs more than to look."""
    session, previous, place = resolution.session, resolution.previous, resolution.place
    return (
        resolution.switch is not None
        or (session is not None and bool(session.signs))
        or (previous is not None and bool(previous.signs))
        or (place is not None and place.project is not None and place.project.config is not None)
        or max(map(len, (resolution.detail, *resolution.warnings))) > _MAX_TEXT
        or max(map(len, (resolution.warnings, resolution.alternatives, resolution.steps))) > _MAX_STEPS
        or any(_cut_named(each) is not each for each in resolution.alternatives)
        or any(_cut_named(each) is not each for each in resolution.steps)
    )


def _cut_session(session: SessionContext | None) -> SessionContext | None:
    return replace(session, signs=()) if session is not None and session.signs else session


def _cut_place(place: Place) -> Place:
    """Leave out what the project's config says: it may be large, and is not what decided."""
    project = place.project
    if project is None or project.config is None:
        return place
    return replace(place, project=replace(project, config=None))


def _cut_named(named: _Named) -> _Named:
    project = named.project
    if max(len(named.directory), len(named.detail), len(project or "")) <= _MAX_TEXT:
        return named
    return replace(
        named,
        directory=named.directory[:_MAX_PATH],
        detail=_short(named.detail),
        project=_short(project) if project is not None else None,
    )


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"


def _size(decision: Decision) -> int:
    """Return about how many characters of text a decision holds."""
    size = len(decision.client or "") + sum(len(text) for text in decision.error or ())
    resolution = decision.resolution
    if resolution is None:
        return size
    size += len(resolution.detail) + sum(len(warning) for warning in resolution.warnings)
    size += sum(len(each.directory) + len(each.detail) for each in resolution.alternatives)
    size += sum(len(each.directory) + len(each.detail) for each in resolution.steps)
    return size + 3 * len(resolution.place.directory if resolution.place is not None else "")
