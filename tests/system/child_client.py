"""A client that is a process of its own, does what it is told, and ends when its test does.

Run as a program it reads one JSON list a line, `[COMMAND, ARGUMENT...]`, and answers each with a line of JSON.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any


class ChildClient:
    """A child process; each method returns when the child has done it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid: int = self._do("pid")

    def connect(self, port: int, family: socket.AddressFamily = socket.AF_INET) -> tuple[str, int]:
        """Open a connection, and return its own end as the other one sees it."""
        host = "::ffff:127.0.0.1" if family == socket.AF_INET6 else "127.0.0.1"
        return "127.0.0.1", self._do("connect", int(family), host, port)

    def post(self, port: int, target: str, headers: dict[str, str], message: object, source_port: int = 0) -> int:
        """Send a request on the one connection that is kept for all of them; return the status of its answer."""
        return int(self._do("post", port, target, headers, json.dumps(message), source_port))

    def drop(self) -> None:
        """Break the kept connection off, so that its port is free at once."""
        self._do("drop")

    def hang_up(self) -> None:
        """Close every connection that `connect` opened."""
        self._do("hang_up")

    def chdir(self, directory: Path) -> None:
        self._do("chdir", str(directory))

    def chroot(self, directory: Path) -> None:
        self._do("chroot", str(directory))

    def become(self, user: int) -> None:
        self._do("become", user)

    def hand_on(self) -> None:
        """Go on as another process, which inherits what is open; the first one ends."""
        self._do("hand_on")
        self._process.wait(timeout=5)
        self.pid = self._do("pid")

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        assert self._process.stdout.read() == ""  # at its end, whoever holds it now
        self._process.wait(timeout=5)

    def _do(self, *command: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def child_client(directory: Path, *arguments: str, before: Sequence[str] = ()) -> Iterator[ChildClient]:
    """Run a client in *directory*.

    Args:
        arguments: further ones on its command line, which it ignores.
        before: a program that runs it.
    """
    command = [*before, sys.executable, "-S", __file__, *arguments]
    with subprocess.Popen(
        command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        client = ChildClient(process)
        try:
            yield client
        finally:
            client.end()


def main() -> None:
    opened: list[socket.socket] = []
    http: HTTPConnection | None = None
    for line in sys.stdin:
        answer: object = None
        match json.loads(line):
            case ["pid"]:
                answer = os.getpid()
            case ["connect", family, host, port]:
                opened.append(socket.socket(family))
                opened[-1].connect((host, port))
                answer = opened[-1].getsockname()[1]
            case ["post", port, target, headers, body, source_port]:
                if http is None:
                    http = HTTPConnection("127.0.0.1", port, source_address=("127.0.0.1", source_port))
                http.request("POST", target, body, headers)
                response = http.getresponse()
                response.read()
                answer = response.status
            case ["drop"] if http is not None:
                http.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                http.close()
                http = None
            case ["hang_up"]:
                while opened:
                    opened.pop().close()
            case ["chdir", directory]:
                os.chdir(directory)
            case ["chroot", directory]:
                os.chroot(directory)
            case ["become", user]:
                os.setuid(user)
            case ["hand_on"]:
                if os.fork():
                    os._exit(0)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
