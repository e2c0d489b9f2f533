"""Work that makes way: it is given up when somebody wants the connection, instead of being waited for."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MakesWay"]


class MakesWay:
    """Knows whether such work is going on; `make` may be called in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # SQLite interrupts whatever it is doing: it has to be this work, not the next
        self._working: sqlite3.Connection | None = None
        self._is_wanted = False

    def expect(self) -> None:
        """Such work is about to be asked for: who wants the connection from now on, wants it to be left alone."""
        self._is_wanted = False

    def make(self) -> None:
        """Let the work at hand be given up, or not begin."""
        with self._lock:
            self._is_wanted = True
            if self._working is not None:
                self._working.interrupt()

    @contextmanager
    def working(self, connection: sqlite3.Connection) -> Iterator[bool]:
        """Tell whether the work may begin, and let it be interrupted until it ends; it goes on after the block then."""
        with self._lock:
            self._working = connection
            may_begin = not self._is_wanted
        try:
            yield may_begin
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
        finally:
            with self._lock:
                self._working = None
