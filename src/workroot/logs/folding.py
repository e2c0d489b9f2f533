"""A log that cannot be flooded: what repeats is counted, and a minute of it takes less than a megabyte.

Records of a kind come from the same place in the code. Of each kind so many are written in ten seconds; the rest
is one line with their number and what the first of them said. Whatever the kinds are, a budget of bytes holds for
all of them together.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from workroot.logs.lines import fields_of
from workroot.redaction import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["FoldingHandler"]

WINDOW_SECONDS = 10.0
PER_WINDOW = 20
"""So many records of a kind are written in each window; twenty editors may well connect at once."""

_KINDS = 256
_LONGEST_KIND = 120  # characters
_BUDGET_BYTES = 400_000
_BUDGET_BYTES_PER_SECOND = 8_000.0
_RESERVED_BYTES = 100_000  # of the budget, for warnings and errors
_PROBLEMS = 10
_SHOWN_OF_MESSAGE = 300  # characters


class _Kind(NamedTuple):
    logger: str
    level: int
    template: str


@dataclass(slots=True)
class _Window:
    begun: float
    count: int = 0
    first: str = ""

    @property
    def folded(self) -> int:
        return max(0, self.count - PER_WINDOW)


class FoldingHandler(logging.Handler):
    """Hands records on as fields, those that repeat folded, and never raises.

    How many were folded is said by the next record of any kind after their ten seconds, or by `say_folded`.

    Args:
        write: takes the fields of one record, and returns how many bytes it took; what it raises is counted.
        now: seconds of a clock that is never set.
    """

    def __init__(self, write: Callable[[Mapping[str, str]], int], *, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._write, self._now = write, now
        self._windows: OrderedDict[_Kind, _Window] = OrderedDict()  # the one that began first comes first
        self._budget, self._filled_at = float(_BUDGET_BYTES), now()
        self._over_budget, self._left_out_since = 0, 0.0
        self._problems: OrderedDict[_Kind, dict[str, str | int]] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self.failed = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it."""
        now = self._now()
        self._begin_again(now)
        kind = _Kind(record.name, record.levelno, without_secrets(str(record.msg).split("\n", 1)[0])[:_LONGEST_KIND])
        window = self._windows.get(kind)
        if window is None:
            if len(self._windows) >= _KINDS:
                self._say_folded(*self._windows.popitem(last=False))
            window = self._windows[kind] = _Window(now)
        window.count += 1
        self._counts[record.levelname] += 1
        if window.folded:
            self._note_problem(kind, None)
            return
        fields = fields_of(record, with_traceback=window.count == 1)
        window.first = window.first or _shown(fields["message"])
        self._note_problem(kind, fields)
        self._put(record.levelno, fields)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Count a record that could not be written: a full disk is no reason to fail or to fill another place."""
        self.failed += 1

    def say_folded(self) -> None:
        """Say what is still folded, and begin to count anew."""
        with self._held():
            while self._windows:
                self._say_folded(*self._windows.popitem(last=False))
            self._say_left_out()

    def close(self) -> None:
        """Say what was still folded."""
        self.say_folded()
        super().close()

    def problems(self) -> list[dict[str, str | int]]:
        """Return the last kinds of warnings and errors, newest last: `time`, `level`, `logger`, `message`, `count`."""
        with self._held():
            return [dict(problem) for problem in self._problems.values()]

    def counts(self) -> Mapping[str, int]:
        """Return how many records there were of each level, folded ones included."""
        return dict(self._counts)

    @contextmanager
    def _held(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _begin_again(self, now: float) -> None:
        """Let windows end whose time is over, and let the budget grow."""
        while self._windows:
            kind, window = next(iter(self._windows.items()))
            if now - window.begun < WINDOW_SECONDS:
                break
            del self._windows[kind]
            self._say_folded(kind, window)
        self._budget = min(_BUDGET_BYTES, self._budget + (now - self._filled_at) * _BUDGET_BYTES_PER_SECOND)
        self._filled_at = now
        if self._over_budget and now - self._left_out_since >= WINDOW_SECONDS:
            self._say_left_out()

    def _say_folded(self, kind: _Kind, window: _Window) -> None:
        if window.folded:
            text = f"and {window.folded:,} more like it within {WINDOW_SECONDS:g} s: {window.first}"
            self._put(kind.level, fields_of(_record(kind.logger, kind.level, text)))

    def _say_left_out(self) -> None:
        if self._over_budget:
            left_out, self._over_budget = self._over_budget, 0
            text = f"{left_out:,} records were left out: the log takes no more than a megabyte a minute"
            self._put(None, fields_of(_record(__name__, logging.WARNING, text)))

    def _put(self, level: int | None, fields: Mapping[str, str]) -> None:
        """Write fields if the budget allows it; None: in any case."""
        if level is not None and self._budget < (0 if level >= logging.WARNING else _RESERVED_BYTES):
            self._left_out_since = self._left_out_since if self._over_budget else self._filled_at
            self._over_budget += 1
            return
        try:
            self._budget -= self._write(fields)
        except Exception:  # a boundary: whoever logs must not fail because of a disk
            self.failed += 1

    def _note_problem(self, kind: _Kind, fields: Mapping[str, str] | None) -> None:
        if kind.level < logging.WARNING:
            return
        known = self._problems.pop(kind, None)
        if fields is None:  # folded: it is as the one before, only later
            if known is None:
                return
            self._problems[kind] = {**known, "count": int(known["count"]) + 1}
            return
        text = fields["message"]
        if "exception" in fields:
            text = f"{text}: {fields['exception'].rsplit(chr(10), 1)[-1]}"
        self._problems[kind] = {
            "time": fields["time"],
            "level": fields["level"],
            "logger": fields["logger"],
            "message": _shown(text),
            "count": int(known["count"]) + 1 if known is not None else 1,
        }
        if len(self._problems) > _PROBLEMS:
            self._problems.popitem(last=False)


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_OF_MESSAGE else f"{text[:_SHOWN_OF_MESSAGE]}..."


def _record(logger: str, level: int, text: str) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": logger, "levelno": level, "levelname": logging.getLevelName(level), "msg": text}
    )
