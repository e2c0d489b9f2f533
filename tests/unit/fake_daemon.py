"""A daemon that answers control commands from a script, and a way to run the command line against it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from click.testing import CliRunner, Result

from workroot import rendezvous
from workroot.cli.program import program
from workroot.instance import hold_instance

Answer = Mapping[str, object] | bytes | None
"""A result; or the bytes to send instead of an answer line; or None to hang up."""


@dataclass
class FakeDaemon:
    """Answers each command as told, and keeps what it was asked.

    Attributes:
        hello: its first line.
        answers: what to say to each command.
        asked: the requests so far.
        after: called once the answer to a command is out.
        was_reached: somebody connected.
        has_lock: it holds the lock, as a daemon does; else a service manager listens where none runs.
    """

    state: Path
    answers: Mapping[str, Answer]
    hello: bytes = b'{"workroot":1,"version":"0.1.0","boot":"b00t","pid":4711}\n'
    asked: list[dict[str, object]] = field(default_factory=list)
    after: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    has_lock: bool = True
    was_reached: bool = False

    @property
    def socket_path(self) -> Path:
        return Path(rendezvous.socket_path(str(self.state)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeDaemon]:
        """Listen for as long as the context lasts."""
        self.socket_path.parent.mkdir(mode=0o700, parents=True)
        lock = hold_instance(rendezvous.instance_lock_path(str(self.state))) if self.has_lock else nullcontext()
        with anyio.fail_after(10), lock:
            async with (
                await anyio.create_unix_listener(self.socket_path) as listener,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(listener.serve, self._converse)
                yield self
                tasks.cancel_scope.cancel()

    async def run(self, *arguments: str) -> Result:
        """Run the command line while answering it."""
        return await anyio.to_thread.run_sync(partial(run_cli, *arguments, state=self.state))

    async def _converse(self, stream: SocketStream) -> None:
        self.was_reached = True
        async with stream:
            lines = BufferedByteReceiveStream(stream)
            try:
                assert json.loads(await lines.receive_until(b"\n", 4096))["role"] == "control"
                await stream.send(self.hello)
                while True:
                    request = json.loads(await lines.receive_until(b"\n", 4096))
                    self.asked.append(request)
                    answer = self.answers[request["command"]]
                    if answer is not None:
                        await stream.send(answer if isinstance(answer, bytes) else _line({"result": answer}))
                    self.after.get(request["command"], lambda: None)()
                    if answer is None:
                        return
            except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
                return


def run_cli(*arguments: str, state: Path, text_in: str | None = None) -> Result:
    """Run the command line in this process; only the arguments and the state directory reach it."""
    return CliRunner().invoke(program, arguments, env={"WORKROOT_HOME": str(state)}, input=text_in)


@contextmanager
def short_directory() -> Iterator[Path]:
    """Make a directory whose path is short enough to hold a socket."""
    directory = tempfile.mkdtemp(prefix="wr-")
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory)


def _line(document: Mapping[str, object]) -> bytes:
    return json.dumps(document).encode() + b"\n"
