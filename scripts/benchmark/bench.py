"""Measures workroot beside what people use instead, in turns within one run, and prints ratios.

Absolute times say little on a shared machine; a ratio of two medians taken in turns says more.
Nothing here passes or fails: figures are for people.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
from bench_durable import measure_durable
from bench_library import measure_library
from bench_machine import machine, versions
from bench_memory import measure_memory
from bench_neighbours import measure_idle, measure_neighbours, rows_of_idle, rows_of_neighbours
from bench_projects import measure_pushes, measure_searches, rows_of_projects
from bench_rounds import FULL, QUICK, Effort, run
from bench_rows import Report, Row
from bench_scale import measure_scale
from bench_stdio import WORKROOT, measure_stdio, warm_daemon
from bench_table import print_report
from bench_wire import measure_wire

Measured = tuple[list[Row], dict[str, str]]

DATA = Path("/var/tmp" if os.path.isdir("/var/tmp") else tempfile.gettempdir())
DOCUMENTS = Path(__file__).resolve().parents[2] / "docs"


def _memory(top: Path, effort: Effort) -> Measured:
    found: Measured = run(measure_memory, top, effort)
    return found


def _durable(top: Path, effort: Effort) -> Measured:
    found: Measured = run(measure_durable, top, effort)
    return found


def _library(top: Path, effort: Effort) -> Measured:
    found: Measured = run(measure_library, top, effort)
    return found


def _wire(top: Path, effort: Effort) -> Measured:
    return measure_wire(seconds=effort.wire_seconds, rounds=effort.wire_rounds, clients=effort.wire_clients), {}


def _stdio(top: Path, effort: Effort) -> Measured:
    with warm_daemon(top) as project:
        return measure_stdio(project, effort), {}


def _projects(top: Path, effort: Effort) -> Measured:
    searches = anyio.run(measure_searches, top, effort.searches)
    with warm_daemon(top) as project:
        environment = {"WORKROOT_HOME": os.environ["WORKROOT_HOME"]}
        pushes = anyio.run(measure_pushes, WORKROOT, project, environment, effort.pushes)
    return rows_of_projects(searches, pushes), {}


def _neighbours(top: Path, effort: Effort) -> Measured:
    return list(rows_of_neighbours(measure_neighbours(WORKROOT, top, effort.attack_seconds))), {}


def _idle(top: Path, effort: Effort) -> Measured:
    if not effort.idle_seconds:
        return [], {}
    with warm_daemon(top) as project:
        environment = {"WORKROOT_HOME": os.environ["WORKROOT_HOME"]}
        return list(
            rows_of_idle(anyio.run(measure_idle, WORKROOT, project.parent, environment, effort.idle_seconds))
        ), {}


SECTIONS: dict[str, Callable[[Path, Effort], Measured]] = {
    "memory": _memory,
    "durable": _durable,
    "library": _library,
    "scale": measure_scale,
    "wire": _wire,
    "stdio": _stdio,
    "projects": _projects,
    "neighbours": _neighbours,
    "idle": _idle,
}


def main() -> None:
    """Measure what was asked for, print it, and keep or draw it."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--only", metavar="SECTION", action="append", choices=SECTIONS, help=f"{', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, help=f"turns in which subjects are measured (default {FULL.rounds})")
    parser.add_argument("--idle-seconds", type=float, help=f"length of the idle time (default {FULL.idle_seconds:g})")
    parser.add_argument("--quick", action="store_true", help="as little as possible: shows that it runs, no more")
    parser.add_argument("--data", type=Path, default=DATA, help=f"where databases are made (default {DATA})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="kept", help="take kept figures, measure nothing")
    parser.add_argument(
        "--plot",
        type=Path,
        nargs="?",
        const=DOCUMENTS,
        metavar="DIRECTORY",
        help=f"draw bench.png and bench.svg (default {DOCUMENTS})",
    )
    arguments = parser.parse_args()
    if arguments.kept is not None:
        report = Report.read(arguments.kept)
    else:
        effort = QUICK if arguments.quick else FULL
        changes = {name: getattr(arguments, name) for name in ("rounds", "idle_seconds")}
        effort = replace(effort, **{name: value for name, value in changes.items() if value is not None})
        report = measure(arguments.only or list(SECTIONS), effort, arguments.data)
    print_report(report)
    if arguments.json is not None:
        report.write(arguments.json)
    if arguments.plot is not None:
        from bench_plot import draw

        draw(report, arguments.plot)


def measure(sections: list[str], effort: Effort, data: Path) -> Report:
    """Measure some sections, one after the other, each in a directory of its own."""
    rows: list[Row] = []
    missing: dict[str, str] = {}
    for key in dict.fromkeys(sections):
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="wr-bench-", dir=data) as top:
            found, lacking = SECTIONS[key](Path(top).resolve(), effort)
        rows += found
        missing |= lacking
        print(f"{key}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return Report(machine=machine(data), versions=versions(), rows=tuple(rows), missing=missing)


if __name__ == "__main__":
    main()
