"""`workroot upgrade`: the running daemon becomes the one of this installation, and the way back is printed.

From before the old daemon is asked to stop until the new one answers, this process has the turn to start one:
no connector, of whichever installation, can put its own in between. Nothing is stopped before the database is copied.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from workroot import __version__, rendezvous
from workroot.cli.answers import Row, number, open_daemon, text
from workroot.cli.output import json_option, print_json, print_line, print_note
from workroot.cli.process_end import watch_process_end
from workroot.connector.chosen import choose_this
from workroot.connector.readiness import READ, wait_ready
from workroot.connector.starting import open_turn, start_in_turn, take_turn
from workroot.errors import (
    ControlError,
    DaemonSilentError,
    DaemonStartError,
    DaemonUnavailableError,
    RendezvousError,
    StoreUnavailableError,
)
from workroot.instance import hold_instance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workroot.connector.meeting import Reaching
    from workroot.control_client import ControlClient

__all__ = ["upgrade"]

_TURN_SECONDS = 20.0
_STOP_SECONDS = 10.0
_ANSWER_SECONDS = 30.0  # a copy of the database is made meanwhile
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class _Which:
    """Which workroot it is: its version, and where it is installed; None if it does not say so."""

    version: str | None
    installation: str | None

    def __str__(self) -> str:
        return f"{self.version} ({self.installation})"

    def as_json(self) -> dict[str, object]:
        return {"version": self.version, "installation": self.installation}


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of the database: where, of which schema version, and what runs the installation that wrote it."""

    path: str
    schema: int
    python: str | None = None


@dataclass(slots=True)
class _Upgrade:
    """What was done."""

    here: _Which
    old: _Which | None = None
    new: _Which | None = None
    copy: _Copy | None = None
    restored: str | None = None
    aside: str | None = None
    schema: int | None = None


@click.command(epilog="\b\nExample:\n  uv tool upgrade workroot && workroot upgrade")
@click.option(
    "--restore",
    metavar="BACKUP",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="Begin from this copy of the database; what has changed since then is lost.",
)
@json_option
def upgrade(restore: str | None, as_json: bool) -> None:
    """Make the running daemon the one of this installation.

    Copies the database, lets the old daemon finish what is under way, starts the new one and prints the way
    back; editors that are open go on. Does nothing if the daemon is this one already; if none runs, only the
    copy is made. Exits 4 if the new daemon does not come up.
    """
    from workroot.settings import load_settings
    from workroot.storage.backup import schema_version

    settings = load_settings()
    state, database = str(settings.state_directory), str(settings.database_path)
    done = _Upgrade(_Which(__version__, rendezvous.installation()))
    if restore is not None or os.path.isdir(state):
        schema_version(database if restore is None else restore)  # a newer one is refused before anything happens
        rendezvous.make_private_directory(state)
        with _turn(state):
            try:
                _upgrade(done, state, database, restore)
            except DaemonStartError:
                for line in _way_back(done):
                    print_note(line)
                raise
            _choose(state)
    _report(done, as_json)


def _upgrade(done: _Upgrade, state: str, database: str, restore: str | None) -> None:
    from workroot.storage.backup import back_up_unused, restore_backup, schema_version

    with suppress(DaemonUnavailableError), open_daemon(answer_seconds=_ANSWER_SECONDS) as daemon:
        done.old = _which(daemon)
        if done.old == done.here and restore is None:
            done.new = done.old
            return
        done.copy = _copy_by_daemon(daemon)
        _end(daemon, rendezvous.instance_lock_path(state))
    if done.copy is None or restore is not None:
        with hold_instance(rendezvous.instance_lock_path(state)):
            is_damaged = False
            if done.copy is None:
                version = (done.old or done.here).version or "unknown"
                try:
                    made = back_up_unused(database, rendezvous.backup_directory(state), version=version)
                    done.copy = None if made is None else _Copy(made.path, made.schema)
                except StoreUnavailableError as error:
                    if restore is None:
                        raise
                    print_note(f"workroot: no copy was made of the database as it was: {error}")
                    is_damaged = True
            if restore is not None:
                done.aside = restore_backup(restore, database, is_damaged=is_damaged)
                done.restored = restore
    if done.old is None:
        return
    _drive(start_in_turn(state)).close()
    done.schema = schema_version(database)
    with open_daemon(answer_seconds=_ANSWER_SECONDS) as daemon:
        done.new = _which(daemon)
    if done.new != done.here:
        raise DaemonStartError(
            rendezvous.log_path(state),
            f"{done.new} came up instead of {done.here}; if a service manager starts it, run "
            f"`workroot service install` of this installation",
        )


def _choose(state: str) -> None:
    try:
        choose_this(state)
    except (OSError, RendezvousError) as error:
        print_note(f"workroot: after a crash, editors that have another installation may start theirs: {error}")


@contextmanager
def _turn(state: str) -> Iterator[None]:
    """Have the turn to start a daemon; connectors wait for it, or for a daemon that answers."""
    lock = open_turn(state)
    try:
        deadline = time.monotonic() + _TURN_SECONDS
        while not take_turn(lock):
            if time.monotonic() > deadline:
                problem = f"somebody else has been starting one for {_TURN_SECONDS:.0f} s; nothing was changed"
                raise DaemonStartError(rendezvous.log_path(state), problem)
            wait_ready({}, _LOOK_SECONDS)
        yield
    finally:
        os.close(lock)


def _which(daemon: ControlClient) -> _Which:
    return _Which(text(daemon.daemon, "version"), text(daemon.daemon, "installation"))


def _copy_by_daemon(daemon: ControlClient) -> _Copy | None:
    """Have the daemon copy its database; None if it is too old to be asked.

    Raises:
        ControlError: there is no copy; the text says why.
    """
    try:
        made: Row = daemon.ask("backup")
    except ControlError as error:
        if error.daemon_code == "unknown_command":
            return None
        raise
    path, schema = text(made, "path"), number(made, "schema")
    return None if path is None else _Copy(path, int(schema or 0), text(made, "python"))


def _end(daemon: ControlClient, lock_path: str) -> None:
    pid = daemon.daemon.get("pid")
    with watch_process_end(pid if isinstance(pid, int) else None, lock_path) as wait_end:
        with suppress(DaemonUnavailableError):  # it may be gone before its answer is out
            daemon.ask("stop")
        if not wait_end(time.monotonic() + _STOP_SECONDS):
            problem = f"asked to stop, it still runs after {_STOP_SECONDS:g} s"
            raise DaemonSilentError(lock_path, pid if isinstance(pid, int) else None, problem)


def _drive(reaching: Reaching) -> Any:
    """Wait for what a search for a daemon waits for, and return its connection."""
    while True:
        try:
            descriptor, seconds = next(reaching)
        except StopIteration as found:
            return found.value
        wait_ready({} if descriptor is None else {descriptor: READ}, seconds)


def _way_back(done: _Upgrade) -> list[str]:
    """Return what to do to get back to the old daemon, line by line; nothing if none was there."""
    if done.old is None or done.copy is None:
        return []
    lines = ["the way back:"]
    if done.old.installation == done.here.installation:
        lines.append(f"  install workroot {done.old.version} in {done.old.installation} again, then run:")
    python = done.copy.python or os.path.join(done.old.installation or sys.prefix, "bin", "python")
    command = [python, "-I", "-m", "workroot", "upgrade"]
    restore = ["--restore", done.copy.path]
    if done.schema == done.copy.schema:
        lines.append(f"  {shlex.join(command)}")
        lines.append(f"  with {shlex.join(restore)} at its end, to have the database as it was, too")
    else:
        lines.append(f"  {shlex.join([*command, *restore])}")
    return lines


def _report(done: _Upgrade, as_json: bool) -> None:
    way_back = _way_back(done)
    if as_json:
        print_json(
            {
                "replaced": done.old is not None and done.copy is not None,
                "from": done.old.as_json() if done.old is not None else None,
                "to": done.new.as_json() if done.new is not None else None,
                "backup": {"path": done.copy.path, "schema": done.copy.schema} if done.copy is not None else None,
                "restored": done.restored,
                "damaged": done.aside,
                "way_back": [line.strip() for line in way_back[1:]],
            }
        )
        return
    if done.old is None:
        print_line(f"no daemon runs; the one that editors start next will be {done.here}")
    elif done.old == done.new and done.copy is None:
        print_line(f"the daemon is {done.here} already")
    else:
        print_line(f"the daemon was {done.old}, and is {done.new} now")
    if done.copy is not None:
        print_line(f"the database as it was: {done.copy.path}")
    if done.aside is not None:
        print_line(f"the damaged database lies at {done.aside} now")
    if done.restored is not None:
        print_line(f"the database now is that of {done.restored}")
    for line in way_back:
        print_line(line)
