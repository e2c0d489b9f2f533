"""Decisions in words, line by line: for people who ask why, and for a model whose call failed.

The lines hold what clients and repositories chose, as they chose it: whoever shows them escapes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.core.answer import Outcome, Resolution, Step, Verdict
from workroot.core.signs import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workroot.core.projects import Place

__all__ = ["explain", "shortened"]

_PATH_CHARACTERS = 1000
_NAME_CHARACTERS = 100
_SHORT_CHARACTERS = 300
_SHORT_PATH_CHARACTERS = 100
_SHOWN_OF_SESSION = 11  # `wr_` and 8 characters; the whole handle is a capability

_PIN = "pin (set_working_directory)"

_VERDICTS = {
    Verdict.DECIDES: "decides",
    Verdict.AGREES: "names the same directory",
    Verdict.DIFFERS: "names another directory; a better sign decides",
    Verdict.CANDIDATE: "a candidate, since nothing can be decided",
}

_SESSION_BY = {
    "handle": "by the handle that came with the call",
    "conversation": "by the client's own id of the conversation",
    "alias": "the default of the connection",
    "none": "opened by this call",
}
_NO_SESSION = {
    "conversation": "none; nothing was set yet in what the client calls this conversation",
    "alias": "none; nothing was set yet on this connection",
    "none": "none; the call names none, and its connection stands for none",
}

_KINDS = {
    Source.ARGUMENT: "argument",
    Source.META: "_meta",
    Source.ROOTS: "roots",
    Source.CONNECTOR: "connector",
    Source.TURN_METADATA: "turn metadata",
    Source.HEADER: "header",
    Source.PROCESS: "process",
}
"""The kinds of signs that a call may carry, in the order in which they are believed; the pin comes second."""


def explain(resolution: Resolution) -> tuple[str, ...]:
    """Return how a call was decided: whose session, each sign in order, what to know, and last the answer."""
    lines = [_whose(resolution)]
    if (before := resolution.previous) is not None:
        lines.append(f"before: this session worked in {_path(before.working_directory)} (revision {before.revision})")
    lines += [f"{number}. {line}" for number, line in enumerate(_sign_lines(resolution), start=1)]
    if missing := _missing(resolution):
        lines.append(f"not sent, or not asked for: {', '.join(missing)}")
    lines += [f"note: {_cut(warning, _PATH_CHARACTERS)}" for warning in resolution.warnings]
    lines += _candidates(resolution)
    return (*lines, f"=> {_answer(resolution)}")


def shortened(resolution: Resolution) -> tuple[str, ...]:
    """Return the answer, and what was looked at and why it did not do: at most 3 lines and 300 characters."""
    lines = [_answer(resolution, _SHORT_PATH_CHARACTERS)]
    signs = [
        f"{_named(step)} {_path(step.directory, _SHORT_PATH_CHARACTERS)}: {step.reason or _VERDICTS[step.verdict]}"
        for step in resolution.steps
        if step.verdict is not Verdict.DECIDES
    ]
    if signs:
        lines.append(f"Looked at: {'; '.join(signs)}")
    if resolution.outcome is Outcome.UNKNOWN and (missing := _missing(resolution)):
        lines.append(f"Not sent: {', '.join(missing)}")
    kept: list[str] = []
    left = _SHORT_CHARACTERS
    for line in lines:
        if left <= 1:
            break
        kept.append(_cut(line, left))
        left -= len(kept[-1])
    return tuple(kept)


def _whose(resolution: Resolution) -> str:
    session, claim = resolution.session, resolution.claim
    if session is None:
        return f"session: {_NO_SESSION.get(claim.by, 'none')}"
    return f"session: {_handle(session.session_id)}, {_SESSION_BY[claim.by]}"


def _sign_lines(resolution: Resolution) -> Iterator[str]:
    pin = _pin_line(resolution)
    for step in resolution.steps:
        if pin is not None and step.source is not Source.ARGUMENT:
            yield pin
            pin = None
        project = f" in project {_name(step.project)}" if step.project is not None else ""
        verdict = f"passed over: {step.reason}" if step.verdict is Verdict.SKIPPED else _VERDICTS[step.verdict]
        yield f"{_named(step)}: {_path(step.directory)}{project} -> {verdict}"
    if pin is not None:
        yield pin


def _pin_line(resolution: Resolution) -> str | None:
    """Return what became of a pin that did not decide; None if there was none, or it is among the steps."""
    session = resolution.previous or resolution.session
    if session is None or any(step.source is Source.PIN for step in resolution.steps):
        return None
    if resolution.outcome is Outcome.STALE:
        became = "stale: it was set against the client's signs, and those have changed since"
    elif resolution.source is Source.ARGUMENT:
        became = "passed over: the argument of this call comes first"
    else:
        became = "gives way: it agreed with the client's signs, and those have changed since"
    return f"{_PIN}: {_path(session.working_directory)} -> {became}"


def _missing(resolution: Resolution) -> list[str]:
    seen = {step.source for step in resolution.steps}
    return [words for source, words in _KINDS.items() if source not in seen]


def _candidates(resolution: Resolution) -> list[str]:
    """Return what could be chosen; of a decided call, what the steps do not show."""
    is_open = resolution.outcome is not Outcome.DECIDED
    return [
        f"{'candidate' if is_open else 'known as well'}: {_path(other.directory)}"
        f"{f' in project {_name(other.project)}' if other.project is not None else ''}"
        f", by {_sign(other.source, other.detail)}"
        for other in resolution.alternatives
        if is_open or other.source is Source.REGISTRY
    ]


def _answer(resolution: Resolution, limit: int = _PATH_CHARACTERS) -> str:
    outcome, place = resolution.outcome, resolution.place
    if place is None:
        return f"{outcome}: {_cut(resolution.detail, limit)}"
    ambiguous = f"{outcome}: " if outcome is not Outcome.DECIDED else ""
    whose = f", the word of the {resolution.authority}" if resolution.authority is not None else ""
    by = f"by {_sign(resolution.source, resolution.detail)}{whose}"
    return f"{ambiguous}{_path(place.directory, limit)}, {_project_of(place, limit)}, {by}"


def _project_of(place: Place, limit: int) -> str:
    project = place.project
    if project is not None:
        of = f", a worktree of {_path(project.worktree_of, limit)}" if project.worktree_of is not None else ""
        at = f" at {_path(project.root, limit)}" if project.root != place.directory else ""
        return f"in project {_name(project.name)}{at}{of}"
    if place.config_error is not None:
        return "in no project, because the nearest config cannot be used"
    return "in no project" if place.config_path is not None else "which no project owns"


# Words


def _named(step: Step) -> str:
    return _sign(step.source, step.detail)


def _sign(source: Source, detail: str) -> str:
    return f"{source} ({_name(detail)})" if detail else str(source)


def _handle(session_id: str) -> str:
    return session_id if len(session_id) <= _SHOWN_OF_SESSION else f"{session_id[:_SHOWN_OF_SESSION]}..."


def _path(path: str, limit: int = _PATH_CHARACTERS) -> str:
    """Return a path, and of a very long one its end, which tells it from others."""
    return path if len(path) <= limit else f"…{path[1 - limit :]}"


def _name(name: str) -> str:
    return _cut(name, _NAME_CHARACTERS)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
