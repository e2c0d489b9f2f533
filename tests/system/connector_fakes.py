"""A daemon that does what a test says, and a client that is a real process: both ends of a connector under test.

Everything here waits for the other side under a deadline, and fails when it passes.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from workroot import __version__, rendezvous

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

DEADLINE_SECONDS = 15.0
CONNECT = (sys.executable, "-I", "-m", "workroot", "connect")
DRIVER = str(Path(__file__).with_name("connector_driver.py"))
FAKE_SERVE = str(Path(__file__).with_name("connector_fake_serve.py"))


def line_of(**fields: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **fields}).encode() + b"\n"


def call(request_id: int | str, method: str = "tools/call", **params: object) -> bytes:
    return line_of(id=request_id, method=method, params=params)


def answer(request_id: int | str, **result: object) -> bytes:
    return line_of(id=request_id, result=result)


class LineReader:
    """Reads lines from a descriptor, each under a deadline."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._kept = b""

    def read_line(self, seconds: float = DEADLINE_SECONDS) -> bytes:
        """Return the next line, or b"" at the end; what came before the end without a newline is an error."""
        deadline = monotonic() + seconds
        pieces = [self._kept]
        while b"\n" not in pieces[-1]:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            if not poll.poll(max(deadline - monotonic(), 0) * 1000):
                raise TimeoutError(f"no line within {seconds} s; so far: {b''.join(pieces)[:200]!r}")
            try:
                piece = os.read(self._descriptor, 1 << 16)
            except ConnectionResetError:
                piece = b""
            if not piece:
                assert not any(pieces), f"the end came in the middle of a line: {b''.join(pieces)[-200:]!r}"
                return b""
            pieces.append(piece)
        line, _, self._kept = b"".join(pieces).partition(b"\n")
        return line + b"\n"


class Connection:
    """One connector at a fake daemon, its hello read."""

    def __init__(self, accepted: socket.socket) -> None:
        self._socket = accepted
        self._socket.settimeout(DEADLINE_SECONDS)
        self._lines = LineReader(accepted.fileno())
        self.hello = rendezvous.parse_hello(self._lines.read_line())

    def welcome(self) -> Self:
        self.send(rendezvous.hello_line(version=__version__, boot="b", pid=os.getpid()))
        return self

    def send(self, *lines: bytes) -> None:
        self._socket.sendall(b"".join(lines))

    def read_line(self) -> bytes:
        return self._lines.read_line()

    def read_id(self) -> object:
        return json.loads(self.read_line())["id"]

    def read_some(self) -> bytes:
        return self._socket.recv(4096)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send_nowait(self, piece: bytes) -> int:
        return self._socket.send(piece, socket.MSG_DONTWAIT)

    def close(self) -> None:
        self._socket.close()


class FakeDaemon:
    """Listens where the daemon of *state* would."""

    def __init__(self, state: Path, uid: int | None = None) -> None:
        self.state, self._uid = state, uid
        self._connections: list[Connection] = []
        self._socket: socket.socket | None = None
        self.start()

    def start(self) -> None:
        path = rendezvous.prepare_meeting_place(str(self.state))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(DEADLINE_SECONDS)
        self._socket.bind(path)
        if self._uid is None:
            self._socket.listen()
            return
        own = os.geteuid()
        os.seteuid(self._uid)  # the system notes who began to listen
        try:
            self._socket.listen()
        finally:
            os.seteuid(own)

    def has_caller(self, seconds: float) -> bool:
        assert self._socket is not None
        return bool(select.select([self._socket], [], [], seconds)[0])

    def hang_up(self) -> None:
        """Accept a connection and close it at once."""
        assert self._socket is not None
        self._socket.accept()[0].close()

    def abandon(self) -> None:
        """Leave the socket's file behind, as a process that is killed does."""
        assert self._socket is not None
        self._socket.close()
        self._socket = None

    def accept(self, *, welcome: bool = True) -> Connection:
        assert self._socket is not None
        connection = Connection(self._socket.accept()[0])
        self._connections.append(connection)
        return connection.welcome() if welcome else connection

    def stop(self) -> None:
        """Close everything at once, as a process that is killed does."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            Path(rendezvous.socket_path(str(self.state))).unlink()
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def restart(self) -> None:
        self.stop()
        self.start()


class Client:
    """An MCP client that started a connector."""

    def __init__(
        self,
        state: Path,
        *options: str,
        command: Sequence[str] = CONNECT,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        home = {"HOME": str(state.parent), "PATH": os.environ["PATH"], "WORKROOT_HOME": str(state)}
        self._process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=cwd,
            env={**home, **(environment or {})},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self._input, self._output = self._process.stdin, self._process.stdout
        self._lines = LineReader(self._output.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._input, self._output, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def send(self, *lines: bytes) -> None:
        data = memoryview(b"".join(lines))
        while data:
            data = data[os.write(self._input.fileno(), data) :]

    def read_line(self) -> bytes:
        return self._lines.read_line()

    def read_message(self) -> dict[str, object]:
        message: dict[str, object] = json.loads(self.read_line())
        return message

    def input_descriptor(self) -> int:
        return self._input.fileno()

    def output_descriptor(self) -> int:
        return self._output.fileno()

    def close_input(self) -> None:
        self._input.close()

    def close_output(self) -> None:
        self._output.close()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def pause(self) -> None:
        """Stop the process where it is, until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def wait(self) -> int:
        return self._process.wait(DEADLINE_SECONDS)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def open_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def read_errors(self) -> str:
        """Return what the connector said beside the protocol; it has ended."""
        assert self._process.stderr is not None
        return self._process.stderr.read().decode()

    def peak_memory_bytes(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def connect_with(
    serve_command: Sequence[str], patience: float = 20.0, *, hello_seconds: float | None = None
) -> tuple[str, ...]:
    """Return a command that runs the connector with another daemon to start, or another patience."""
    keywords = {"serve_command": list(serve_command), "patience": patience}
    return (sys.executable, "-I", DRIVER, json.dumps({"keywords": keywords, "hello_seconds": hello_seconds}))


def fake_serve(behaviour: str = "serve") -> tuple[str, ...]:
    """Return what starts the fake daemon process; see `connector_fake_serve.py`."""
    return (sys.executable, "-I", FAKE_SERVE, behaviour)
