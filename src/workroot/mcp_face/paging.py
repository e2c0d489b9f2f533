"""Long lists, page by page: latest first, and nobody who goes on with a cursor misses what was there all the time.

A list changes between two pages: what is used meanwhile moves to its beginning, behind whoever reads it. So a cursor
holds after which entry to go on, and since when the list has been read; what was used since then comes once more at
the end. Nothing is kept for a reader. What an entry is called never leaves: a cursor holds a digest of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

__all__ = ["CursorError", "Page", "page_of"]

Row = TypeVar("Row")

_FORM = struct.Struct(">ddd6s")
_CHECK_BYTES = 6
_BEGINNING = float("inf")


class CursorError(ValueError):
    """A cursor is none that this list gave out."""


class _Position(NamedTuple):
    """Where in a list a reader is.

    Attributes:
        after: what was used before this time has been read.
        until: what was used after this time is not read yet.
        used_at: when the entry read last was used.
        name: a digest of that entry's name; tells entries of one moment apart.
    """

    after: float
    until: float
    used_at: float
    name: bytes


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page of a list.

    Attributes:
        rows: in their order.
    """

    rows: Sequence[Row]
    _positions: Sequence[_Position | None]
    _scope: str

    def cursor_after(self, count: int) -> str | None:
        """Return where to go on after the first *count* of its rows; None if there is nothing more.

        Args:
            count: of rows that were given; 1 at least, unless the page is empty.
        """
        position = self._positions[count - 1] if self._positions else None
        return _written(position, self._scope) if position is not None else None


def page_of(
    rows: Sequence[Row],
    *,
    used_at: Callable[[Row], float],
    name: Callable[[Row], str],
    cursor: str | None,
    most: int,
    scope: str,
) -> Page[Row]:
    """Return the page of a list that a cursor leads to.

    Args:
        rows: the whole list as it is now, latest used first; of one moment, a page has its own order.
        used_at: when a row was used, in seconds since the Unix epoch.
        name: of a row; no two rows have the same.
        cursor: from the page before; None for the first page.
        most: rows of one page.
        scope: which list this is; the cursor of another is refused.

    Raises:
        CursorError: *cursor* is none of this list's.
    """
    newest = used_at(rows[0]) if rows else 0.0
    at = _Position(-_BEGINNING, newest, _BEGINNING, b"") if cursor is None else _read(cursor, scope)
    taken = [(at, row) for row in islice(_unread(rows, at, used_at, name), most + 1)]
    if len(taken) <= most and newest > at.until:  # then what was used since the reader began
        since = _Position(at.until, newest, _BEGINNING, b"")
        taken += [(since, row) for row in islice(_unread(rows, since, used_at, name), most + 1 - len(taken))]
    positions: list[_Position | None] = [
        walk._replace(used_at=used_at(row), name=_digest(name(row))) for walk, row in taken
    ]
    if len(taken) <= most and positions:
        positions[-1] = None
    return Page([row for _, row in taken[:most]], positions[:most], scope)


def _unread(
    rows: Sequence[Row], at: _Position, used_at: Callable[[Row], float], name: Callable[[Row], str]
) -> Iterator[Row]:
    """Yield what follows a position, up to what was read before; of one moment, by digest."""
    for time, of_a_moment in groupby(rows, key=used_at):
        if time <= at.after:
            return
        if time > at.until or time > at.used_at:
            continue
        found = list(of_a_moment)
        if len(found) > 1 or time == at.used_at:
            digests = sorted(((_digest(name(row)), row) for row in found), key=itemgetter(0))
            found = [row for digest, row in digests if time < at.used_at or digest > at.name]
        yield from found


def _written(position: _Position, scope: str) -> str:
    content = _FORM.pack(*position)
    return base64.urlsafe_b64encode(_check(content, scope) + content).decode("ascii")


def _read(cursor: str, scope: str) -> _Position:
    try:
        raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise CursorError from None
    content = raw[_CHECK_BYTES:]
    if len(content) != _FORM.size or raw[:_CHECK_BYTES] != _check(content, scope):
        raise CursorError
    return _Position(*_FORM.unpack(content))


def _check(content: bytes, scope: str) -> bytes:
    """Return what tells a cursor from garbage, and from one of another list; to forge one gains nothing."""
    return hashlib.blake2b(content + scope.encode(errors="surrogatepass"), digest_size=_CHECK_BYTES).digest()


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=6).digest()
