"""A daemon's decisions in words: who asked, and how it was decided, step by step."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from workroot.cli.answers import number, row, rows, text, texts
from workroot.cli.output import print_line
from workroot.cli.tables import local_time, print_facts, short_session

if TYPE_CHECKING:
    from workroot.cli.answers import Row

__all__ = ["print_decisions", "print_session"]

_ENDINGS = {"closed_session": "it was closed", "expired_session": "it expired after being idle"}


def print_decisions(answer: Row, client: str | None) -> None:
    """Print what the daemon decided, newest last.

    Args:
        client: the name that was asked for, or None.
    """
    decisions = rows(answer, "decisions")
    if not decisions:
        print_line(f"no decision for a client named {client!r} is remembered" if client else "nothing was decided yet")
    _print(decisions)


def print_session(answer: Row) -> None:
    """Print where a session works now, and what was decided for it, newest last."""
    session, ended = row(answer, "session"), row(answer, "ended")
    if session is not None:
        print_facts(_session_facts(session))
    elif ended is not None:
        how = _ENDINGS.get(text(ended, "code") or "", "it ended")
        print_facts([("session", f"{how}; calls with its handle are refused"), _last_directory(ended)])
    else:
        print_line("this session is not there any more")
    print_line()
    decisions = rows(answer, "decisions")
    if not decisions:
        print_line("no decision for it is remembered: the daemon keeps them while it runs")
    _print(decisions)


def _print(decisions: list[Row]) -> None:
    """Print decisions, equal neighbours once: a client that asks again and again would hide all else."""
    told = [(_asked(decision), *_explanation(decision)) for decision in decisions]
    for position, (said, run) in enumerate(groupby(zip(told, decisions, strict=True), key=itemgetter(0))):
        at = [local_time(number(decision, "at")) or "at some time" for _, decision in run]
        if position:
            print_line()
        print_line(f"{at[0]}  {said[0]}")
        for line in said[1:]:
            print_line(f"  {line}")
        if len(at) > 1:
            print_line(f"  (the same {'twice' if len(at) == 2 else f'{len(at)} times'}, last at {at[-1]})")


def _asked(decision: Row) -> str:
    return f"{text(decision, 'client') or 'a client without a name'}, with {text(decision, 'tool')}"


def _explanation(decision: Row) -> list[str]:
    if (error := row(decision, "error")) is not None:
        session = text(decision, "session_id")
        lines = [f"session: {short_session(session)}, as the call claims"] if session is not None else []
        return [*lines, f"=> refused ({text(error, 'code')}): {text(error, 'message')}"]
    lines = texts(decision, "explanation")
    return lines or [f"=> {text(decision, 'directory') or 'unknown'}, by {_sign(decision)}"]  # of an older daemon


def _session_facts(session: Row) -> list[tuple[str, str | None]]:
    project = text(session, "project_name") or ("without a name" if text(session, "project_id") else None)
    facts = [
        ("session", short_session(text(session, "session_id"))),
        ("works in", text(session, "working_directory")),
        ("project", project or "none"),
    ]
    if (given := text(session, "given_directory")) not in (None, text(session, "working_directory")):
        facts.insert(2, ("given as", given))
    facts += [(name, value) for name, value in (("root", text(session, "project_root")),) if value is not None]
    facts += [(name, value) for name, value in (("config", text(session, "config_path")),) if value is not None]
    facts += [
        ("set", local_time(number(session, "set_at"))),
        ("revision", text(session, "revision")),
        ("last used", local_time(number(session, "last_used"))),
        ("connected", "yes" if session.get("connected") is True else "no"),
    ]
    signs = rows(session, "signs")
    facts += [("set with", f"{text(one, 'sign')}: {text(one, 'directory')}, {_agreed(one)}") for one in signs]
    return facts if signs else [*facts, ("set with", "no sign of the client's that it could follow")]


def _agreed(sign: Row) -> str:
    return "which it follows" if sign.get("agreed") is True else "which it was set against"


def _last_directory(ended: Row) -> tuple[str, str | None]:
    return ("worked in", text(ended, "last_directory"))


def _sign(of: Row) -> str:
    source, detail = text(of, "source") or "unknown", text(of, "detail")
    return f"{source} ({detail})" if detail else source
