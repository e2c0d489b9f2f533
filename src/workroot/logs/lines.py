"""A record of the log as fields, as the line of a person, and back.

What a client or a repository chose is escaped when the fields are made. A text without an escape code or a
newline stays so through JSON and back, so nothing that reads the log has to escape it again.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from workroot.escaping import escaped
from workroot.redaction import first_session, short_session, without_secrets

__all__ = ["fields_of", "parsed", "readable"]

_LONGEST_MESSAGE = 4_000  # characters; a client's error can quote a whole megabyte
_LONGEST_EXCEPTION = 12_000
_TRACEBACK = logging.Formatter()


def fields_of(record: logging.LogRecord, *, with_traceback: bool = True) -> dict[str, str]:
    """Return what is kept of a record: `time`, `level`, `logger`, `message`, and `session` and `exception` if any.

    Args:
        with_traceback: of an exception more than its last line.
    """
    try:
        text = record.getMessage()
    except Exception:  # a boundary: the arguments are anybody's, and a record that cannot be made up is still one
        text = f"{record.msg} (its arguments do not fit)"
    message = _fit(escaped(without_secrets(text)), _LONGEST_MESSAGE)
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields = {"time": at, "level": record.levelname, "logger": escaped(record.name), "message": message}
    said = getattr(record, "session", None)
    if session := short_session(escaped(said)) if isinstance(said, str) else first_session(message):
        fields["session"] = session
    if exception := _exception_of(record, with_traceback=with_traceback):
        fields["exception"] = exception
    return fields


def readable(fields: dict[str, str]) -> str:
    """Return the fields as lines for a person: local time, level, where it comes from, message; no last newline.

    An exception follows, each line of it set in, so that none can be taken for a record.
    """
    try:
        at = datetime.fromisoformat(fields["time"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (KeyError, ValueError, OverflowError):
        at = fields.get("time", "?")
    where = fields.get("logger", "?").removeprefix("workroot.")
    lines = [f"{at} {fields.get('level', '?'):<7} {where}: {fields.get('message', '')}"]
    lines += [f"    {line}" for line in fields.get("exception", "").split("\n") if line]
    return "\n".join(lines)


def parsed(line: str) -> dict[str, str] | None:
    """Return the fields of a line of the log; None if it is not one, such as what a crash wrote there."""
    if not line.startswith("{"):
        return None
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or not isinstance(fields.get("message"), str):
        return None
    return {
        name: "\n".join(escaped(part) for part in value.split("\n")) if name == "exception" else escaped(value)
        for name, value in fields.items()
        if isinstance(value, str)
    }


def _exception_of(record: logging.LogRecord, *, with_traceback: bool) -> str:
    """Return the exception of a record; its newlines are kept, as they are what JSON escapes."""
    text = ""
    if record.exc_info and record.exc_info[0] is not None:
        text = _TRACEBACK.formatException(record.exc_info)
    if record.stack_info and with_traceback:
        text = f"{text}\n{record.stack_info}".lstrip("\n")
    lines = [escaped(line) for line in without_secrets(text).split("\n") if line.strip()]
    if not with_traceback:
        return _fit(lines[-1], _LONGEST_MESSAGE) if lines else ""
    whole = "\n".join(lines)
    if len(whole) <= _LONGEST_EXCEPTION:
        return whole
    half = _LONGEST_EXCEPTION // 2  # where it began and what it came to both count
    return f"{whole[:half]}\n... ({len(whole)} characters)\n{whole[-half:]}"


def _fit(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
