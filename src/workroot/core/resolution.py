"""Whose session, and where does it work? Decided from the signs alone, anew on every call.

The procedure, which a person can follow with `workroot why`:

1. *Session*: the argument `session_id`, else `_meta["workroot/session"]` or the header
   `Workroot-Session`, else the client's own conversation id, else in the handshake era the
   connection's default session, else none.
2. *Directory*: the argument `directory`, else the session's pin as long as it holds (`pins`), else
   the first usable hint (`reading`): `_meta`, the client's roots, the connector's facts, the turn's
   metadata, the headers, the process at the other end.
3. Otherwise unknown. It is never guessed, and never the last caller's.

`directories_of` says which directories the answer depends on; whoever can look at directories does
so; `decide` turns what was seen into the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workroot.core.answer import (
    Alternative,
    Outcome,
    Resolution,
    SessionClaim,
    Skipped,
    Step,
    Switch,
    Verdict,
)
from workroot.core.arrival import arrive, check_strict
from workroot.core.pins import PinState, PinVerdict, judge_pin
from workroot.core.projects import owner_of
from workroot.core.reach import NOTHING_KNOWN, KnownProjects, Reach, check_reach
from workroot.core.reading import FIRST_ROOT, Reading, hints_of, is_looked_at, read
from workroot.core.signs import META_SESSION, Authority, Hint, RootsAnswer, Signs, Source
from workroot.errors import DirectoryError, SignsDisagreeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workroot.core.projects import Place
    from workroot.core.sessions import SessionContext

__all__ = [
    "Alternative",
    "Around",
    "Outcome",
    "Resolution",
    "SessionClaim",
    "Skipped",
    "Step",
    "Switch",
    "Verdict",
    "claimed_session",
    "decide",
    "directories_of",
]

_MOST_ALTERNATIVES = 20
_MOST_PASSED_OVER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a decision has to know beside the signs.

    Attributes:
        home: the user's home directory; as a hint it says nothing.
        reach: how far an argument reaches.
        known: the projects of the caller's principal.
    """

    home: str = ""
    reach: Reach = "anywhere"
    known: KnownProjects = NOTHING_KNOWN


def claimed_session(signs: Signs) -> SessionClaim:
    """Return which session a call claims to be in.

    Raises:
        SignsDisagreeError: `_meta` and header name different sessions.
    """
    if signs.session_id is not None:
        return SessionClaim("handle", signs.session_id)
    meta, header = signs.meta_session, signs.header_session
    if meta is not None and header is not None and meta != header:
        raise SignsDisagreeError("session", (f'_meta["{META_SESSION}"]', meta), ("Workroot-Session", header))
    if (handle := meta if meta is not None else header) is not None:
        return SessionClaim("handle", handle)
    if signs.conversation is not None:
        return SessionClaim("conversation", signs.conversation)
    if signs.alias is not None and not signs.traits.shares_process:
        return SessionClaim("alias", signs.alias)
    return SessionClaim("none")


def directories_of(signs: Signs, session: SessionContext | None) -> tuple[str, ...]:
    """Return the directories that `decide` wants to know about, each once, best first."""
    named = [signs.directory] if signs.directory is not None else []
    if session is not None:
        named.append(session.working_directory)
    named.extend(hint.directory for hint in hints_of(signs) if is_looked_at(hint))
    return tuple(dict.fromkeys(named))


def decide(
    signs: Signs,
    session: SessionContext | None,
    places: Mapping[str, Place | DirectoryError],
    around: Around,
) -> Resolution:
    """Return where the caller works, and how that is known.

    Args:
        signs: what the call said.
        session: the session it is in, found by `claimed_session`.
        places: what was seen at each of `directories_of(signs, session)`.
        around: what else there is to know.

    Raises:
        DirectoryError: the argument `directory`, or the session's pin, is not a usable directory.
        MoveRefusedError: the argument is out of a model's reach.
        SignsDisagreeError: signs of equal authority name different directories, and would decide.
        StrictModeError: the project that the caller is in answers for no directory outside of it.
    """
    case = _Case(signs, session, places, read(signs, places, home=around.home), around)
    found = _from_session(case) if signs.directory is None else _from_argument(case)
    warnings = [*found.warnings, *(_passed_over(case.reading) if signs.directory is None else ())]
    if signs.roots.left_out:
        warnings.append(f"{signs.roots.left_out} of the client's roots were not looked at: they are too many")
    claim = claimed_session(signs)
    by_alias = session is not None and claim.by == "alias"
    return replace(found, warnings=tuple(warnings), session=session, claim=claim, is_default_session=by_alias)


# The ranks


@dataclass(frozen=True, slots=True)
class _Case:
    """All that a decision rests on."""

    signs: Signs
    session: SessionContext | None
    places: Mapping[str, Place | DirectoryError]
    reading: Reading
    around: Around


def _from_argument(case: _Case) -> Resolution:
    asked = case.places[str(case.signs.directory)]
    if isinstance(asked, DirectoryError):
        raise asked
    check_reach(case.around.reach, asked, case.reading.usable, case.around.known)
    try:
        inside = _from_session(case).place
    except (DirectoryError, SignsDisagreeError):  # who is nowhere is in no strict project
        inside = None
    check_strict(inside, asked)
    return _decided(case, Hint(Source.ARGUMENT, "directory", asked.given, Authority.MODEL), asked, is_question=True)


def _from_session(case: _Case) -> Resolution:
    session = case.session
    if session is None:
        return _from_hints(case)
    seen = case.places[session.working_directory]
    place = seen if not isinstance(seen, DirectoryError) else None
    first_root_counts = case.signs.traits.first_root_is_working_directory
    verdict = judge_pin(session, place, case.reading.usable, first_root_counts=first_root_counts)
    if verdict.state is PinState.STALE:
        return _stale(case, session, place, verdict)
    if verdict.state is PinState.FOLLOWS:
        return _followed(case, session, verdict)
    if isinstance(seen, DirectoryError):
        raise seen
    return _arrived(case, _pin(session), seen, verdict)


def _pin(session: SessionContext) -> Hint:
    return Hint(Source.PIN, "set_working_directory", session.given_directory, Authority.MODEL)


def _from_hints(case: _Case) -> Resolution:
    usable = deciding = case.reading.usable
    if case.signs.traits.first_root_is_working_directory:
        deciding = [each for each in usable if each[0].source is not Source.ROOTS or each[0].detail == FIRST_ROOT]
    if not deciding or deciding[0][0].source is not Source.META:
        if case.signs.roots.answer is RootsAnswer.SILENT:
            return _unknown(case, "the client did not answer the question for its roots", usable)
        roots = [(hint, place) for hint, place in deciding if hint.source is Source.ROOTS]
        if len({owner_of(place) for _, place in roots}) > 1:
            why = "the client's roots lie in several projects"
            return _unknown(case, why, roots, source=Source.ROOTS, outcome=Outcome.AMBIGUOUS)
    if not deciding:
        return _unknown(case, "no sign names a directory", usable)
    hint, place = deciding[0]
    if hint.source is Source.HEADER:
        _check_headers(case.reading)
    return _arrived(case, hint, place)


def _check_headers(reading: Reading) -> None:
    """Refuse headers that name different directories: neither is better than the other."""
    named: dict[str, Hint] = {}
    for hint, place, _ in reading.signs:
        if hint.source is Source.HEADER and hint.problem is None:
            named.setdefault(place.directory if place is not None else hint.directory, hint)
    if len(named) > 1:
        first, second, *_ = named.values()
        raise SignsDisagreeError("directory", (first.detail, first.directory), (second.detail, second.directory))


def _followed(case: _Case, session: SessionContext, verdict: PinVerdict) -> Resolution:
    hint, place = verdict.changed[0]
    found = _arrived(case, hint, place, verdict)
    follows = "follows it" if found.switch is not None else "stays where it is"
    moved = (
        f"the client moved from {'; '.join(verdict.before)} ({verdict.sign}), and this session, "
        f"which worked in {session.working_directory}, {follows}"
    )
    return replace(found, warnings=(moved, *found.warnings))


def _stale(case: _Case, session: SessionContext, place: Place | None, verdict: PinVerdict) -> Resolution:
    candidates = [(_pin(session), place)] if place is not None else []
    why = (
        f"this session was set to {session.working_directory} while the client named {'; '.join(verdict.before)} "
        f"({verdict.sign}), and now it names {'; '.join(seen.directory for _, seen in verdict.changed)}"
    )
    return _unknown(case, why, [*candidates, *verdict.changed], source=Source.PIN, outcome=Outcome.STALE)


# The answer


def _arrived(case: _Case, hint: Hint, place: Place, verdict: PinVerdict | None = None) -> Resolution:
    """Return the answer that a sign gives to a caller who is there, or arrives, by the project's own rules."""
    session, arrival = case.session, arrive(case.session, place)
    found = _decided(case, hint, arrival.place)
    if arrival.place is not place:
        found = replace(found, looked_at=place)
    if arrival.warning is not None:
        found = replace(found, warnings=(*found.warnings, arrival.warning))
    if session is None or verdict is None or not arrival.is_made:
        return found
    signs = verdict.signs if verdict.signs is not None else session.signs
    if session.is_as(arrival.place) and signs == session.signs:
        return found
    return replace(found, switch=Switch(arrival.place, signs))


def _decided(case: _Case, hint: Hint, place: Place, *, is_question: bool = False) -> Resolution:
    nested = case.around.known.below(place.directory)
    others = () if is_question else _alternatives(case.reading.usable, place)
    named = {other.directory for other in others}
    below = (Alternative(each.root, Source.REGISTRY, "known project below", each.name) for each in nested)
    is_ambiguous = place.project is None and place.config_path is None and len(nested) > 1
    warnings = list(place.warnings)
    if place.config_error is not None:
        warnings.append(str(place.config_error))
    if is_ambiguous:
        warnings.append(f"no project owns {place.directory}, and several known ones lie below it")
    return Resolution(
        place=place,
        looked_at=place,
        outcome=Outcome.AMBIGUOUS if is_ambiguous else Outcome.DECIDED,
        source=hint.source,
        detail=hint.detail,
        authority=hint.authority,
        warnings=tuple(warnings),
        alternatives=(*others, *(each for each in below if each.directory not in named))[:_MOST_ALTERNATIVES],
        steps=_steps(case.reading, hint, place),
    )


def _unknown(
    case: _Case,
    why: str,
    candidates: Sequence[tuple[Hint, Place]],
    *,
    source: Source = Source.UNKNOWN,
    outcome: Outcome = Outcome.UNKNOWN,
) -> Resolution:
    return Resolution(
        place=None,
        outcome=outcome,
        source=source,
        detail=why,
        alternatives=_alternatives(candidates)[:_MOST_ALTERNATIVES],
        steps=_steps(case.reading),
    )


def _passed_over(reading: Reading) -> Iterator[str]:
    """Yield what a person should know of signs that somebody sent on purpose, and that could not be followed.

    Where a program happens to be started is no such sign: home, or its own directory, are usual there.
    """
    sent = [each for each in reading.signs if each.reason is not None and _is_deliberate(each.hint)]
    for hint, _, reason in sent[:_MOST_PASSED_OVER]:
        yield f"passed over: {hint.directory or 'nothing'} ({hint.source}, {hint.detail}): {reason}"
    if len(sent) > _MOST_PASSED_OVER:
        yield f"passed over: {len(sent) - _MOST_PASSED_OVER} more; `workroot why --last` shows all"


def _is_deliberate(hint: Hint) -> bool:
    return hint.source in (Source.META, Source.ROOTS, Source.HEADER) or hint.detail == "--directory"


def _steps(reading: Reading, chosen: Hint | None = None, place: Place | None = None) -> tuple[Step, ...]:
    """Return each sign with what became of it; what decided comes first if it is no hint."""
    steps = (
        []
        if chosen is None or chosen in [hint for hint, _, _ in reading.signs]
        else [_step(chosen, place, Verdict.DECIDES)]
    )
    for hint, seen, reason in reading.signs:
        if seen is None:
            steps.append(_step(hint, None, Verdict.SKIPPED, str(reason)))
        elif hint is chosen:
            steps.append(_step(hint, seen, Verdict.DECIDES))
        elif place is None:
            steps.append(_step(hint, seen, Verdict.CANDIDATE))
        else:
            agrees = seen.directory == place.directory
            steps.append(_step(hint, seen, Verdict.AGREES if agrees else Verdict.DIFFERS))
    return tuple(steps)


def _step(hint: Hint, place: Place | None, verdict: Verdict, reason: str = "") -> Step:
    project = place.project.name if place is not None and place.project is not None else None
    return Step(hint.source, hint.detail, hint.directory, verdict, reason, project)


def _alternatives(usable: Sequence[tuple[Hint, Place]], chosen: Place | None = None) -> tuple[Alternative, ...]:
    """Return what the signs that disagree with the answer name: each directory once, best sign first."""
    others: dict[str, Alternative] = {}
    for hint, place in usable:
        if chosen is None or place.directory != chosen.directory:
            name = place.project.name if place.project else None
            others.setdefault(place.directory, Alternative(place.directory, hint.source, hint.detail, name))
    return tuple(others.values())
