"""A user's home with a real daemon in it, and the clients that editors are: all real processes, none left behind.

Everything waits for an event under a deadline. A daemon is ended by the id that it gave itself or, if it
does not answer, by that of the process that was started with this very home.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
from anyio.abc import ByteReceiveStream, ByteSendStream
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.session import ListRootsFnT, MessageHandlerFnT
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Implementation, ListRootsResult, Root, TextContent
from pydantic import FileUrl

from workroot import rendezvous
from workroot.control_client import ControlClient, open_control
from workroot.errors import DaemonUnavailableError
from workroot.identity import TokenFile

WORKROOT = str(Path(sys.executable).with_name("workroot"))
DEADLINE_SECONDS = 15.0
LEGACY = "legacy"
MODERN = "2026-07-28"
ERAS = (LEGACY, MODERN)
HANDSHAKE_VERSION = "2025-06-18"
MODERN_META: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "hand", "version": "1"},
}

Roots = Callable[[], Sequence[str]]
"""Names the client's roots, as URIs, each time it is asked."""


class Process:
    """A process known by its descriptor, so that no other can be taken for it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def wait_end(self, seconds: float = DEADLINE_SECONDS) -> bool:
        """Tell whether it ended in time; does not reap it."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        os.close(self._descriptor)


def processes_with(variable: str) -> list[int]:
    """Return the ids of the processes that have *variable* (`NAME=value`) in their environment."""
    found = []
    for entry in os.listdir("/proc"):
        with suppress(OSError):
            if entry.isdecimal() and variable.encode() in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                found.append(int(entry))
    return found


def end_processes_with(variable: str) -> None:
    """End the daemons and connectors that have *variable* in their environment.

    A daemon may have been starting when the other was told to stop.
    """
    for pid in processes_with(variable):
        with suppress(OSError):
            process = Process(pid)
            process.signal(signal.SIGTERM)
            if not process.wait_end(5):
                process.signal(signal.SIGKILL)
                process.wait_end(5)
            process.close()


@dataclass
class Home:
    """A user's home directory, their projects, and the state directory of their daemon.

    Attributes:
        top: everything is below it; no project owns it.
        environment: what every process started here gets, and nothing else.
    """

    top: Path
    settings: dict[str, str]
    environment: dict[str, str] = field(init=False)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environment = {
            "HOME": str(self.top / "home"),
            "PATH": os.environ["PATH"],
            "WORKROOT_HOME": str(self.state),
            **self.settings,
        }
        (self.top / "home").mkdir()

    @property
    def state(self) -> Path:
        return self.top / "state"

    @property
    def socket_path(self) -> str:
        return rendezvous.socket_path(str(self.state))

    @property
    def log(self) -> str:
        return (self.state / "log" / "daemon.log").read_text()

    # Projects

    def directory(self, name: str) -> Path:
        """Make a directory that no project owns."""
        made = self.top / name
        made.mkdir(parents=True)
        return made

    def repository(self, name: str) -> Path:
        """Make what discovery takes for a git repository."""
        made = self.directory(name)
        for inner in ("objects", "refs"):
            (made / ".git" / inner).mkdir(parents=True)
        (made / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        return made

    def worktree(self, repository: Path, name: str) -> Path:
        """Make another worktree of a repository."""
        made, branch = self.directory(name), name.replace("/", "-")
        administrative = repository / ".git" / "worktrees" / branch
        administrative.mkdir(parents=True)
        (administrative / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
        (administrative / "commondir").write_text("../..\n")
        (administrative / "gitdir").write_text(f"{made / '.git'}\n")
        (made / ".git").write_text(f"gitdir: {administrative}\n")
        return made

    def configured(self, directory: str, *, name: str, project_id: str) -> Path:
        """Make a project with a config."""
        text = f'version = "1.0"\n\n[project]\nname = "{name}"\nid = "{project_id}"\n'
        return self.with_config(directory, text)

    def with_config(self, directory: str, text: str) -> Path:
        """Make a directory whose config is *text*, valid or not."""
        made = self.directory(directory)
        (made / ".workroot").mkdir()
        (made / ".workroot" / "config.toml").write_text(text)
        return made

    # The daemon

    def serve(self) -> subprocess.Popen[bytes]:
        """Start `workroot serve` and do not wait for it."""
        started = subprocess.Popen(
            [WORKROOT, "serve"],
            env=self.environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.started.append(started)
        return started

    def start(self, *, under: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a daemon, and return when clients can connect.

        Args:
            under: a command that starts it, such as a tracer; it is then what is returned.
        """
        said, saying = os.pipe()
        try:
            started = subprocess.Popen(
                [*under, WORKROOT, "serve", "--ready-fd", str(saying)],
                env=self.environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[saying],
                start_new_session=True,
            )
        finally:
            os.close(saying)
        self.started.append(started)
        with os.fdopen(said, "rb") as ready:
            assert select.select([ready], [], [], DEADLINE_SECONDS)[0], "the daemon was not ready in time"
            assert ready.readline() == b"ready\n", "the daemon ended instead of becoming ready"
        return started

    @contextmanager
    def control(self) -> Iterator[ControlClient]:
        with open_control(self.socket_path) as client:
            yield client

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """Ask the daemon over its control connection."""
        with self.control() as client:
            return client.ask(command, **arguments)

    def sessions(self) -> dict[str, dict[str, Any]]:
        """Return all sessions by their id."""
        page = self.ask("sessions")
        found: list[dict[str, Any]] = page["sessions"]
        while "cursor" in page:
            page = self.ask("sessions", cursor=page["cursor"])
            found += page["sessions"]
        return {session["session_id"]: session for session in found}

    def wait_until(self, is_so: Callable[[], bool], *, what: str) -> None:
        """Look again and again, the other side being the pace-maker, until *is_so* or the deadline."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_SECONDS} s"

    async def wait_until_async(self, is_so: Callable[[], bool], *, what: str) -> None:
        """As `wait_until`, letting other tasks run."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not await anyio.to_thread.run_sync(is_so):
            assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_SECONDS} s"

    def is_running(self) -> bool:
        try:
            self.ask("status")
        except DaemonUnavailableError:
            return False
        return True

    def kill_daemon(self) -> int:
        """SIGKILL the daemon, and return its pid when it is gone."""
        with self.control() as client:
            pid = client.daemon["pid"]
            assert isinstance(pid, int)
            daemon = Process(pid)
        try:
            daemon.signal(signal.SIGKILL)
            assert daemon.wait_end()
        finally:
            daemon.close()
        return pid

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a `workroot` command to its end."""
        return subprocess.run(
            [WORKROOT, *arguments],
            env=self.environment,
            cwd=cwd or self.top,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def close(self) -> None:
        """End whatever was started with this home."""
        with suppress(DaemonUnavailableError):
            self.ask("stop")
        end_processes_with(f"WORKROOT_HOME={self.state}")
        for started in self.started:
            started.wait(5)
            if started.stderr is not None:
                started.stderr.close()

    # Clients

    def connector(self, directory: Path | None, *arguments: str, **environment: str) -> StdioServerParameters:
        """Return how an editor starts a connector: in *directory*, by default in the user's home."""
        return StdioServerParameters(
            command=WORKROOT,
            args=["connect", *arguments],
            cwd=directory if directory is not None else self.environment["HOME"],
            env={"PWD": "", **self.environment, **environment},
        )

    def open_client(
        self,
        mode: str,
        directory: Path | None = None,
        *arguments: str,
        name: str = "ada",
        roots: Roots | None = None,
        heard: MessageHandlerFnT | None = None,
    ) -> Client:
        """Return a client that speaks to a connector of its own; enter it with `async with`."""
        return Client(
            self.connector(directory, *arguments),
            mode=mode,
            client_info=Implementation(name=name, version="1"),
            list_roots_callback=_answering(roots) if roots is not None else None,
            message_handler=heard,
            read_timeout_seconds=DEADLINE_SECONDS,
        )

    @asynccontextmanager
    async def open_http_client(self, mode: str, user: str | None = None, *, query: str = "") -> AsyncIterator[Client]:
        """Open a client over HTTP, whose token acts for *user*, or for the operating-system user."""
        tokens = TokenFile(self.state / "tokens.json")
        name = f"t{len(tokens.list())}"
        headers = {"Authorization": f"Bearer {tokens.create(name, user)}"}
        url = self.ask("status")["http"]["url"]
        async with httpx2.AsyncClient(headers=headers) as http:
            transport = streamable_http_client(url + query, http_client=http)
            async with Client(transport, mode=mode, read_timeout_seconds=DEADLINE_SECONDS) as client:
                yield client

    @asynccontextmanager
    async def open_raw_connector(self, directory: Path | None = None, *arguments: str) -> AsyncIterator[RawClient]:
        """Start a connector, to be spoken to by hand."""
        parameters = self.connector(directory, *arguments)
        process = await anyio.open_process(
            [parameters.command, *parameters.args], cwd=parameters.cwd, env=parameters.env, stderr=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield RawClient(process.stdin, process.stdout)
        finally:
            with anyio.CancelScope(shield=True):
                await process.stdin.aclose()
                with anyio.move_on_after(5):
                    async for _ in process.stdout:
                        pass  # an answer in flight may still come; a full pipe would hold it up
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                await process.aclose()

    @asynccontextmanager
    async def open_raw_socket(self, **hello: object) -> AsyncIterator[RawClient]:
        """Connect to the daemon's socket as a connector does, the hello lines exchanged."""
        async with await anyio.connect_unix(self.socket_path) as stream:
            client = RawClient(stream, stream)
            await client.send_bytes(rendezvous.hello_line(**{"role": "mcp", "version": "1", **hello}))
            assert "boot" in await client.receive()
            yield client


class RawClient:
    """Lines written and read by hand."""

    def __init__(self, outgoing: ByteSendStream, incoming: ByteReceiveStream) -> None:
        self._outgoing, self._incoming = outgoing, incoming
        self._read = b""

    async def send_bytes(self, data: bytes) -> None:
        with anyio.fail_after(DEADLINE_SECONDS):
            await self._outgoing.send(data)

    async def send(self, **message: object) -> None:
        await self.send_bytes(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def end_input(self) -> None:
        """Say that nothing more will come."""
        await self._outgoing.aclose()

    async def receive(self) -> dict[str, Any]:
        """Return the next message.

        Raises:
            anyio.EndOfStream: the other side has ended.
        """
        with anyio.fail_after(DEADLINE_SECONDS):
            while b"\n" not in self._read:
                try:
                    self._read += await self._incoming.receive()
                except anyio.BrokenResourceError:
                    raise anyio.EndOfStream from None
        line, _, self._read = self._read.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    async def wait_end(self) -> None:
        """Return when the other side has ended, whatever it still says."""
        with suppress(anyio.EndOfStream):
            while True:
                await self.receive()

    async def initialize(self, *, request_id: int | str = 0, roots: bool = False) -> dict[str, Any]:
        """Do the handshake, and return the answer."""
        await self.send(
            id=request_id,
            method="initialize",
            params={
                "protocolVersion": HANDSHAKE_VERSION,
                "capabilities": {"roots": {}} if roots else {},
                "clientInfo": {"name": "hand", "version": "1"},
            },
        )
        answer = await self.receive()
        await self.send(method="notifications/initialized")
        return answer

    async def send_call(
        self, request_id: int | str, tool: str, *, meta: Mapping[str, Any] | None = None, **arguments: object
    ) -> None:
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        if meta is not None:
            params["_meta"] = meta
        await self.send(id=request_id, method="tools/call", params=params)

    async def call(
        self, request_id: int | str, tool: str, *, meta: Mapping[str, Any] | None = None, **arguments: object
    ) -> dict[str, Any]:
        """Call a tool and return the next message, which has to be its answer."""
        await self.send_call(request_id, tool, meta=meta, **arguments)
        answer = await self.receive()
        assert answer["id"] == request_id
        return answer


@contextmanager
def open_home(**settings: str) -> Iterator[Home]:
    """Make a home in a directory with a short path, and remove it and its processes at the end.

    Args:
        settings: `WORKROOT_*` variables for everything that is started in it.
    """
    top = Path(tempfile.mkdtemp(prefix="wr-", dir="/tmp")).resolve()
    made = Home(top, settings)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(top, ignore_errors=True)


async def answer_of(client: Client, tool: str, *, meta: Any = None, **arguments: object) -> dict[str, Any]:
    """Call a tool that has to succeed, and return its structured content."""
    result = await client.call_tool(tool, arguments, meta=meta)
    assert not result.is_error, text_of(result)
    content = result.structured_content
    assert isinstance(content, dict)
    return content


async def error_of(client: Client, tool: str, *, meta: Any = None, **arguments: object) -> str:
    """Call a tool that has to fail, and return the error's text."""
    result = await client.call_tool(tool, arguments, meta=meta)
    assert result.is_error, result
    return text_of(result)


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def _answering(roots: Roots) -> ListRootsFnT:
    async def list_roots(context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl(uri)) for uri in roots()])

    return list_roots
