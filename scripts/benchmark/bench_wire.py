"""Measures what clients of the daemon feel on the wire: through connectors, and over HTTP, in both protocol eras.

The clients are one lean process (`bench_wire_load.py`), the same for every server. What the figures stand beside
runs in the same run and, where it is a ratio, in turns with ours.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

from bench_rows import Row, row_of

__all__ = ["SECTION", "measure_wire"]

SECTION = "wire"

_HERE = Path(__file__).parent
_LOAD, _BARE = (str(_HERE / name) for name in ("bench_wire_load.py", "bench_wire_server.py"))
_WORKROOT = str(Path(sys.executable).with_name("workroot"))
_ERAS = {"2026-07-28": "2026-07-28", "handshake": "2025-11-25"}
_WARM_SECONDS = 2.5  # a directory younger than 2 s is searched anew in every call
_NO_RATE = "with requests_per_second and request_burst at 100,000: the usual 200 a second would refuse most"


def measure_wire(*, seconds: float = 3.0, rounds: int = 5, clients: int = 32) -> list[Row]:
    """Measure everything of this section.

    Args:
        seconds: how long each load lasts; over HTTP, all rounds of one server together.
        rounds: how often two servers take turns.
        clients: connectors at a time.

    Raises:
        RuntimeError: a call was refused or failed, so that there is no figure.
    """
    rows: list[Row] = []
    with _daemon() as daemon:
        for era, version in _ERAS.items():
            rows.extend(_durable_sets(daemon, era, version, seconds, clients))
        for era, version in _ERAS.items():
            for connections in (1, 100):
                rows.append(_beside_bare_http(daemon, era, version, connections, seconds, rounds))
    return rows


class _Daemon:
    """A daemon with a state of its own, and projects to work in."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.environment = {
            "HOME": str(top / "home"),
            "PATH": os.environ["PATH"],
            "WORKROOT_HOME": str(top / "state"),
            "WORKROOT_HTTP": "true",
            "WORKROOT_HTTP_PORT": str(_free_port()),
            "WORKROOT_REQUESTS_PER_SECOND": "100000",
            "WORKROOT_REQUEST_BURST": "100000",
        }
        (top / "home").mkdir()
        self._projects = 0

    def project(self) -> str:
        """Make a repository, and return its directory."""
        self._projects += 1
        made = self.top / "projects" / f"engine-{self._projects}"
        for inner in ("objects", "refs"):
            (made / ".git" / inner).mkdir(parents=True)
        (made / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        return str(made)

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run a command of ours, and return its JSON."""
        command = [_WORKROOT, *arguments, "--json"]
        done = subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=30)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@contextmanager
def _daemon() -> Iterator[_Daemon]:
    with TemporaryDirectory(prefix="wr-bench-") as temporary:
        daemon = _Daemon(Path(temporary).resolve())
        reading, saying = os.pipe()
        command = [_WORKROOT, "serve", "--ready-fd", str(saying)]
        process = subprocess.Popen(
            command, env=daemon.environment, cwd="/", stderr=subprocess.DEVNULL, pass_fds=[saying]
        )
        os.close(saying)
        try:
            with os.fdopen(reading, "rb") as ready:
                if not select.select([ready], [], [], 30)[0] or ready.readline() != b"ready\n":
                    raise RuntimeError("the daemon of the benchmark did not start")
            yield daemon
        finally:
            process.terminate()
            process.wait(timeout=15)


def _durable_sets(daemon: _Daemon, era: str, version: str, seconds: float, clients: int) -> Iterator[Row]:
    name = f"set_working_directory through a connector, {era}"
    for count in (1, clients):
        load = {
            "in_turns": False,
            "seconds": seconds,
            "warm_seconds": _WARM_SECONDS,
            "clients": [
                _client([_WORKROOT, "connect"], "set_working_directory", version, daemon.project(), daemon.project())
                for _ in range(count)
            ],
        }
        (found,) = _drive("connectors", load, daemon.environment)
        times, label = found["times"], f"{count} client{'s' if count > 1 else ''}"
        most_p50, most_p99 = (2.0, 10.0) if count == 1 else (None, 100.0)
        note = f"p50 {median(times):.2f} ms; each is answered after its commit, synchronous=FULL"
        if count > 1:
            rate = len(times) / found["seconds"]
            yield _alone(f"{name}: rate", label, rate, "/s", 800, note, is_higher_better=True)
        else:
            yield _alone(f"{name}: p50", label, median(times), "ms", most_p50, note)
        yield _alone(f"{name}: p99", label, _p99(times), "ms", most_p99, note)


def _beside_bare_http(daemon: _Daemon, era: str, version: str, connections: int, seconds: float, rounds: int) -> Row:
    project = daemon.project()
    token = daemon.run("token", "create", f"bench-{era}-{connections}")["token"]
    tool = {"path": "/mcp", "tool": "get_working_directory", "arguments": {}}
    ours = {
        **tool,
        "port": int(daemon.environment["WORKROOT_HTTP_PORT"]),
        "headers": {"authorization": f"Bearer {token}", "workroot-directory": project},
    }
    with _bare_server() as port:
        theirs = {**tool, "port": port, "headers": {"authorization": f"Bearer {token}"}}
        load = {
            "servers": [ours, theirs],
            "connections": connections,
            "rounds": rounds,
            "seconds": seconds / rounds,
            "warm_seconds": _WARM_SECONDS,
            "era": version,
        }
        found = _drive("http", load, daemon.environment, directory=project)
    rates = [[len(each["times"]) / each["seconds"] for each in theirs] for theirs in found]
    p99s = [_p99([time for each in theirs for time in each["times"]]) for theirs in found]
    label = f"{connections} connection{'s' if connections > 1 else ''}"
    return row_of(
        SECTION,
        f"get_working_directory over HTTP, {era}",
        rates[0],
        rates[1],
        unit="/s",
        load=label,
        beside_name="bare SDK server, same loop, parser and response mode",
        aim=0.8,
        is_higher_better=True,
        note=f"p99 {p99s[0]:.1f} ms beside {p99s[1]:.1f} ms; nobody was refused, {_NO_RATE}",
    )


@contextmanager
def _bare_server() -> Iterator[int]:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
        process = subprocess.Popen([sys.executable, _BARE, str(listener.fileno())], pass_fds=[listener.fileno()])
        try:
            yield int(listener.getsockname()[1])
        finally:
            process.terminate()
            process.wait(timeout=15)


def _client(command: Sequence[str], tool: str, version: str, *directories: str) -> dict[str, Any]:
    return {"command": list(command), "tool": tool, "era": version, "directories": list(directories)}


def _drive(kind: str, plan: dict[str, Any], environment: dict[str, str], directory: str | None = None) -> list[Any]:
    """Have the load carried out, in a process that works in *directory*; over HTTP that is a sign, too."""
    done = subprocess.run(
        [sys.executable, _LOAD, kind],
        input=json.dumps(plan),
        env=environment,
        cwd=directory,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        timeout=180,
    )
    found: list[Any] = json.loads(done.stdout)
    for each in found:
        rounds = each if isinstance(each, list) else [each]
        if failures := sum(one["failures"] for one in rounds):
            raise RuntimeError(f"{failures} of {sum(len(one['times']) for one in rounds)} calls were refused or failed")
    return found


def _alone(
    name: str, load: str, value: float, unit: str, aim: float | None, note: str, *, is_higher_better: bool = False
) -> Row:
    return row_of(
        SECTION,
        name,
        [value],
        unit=unit,
        load=load,
        aim=aim,
        aim_is_of="value",
        is_higher_better=is_higher_better,
        note=note,
    )


def _p99(times: Sequence[float]) -> float:
    return quantiles(times, n=100)[98]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    for row in measure_wire():
        beside = f"{row.beside:.2f}" if row.beside is not None else ""
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        print(f"{row.name} | {row.load} | {row.value:.2f} {row.unit} | {beside} | {ratio} | {row.aim} | {row.note}")
