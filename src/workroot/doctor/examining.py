"""Runs checks, each in a thread of its own: one that hangs or fails costs its own answer and no other's."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from workroot.doctor.findings import Check, Finding, Found, Private, warning

__all__ = ["CHECK_SECONDS", "examine"]

CHECK_SECONDS = 2.0
"""How long one check may take."""


def examine(checks: Iterable[Check], *, seconds: float = CHECK_SECONDS) -> Iterator[Finding]:
    """Run *checks* one after the other, and yield what each found.

    Args:
        seconds: how long each may take. One that takes longer is left behind: a question to a dead mount has no
            end, and its thread does not keep the program from ending.
    """
    for check in checks:
        for found in _run(check, seconds):
            yield Finding(check.id, check.title, found)


def _run(check: Check, seconds: float) -> Sequence[Found]:
    answers: queue.SimpleQueue[Sequence[Found]] = queue.SimpleQueue()

    def answer() -> None:
        try:
            answers.put(tuple(check.run()))
        except Exception as error:  # a boundary: whatever is broken here, the others' answers are wanted
            answers.put((_failed(error),))

    begun = time.monotonic()
    threading.Thread(target=answer, name=f"doctor {check.id}", daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return (
            warning(
                f"this check had no answer after {time.monotonic() - begun:.1f} s",
                cure=("look whether a disk, a network mount or a process hangs, then run `workroot doctor` again",),
            ),
        )


def _failed(error: Exception) -> Found:
    return warning(
        f"this check failed ({type(error).__name__}",
        Private(f": {error}"),
        ")",
        cure=("report it, with the output of `workroot doctor --redact`",),
    )
