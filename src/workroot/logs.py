r"""The daemon's log: one line per record, five files of 5 MB, and no secret in them.

A line is `2026-07-28T09:30:00.125Z INFO workroot.daemon listening at ...`. What a client or a
repository chose cannot begin a line of its own (newlines are written as `\n`), and a handle or a
token is shown as the first eight hex digits of its SHA-256: enough to follow one, useless to guess one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

from workroot.escaping import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import TextIOWrapper
    from pathlib import Path
    from typing import TextIO

__all__ = ["FILE_BYTES", "FILE_COUNT", "LineFormatter", "open_log"]

FILE_BYTES = 5_000_000
FILE_COUNT = 5
"""The newest file and four older ones: the log never takes more than 25 MB."""

_LONGEST_MESSAGE = 16_000  # characters; a client's error can quote a whole megabyte
_SECRET = re.compile(r"\b(wrt?)_([A-Za-z0-9_-]{16,})")
_BEARER = re.compile(r"(?i)\b(bearer)\s+(?!wrt_)[A-Za-z0-9._~+/=-]{16,}")


class LineFormatter(logging.Formatter):
    """One record, one line: time in UTC, level, logger, message; a traceback follows on the same line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of *record*, without its newline."""
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        if record.stack_info:
            text = f"{text}\n{self.formatStack(record.stack_info)}"
        text = escaped(_without_secrets(text))
        if len(text) > _LONGEST_MESSAGE:
            text = f"{text[:_LONGEST_MESSAGE]}... ({len(text)} characters)"
        return f"{_utc(record.created)} {record.levelname} {escaped(record.name)} {text}"


@contextmanager
def open_log(path: Path, level: str = "info", *, also_to: TextIO | None = None) -> Iterator[None]:
    """Send the log of this process to *path* for as long as the context lasts.

    Records of workroot count from *level* on. Those of libraries count from warnings on, whatever
    the level: at lower levels some of them log the messages that they carry, contents included.

    Args:
        path: the file, made with mode 0600; its directory is made with mode 0700.
        level: `debug`, `info`, `warning` or `error`.
        also_to: a second place that gets the same lines, such as the terminal of `workroot serve`.

    Raises:
        OSError: the file cannot be opened; nothing was changed.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        _PrivateRotatingFile(
            path, maxBytes=FILE_BYTES, backupCount=FILE_COUNT - 1, encoding="utf-8", errors="backslashreplace"
        )
    ]
    if also_to is not None:
        handlers.append(logging.StreamHandler(also_to))
    root, ours, threshold = logging.getLogger(), logging.getLogger("workroot"), getattr(logging, level.upper())
    before = root.level, ours.level
    for handler in handlers:
        handler.setFormatter(LineFormatter())
        root.addHandler(handler)
    root.setLevel(max(threshold, logging.WARNING))
    ours.setLevel(threshold)
    try:
        yield
    finally:
        root.setLevel(before[0])
        ours.setLevel(before[1])
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


class _PrivateRotatingFile(RotatingFileHandler):
    """Rotates as its base does; every file is its owner's alone, whatever the umask."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=_open_private)


def _open_private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)  # a file that was there already keeps its mode otherwise
    return descriptor


def _without_secrets(text: str) -> str:
    text = _SECRET.sub(lambda found: f"{found[1]}_#{hashlib.sha256(found[0].encode()).hexdigest()[:8]}", text)
    return _BEARER.sub(lambda found: f"{found[1]} [withheld]", text)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
