"""What the running daemon reports of itself: its store, its watching, its descriptors, what failed last.

An older daemon reports less; what is missing is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from workroot.doctor.findings import Found, Path, Private, note, ok, problem, warning
from workroot.lost_disks import memory_only

if TYPE_CHECKING:
    from workroot.doctor.asking import Daemon, Row

__all__ = ["look_at_load", "look_at_problems", "look_at_store", "look_at_watching"]

_NEARLY = 0.9
_SHOWN = 3
_LARGE_LOG_BYTES = 64 * 1024 * 1024
_WORD = re.compile(r"[A-Za-z_.]{1,60}")


def look_at_store(daemon: Daemon) -> Iterator[Found]:
    """Look whether the daemon can keep what it is told."""
    store = _part(daemon, "store")
    if store is None:
        return
    yield from _about_file(store)
    since, because = store.get("memory_only_since"), store.get("memory_only_because")
    if isinstance(since, int | float) and store.get("is_refusing") is not True:
        yield problem(
            "what the daemon keeps is in memory only, and lost when it ends",
            Private(f": {memory_only(since, str(because))}"),
            cure=("make the disk writable, or make room on it: the daemon tries again every minute, and says so here",),
        )
        return
    if (fault := store.get("problem")) is not None:
        yield problem(
            "the daemon cannot keep anything now",
            Private(f": {fault}"),
            cure=("make room on the disk or put the file back; if it stays so, run `workroot stop`",),
        )
        return
    failed, wal = _number(store, "failed_commits"), _number(store, "wal_bytes")
    if wal > _LARGE_LOG_BYTES:
        yield warning(
            f"the database's log has {wal // 1_000_000} MB: something reads the database for long",
            cure=("end other programs that have the database open; `workroot stop` clears the log",),
        )
    elif failed:
        yield note(
            f"{failed} changes could not be kept since the daemon's start, and were refused; now it works",
            cure=("look why in `workroot logs`",),
        )
    else:
        yield ok("what the daemon is told is kept")


def _about_file(store: Row) -> Iterator[Found]:
    """Say what is not as usual about the database's file, and does no harm now."""
    if isinstance(reason := store.get("journal_warning"), str):
        yield warning(
            "the database does without SQLite's write-ahead log, and each change takes longer",
            Private(f": {reason}"),
            cure=("set WORKROOT_HOME to a directory on a local disk, in your editors' entries too",),
        )
    aside = store.get("moved_aside")
    for path in aside if isinstance(aside, list) else ():
        yield warning(
            "a database that could not be used was moved to ",
            Path(str(path)),
            cure=("look in `workroot logs` what was wrong with it, and what of it was kept on",),
        )


def look_at_watching(daemon: Daemon) -> Iterator[Found]:
    """Look whether the daemon hears of changed configs."""
    watching = _part(daemon, "watching")
    if watching is None:
        return
    watched, polled = _number(watching, "watched"), _number(watching, "polled")
    if watching.get("is_working") is False:
        yield warning(
            "watching fails: clients hear late of changed configs; answers are right all the same",
            Private(f" ({watching.get('last_failure')})"),
            cure=("raise the limits that the check of watches names; else look in `workroot logs`",),
        )
    elif failures := _number(watching, "failures"):
        yield note(
            f"{watched} directories are watched; watching failed {_times(failures)} and was begun anew",
            cure=("nothing, if it stays rare; else look in `workroot logs`",),
        )
    else:
        yield ok(f"{watched} directories are watched" + (f", {polled} are looked at now and then" if polled else ""))


def look_at_load(daemon: Daemon) -> Iterator[Found]:
    """Look how near the daemon is to its limits, and whom it had to refuse."""
    descriptors = _part(daemon, "descriptors")
    if descriptors is None:
        return
    used, limit = _number(descriptors, "used"), _number(descriptors, "limit")
    if limit > 0 and used >= limit * _NEARLY:
        yield warning(
            f"the daemon has {used} of {limit} files open",
            cure=("close editors that are not in use, or raise the limit of open files (`ulimit -n`)",),
        )
    else:
        yield ok(f"{used} of {limit} files open, {_number(daemon.status or {}, 'connections')} connections")
    refusals = {kind: count for kind, count in (_part(daemon, "refusals") or {}).items() if isinstance(count, int)}
    if refusals:
        counted = ", ".join(f"{kind} {count}" for kind, count in sorted(refusals.items()) if _WORD.fullmatch(kind))
        yield note(
            f"refused since the daemon's start: {counted}",
            cure=("look in `workroot logs` what was refused, and why; docs/operations.md says what each kind is",),
        )


def look_at_problems(daemon: Daemon) -> Iterator[Found]:
    """Say what failed lately."""
    found = daemon.status.get("problems") if daemon.status is not None else None
    if not isinstance(found, list):
        return
    last = [one for one in found if isinstance(one, dict)]
    if not last:
        yield ok("no warning and no error since the daemon's start")
        return
    for one in last[-_SHOWN:]:
        level, source = str(one.get("level", "")).lower(), str(one.get("logger", ""))
        named = f"{level} of {source}" if _WORD.fullmatch(level) and _WORD.fullmatch(source) else "one"
        yield note(
            f"{named}, {_times(_number(one, 'count'))}",
            Private(f", last at {one.get('time')}: {one.get('message')}"),
            cure=("look in `workroot logs` what was around it",),
        )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _part(daemon: Daemon, name: str) -> Row | None:
    value = daemon.status.get(name) if daemon.status is not None else None
    return value if isinstance(value, dict) else None


def _number(row: Mapping[str, object], name: str) -> int:
    value = row.get(name)
    return int(value) if isinstance(value, int | float) else 0
