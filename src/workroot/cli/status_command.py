"""`workroot status`: whether the daemon runs, and how it is.

With `--json`, the keys are an interface: `running` always; of a daemon that runs `answers`, and either what
`workroot.observation.status` tells, of which an older daemon leaves some out, or `error`.
"""

from __future__ import annotations

import time

import click

from workroot import __version__, rendezvous
from workroot.cli.answers import Row, number, open_daemon, row, rows, text, texts
from workroot.cli.exit_codes import ExitCode
from workroot.cli.output import json_option, print_error, print_json, print_line, print_note
from workroot.cli.tables import ago, local_time, local_time_of, print_facts
from workroot.errors import ControlError, DaemonSilentError, DaemonUnavailableError
from workroot.lost_disks import memory_only

__all__ = ["status"]

_ANSWER_SECONDS = 3.0  # it answers in milliseconds; whoever asks how it is wants to know when it does not
_SHOWN_PROBLEMS = 3
_MEGABYTE = 1 << 20
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


@click.command()
@json_option
@click.option("--metrics", is_flag=True, help="Print the metrics instead, as Prometheus reads them.")
@click.pass_context
def status(context: click.Context, as_json: bool, metrics: bool) -> None:
    """Show whether the daemon runs, and how it is.

    The same metrics are at /metrics if HTTP is on. Exits 3 if no daemon runs, and 1 if it does not answer.
    """
    if as_json and metrics:
        raise click.UsageError("--metrics is text; it cannot be combined with --json.")
    try:
        with open_daemon(answer_seconds=_ANSWER_SECONDS, wake=False) as daemon:
            answer = daemon.ask("metrics" if metrics else "status")
    except DaemonUnavailableError as error:
        if as_json:
            socket = rendezvous.socket_path(rendezvous.state_directory())
            print_json({"running": False, "socket": socket})
        elif metrics:
            print_note(str(error))
        else:
            print_line(str(error))
        context.exit(ExitCode.NOT_RUNNING)
    except (DaemonSilentError, ControlError) as error:
        print_error(context, error, running=True, answers=False)
        context.exit(ExitCode.FAILED)
    if metrics:
        click.echo(text(answer, "text") or "", nl=False)
        return
    if as_json:
        print_json({"running": True, "answers": True, **answer})
        return
    print_facts([*_about_daemon(answer), *_about_work(answer), *_about_parts(answer), *_about_places(answer)])
    _print_problems(answer)
    if (version := text(answer, "version")) not in (None, __version__):
        print_note(f"workroot: the daemon is version {version}, this command {__version__}; run `workroot upgrade`")


def _about_daemon(answer: Row) -> list[tuple[str, str | None]]:
    uptime = number(answer, "uptime_seconds")
    started = number(answer, "started_at")
    since = f"for {_duration(uptime)}" if uptime is not None else f"since {ago(started, time.time()) or '?'}"
    ready = f", but cannot be used now: {unready}" if (unready := text(answer, "unready")) else ""
    facts: list[tuple[str, str | None]] = [
        ("running", f"yes, pid {text(answer, 'pid')}, {since} (started {local_time(started) or '?'}){ready}"),
        ("version", text(answer, "version")),
    ]
    if (memory := number(answer, "memory_bytes")) is not None:
        descriptors = row(answer, "descriptors") or {}
        files = f"{text(descriptors, 'used')} of {text(descriptors, 'limit')} files open"
        facts.append(("takes", f"{_size(memory)} of memory, {files}"))
    return facts


def _about_work(answer: Row) -> list[tuple[str, str | None]]:
    stale, ended = number(answer, "stale_sessions"), text(answer, "ended_sessions")
    idle = f", {stale:.0f} of them idle for too long" if stale else ""
    facts: list[tuple[str, str | None]] = [
        ("sessions", f"{text(answer, 'sessions')}{idle} ({ended} ended ones remembered)"),
        ("connections", text(answer, "connections")),
    ]
    facts += [("clients" if not first else "", _client(one)) for first, one in enumerate(rows(answer, "clients"))]
    return [*facts, ("projects", text(answer, "projects"))]


def _client(client: Row) -> str:
    how = "connector" if text(client, "transport") == "unix" else "HTTP"
    count = text(client, "connections")
    times = f"{count} x " if count not in (None, "1") else ""
    return f"{times}{text(client, 'name') or 'without a name'} (by {how}, {text(client, 'era')} era)"


def _about_parts(answer: Row) -> list[tuple[str, str | None]]:
    facts: list[tuple[str, str | None]] = []
    if (watching := row(answer, "watching")) is not None:
        told, polled = number(watching, "watched") or 0, number(watching, "polled") or 0
        directories = "1 directory" if told == 1 else f"{told:.0f} directories"
        looked_at = f", and {polled:.0f} by looking at them" if polled else ""
        fails = "" if watching.get("is_working") is not False else f"; it fails: {text(watching, 'last_failure')}"
        facts.append(("watching", f"{directories}{looked_at}{fails}"))
    if (store := row(answer, "store")) is not None:
        facts += [("store" if not line else "", said) for line, said in enumerate(_about_store(store))]
    refusals = row(answer, "refusals") or {}
    if refusals:
        facts.append(("refused", ", ".join(f"{kind} {text(refusals, kind)}" for kind in sorted(refusals))))
    return facts


def _about_store(store: Row) -> list[str]:
    since, because = number(store, "memory_only_since"), text(store, "memory_only_because")
    if since is not None and because is not None:
        what = "changes are refused" if store.get("is_refusing") is True else "changes are lost if the daemon ends"
        facts = [memory_only(since, because), f"{what}; tried again every minute"]
    else:
        facts = [text(store, "problem") or f"well, {_size(number(store, 'size_bytes') or 0)}"]
    if (warning := text(store, "journal_warning")) is not None:
        facts.append(warning)
    return [*facts, *(f"a file that could not be used was moved to {path}" for path in texts(store, "moved_aside"))]


def _about_places(answer: Row) -> list[tuple[str, str | None]]:
    http = row(answer, "http")
    url, problem = (text(http, "url"), text(http, "problem")) if http else (None, None)
    return [
        ("socket", text(answer, "socket")),
        ("http", url or (f"not served: {problem}" if problem else "off")),
        ("database", text(answer, "database")),
        ("log", text(answer, "log")),
        ("state", text(answer, "state_directory")),
    ]


def _print_problems(answer: Row) -> None:
    problems = rows(answer, "problems")
    if not problems:
        return
    print_line()
    print_line("last warnings and errors; `workroot logs --level warning` has them all:")
    for problem in reversed(problems[-_SHOWN_PROBLEMS:]):
        count = text(problem, "count")
        times = f" ({count} times)" if count not in (None, "1") else ""
        print_line(f"  {local_time_of(text(problem, 'time')) or 'at some time'}  {text(problem, 'message')}{times}")


def _duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    parts: list[str] = []
    left = int(seconds)
    for unit, name in _UNITS:
        if (count := left // unit) or parts or unit == 1:
            parts.append(f"{count} {name}")
        left %= unit
    return " ".join(parts[:2])


def _size(number_of_bytes: float) -> str:
    return f"{number_of_bytes / _MEGABYTE:.1f} MB"
