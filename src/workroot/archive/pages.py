"""The archive as a running daemon gives and takes it: page by page, so that no other client waits for it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.archive.document import records_of
from workroot.archive.records import decode, encode
from workroot.archive.state import state_of
from workroot.archive.taking_in import TakingIn, keys_of
from workroot.errors import ArchiveError
from workroot.events import ProjectsChanged
from workroot.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from workroot.events import EventBus
    from workroot.held_state import HeldState

__all__ = ["Archive", "Page"]

_PAGE_LINES = 200  # some 3 ms of the daemon's time
_PAGE_LENGTH = 128 * 1024  # characters; a line more may follow, of LONGEST_LINE at most
_MOST_OPEN = 4  # exports that nobody has read to their end; the oldest gives way


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines of an archive.

    Attributes:
        cursor: asks for the next page; None: this was the last one.
    """

    lines: list[str]
    cursor: str | None


class Archive:
    """All that is held, as records.

    Args:
        held: all of it.
        events: tells of projects that become known.
        principal: the user whose daemon this is.
        turns: whoever holds that of a session may change it; None: nobody else changes anything.
        make_room: ends what is above the limits; None: whoever opens the store next does.
    """

    def __init__(
        self,
        held: HeldState,
        events: EventBus,
        *,
        principal: str,
        turns: Turns | None = None,
        make_room: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._held, self._events, self._principal = held, events, principal
        self._turns, self._make_room = turns if turns is not None else Turns(), make_room
        self._open: dict[str, Iterator[str]] = {}

    def export(self, cursor: str | None = None) -> Page:
        """Return the first page of all that is held at this moment, or the one that follows.

        Raises:
            ArchiveError: nothing follows *cursor* any more.
        """
        if cursor is None:
            cursor = secrets.token_hex(8)
            records = records_of(self._held.moment(), principal=self._principal, now=self._held.idle.now())
            self._open[cursor] = map(encode, records)
            if len(self._open) > _MOST_OPEN:
                del self._open[next(iter(self._open))]
        elif cursor not in self._open:
            raise ArchiveError("the export", "others were begun meanwhile, and it was given up: begin it again")
        lines, length = [], 0
        for line in self._open[cursor]:
            lines.append(line)
            length += len(line)
            if len(lines) == _PAGE_LINES or length >= _PAGE_LENGTH:
                return Page(lines, cursor)
        del self._open[cursor]
        return Page(lines, None)

    async def take_in(self, lines: Sequence[str]) -> TakingIn:
        """Keep those records that are not here yet, and return which those were.

        A session in the middle of a change is here: it stays as that change leaves it.

        Args:
            lines: records of an archive; sessions come before what stands for them.

        Raises:
            ArchiveError: a line is no record; nothing of *lines* was kept.
            StoreError: nothing of *lines* was kept.
        """
        try:
            found = state_of([decode(line) for line in lines])
        except ValueError as error:
            raise ArchiveError("a page of an archive", str(error)) from None
        with self._turns.take_free_nowait(keys_of(found)) as free:
            taking = TakingIn(self._held, found, free)

            def show() -> None:
                taking.show()
                for seen in taking.projects:
                    self._events.publish(ProjectsChanged(seen.owner, seen.project.project_id))

            await self._held.keep(taking.changes, show)
        if self._make_room is not None:
            await self._make_room()
        return taking
