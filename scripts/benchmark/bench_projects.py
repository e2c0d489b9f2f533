"""Measures how projects are found, and how soon a change of one reaches a client.

A cold search stands beside a bare loop of the system calls that it made, in turns within one run.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import anyio
from bench_rounds import p99
from bench_rows import Row, row_of
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from workroot.core.identities import Identities
from workroot.project_finder import ProjectFinder

LEVELS = 8

_SYSTEM_CALLS = ("lstat", "stat", "fstat", "open", "read", "close", "readlink", "access", "scandir", "listdir")


class Searches(NamedTuple):
    """Times of one search, in microseconds."""

    warm: list[float]
    cold: list[float]
    bare: list[float]


async def measure_searches(top: Path, rounds: int) -> Searches:
    """Measure searches from *LEVELS* levels below a repository's root, which has a config."""
    directory = _deep_project(top)
    namespace = str(uuid.uuid4())
    finder = ProjectFinder(namespace, identities=Identities())
    await anyio.sleep(2.1)  # what changed less than two seconds ago is not remembered
    calls = await _system_calls_of(ProjectFinder(namespace, identities=Identities()), directory)
    found = Searches([], [], [])
    await finder.find(directory)
    for _ in range(rounds):
        fresh = ProjectFinder(namespace, identities=Identities())
        for series, find in ((found.warm, finder.find), (found.cold, fresh.find)):
            began = time.perf_counter()
            await find(directory)
            series.append((time.perf_counter() - began) * 1e6)
        began = time.perf_counter()
        for call, arguments in calls:
            try:
                result = call(*arguments)
            except OSError:
                continue
            if call is os.open:
                os.close(result)
        found.bare.append((time.perf_counter() - began) * 1e6)
    return found


def _deep_project(top: Path) -> str:
    root = top / "deep"
    below = root.joinpath(*(f"level{number}" for number in range(1, LEVELS)))
    below.mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (root / ".workroot").mkdir()
    (root / ".workroot" / "config.toml").write_text(
        f'version = "1.0"\n[project]\nname = "Deep"\nid = "{uuid.uuid4()}"\n'
    )
    return str(below)


async def _system_calls_of(finder: ProjectFinder, directory: str) -> list[tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Return the system calls of one search that a loop can repeat: those that name a path."""
    made: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
    with _recording(made):
        await finder.find(directory)
    return made


@contextmanager
def _recording(made: list[tuple[Callable[..., Any], tuple[Any, ...]]]) -> Iterator[None]:
    originals = {name: getattr(os, name) for name in _SYSTEM_CALLS}

    def recorded(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if arguments and isinstance(arguments[0], str) and not options:
                made.append((originals[name], arguments))
            elif arguments and isinstance(arguments[0], str):
                made.append((originals["lstat"], arguments[:1]))  # relative to a descriptor: the nearest that repeats
            return originals[name](*arguments, **options)

        return call

    for name in _SYSTEM_CALLS:
        setattr(os, name, recorded(name))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


async def measure_pushes(command: list[str], project: Path, environment: dict[str, str], edits: int) -> list[float]:
    """Measure from the edit of a config to the notification at a client, in milliseconds."""
    config = project / ".workroot" / "config.toml"
    config.parent.mkdir()
    parameters = StdioServerParameters(command=command[0], args=command[1:], cwd=project, env=environment)
    took: list[float] = []
    async with Client(parameters, mode="2026-07-28") as client:
        answer = await client.call_tool("set_working_directory", {"directory": str(project)})
        uri = f"workroot://sessions/{(answer.structured_content or {})['session_id']}"
        async with client.listen(resource_subscriptions=[uri]) as heard:
            await anyio.sleep(1)  # the watch is set up
            for number in range(edits):
                config.write_text(f'version = "1.0"\n[project]\nname = "Edit {number}"\n')
                began = time.perf_counter()
                with anyio.fail_after(35):
                    await anext(heard)
                took.append((time.perf_counter() - began) * 1000)
                with anyio.move_on_after(0.3):  # a second notification of the same edit is not the next one's
                    while True:
                        await anext(heard)
    return took


def rows_of_projects(searches: Searches, pushes: list[float]) -> list[Row]:
    """Return what is shown of searches and notifications."""
    section = "projects"
    return [
        row_of(
            section,
            f"a search that was made before, {LEVELS} levels",
            searches.warm,
            unit="us",
            aim=60,
            aim_is_of="value",
        ),
        row_of(
            section,
            f"a first search, {LEVELS} levels",
            searches.cold,
            searches.bare,
            unit="us",
            beside_name="its system calls alone",
            aim=4.0,
        ),
        row_of(
            section,
            "edit of a config to its notification, p99",
            [p99(pushes)],
            unit="ms",
            aim=300,
            aim_is_of="value",
            note=f"median {median(pushes):.0f} ms of {len(pushes)}",
        ),
    ]
