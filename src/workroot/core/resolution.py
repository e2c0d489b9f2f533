"""Whose session, and where does it work? Decided from the signs alone, anew on every call.

The procedure, which a person can follow with `workroot why`:

1. *Session*: the argument `session_id`, else `_meta["workroot/session"]` or the header
   `Workroot-Session`, else in the handshake era the connection's default session, else none.
2. *Directory*: the argument `directory`, else the session's pin, else the first usable hint:
   `_meta["workroot/directory"]`, the client's roots, the connector's facts, the headers.
3. Otherwise unknown. It is never guessed, and never the last caller's.

`directories_of` says which directories the answer depends on; whoever can look at directories does
so; `decide` turns what was seen into the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workroot.core.signs import (
    FIRST_ROOT_IS_WORKING_DIRECTORY,
    Authority,
    Hint,
    RootsAnswer,
    Signs,
    Source,
    path_of_root,
)
from workroot.errors import DirectoryError, SignsDisagreeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from workroot.core.projects import Place
    from workroot.core.sessions import Alias, SessionContext

__all__ = [
    "Alternative",
    "Resolution",
    "SessionClaim",
    "Skipped",
    "claimed_session",
    "decide",
    "directories_of",
    "pinned_signs",
]

_SYSTEM_DIRECTORIES = ("/bin", "/dev", "/etc", "/lib", "/proc", "/sbin", "/sys", "/usr", "/Applications", "/System")
"""Where programs live; a hint that points here, outside any project, is an application's own directory."""

_FIRST_ROOT = "root 1"


@dataclass(frozen=True, slots=True)
class SessionClaim:
    """Which session a call claims, and by what.

    Attributes:
        by: `handle` (the caller passed it), `alias` (the connection's default session) or `none`.
    """

    by: Literal["handle", "alias", "none"]
    name: str | Alias | None = None


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another directory that the signs name, or a candidate of an ambiguous answer."""

    directory: str
    source: Source
    detail: str
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A sign that was not followed, and why."""

    source: Source
    detail: str
    directory: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The answer to one call.

    Attributes:
        session: the session in force, or None.
        is_default_session: the connection stood for it; the caller passed no handle.
        place: the directory and its project, or None when unknown or ambiguous.
        source: the kind of sign that decided.
        detail: which one of that kind.
        authority: whose word it was; None when unknown.
        alternatives: what other signs name; the candidates when the answer is ambiguous.
        skipped: signs that were not followed.
    """

    session: SessionContext | None = None
    is_default_session: bool = False
    place: Place | None
    source: Source
    detail: str
    authority: Authority | None = None
    warnings: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def claimed_session(signs: Signs) -> SessionClaim:
    """Return which session a call claims to be in.

    Raises:
        SignsDisagreeError: `_meta` and header name different sessions.
    """
    if signs.session_id is not None:
        return SessionClaim("handle", signs.session_id)
    meta, header = signs.meta_session, signs.header_session
    if meta is not None and header is not None and meta != header:
        raise SignsDisagreeError("session", ('_meta["workroot/session"]', meta), ("Workroot-Session", header))
    if (handle := meta if meta is not None else header) is not None:
        return SessionClaim("handle", handle)
    if signs.alias is not None:
        return SessionClaim("alias", signs.alias)
    return SessionClaim("none")


def directories_of(signs: Signs, session: SessionContext | None) -> tuple[str, ...]:
    """Return the directories that `decide` wants to know about, each once."""
    if signs.directory is not None:
        return (signs.directory,)
    named: list[str] = [session.working_directory] if session is not None else []
    named.extend(hint.directory for hint in _hints(signs))
    return tuple(dict.fromkeys(named))


def decide(
    signs: Signs,
    session: SessionContext | None,
    places: Mapping[str, Place | DirectoryError],
    *,
    home: str,
) -> Resolution:
    """Return where the caller works, and how that is known.

    Args:
        signs: what the call said.
        session: the session it is in, found by `claimed_session`.
        places: what was seen at each of `directories_of(signs, session)`.
        home: the user's home directory; as a hint it says nothing.

    Raises:
        DirectoryError: the argument `directory`, or the session's pin, is not a usable directory.
    """
    usable, skipped = _sift(_hints(signs) if signs.directory is None else (), places, home)
    by_alias = session is not None and claimed_session(signs).by == "alias"
    if signs.directory is not None:
        explicit = Hint(Source.ARGUMENT, "directory", signs.directory, Authority.MODEL)
    elif session is not None:
        explicit = Hint(Source.PIN, "set_working_directory", session.working_directory, Authority.MODEL)
    else:
        return _from_hints(signs, usable, skipped)
    place = places[explicit.directory]
    if isinstance(place, DirectoryError):
        raise place
    return Resolution(
        session=session,
        is_default_session=by_alias,
        place=place,
        source=explicit.source,
        detail=explicit.detail,
        authority=explicit.authority,
        warnings=_warnings(place),
        alternatives=_alternatives(usable, place),
        skipped=skipped,
    )


def pinned_signs(
    signs: Signs, places: Mapping[str, Place | DirectoryError], *, home: str
) -> tuple[tuple[str, str], ...]:
    """Return what a pin set now has to remember: every usable sign of the client's, as `(sign, directory)`.

    A pin holds for as long as they stay the same; what a header says is believed less than a pin anyway.
    """
    usable, _ = _sift(_hints(signs), places, home)
    return tuple(
        (f"{hint.source}: {hint.detail}", place.directory) for hint, place in usable if hint.source is not Source.HEADER
    )


def _hints(signs: Signs) -> Iterator[Hint]:
    """Yield the hints in the order in which they are believed."""
    yield from (hint for hint in signs.hints if hint.source is Source.META)
    for number, uri in enumerate(signs.roots.uris, start=1):
        yield Hint(Source.ROOTS, f"root {number}", path_of_root(uri) or uri)  # the first is `_FIRST_ROOT`
    yield from (hint for hint in signs.hints if hint.source is not Source.META)


def _sift(
    hints: Iterable[Hint], places: Mapping[str, Place | DirectoryError], home: str
) -> tuple[list[tuple[Hint, Place]], tuple[Skipped, ...]]:
    """Part the hints that lead somewhere from those that say nothing."""
    usable: list[tuple[Hint, Place]] = []
    skipped: list[Skipped] = []
    for hint in hints:
        place = places[hint.directory]
        if isinstance(place, DirectoryError):
            reason = place.problem
        elif place.directory == home:
            reason = "the home directory says nothing about a project"
        elif place.directory == "/" or (place.project is None and _is_below(place.directory, _SYSTEM_DIRECTORIES)):
            reason = "a system directory says nothing about a project"
        else:
            usable.append((hint, place))
            continue
        skipped.append(Skipped(hint.source, hint.detail, hint.directory, reason))
    return usable, tuple(skipped)


def _from_hints(signs: Signs, usable: Sequence[tuple[Hint, Place]], skipped: tuple[Skipped, ...]) -> Resolution:
    deciding = usable
    if signs.client_name in FIRST_ROOT_IS_WORKING_DIRECTORY:
        deciding = [each for each in usable if each[0].source is not Source.ROOTS or each[0].detail == _FIRST_ROOT]
    if not deciding or deciding[0][0].source is not Source.META:
        if signs.roots.answer is RootsAnswer.SILENT:
            return _unknown("the client did not answer the question for its roots", usable, skipped)
        roots = [(hint, place) for hint, place in deciding if hint.source is Source.ROOTS]
        owners = {place.project.root if place.project else place.directory for _, place in roots}
        if len(owners) > 1:
            return _unknown("the client's roots lie in several projects", roots, skipped, source=Source.ROOTS)
    if not deciding:
        return _unknown("no sign names a directory", usable, skipped)
    hint, place = deciding[0]
    return Resolution(
        place=place,
        source=hint.source,
        detail=hint.detail,
        authority=hint.authority,
        warnings=_warnings(place),
        alternatives=_alternatives(usable, place),
        skipped=skipped,
    )


def _unknown(
    why: str,
    candidates: Sequence[tuple[Hint, Place]],
    skipped: tuple[Skipped, ...],
    *,
    source: Source = Source.UNKNOWN,
) -> Resolution:
    return Resolution(
        place=None,
        source=source,
        detail=why,
        alternatives=_alternatives(candidates),
        skipped=skipped,
    )


def _alternatives(usable: Sequence[tuple[Hint, Place]], chosen: Place | None = None) -> tuple[Alternative, ...]:
    """Return what the signs that disagree with the answer name: each directory once, best sign first."""
    others: dict[str, Alternative] = {}
    for hint, place in usable:
        if chosen is None or place.directory != chosen.directory:
            name = place.project.name if place.project else None
            others.setdefault(place.directory, Alternative(place.directory, hint.source, hint.detail, name))
    return tuple(others.values())


def _warnings(place: Place) -> tuple[str, ...]:
    return (str(place.config_error),) if place.config_error else ()


def _is_below(directory: str, tops: Iterable[str]) -> bool:
    return any(directory == top or directory.startswith(f"{top}/") for top in tops)
