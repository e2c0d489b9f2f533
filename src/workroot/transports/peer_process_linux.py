"""The process that holds one end of a TCP connection, from Linux's `/proc`; source: proc(5).

Nothing here follows a path of another process: links are read, never opened, so no mount can make it wait.
Only the command line can (a process that waits for a dead mount may hold the lock on it), so `find` belongs
in a thread.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.transports.shared_processes import Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from workroot.transports.peer_process import TcpEnds

__all__ = ["LinuxProcess", "LinuxProcesses"]

_MAX_COMMAND_LINE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxProcess:
    """A process, known by a socket that it holds: no other process can have that one after it.

    Attributes:
        holds: its link to the socket, below `/proc`.
        held: what that link says for as long as the process holds the socket.
    """

    pid: int
    program: Program
    home: str
    holds: str
    held: str

    def directory(self) -> str | None:
        """Return where it works now, or None if that cannot be named.

        Raises:
            OSError: it is gone, has let go of the connection, or is not ours any more.
        """
        directory = os.readlink(f"{self.home}/cwd")
        if os.readlink(self.holds) != self.held:  # after the directory, so that this was the same process's
            raise ProcessLookupError(f"process {self.pid} has let go of the connection")
        # A directory that was removed has a name with this end; so may one that was not, but it is not worth a guess.
        return directory if directory.startswith("/") and not directory.endswith(" (deleted)") else None


class LinuxProcesses:
    """Looks for processes.

    Args:
        proc: where the system tells of its processes.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._user = os.geteuid()

    def find(self, ends: TcpEnds, likely: Iterable[int], deadline: float) -> LinuxProcess | None:
        """Return the process of this user that holds the client's end of a connection, or None.

        Of several the one with the lowest number, which is older than those that got the socket from it. A
        process that sees other files under the same paths (a container's, say) is none.

        Args:
            likely: processes to look at first.
            deadline: when to give up, on `time.monotonic`.
        """
        with suppress(OSError):
            held = self._socket_of(ends)
            if held is None:
                return None
            for pid in self._candidates(likely):
                if time.monotonic() > deadline:
                    return None
                home = f"{self._proc}/{pid}"
                holds = _link_to(held, f"{home}/fd")
                if holds is not None and self._is_ours(home):
                    return LinuxProcess(pid=pid, program=_program_of(home), home=home, holds=holds, held=held)
        return None

    def _socket_of(self, ends: TcpEnds) -> str | None:
        """Return the socket at the client's end as links name it, if this user made it."""
        for table, client, server in (
            ("tcp", _in_hex(socket.AF_INET, ends.client), _in_hex(socket.AF_INET, ends.server)),
            ("tcp6", _in_hex(socket.AF_INET6, ends.client), _in_hex(socket.AF_INET6, ends.server)),
        ):
            wanted = f" {client} {server} ".encode()
            with suppress(FileNotFoundError), open(f"{self._proc}/net/{table}", "rb") as lines:  # IPv6 may be off
                for line in lines:
                    if wanted in line:
                        fields = line.split()
                        user, inode = int(fields[7]), int(fields[9])
                        return f"socket:[{inode}]" if inode and user == self._user else None
        return None

    def _candidates(self, likely: Iterable[int]) -> Iterator[int]:
        """Yield the processes to look at, likely ones first, never this one."""
        first = [pid for pid in likely if pid != os.getpid()]
        yield from first
        others = {int(name) for name in os.listdir(self._proc) if name.isdecimal()} - {os.getpid(), *first}
        yield from sorted(others)

    def _is_ours(self, home: str) -> bool:
        """Tell whether a process is this user's in every respect, and sees the files that we see."""
        with open(f"{home}/status", "rb") as lines:
            users = next((line.split()[1:] for line in lines if line.startswith(b"Uid:")), [])
        if {int(user) for user in users} != {self._user}:
            return False
        return all(os.readlink(f"{home}/{of}") == os.readlink(f"{self._proc}/self/{of}") for of in ("root", "ns/mnt"))


def _link_to(held: str, descriptors: str) -> str | None:
    with suppress(OSError):  # gone, or another user's
        for name in os.listdir(descriptors):
            link = f"{descriptors}/{name}"
            with suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(link) == held:
                    return link
    return None


def _program_of(home: str) -> Program:
    with open(f"{home}/comm", encoding="utf-8", errors="replace") as file:
        title = file.read().rstrip("\n")
    with open(f"{home}/cmdline", "rb") as raw:
        line = raw.read(_MAX_COMMAND_LINE_BYTES).decode(errors="replace")
    return Program(
        executable=os.readlink(f"{home}/exe"), title=title, arguments=tuple(part for part in line.split("\0") if part)
    )


def _in_hex(family: socket.AddressFamily, end: tuple[str, int]) -> str:
    """Return an address as the kernel's tables have it: words in the order of this machine's bytes."""
    host, port = end
    packed = socket.inet_pton(socket.AF_INET, host)
    if family == socket.AF_INET6:
        packed = b"\0" * 10 + b"\xff\xff" + packed  # how a socket for both versions sees version 4
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    return f"{''.join(f'{word:08X}' for word in words)}:{port:04X}"
