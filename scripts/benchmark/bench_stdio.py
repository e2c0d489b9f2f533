"""Over stdio: how a connector stands beside a bare SDK stdio server, in turns within one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
from bench_rounds import Effort
from bench_rows import Row, row_of
from mcp import Client
from mcp.client.session import ClientRequestContext
from mcp.client.stdio import StdioServerParameters
from mcp_types import ListRootsResult, Root
from pydantic import FileUrl

__all__ = ["WORKROOT", "measure_stdio", "warm_daemon"]

WORKROOT = [str(Path(sys.executable).with_name("workroot")), "connect"]

_SECTION, _BESIDE = "stdio", "a bare SDK stdio server"
_ECHO = [sys.executable, str(Path(__file__).with_name("bench_echo_server.py"))]
_ERAS = {"2026-07-28": "2026-07-28", "handshake": "legacy"}
_WARMING_CALLS = 20


def measure_stdio(project: Path, effort: Effort) -> list[Row]:
    """Measure starts and calls, while a daemon runs."""
    rows = _measure_starts(project, effort.starts)
    for era, mode in _ERAS.items():
        rows += anyio.run(_measure_calls, project, era, mode, effort.calls)
    return rows


@contextmanager
def warm_daemon(top: Path) -> Iterator[Path]:
    """Run a daemon whose state is in *top*; yield a project's directory."""
    os.environ["WORKROOT_HOME"] = str(top / "state")
    project = top / "project"
    (project / ".git").mkdir(parents=True)
    (project / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    try:
        _first_answer(WORKROOT, project)
        yield project
    finally:
        subprocess.run([WORKROOT[0], "stop"], check=False, capture_output=True, timeout=30)


def _measure_starts(project: Path, count: int) -> list[Row]:
    """Measure from the start of the process to the first answer of `tools/list`, and its peak memory."""
    times: dict[str, list[float]] = {}
    sizes: dict[str, list[float]] = {}
    for _ in range(count):
        for command in (WORKROOT, _ECHO):
            seconds, megabytes = _first_answer(command, project)
            times.setdefault(command[0] + command[1], []).append(seconds * 1000)
            sizes.setdefault(command[0] + command[1], []).append(megabytes)
    name = "a connector's start to its first answered tools/list"
    return [
        row_of(_SECTION, name, *times.values(), unit="ms", beside_name=_BESIDE, aim=0.1),
        row_of(_SECTION, "a connector's peak memory", *sizes.values(), unit="MB", beside_name=_BESIDE, aim=0.2),
    ]


def _first_answer(command: list[str], directory: Path) -> tuple[float, float]:
    """Start a server, list its tools as a handshake client does, and return seconds and peak megabytes."""
    initialize = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"},
        },
    }
    messages = (
        initialize,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    )
    opening = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        process.stdin.write(opening)
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(2)]
        took = time.perf_counter() - began
        peak = _peak_megabytes(process.pid)
        process.stdin.close()
    if "tools" not in answers[1].get("result", {}):
        raise RuntimeError(f"{command} did not list its tools: {answers}")
    return took, peak


def _peak_megabytes(pid: int) -> float:
    """Return the peak resident memory of a live process; its program's alone, not that of its parent before."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return float("nan")  # only Linux tells
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


async def _measure_calls(project: Path, era: str, mode: str, count: int) -> list[Row]:
    """Measure one call, with and without declared roots."""

    async def roots(context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl(project.as_uri()))])

    async with AsyncExitStack() as stack:

        async def open_client(command: list[str], **options: Any) -> Client:
            parameters = StdioServerParameters(
                command=command[0], args=command[1:], cwd=project, env={"WORKROOT_HOME": os.environ["WORKROOT_HOME"]}
            )
            return await stack.enter_async_context(Client(parameters, mode=mode, **options))

        ours, theirs = await open_client(WORKROOT), await open_client(_ECHO)
        ours_rooted = await open_client(WORKROOT, list_roots_callback=roots)
        theirs_rooted = await open_client(_ECHO, list_roots_callback=roots)
        theirs_asking = await open_client([*_ECHO, "--roots"], list_roots_callback=roots)
        jobs: list[Callable[[], Awaitable[Any]]] = [
            lambda: ours.call_tool("get_working_directory", {}),
            lambda: theirs.call_tool("echo", {"text": "hello"}),
            lambda: ours_rooted.call_tool("get_working_directory", {}),
            lambda: theirs_rooted.call_tool("echo", {"text": "hello"}),
            lambda: theirs_asking.call_tool("echo", {}),
        ]
        took: list[list[float]] = [[] for _ in jobs]
        for turn in range(count + _WARMING_CALLS):
            for call, series in zip(jobs, took, strict=True):
                began = time.perf_counter()
                await call()
                if turn >= _WARMING_CALLS:
                    series.append((time.perf_counter() - began) * 1000)
    plain, plain_echo, rooted, rooted_echo, asking_echo = took
    return [
        row_of(_SECTION, f"a call, {era}", plain, plain_echo, unit="ms", beside_name=_BESIDE, aim=1.0),
        row_of(
            _SECTION, f"a call, {era}, roots declared", rooted, rooted_echo, unit="ms", beside_name=_BESIDE, aim=1.0
        ),
        row_of(
            _SECTION,
            f"the same beside an echo that asks, {era}",
            rooted,
            asking_echo,
            unit="ms",
            beside_name=f"{_BESIDE} that asks for roots, too",
        ),
    ]
