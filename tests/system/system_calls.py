"""The system calls of a process and of all its threads, as strace tells them, in the order in which they happened.

One tracer sees them all: what it tells of first ended before what it tells of next began, or it tells of both halves.
"""

from __future__ import annotations

import functools
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)")
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+|0x[0-9a-f]+|\?)")
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")


@dataclass(frozen=True, slots=True)
class SystemCall:
    """One call.

    Attributes:
        began: place of its beginning among all that was told.
        ended: place of its end; the same, where nothing happened meanwhile.
        name: as the manual has it.
        arguments: as strace prints them, a path with each descriptor.
        result: what it returned, -1 for all failures.
    """

    began: int
    ended: int
    name: str
    arguments: str
    result: int

    @property
    def file(self) -> str:
        """The path of the descriptor that it was given first, or nothing."""
        found = _DESCRIPTOR.match(self.arguments)
        return found[1] if found else ""


def strace(output: Path, *options: str) -> list[str]:
    """Return what to put before a command, so that its calls are told to *output*.

    Fails the test where strace is not installed, and skips it where processes may not be traced.
    """
    program = _usable_strace("start")
    return [program, "--quiet=all", "--follow-forks", "--seccomp-bpf", "-y", "-s", "96", "-o", str(output), *options]


@functools.cache
def _usable_strace(way: Literal["start", "attach"]) -> str:
    if sys.platform != "linux":
        pytest.skip("system calls are traced with strace, which is for Linux")
    program = shutil.which("strace")
    if program is None:
        pytest.fail("strace is not installed: run `apt-get install strace` as root, or install it as your system does")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        whom = ["true"] if way == "start" else ["-p", str(other.pid)]
        tracer = subprocess.Popen([program, "-o", "/dev/null", *whom], stderr=subprocess.PIPE, text=True)
        assert other.stdin is not None
        assert tracer.stderr is not None
        said = tracer.stderr.readline()  # that it is attached, or why not
        other.stdin.close()
        said += tracer.communicate(timeout=30)[1]
    if tracer.returncode != 0 and "Operation not permitted" in said:
        pytest.skip(f"processes may not be traced here: {said.strip()}")
    assert tracer.returncode == 0, said
    return program


def read_calls(output: Path) -> list[SystemCall]:
    """Return the calls that came to their end, in the order of that."""
    return list(_calls(output.read_text(errors="replace").splitlines()))


def _calls(lines: Sequence[str]) -> Iterator[SystemCall]:
    begun: dict[str, tuple[int, str]] = {}  # by thread
    for place, line in enumerate(lines):
        if found := _WHOLE.match(line):
            yield SystemCall(place, place, found[2], found[3], _number(found[4]))
        elif found := _BEGUN.match(line):
            begun[found[1]] = (place, found[3])
        elif (found := _RESUMED.match(line)) and found[1] in begun:
            began, arguments = begun.pop(found[1])
            yield SystemCall(began, place, found[2], arguments + found[3], _number(found[4]))


def _number(result: str) -> int:
    return -1 if result == "?" else int(result, 0)


@contextmanager
def traced(pid: int, output: Path, *options: str) -> Iterator[None]:
    """Have the calls of a process that runs told to *output*, or tampered with, until the body is left.

    Fails or skips the test as `strace` does.
    """
    command = [_usable_strace("attach"), "--follow-forks", "-y", "-o", str(output), *options, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        assert b" attached" in said, said
        yield
    finally:
        tracer.send_signal(signal.SIGINT)  # it lets go of what it traces, which goes on
        tracer.communicate(timeout=30)
