"""The daemon as it is found: the way to it, whether it answers, and what version it and its database are."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

from workroot import __version__
from workroot.doctor.asking import Daemon
from workroot.doctor.findings import Found, Path, Private, Text, note, ok, problem, warning
from workroot.instance import holder_pid
from workroot.rendezvous import common_wire, instance_lock_path, run_directory, socket_path

__all__ = ["lock_holder", "look_at_daemon", "look_at_database", "look_at_socket", "look_at_versions"]

_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
_BY_MODES = "correct owners and modes, as the checks of directories and files say"
_PUT_BACK = "wait: the daemon looks for it every 5 s, and puts it back"


def look_at_daemon(daemon: Daemon, state: str, *, holder: int | None = None) -> Iterator[Found]:
    """Look whether a daemon runs and answers.

    Args:
        holder: the process that holds the lock; None if it is not known.
    """
    lock = instance_lock_path(state)
    if daemon.lock_failure is not None:
        aside = Path(lock, quoted=True), " ", Path(f"{lock}.aside", quoted=True)
        yield problem(
            "the lock of the one daemon cannot be used",
            Private(f" ({daemon.lock_failure})"),
            cure=(_BY_MODES,)
            if _is_closed(os.path.dirname(lock))
            else ("move it away; no daemon starts with it: `mv ", *aside, "`"),
        )
    if daemon.status is not None:
        yield ok(f"running, pid {daemon.pid}, version {_plain_version(daemon.text('version'))}")
    elif daemon.is_held and not os.path.lexists(socket_path(state)):
        named = f", pid {holder}," if holder is not None else ""
        yield problem(
            f"a daemon{named} runs, and its socket is gone: no client can reach it",
            cure=(_PUT_BACK, f"; if it has not, run `kill {holder}`, and editors start another one" if holder else ""),
        )
    elif daemon.is_held:
        named = f", pid {holder}," if holder is not None else ""
        kill = f"`kill -CONT {holder}`, then `kill {holder}`" if holder is not None else "`workroot stop`"
        last = f"; `kill -9 {holder}` if it is still there after 10 s" if holder is not None else ""
        yield problem(
            f"a daemon{named} holds the lock and does not answer: it hangs, was stopped, or is starting or ending",
            _because(daemon),
            cure=(f"if it stays so, run {kill}{last}; editors start another one",),
        )
    elif daemon.is_listened_for:
        yield note(
            "no daemon is running; a service manager, or another program, listens in its place",
            cure=("nothing, if you installed the service: it starts one; `workroot service status` tells",),
        )
    elif daemon.lock_failure is None:
        yield note(
            "no daemon is running",
            cure=("nothing: the next editor starts one; `workroot serve` runs one in this terminal",),
        )


def look_at_socket(state: str, *, is_running: bool, is_listened_for: bool = False, user_id: int) -> Iterator[Found]:
    """Look what is where the daemon listens.

    Args:
        state: the state directory.
        is_running: a daemon runs, whether it answers or not.
        is_listened_for: somebody else listens there.
        user_id: whose it has to be.
    """
    path = socket_path(state)
    if not path.startswith(f"{run_directory(state)}/"):
        yield note(
            "the state directory's path is too long for a socket, which therefore is ",
            Path(path),
            cure=("nothing, unless something cleans /tmp: then set WORKROOT_HOME to a shorter path",),
        )
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        if is_running:
            yield problem("a daemon runs, and there is no ", Path(path), cure=(_PUT_BACK,))
        else:
            yield ok("no socket, and no daemon")
        return
    except OSError as error:
        yield problem(
            Path(path),
            f" cannot be looked at ({error.strerror})",
            cure=(_BY_MODES,),
        )
        return
    if not stat.S_ISSOCK(found.st_mode):
        aside = Path(f"{path}.aside", quoted=True)
        yield problem(
            Path(path), " is not a socket", cure=("move it away: `mv ", Path(path, quoted=True), " ", aside, "`")
        )
    elif found.st_uid != user_id:
        yield problem(
            Path(path),
            f" belongs to the user with id {found.st_uid}",
            cure=("remove it: `rm ", Path(path, quoted=True), "`, or set WORKROOT_HOME to a directory of your own"),
        )
    elif found.st_mode & 0o077:
        yield problem(
            Path(path),
            f" lets other users in (mode {stat.S_IMODE(found.st_mode):04o})",
            cure=("run `chmod 600 ", Path(path, quoted=True), "`"),
        )
    elif not is_running and not is_listened_for:
        yield note(
            "a socket is left from a daemon that was killed: ",
            Path(path),
            cure=("nothing: the next daemon replaces it",),
        )
    else:
        yield ok("at ", Path(path))


def look_at_versions(daemon: Daemon, *, own_installation: str) -> Iterator[Found]:
    """Look whether daemon and command are of one version and one installation.

    Args:
        own_installation: as `rendezvous.installation` gives it.
    """
    if daemon.hello is None:
        return
    is_well, theirs = True, daemon.text("version")
    try:
        wire = common_wire(daemon.hello, sender="daemon")
    except ValueError as error:
        yield problem(
            "daemon and command know no protocol that is common to both",
            Private(f" ({error})"),
            cure=("run `workroot upgrade` of the newer installation",),
        )
        return
    if theirs != __version__:
        is_well = False
        yield warning(
            f"the daemon is version {_plain_version(theirs)}, this command {__version__}",
            cure=("run `workroot upgrade`, or use the commands of the daemon's installation",),
        )
    if (place := daemon.text("installation")) not in (None, own_installation):
        is_well = False
        yield warning(
            "the daemon runs from another installation, ",
            Path(place or ""),
            ", than this command, ",
            Path(own_installation),
            cure=("run `workroot upgrade` to have the daemon of this one, or use the other one's commands",),
        )
    if is_well:
        yield ok(f"daemon and command are version {__version__}, of one installation, protocol {wire}")


def look_at_database(state: str) -> Iterator[Found]:
    """Look whether the database is one that this version can use. It is only read, and nothing is made beside it."""
    from workroot.storage.schema import APPLICATION_ID, MIGRATIONS

    path = os.path.join(state, "workroot.db")
    cannot: Text = ("move it away with its -wal and -shm files, or put a backup of it there, while no daemon runs",)
    try:
        facts = _schema_of(path)
    except FileNotFoundError:
        if os.path.lexists(f"{path}-wal"):
            yield problem(
                "the database is gone, and its log ",
                Path(f"{path}-wal"),
                " is still there",
                cure=("put workroot.db back, if you have it; then run `workroot stop`, and the next daemon goes on",),
            )
        else:
            yield ok("no database yet")
        return
    except PermissionError:
        yield problem("the database cannot be read: permission denied", cure=(_BY_MODES,))
        return
    except (OSError, sqlite3.Error) as error:
        yield problem("the database cannot be read", Private(f" ({error})"), cure=cannot)
        return
    if facts is None:
        yield ok("the database is still empty")
        return
    application, version = facts
    if application != APPLICATION_ID and (application or version):
        yield problem(Path(path), " is not a database of workroot", cure=cannot)
    elif version > len(MIGRATIONS):
        yield problem(
            f"the database has schema version {version}; this workroot knows {len(MIGRATIONS)} and leaves it alone",
            cure=("install the newer workroot again, or put the backup of before the upgrade in its place",),
        )
    elif version < len(MIGRATIONS):
        yield note(
            f"the database has schema version {version} of {len(MIGRATIONS)}",
            cure=("nothing: the next daemon of this version brings it up to date, after a backup",),
        )
    else:
        yield ok(f"schema version {version}")


def lock_holder(state: str, *, table: str = "/proc/locks") -> int | None:
    """Return the process that holds the lock of the one daemon, as the kernel tells, or else the lock's file.

    Only to be shown: a process that died without a word leaves its number in the file.
    """
    return _holder_by_kernel(state, table) or holder_pid(instance_lock_path(state))


def _holder_by_kernel(state: str, table: str) -> int | None:
    try:
        lock = os.stat(instance_lock_path(state))
        with open(table, encoding="ascii") as lines:
            for line in lines:
                fields = line.split()  # "1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF"
                if len(fields) < 6 or fields[1] != "FLOCK" or fields[3] != "WRITE":
                    continue
                major, minor, inode = fields[5].split(":")
                device = os.makedev(int(major, 16), int(minor, 16))
                if (device, int(inode)) == (lock.st_dev, lock.st_ino):
                    return int(fields[4])
    except (OSError, ValueError):
        return None
    return None


def _schema_of(path: str) -> tuple[int, int] | None:
    """Return application id and schema version; None of an empty file.

    A log beside it may hold the newer version; with it, only SQLite knows. Without it the file's head does, and
    reading that makes no files, as SQLite would (sqlite.org/fileformat.html, section 1.3).
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe has no end; and SQLite would not tell what is missing
        raise sqlite3.DatabaseError("not a plain file")
    if os.path.exists(f"{path}-wal"):
        uri = f"file:{quote(path)}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=1, isolation_level=None)) as connection:
            application, version = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
        return int(application), int(version)
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header:
        return None
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise sqlite3.DatabaseError("file is not a database")
    return int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big")


def _is_closed(directory: str) -> bool:
    """Tell whether this user may not look into *directory*, or not even find it."""
    try:
        os.stat(f"{directory}/.")
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _because(daemon: Daemon) -> Private | str:
    return Private(f" ({daemon.failure})") if daemon.failure is not None else ""


def _plain_version(version: str | None) -> str:
    """Return a version as it may be: what a stranger says of itself is no text of ours."""
    return version if version is not None and re.fullmatch(r"[0-9A-Za-z.+-]{1,40}", version) else "unknown"
