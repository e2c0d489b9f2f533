"""Runs the daemon and kills it at a chosen step of its life, as the interpreter itself tells the steps.

A program of the tests: `killed_serve.py STEP STEPS_FILE READY_FD`, with the environment of a home. Steps are files and
sockets being opened, locked, renamed, removed in the home, databases being opened, and records being logged. With
STEP 0 nothing is killed, and the number of steps is written to STEPS_FILE at the end.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from workroot.daemon import serve
from workroot.settings import load_settings

EVENTS = frozenset(
    {
        "fcntl.flock",
        "os.chmod",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.truncate",
        "socket.bind",
        "sqlite3.connect",
        "sqlite3.connect/handle",
    }
)


class Steps:
    """Counts, and kills at the chosen one."""

    def __init__(self, chosen: int, state: str) -> None:
        self._chosen, self._state = chosen, state
        self.count = 0

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS or (event == "open" and str(arguments[0]).startswith(self._state)):
            self.step()

    def make_record(self, *arguments: Any, **named: Any) -> logging.LogRecord:
        self.step()
        return logging.LogRecord(*arguments, **named)

    def step(self) -> None:
        self.count += 1
        if self.count == self._chosen:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    chosen, steps_file, ready = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    settings = load_settings()
    steps = Steps(chosen, str(settings.state_directory))
    logging.setLogRecordFactory(steps.make_record)
    sys.addaudithook(steps.hear)
    serve(settings, ready_fd=ready)
    Path(steps_file).write_text(str(steps.count))


if __name__ == "__main__":
    main()
