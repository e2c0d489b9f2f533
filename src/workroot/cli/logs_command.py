"""`workroot logs`: the daemon's log for people. Reads its files; needs no daemon, and no settings.

With `--json`, each line is one object with the keys `time`, `level`, `logger`, `message`, and `session` and
`exception` where there are such; of what a crash wrote there is only `message`.
"""

from __future__ import annotations

import json
import os
import select
import sys
from typing import TYPE_CHECKING

import click

from workroot import rendezvous
from workroot.cli.output import print_note
from workroot.escaping import escaped
from workroot.logs.lines import parsed, readable
from workroot.redaction import short_session, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO

__all__ = ["logs"]

_LEVELS = ("debug", "info", "warning", "error", "critical")
_OLDER_FILES = 9  # more than there are
_LOOK_AGAIN_MS = 500
_SHOWN = 100
_LEAST_OF_HANDLE = 8
_READ_BYTES = 1 << 20
_LONGEST_LINE = 1 << 20


@click.command(
    epilog="\b\nExamples:\n  workroot logs -f\n  workroot logs --level warning -n 20\n"
    "  workroot logs --session wr_7Hq2kQ9-"
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=_SHOWN, show_default=True, help="Show the last N records."
)
@click.option("--session", metavar="SESSION", help="Only what names that session, by its handle or its beginning.")
@click.option("--level", type=click.Choice(_LEVELS[:4], case_sensitive=False), help="Only records from that level on.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, as the log has them.")
def logs(follow: bool, lines: int, session: str | None, level: str | None, as_json: bool) -> None:
    """Show the daemon's log, the oldest record first.

    Works without a daemon. Lines that are no records, such as what a crash left, are shown as they
    are, except with --session.
    """
    if session is not None and len(session.removesuffix("...")) < _LEAST_OF_HANDLE:
        raise click.UsageError(f"--session takes a handle, or at least {_LEAST_OF_HANDLE} characters of its beginning.")
    path = rendezvous.log_path(rendezvous.state_directory())
    shown = _Shown(session, level, as_json=as_json)
    try:
        newest = _last_lines(path, lines, shown, goes_on=follow)
        if follow:
            _follow(path, newest, shown)
        elif newest is None:
            print_note(f"there is no log yet at {path}")
        else:
            newest.file.close()
    except KeyboardInterrupt:  # how one ends it
        return


class _Shown:
    """Decides what is shown of a line, and how.

    Args:
        session: a handle or its beginning; None for every session's.
        level: the least level; None for every one.
    """

    def __init__(self, session: str | None, level: str | None, *, as_json: bool) -> None:
        self._session = short_session(session.removesuffix("...")).removesuffix("...") if session else None
        self._levels = {name.upper() for name in _LEVELS[_LEVELS.index(level) :]} if level else None
        self._as_json = as_json

    def __call__(self, line: str) -> str | None:
        """Return what to print of a line, or None."""
        if not line.strip():
            return None
        fields = parsed(line)
        if fields is None:
            if self._session is not None:
                return None
            line = escaped(without_secrets(line))
            return json.dumps({"message": line}) if self._as_json else line
        if self._levels is not None and fields.get("level") not in self._levels:
            return None
        if self._session is not None and not self._is_about_session(fields):
            return None
        return json.dumps(fields, ensure_ascii=False) if self._as_json else readable(fields)

    def _is_about_session(self, fields: dict[str, str]) -> bool:
        session = self._session or ""
        return fields.get("session", "").startswith(session) or session in fields["message"]


class _Lines:
    """Whole lines of a file that grows; closes it when told."""

    def __init__(self, file: FileIO) -> None:
        self.file, self._begun = file, b""

    def read(self) -> Iterator[str]:
        """Return the lines that are there by now and were not read yet."""
        while data := self.file.read(_READ_BYTES):
            *whole, self._begun = (self._begun + data).split(b"\n")
            if len(self._begun) > _LONGEST_LINE:
                whole, self._begun = [*whole, self._begun], b""
            for line in whole:
                yield line.decode(errors="backslashreplace")

    def begin_again(self) -> None:
        """Go back to where the file begins."""
        self.file.seek(0)
        self._begun = b""

    def read_rest(self) -> Iterator[str]:
        """Return the same, and a last line that has no end."""
        yield from self.read()
        if self._begun:
            yield self._begun.decode(errors="backslashreplace")
            self._begun = b""


def _last_lines(path: str, most: int, shown: Callable[[str], str | None], *, goes_on: bool) -> _Lines | None:
    """Print the last *most* records of all files; return the newest file, read to its end so far, or None.

    Args:
        goes_on: the newest file is read on, so that a line without an end is left for later.
    """
    newest = _opened(path)
    pages: list[list[str]] = []
    found = 0
    for number in range(_OLDER_FILES + 1):
        lines = newest if number == 0 else _opened(f"{path}.{number}")
        if lines is None:
            continue
        read = lines.read() if number == 0 and goes_on else lines.read_rest()
        page = [text for line in read if (text := shown(line)) is not None]
        if number:
            lines.file.close()
        pages.append(page)
        found += len(page)
        if found >= most:
            break
    texts = [text for page in reversed(pages) for text in page]
    for text in texts[len(texts) - min(most, len(texts)) :]:
        click.echo(text)
    return newest


def _follow(path: str, newest: _Lines | None, shown: Callable[[str], str | None]) -> None:
    """Print what is written from now on, in whichever file; ends when nobody reads it any more."""
    if sys.stdout is None:
        return  # it was closed from the beginning
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)  # errors are told without being asked for
    while True:
        is_over = bool(reader.poll(_LOOK_AGAIN_MS))
        if newest is None:
            newest = _opened(path)
        elif _is_replaced(path, newest.file):
            _print(newest.read_rest(), shown)
            newest.file.close()
            newest = _opened(path)
        if newest is not None:
            if newest.file.tell() > os.fstat(newest.file.fileno()).st_size:  # somebody emptied it
                newest.begin_again()
            _print(newest.read(), shown)
        if is_over:
            return


def _print(lines: Iterator[str], shown: Callable[[str], str | None]) -> None:
    for line in lines:
        if (text := shown(line)) is not None:
            click.echo(text)


def _opened(path: str) -> _Lines | None:
    try:
        return _Lines(open(path, "rb", buffering=0))
    except FileNotFoundError:
        return None


def _is_replaced(path: str, file: FileIO) -> bool:
    try:
        return not os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False  # between two files; what comes is looked at next time
