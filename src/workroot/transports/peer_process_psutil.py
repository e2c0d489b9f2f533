"""The process that holds one end of a TCP connection, where there is no `/proc`: through psutil."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from workroot.transports.shared_processes import Program

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workroot.transports.peer_process import TcpEnds

__all__ = ["PsutilProcess", "PsutilProcesses"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PsutilProcess:
    """A process, known by its number and the time it was started at."""

    pid: int
    program: Program
    process: psutil.Process

    def directory(self) -> str | None:
        """Return where it works now, or None if that cannot be named.

        Raises:
            OSError: it is gone, or is not ours any more.
        """
        try:
            directory = self.process.cwd()
            if not self.process.is_running():  # after the directory, so that this was the same process's
                raise ProcessLookupError(f"process {self.pid} is gone")
        except psutil.Error as error:
            raise ProcessLookupError(f"process {self.pid} cannot be read: {error}") from error
        return directory if directory.startswith("/") else None


class PsutilProcesses:
    """Looks for processes."""

    def find(self, ends: TcpEnds, likely: Iterable[int], deadline: float) -> PsutilProcess | None:
        """Return the process of this user that holds the client's end of a connection, or None.

        Args:
            likely: processes to look at first.
            deadline: when to give up, on `time.monotonic`.
        """
        first = tuple(likely)
        for pid in (*first, *sorted({*psutil.pids()} - {*first})):
            if time.monotonic() > deadline:
                return None
            if pid == os.getpid():
                continue
            try:
                process = psutil.Process(pid)
                if {*process.uids()} == {os.geteuid()} and _holds(process, ends):
                    return PsutilProcess(pid=pid, program=_program_of(process), process=process)
            except (psutil.Error, OSError):
                continue  # gone, or not to be looked at
        return None


def _holds(process: psutil.Process, ends: TcpEnds) -> bool:
    return any(
        _end(connection.laddr) == ends.client and _end(connection.raddr) == ends.server
        for connection in process.net_connections("tcp")
    )


def _end(address: tuple[()] | tuple[str, int]) -> tuple[str, int] | None:
    if not address:
        return None
    host, port = address
    return host.removeprefix("::ffff:"), port


def _program_of(process: psutil.Process) -> Program:
    with process.oneshot():
        return Program(executable=process.exe(), title=process.name(), arguments=tuple(process.cmdline()))
