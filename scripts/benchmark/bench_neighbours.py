"""Measures what one client feels of others that flood, and what a daemon costs that has nothing to do.

The others are processes of their own (`bench_attackers.py`); what is timed is the call of a well-behaved
client through a connector, one after the other, all the while.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import anyio
from bench_attackers import ATTACKS
from bench_machine import cpu_seconds, resident_megabytes
from bench_rows import Row, row_of
from mcp import Client
from mcp.client.stdio import StdioServerParameters

_ATTACKERS = str(Path(__file__).with_name("bench_attackers.py"))
_PAUSE_SECONDS = 0.005  # between two calls, as between two thoughts
_SETTLE_SECONDS = 30  # how long memory may take to come back
_GROWTH_MB = 64.0


@dataclass
class Felt:
    """What a client felt of one attack, and what it did to the daemon.

    Attributes:
        calls: times of the calls, in milliseconds.
        failures: calls that failed.
        before: resident memory of the daemon before, in MB; then the most during, then after the attack.
    """

    kind: str
    calls: list[float]
    failures: int
    before: float
    most: float
    after: float

    @property
    def p99(self) -> float:
        """The 99th percentile of the calls."""
        return quantiles(self.calls, n=100)[98] if len(self.calls) > 1 else float("inf")


@dataclass
class Idle:
    """What a daemon with nothing to do takes of a core."""

    seconds: float
    cpu_seconds: float
    projects: int
    connectors: int

    @property
    def percent(self) -> float:
        """Its share of one core."""
        return 100 * self.cpu_seconds / self.seconds


@contextmanager
def daemon_with_http(workroot: list[str], state: Path) -> Iterator[tuple[dict[str, str], str, str, int]]:
    """Run a daemon that serves HTTP too; yield its environment, its socket, a token, and its pid."""
    environment = {"WORKROOT_HOME": str(state), "WORKROOT_HTTP": "true", "PATH": os.environ["PATH"]}
    environment["HOME"] = str(state.parent)
    program = workroot[0]

    def run(*arguments: str) -> dict[str, object]:
        done = subprocess.run([program, *arguments, "--json"], env=environment, check=True, capture_output=True)
        found: dict[str, object] = json.loads(done.stdout)
        return found

    token = str(run("token", "create", "bench")["token"])
    daemon = subprocess.Popen([program, "serve"], env=environment, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 15
        status: dict[str, object] = {}
        while not isinstance(status.get("http"), dict) and time.monotonic() < end:
            with suppress(subprocess.CalledProcessError):
                status = run("status")
        yield environment, json.dumps(status), token, daemon.pid
    finally:
        daemon.terminate()
        daemon.wait(timeout=15)


def measure_neighbours(workroot: list[str], top: Path, seconds: float) -> list[Felt]:
    """Run each attack for *seconds* beside a client that goes on calling; none for 0."""
    if not seconds:
        return []
    state = top / "neighbours"
    with daemon_with_http(workroot, state) as (environment, said, token, pid):
        status = json.loads(said)
        port = str(status["http"]["url"]).rsplit(":", 1)[1].split("/")[0]
        found = []
        for kind in ATTACKS:
            command = [sys.executable, _ATTACKERS, kind, str(seconds), status["socket"], port, token]
            found.append(anyio.run(_measure_attack, workroot, environment, kind, command, pid))
        return found


async def _measure_attack(
    workroot: list[str], environment: dict[str, str], kind: str, command: list[str], pid: int
) -> Felt:
    parameters = StdioServerParameters(command=workroot[0], args=workroot[1:], cwd="/", env=environment)
    felt = Felt(kind, [], 0, 0.0, 0.0, 0.0)
    async with Client(parameters) as client:
        await client.call_tool("get_working_directory", {"directory": "/"})
        felt.before = felt.most = resident_megabytes(pid)
        async with await anyio.open_process(command) as attacker:
            while attacker.returncode is None:
                began = time.perf_counter()
                try:
                    with anyio.fail_after(10):
                        answer = await client.call_tool("get_working_directory", {"directory": "/"})
                    felt.failures += bool(answer.is_error)
                except Exception:
                    felt.failures += 1
                felt.calls.append((time.perf_counter() - began) * 1000)
                felt.most = max(felt.most, resident_megabytes(pid))
                await anyio.sleep(_PAUSE_SECONDS)
        for _ in range(_SETTLE_SECONDS):  # another process tells nobody when it gives memory back
            felt.after = resident_megabytes(pid)
            if felt.after - felt.before <= _GROWTH_MB / 4:
                break
            await anyio.sleep(1)
    return felt


async def measure_idle(workroot: list[str], top: Path, environment: dict[str, str], seconds: float) -> Idle:
    """Attach 20 connectors to a daemon that watches 50 projects, and let all of them do nothing."""
    projects, connectors = 50, 20
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(projects):
            root = top / f"idle-{number}"
            (root / ".git").mkdir(parents=True)
            (root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        for number in range(connectors):
            parameters = StdioServerParameters(
                command=workroot[0], args=workroot[1:], cwd=top / f"idle-{number}", env=environment
            )
            clients.append(await stack.enter_async_context(Client(parameters, mode="legacy")))
        for number in range(projects):
            await clients[number % connectors].call_tool(
                "set_working_directory", {"directory": str(top / f"idle-{number}")}
            )
        status = json.loads(
            (await anyio.run_process([workroot[0], "status", "--json"], env={**os.environ, **environment})).stdout
        )
        await anyio.sleep(5)  # what was written behind is written, and what was looked at anew has settled
        before, began = cpu_seconds(status["pid"]), time.monotonic()
        await anyio.sleep(seconds)
        return Idle(time.monotonic() - began, cpu_seconds(status["pid"]) - before, projects, connectors)


def rows_of_neighbours(found: list[Felt]) -> Iterator[Row]:
    """Return what is shown of attacks."""
    for felt in found:
        yield row_of(
            "neighbours",
            f"a call beside a neighbour: {felt.kind}, p99",
            [felt.p99],
            unit="ms",
            aim=250,
            aim_is_of="value",
            note=f"median {median(felt.calls):.1f} ms; {felt.failures} of {len(felt.calls)} failed",
        )
        yield row_of(
            "neighbours",
            f"the daemon's memory grows beside it: {felt.kind}",
            [felt.most - felt.before],
            unit="MB",
            aim=_GROWTH_MB,
            aim_is_of="value",
            note=f"from {felt.before:.0f} MB; {felt.after - felt.before:+.0f} MB afterwards",
        )


def rows_of_idle(idle: Idle) -> Iterator[Row]:
    """Return what is shown of a daemon with nothing to do."""
    name = f"an idle daemon, {idle.projects} projects and {idle.connectors} connectors"
    note = f"over {idle.seconds:.0f} s"
    yield row_of("idle", name, [idle.percent], unit="% of a core", aim=0.2, aim_is_of="value", note=note)
