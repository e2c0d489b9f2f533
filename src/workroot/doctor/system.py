"""What the system allows and what it is: descriptors, processes, watches, the clock, Windows below."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path as FilePath

from workroot.doctor.findings import Found, ok, problem, warning

__all__ = ["Watches", "look_at_clock", "look_at_descriptors", "look_at_kind", "look_at_watches", "watches_of_user"]

_DESCRIPTORS = 4096  # as many as the daemon asks for
_FEW_PROCESSES = 256
_FEW_WATCHES = 8192
_NEARLY = 0.9
_YEAR_2020 = 1_577_836_800
_AHEAD_SECONDS = 300
_UNKNOWN = -1

Limit = tuple[int, int]
Watches = tuple[int, int]
"""Instances of inotify, and watches of all of them together."""


def look_at_kind(release: str | None = None, platform: str = sys.platform) -> Iterator[Found]:
    """Look whether the system is one that workroot runs on.

    Args:
        release: the kernel's own name for itself.
    """
    said = (release if release is not None else os.uname().release).lower()
    if platform.startswith("linux") and "microsoft" in said:
        if "wsl2" in said or "microsoft-standard" in said:
            yield ok("WSL2")
        else:
            yield problem(
                "WSL1, which lacks what workroot needs of Linux",
                cure=("run `wsl --set-version DISTRIBUTION 2` in Windows",),
            )
    elif platform.startswith("linux") or platform == "darwin":
        yield ok("macOS" if platform == "darwin" else "Linux")
    else:
        yield warning("a system that workroot is not tested on", cure=("use Linux, macOS or WSL2",))


def look_at_clock(state: str, *, now: float | None = None) -> Iterator[Found]:
    """Look whether the clock can be right: idle sessions are ended by it across restarts.

    Args:
        now: in seconds since the Unix epoch; None: the system's.
    """
    now = time.time() if now is None else now
    cure = ("set the clock, for instance with `timedatectl set-ntp true`",)
    if now < _YEAR_2020:
        yield problem("the clock is in the years before 2020", cure=cure)
        return
    newest = max((_changed_at(os.path.join(state, name)) for name in ("workroot.db", "workroot.db-wal")), default=0.0)
    if newest - now > _AHEAD_SECONDS:
        yield warning(
            f"the clock is {(newest - now) / 3600:.1f} hours behind what was written to the database last", cure=cure
        )
    else:
        yield ok("the clock agrees with what was stored last")


def look_at_descriptors(descriptors: Limit | None = None, processes: Limit | None = None) -> Iterator[Found]:
    """Look whether enough files may be open at a time, and enough threads exist.

    Args:
        descriptors: the soft and the hard limit; None: ask the system.
        processes: the same of processes and threads.
    """
    soft, hard = descriptors or resource.getrlimit(resource.RLIMIT_NOFILE)
    said = f"open files: {_said(soft)}, at most {_said(hard)}"
    if hard not in (resource.RLIM_INFINITY, _UNKNOWN) and hard < _DESCRIPTORS:
        grown = problem if hard < 256 else warning
        yield grown(
            f"{said}; the daemon raises its own limit to {_DESCRIPTORS} where it may",
            cure=("raise the hard limit: `nofile` in /etc/security/limits.conf, or LimitNOFILE of the service",),
        )
    else:
        yield ok(said)
    soft, _ = processes or resource.getrlimit(resource.RLIMIT_NPROC)
    if soft not in (resource.RLIM_INFINITY, _UNKNOWN) and soft < _FEW_PROCESSES:
        yield warning(
            f"only {soft} processes and threads are allowed",
            cure=("raise the limit: `nproc` in /etc/security/limits.conf",),
        )


def look_at_watches(
    *,
    limit_of: Callable[[str], int | None] | None = None,
    used: Callable[[], Watches] | None = None,
) -> Iterator[Found]:
    """Look whether changed configs can be watched for; without it each call still looks for itself.

    Args:
        limit_of: gives a limit of inotify by its name; None where there is none.
        used: gives what this user's processes have of them.
    """
    limit_of = limit_of or _limit_of_inotify
    instances, watches = limit_of("max_user_instances"), limit_of("max_user_watches")
    if instances is None or watches is None:
        yield ok("the system has no such limits")
        return
    used_instances, used_watches = (used or watches_of_user)()
    said = f"inotify: {used_instances} of {instances} instances, {used_watches} of {watches} watches in use"
    faults = []
    if used_instances >= instances * _NEARLY:
        faults.append(("fs.inotify.max_user_instances", max(512, 2 * instances)))
    if used_watches >= watches * _NEARLY or watches < _FEW_WATCHES:
        faults.append(("fs.inotify.max_user_watches", max(65_536, 2 * watches)))
    for name, better in faults:
        yield warning(f"{said}: clients hear of changed configs late", cure=(f"run `sudo sysctl {name}={better}`",))
    if not faults:
        yield ok(said)


def watches_of_user(processes: str = "/proc", *, user_id: int | None = None) -> Watches:
    """Return how many inotify instances and watches a user's processes have.

    Args:
        processes: where the kernel shows them.
        user_id: whose; None: this process's user.
    """
    user_id = os.geteuid() if user_id is None else user_id
    instances = watches = 0
    for pid in (name for name in os.listdir(processes) if name.isdecimal()):
        if _owner(f"{processes}/{pid}") != user_id:
            continue
        for descriptor in _names(f"{processes}/{pid}/fd"):
            try:
                if os.readlink(f"{processes}/{pid}/fd/{descriptor}") == "anon_inode:inotify":
                    instances += 1
                    watches += FilePath(f"{processes}/{pid}/fdinfo/{descriptor}").read_bytes().count(b"\ninotify wd:")
            except OSError:
                continue
    return instances, watches


def _names(directory: str) -> Sequence[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return ()


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:
        return None


def _limit_of_inotify(name: str) -> int | None:
    try:
        return int(FilePath(f"/proc/sys/fs/inotify/{name}").read_text("ascii"))
    except (OSError, ValueError):
        return None


def _changed_at(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def _said(limit: int) -> str:
    return "no limit" if limit in (resource.RLIM_INFINITY, _UNKNOWN) else str(limit)
