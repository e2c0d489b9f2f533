"""Measures workroot beside a bare SDK stdio server, in turns within one run, and prints ratios.

Absolute times say little on a shared machine; a ratio of two medians taken in turns says more.
Nothing here passes or fails: figures are for people.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import anyio
from bench_neighbours import measure_idle, measure_neighbours, rows_of_idle, rows_of_neighbours
from bench_projects import measure_pushes, measure_searches, rows_of
from mcp import Client
from mcp.client.session import ClientRequestContext
from mcp.client.stdio import StdioServerParameters
from mcp_types import ListRootsResult, Root
from pydantic import FileUrl
from rich.console import Console
from rich.table import Table

WORKROOT = [str(Path(sys.executable).with_name("workroot")), "connect"]
ECHO = [sys.executable, str(Path(__file__).with_name("bench_echo_server.py"))]
ERAS = {"2026-07-28": "2026-07-28", "handshake": "legacy"}

console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)


@dataclass
class Pair:
    """Two series of one figure, measured in turns."""

    name: str
    unit: str
    limit: float | None  # the ratio aimed at
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Ours by theirs."""
        return median(self.ours) / median(self.theirs)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=15, help="starts of each program (default 15)")
    parser.add_argument("--calls", type=int, default=400, help="calls of each kind (default 400)")
    parser.add_argument("--searches", type=int, default=2000, help="searches for a project of each kind (default 2000)")
    parser.add_argument("--attack-seconds", type=float, default=4, help="length of each attack (default 4; 0: none)")
    parser.add_argument("--idle-seconds", type=float, default=60, help="length of the idle time (default 60; 0: none)")
    arguments = parser.parse_args()
    with warm_daemon() as project:
        pairs = measure_starts(project, arguments.starts)
        for era, mode in ERAS.items():
            pairs.extend(anyio.run(measure_calls, project, era, mode, arguments.calls))
        searches = anyio.run(measure_searches, project.parent, arguments.searches)
        environment = {"WORKROOT_HOME": os.environ["WORKROOT_HOME"]}
        pushes = anyio.run(measure_pushes, WORKROOT, project, environment)
        others = list(rows_of_neighbours(measure_neighbours(WORKROOT, project.parent, arguments.attack_seconds)))
        if arguments.idle_seconds:
            idle = anyio.run(measure_idle, WORKROOT, project.parent, environment, arguments.idle_seconds)
            others.extend(rows_of_idle(idle))
    table = Table(title="workroot beside a bare SDK stdio server: medians, in turns", title_justify="left")
    for column in ("what", "workroot", "bare SDK", "ratio", "aim"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for pair in pairs:
        ours, theirs = (f"{median(series):.2f} {pair.unit}" for series in (pair.ours, pair.theirs))
        aim = f"<= {pair.limit:.2f}" if pair.limit is not None else ""
        table.add_row(pair.name, ours, theirs, f"{pair.ratio:.2f}", aim)
    for row in rows_of(searches, pushes):
        table.add_row(*row)
    for row in others:
        table.add_row(*row)
    console.print(table)


@contextmanager
def warm_daemon() -> Iterator[Path]:
    """Run a daemon with a state of its own; yield a project's directory."""
    with tempfile.TemporaryDirectory(prefix="workroot-bench-") as temporary:
        top = Path(temporary).resolve()
        os.environ["WORKROOT_HOME"] = str(top / "state")
        project = top / "project"
        (project / ".git").mkdir(parents=True)
        (project / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        try:
            first_answer(WORKROOT, project)
            yield project
        finally:
            subprocess.run([WORKROOT[0], "stop"], check=False, capture_output=True, timeout=30)


def measure_starts(project: Path, count: int) -> list[Pair]:
    """Measure from the start of the process to the first answer of `tools/list`, and its peak memory."""
    start = Pair("start to the first answered tools/list", "ms", 0.1)
    memory = Pair("peak memory", "MB", 0.2)
    for _ in range(count):
        for command, times, sizes in ((WORKROOT, start.ours, memory.ours), (ECHO, start.theirs, memory.theirs)):
            seconds, megabytes = first_answer(command, project)
            times.append(seconds * 1000)
            sizes.append(megabytes)
    return [start, memory]


def first_answer(command: list[str], directory: Path) -> tuple[float, float]:
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
        peak = peak_megabytes(process.pid)
        process.stdin.close()
    if "tools" not in answers[1].get("result", {}):
        raise RuntimeError(f"{command} did not list its tools: {answers}")
    return took, peak


def peak_megabytes(pid: int) -> float:
    """Return the peak resident memory of a live process; its program's alone, not that of its parent before."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return float("nan")  # only Linux tells
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


async def measure_calls(project: Path, era: str, mode: str, count: int) -> list[Pair]:
    """Measure one call, with and without declared roots."""

    async def roots(context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl(project.as_uri()))])

    plain = Pair(f"one call, {era}, no roots declared", "ms", 1.0)
    with_roots = Pair(f"one call, {era}, roots declared", "ms", 1.0)
    asking = Pair(f"the same beside an echo that asks for roots too, {era}", "ms", None)
    async with AsyncExitStack() as stack:

        async def open_client(command: list[str], **options: Any) -> Client:
            parameters = StdioServerParameters(
                command=command[0], args=command[1:], cwd=project, env={"WORKROOT_HOME": os.environ["WORKROOT_HOME"]}
            )
            return await stack.enter_async_context(Client(parameters, mode=mode, **options))

        ours, theirs = await open_client(WORKROOT), await open_client(ECHO)
        ours_rooted = await open_client(WORKROOT, list_roots_callback=roots)
        theirs_rooted = await open_client(ECHO, list_roots_callback=roots)
        theirs_asking = await open_client([*ECHO, "--roots"], list_roots_callback=roots)
        rooted: list[float] = []
        jobs: list[tuple[Callable[[], Awaitable[Any]], list[float]]] = [
            (lambda: ours.call_tool("get_working_directory", {}), plain.ours),
            (lambda: theirs.call_tool("echo", {"text": "hello"}), plain.theirs),
            (lambda: ours_rooted.call_tool("get_working_directory", {}), rooted),
            (lambda: theirs_rooted.call_tool("echo", {"text": "hello"}), with_roots.theirs),
            (lambda: theirs_asking.call_tool("echo", {}), asking.theirs),
        ]
        for turn in range(count + 20):
            for call, series in jobs:
                began = time.perf_counter()
                await call()
                if turn >= 20:  # the first ones warm up
                    series.append((time.perf_counter() - began) * 1000)
        with_roots.ours = asking.ours = rooted
    return [plain, with_roots, asking]


if __name__ == "__main__":
    main()
