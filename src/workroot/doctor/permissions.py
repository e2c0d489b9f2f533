"""Whose the state directory and what is in it are, and whom they let in."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator, Sequence

from workroot.doctor.findings import Found, Path, note, ok, problem, warning
from workroot.rendezvous import backup_directory, run_directory, socket_path

__all__ = ["look_at_directories", "look_at_files", "look_at_parents", "look_at_umask"]

_FILES = (
    *("workroot.db", "workroot.db-wal", "workroot.db-shm", "workroot.db.lock", "tokens.json", "trust.json"),
    *("daemon.key", "http-port", "log/daemon.log"),
)
_REFUSED_AS_LINK = frozenset({"workroot.db.lock", "tokens.json", "trust.json", "daemon.key", "log/daemon.log"})
_REFUSED_IF_SHARED = frozenset({"trust.json", "daemon.key"})
_ONLY_READ = frozenset({"tokens.json", "trust.json", "daemon.key", "http-port"})
_MOST_LEVELS = 64


def look_at_directories(state: str, *, user_id: int) -> Iterator[Found]:
    """Look whether the state directory, and each of ours in it, is a directory of this user's alone."""
    host = run_directory(state)
    ours = (
        state,
        os.path.dirname(host),
        host,
        os.path.dirname(socket_path(state)),
        os.path.join(state, "log"),
        backup_directory(state),
    )
    there = 0
    for directory in dict.fromkeys(ours):
        try:
            found = os.lstat(directory)
        except (FileNotFoundError, NotADirectoryError):
            continue  # what is above it and is no directory was named before
        except OSError as error:
            yield problem(
                Path(directory),
                f" cannot be looked at ({error.strerror})",
                cure=("make its parents yours, or set WORKROOT_HOME to a directory of your own",),
            )
            return
        there += 1
        if not stat.S_ISDIR(found.st_mode):
            is_link = stat.S_ISLNK(found.st_mode)
            yield problem(
                Path(directory),
                f" is {'a symbolic link' if is_link else 'not a directory'}, and only a directory is used",
                cure=(
                    "move it away: `mv ",
                    *_aside(directory),
                    "`; or set WORKROOT_HOME to where it leads" if is_link else "`",
                ),
            )
        elif found.st_uid != user_id:
            yield problem(
                Path(directory),
                f" belongs to the user with id {found.st_uid}, not to you",
                cure=("do not use it: set WORKROOT_HOME to a directory of your own",),
            )
        elif (mode := stat.S_IMODE(found.st_mode)) & 0o077:
            yield problem(
                Path(directory),
                f" lets other users in (mode {mode:04o}); the daemon does not start",
                cure=("look whether all in it is yours, then run `chmod 700 ", Path(directory, quoted=True), "`"),
            )
        elif mode & 0o700 != 0o700:
            yield problem(
                Path(directory),
                f" does not let you in (mode {mode:04o})",
                cure=("run `chmod 700 ", Path(directory, quoted=True), "`"),
            )
        else:
            continue
        there = -len(ours)  # something was said: the sentence below would be untrue
    if there > 0:
        yield ok(f"{there} directories, yours alone: ", Path(state), " and what is in it")
    elif there == 0:
        yield note("there is no ", Path(state), " yet", cure=("nothing: the daemon makes it when it first starts",))


def look_at_files(state: str, *, user_id: int) -> Iterator[Found]:
    """Look whether each file of ours is a plain file that nobody else can read or write."""
    seen, faults = 0, 0
    for name in (*_FILES, "config.toml"):
        path = os.path.join(state, name)
        try:
            status = os.lstat(path)
        except OSError:
            continue  # not there, or in a directory that another check speaks of
        seen += 1
        if (fault := _fault_of(name, path, status, user_id)) is not None:
            faults += 1
            yield fault
    if not seen:
        yield ok("no files yet")
    elif not faults:
        yield ok(f"{seen} files, yours alone")


def _fault_of(name: str, path: str, status: os.stat_result, user_id: int) -> Found | None:
    if stat.S_ISLNK(status.st_mode):
        if name == "config.toml":
            return None  # people keep their settings elsewhere, and link them
        grown, shown = problem if name in _REFUSED_AS_LINK else warning, Path(path, quoted=True)
        if not os.path.exists(path):
            return grown(Path(path), " is a symbolic link to nothing", cure=("remove it: `rm ", shown, "`"))
        cure = ('put the file itself in the place of the link: `mv -f "$(readlink -f ', shown, ')" ', shown, "`")
        return grown(Path(path), " is a symbolic link", cure=cure)
    if not stat.S_ISREG(status.st_mode):
        return problem(Path(path), " is not a plain file", cure=("move it away: `mv ", *_aside(path), "`"))
    if status.st_uid != user_id:
        return problem(
            Path(path),
            f" belongs to the user with id {status.st_uid}",
            cure=("do not trust what is in it; move it away: `mv ", *_aside(path), "`"),
        )
    return _fault_of_mode(name, path, stat.S_IMODE(status.st_mode))


def _fault_of_mode(name: str, path: str, mode: int) -> Found | None:
    is_private = name in _REFUSED_IF_SHARED
    is_settings = name == "config.toml"
    needed = 0o400 if is_settings or name in _ONLY_READ else 0o600
    if mode & (0o022 if is_settings else 0o077):  # settings are no secret
        others = "write to it" if mode & 0o022 else "read it"
        grown = problem if mode & 0o022 or is_private else warning
        return grown(
            Path(path),
            f" has mode {mode:04o}: other users may {others}",
            cure=("look whether its content is still yours, then run `chmod 600 ", Path(path, quoted=True), "`"),
        )
    if mode & needed != needed:
        return problem(
            Path(path),
            f" has mode {mode:04o}: you cannot use it yourself",
            cure=("run `chmod 600 ", Path(path, quoted=True), "`"),
        )
    return None


def _aside(path: str) -> tuple[Path, str, Path]:
    return Path(path, quoted=True), " ", Path(f"{path}.aside", quoted=True)


def look_at_parents(state: str, *, user_id: int, private_groups: Sequence[int] | None = None) -> Iterator[Found]:
    """Look whether others could put another directory in the place of the state directory.

    Args:
        private_groups: groups whose only member is the user; None: ask the system.
    """
    groups = _private_groups(user_id) if private_groups is None else private_groups
    directory, is_well = os.path.dirname(os.path.abspath(state)), True
    for _ in range(_MOST_LEVELS):
        try:
            found = os.stat(directory)
        except OSError:
            found = None  # not made yet
        if found is not None:
            mode = stat.S_IMODE(found.st_mode)
            by_group, by_all = mode & 0o020 and found.st_gid not in groups, mode & 0o002
            if found.st_uid not in (0, user_id):
                is_well = False
                yield problem(
                    Path(directory),
                    f", above the state directory, belongs to the user with id {found.st_uid}",
                    cure=("set WORKROOT_HOME to a directory below your home",),
                )
            elif (by_group or by_all) and not mode & stat.S_ISVTX:
                is_well = False
                who = "every user" if by_all else f"the group with id {found.st_gid}"
                grown = problem if by_all else warning
                yield grown(
                    Path(directory),
                    f", above the state directory, can be changed by {who} (mode {mode:04o})",
                    cure=("run `chmod go-w ", Path(directory, quoted=True), "`, or set WORKROOT_HOME to elsewhere"),
                )
        if directory == (above := os.path.dirname(directory)):
            break
        directory = above
    if is_well:
        yield ok("nobody else can replace the state directory")


def look_at_umask(umask: int | None) -> Iterator[Found]:
    """Look whether new files would be of use; workroot gives its own files their modes itself.

    Args:
        umask: of this process; None if the system does not tell.
    """
    if umask is None:
        return
    if umask & 0o700:
        yield warning(
            f"the umask {umask:04o} takes your own rights from new files", cure=("run `umask 077` in your shell",)
        )
    else:
        yield ok(f"umask {umask:04o}; workroot's own files are 0600 whatever it is")


def _private_groups(user_id: int) -> tuple[int, ...]:
    try:
        user = pwd.getpwuid(user_id)
        group = grp.getgrgid(user.pw_gid)
    except KeyError:
        return ()
    return (group.gr_gid,) if group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name} else ()
