r"""The daemon's log: one JSON object a line, five files of 5 MB, and no secret in them.

The keys are `time` (UTC), `level`, `logger` and `message`, then `session` and `exception` where there are such.
What a client or a repository chose is escaped and begins no line of its own; a session is shown by the beginning
of its handle (`workroot.redaction`). Logging never raises, whatever the disk does.

The same file gets what a daemon writes to its standard error before this begins, or as it crashes: such lines are
no JSON.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

from pythonjsonlogger.json import JsonFormatter

from workroot.logs.folding import FoldingHandler
from workroot.logs.lines import fields_of, readable
from workroot.lost_disks import is_disk_lost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import TextIOWrapper
    from pathlib import Path
    from typing import TextIO

__all__ = ["FILE_BYTES", "FILE_COUNT", "JsonLines", "Log", "open_log"]

FILE_BYTES = 5_000_000
FILE_COUNT = 5
"""The newest file and four older ones: the log never takes more than 25 MB."""

logger = logging.getLogger(__name__)


class JsonLines(JsonFormatter):
    """One record, one line; of a record's own fields only those that are named above."""

    def __init__(self) -> None:
        super().__init__(json_ensure_ascii=False)  # what harms is escaped before; a name is to be found with grep

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of *record*, without its newline."""
        return self.line_of(fields_of(record))

    def line_of(self, fields: Mapping[str, str]) -> str:
        """Return the line of these fields."""
        return self.serialize_log_record(dict(fields))


class Log:
    """The log of this process while it is open; made by `open_log`."""

    def __init__(self, file: _PrivateRotatingFile, terminal: TextIO | None) -> None:
        self._file, self._terminal = file, terminal
        self._lines = JsonLines()
        self.handler = FoldingHandler(self._write)

    def problems(self) -> list[dict[str, str | int]]:
        """Return the last kinds of warnings and errors, newest last: `time`, `level`, `logger`, `message`, `count`."""
        return self.handler.problems()

    def counts(self) -> Mapping[str, int]:
        """Return how many records there were of each level."""
        return self.handler.counts()

    def say_folded(self) -> None:
        """Say what of the last seconds was only counted."""
        self.handler.say_folded()

    @property
    def failed(self) -> int:
        """How many records could not be written."""
        return self.handler.failed + self._file.failed

    def set_level(self, level: str) -> None:
        """Let records of workroot count from *level* on, those of libraries from there or from warnings on."""
        threshold = getattr(logging, level.upper())
        logging.getLogger().setLevel(max(threshold, logging.WARNING))
        logging.getLogger("workroot").setLevel(threshold)

    def _write(self, fields: Mapping[str, str]) -> int:
        line = self._lines.line_of(fields)
        if self._terminal is not None:
            try:
                self._terminal.write(f"{readable(dict(fields))}\n")
                self._terminal.flush()
            except (OSError, ValueError):  # the terminal was closed; the file goes on
                self._terminal = None
        return self._file.put(line)


@contextmanager
def open_log(path: Path, level: str = "info", *, also_to: TextIO | None = None) -> Iterator[Log]:
    """Send the log of this process to *path* for as long as the context lasts.

    Records of workroot count from *level* on. Those of libraries count from warnings on, whatever
    the level: at lower levels some of them log the messages that they carry, contents included.
    Warnings of Python, and exceptions that nobody can catch, become records too. Where the disk cannot be written
    now, the file begins when it can.

    Args:
        path: the file, made with mode 0600; its directory is made with mode 0700.
        level: `debug`, `info`, `warning` or `error`.
        also_to: the terminal of `workroot serve`; it gets lines for people.

    Raises:
        OSError: the file cannot be opened for another reason; nothing was changed.
    """
    file = _PrivateRotatingFile(
        path, maxBytes=FILE_BYTES, backupCount=FILE_COUNT - 1, encoding="utf-8", errors="backslashreplace", delay=True
    )
    try:
        file.begin()
    except OSError as error:
        if not is_disk_lost(error):
            raise
    log = Log(file, also_to)
    root, ours = logging.getLogger(), logging.getLogger("workroot")
    before = root.level, ours.level
    root.addHandler(log.handler)
    log.set_level(level)
    try:
        with _uncaught_logged():
            yield log
    finally:
        root.setLevel(before[0])
        ours.setLevel(before[1])
        root.removeHandler(log.handler)
        log.handler.close()
        file.close()


class _PrivateRotatingFile(RotatingFileHandler):
    """Rotates as its base does; every file is its owner's alone, whatever the umask, and goes on after failures."""

    failed = 0
    _is_torn = False

    def begin(self) -> None:
        """Open the file, in a directory that is made if it is missing.

        Raises:
            OSError: it cannot be opened; it is tried again with every line.
        """
        os.makedirs(os.path.dirname(self.baseFilename), mode=0o700, exist_ok=True)
        self.stream = self._open()

    def put(self, line: str) -> int:
        """Write a line, or count it as failed; return how many bytes it took."""
        size = len(line.encode(errors="backslashreplace")) + 1
        self.handle(logging.makeLogRecord({"msg": f"\n{line}" if self._is_torn else line, "bytes": size}))
        return size

    def emit(self, record: logging.LogRecord) -> None:
        failed = self.failed
        super().emit(record)
        self._is_torn = self.failed > failed  # a part of the line may be there

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 -- logging's name
        """Tell whether the file would become too large; its base counts characters, and trusts the name."""
        stream = self.stream
        if stream is None or self._is_replaced(stream):  # there is none after a failure
            if stream is not None:
                stream.close()
            stream = self.stream = self._open()
        size = os.fstat(stream.fileno()).st_size
        return size > 0 and size + int(record.__dict__["bytes"]) > self.maxBytes

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        self.failed += 1

    def _is_replaced(self, stream: TextIOWrapper) -> bool:
        """Tell whether somebody has removed the file, or put another in its place."""
        try:
            found = os.stat(self.baseFilename)
        except OSError:
            return True
        return not os.path.samestat(found, os.fstat(stream.fileno()))

    def _open(self) -> TextIOWrapper:
        with suppress(FileExistsError):  # that alone: where the state was removed, nothing shall come back
            os.mkdir(os.path.dirname(self.baseFilename), 0o700)
        # Unbuffered: what a full disk does not take is not kept for later, in the middle of another line.
        raw = io.FileIO(self.baseFilename, "a", opener=_open_private)
        return io.TextIOWrapper(
            raw,
            encoding=self.encoding,
            errors=self.errors,
            write_through=True,
        )


def _open_private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)  # a file that was there already keeps its mode otherwise
    return descriptor


@contextmanager
def _uncaught_logged() -> Iterator[None]:
    """Log what Python would print: a daemon's standard error is its log file, which nothing else keeps small."""

    def log_thread(failure: threading.ExceptHookArgs) -> None:
        if failure.exc_type is not SystemExit and failure.exc_value is not None:
            logger.error("a thread failed", exc_info=(failure.exc_type, failure.exc_value, failure.exc_traceback))

    def log_unraisable(failure: sys.UnraisableHookArgs) -> None:
        if failure.exc_value is not None:
            info = (failure.exc_type, failure.exc_value, failure.exc_traceback)
            logger.error("an exception that nobody could catch: %s", failure.err_msg, exc_info=info)

    before = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = log_thread, log_unraisable
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        threading.excepthook, sys.unraisablehook = before
