"""The archive of this user's state, in a running daemon or, if none runs, in the store itself.

While the store is open here no daemon can start, so that there are never two writers.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Protocol

from workroot import rendezvous
from workroot.cli.answers import number, open_daemon, row, text, texts
from workroot.errors import AlreadyRunningError, DaemonSilentError, DaemonUnavailableError
from workroot.instance import hold_instance
from workroot.lost_disks import memory_only

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from anyio.from_thread import BlockingPortal

    from workroot.archive.pages import Archive
    from workroot.cli.answers import Row
    from workroot.control_client import ControlClient
    from workroot.settings import Settings

__all__ = ["HeldArchive", "open_archive"]

_ANSWER_SECONDS = 60.0
_WAIT_SECONDS = 10.0  # for a daemon that starts or ends, and for another export or import without one
_PAUSE_SECONDS = 0.1


class HeldArchive(Protocol):
    """All that is held, to be read and added to."""

    def lines(self) -> Iterator[str]:
        """Yield an archive's lines, as of one moment."""

    def take_in(self, lines: Sequence[str]) -> Row:
        """Keep those records that are not here; return how many were `taken`, and how many `known`, by kind."""

    def remark(self) -> str | None:
        """Return why what is kept does not reach the disk now, or None: it does."""


@contextmanager
def open_archive(*, is_read_only: bool = False) -> Iterator[HeldArchive]:
    """Open what this user's daemon holds, whether it runs or not.

    Args:
        is_read_only: nothing is taken in, so that a database that cannot be written will do.

    Raises:
        AlreadyRunningError: another export or import without a daemon does not end.
        DaemonSilentError: it runs, and does not answer.
        StoreError: none runs, and the store cannot be opened.
    """
    with ExitStack() as stack:
        give_up = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                archive = _opened(stack, is_read_only=is_read_only)
                break
            except (AlreadyRunningError, DaemonSilentError):
                if time.monotonic() > give_up:
                    raise
            time.sleep(_PAUSE_SECONDS)  # a lock's holder tells nobody when it lets go; nothing else goes on in here
        yield archive


def _opened(stack: ExitStack, *, is_read_only: bool) -> HeldArchive:
    try:
        return _InDaemon(stack.enter_context(open_daemon(answer_seconds=_ANSWER_SECONDS, wake=False)))
    except DaemonUnavailableError:
        return stack.enter_context(_open_here(is_read_only=is_read_only))


class _InDaemon:
    def __init__(self, daemon: ControlClient) -> None:
        self._daemon = daemon

    def lines(self) -> Iterator[str]:
        cursor: str | None = None
        while True:
            page = self._daemon.ask("export", cursor=cursor)
            yield from texts(page, "lines")
            if (cursor := text(page, "cursor")) is None:
                return

    def take_in(self, lines: Sequence[str]) -> Row:
        return self._daemon.ask("import", lines=list(lines))

    def remark(self) -> str | None:
        store = row(self._daemon.ask("status"), "store") or {}
        since, because = number(store, "memory_only_since"), text(store, "memory_only_because")
        return memory_only(since, because) if since is not None and because is not None else None


class _Here:
    def __init__(self, portal: BlockingPortal, archive: Archive) -> None:
        self._portal, self._archive = portal, archive

    def lines(self) -> Iterator[str]:
        page = self._portal.call(self._archive.export)
        yield from page.lines
        while page.cursor is not None:
            page = self._portal.call(self._archive.export, page.cursor)
            yield from page.lines

    def take_in(self, lines: Sequence[str]) -> Row:
        taken = self._portal.call(self._archive.take_in, lines)
        return {"taken": +taken.taken, "known": +taken.known}

    def remark(self) -> str | None:
        return None  # a store that is opened for taking in is one that can be written


@contextmanager
def _open_here(*, is_read_only: bool) -> Iterator[_Here]:
    from anyio.from_thread import start_blocking_portal

    from workroot.settings import load_settings

    settings = load_settings()
    state = str(settings.state_directory)
    rendezvous.make_private_directory(state)
    rendezvous.prepare_meeting_place(state)
    with (
        hold_instance(rendezvous.instance_lock_path(state)),
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_open_store(settings, is_read_only=is_read_only)) as archive,
    ):
        yield _Here(portal, archive)


@asynccontextmanager
async def _open_store(settings: Settings, *, is_read_only: bool) -> AsyncIterator[Archive]:
    from workroot.archive.pages import Archive
    from workroot.clock import SystemClock
    from workroot.core.identities import Identities
    from workroot.events import EventBus
    from workroot.held_state import HeldState
    from workroot.identity import os_owner
    from workroot.storage.sqlite import open_sqlite_store

    async with open_sqlite_store(settings.database_path, may_keep_in_memory=is_read_only) as store:
        held = HeldState(store, SystemClock(), None, Identities())
        await held.load()
        yield Archive(held, EventBus(), principal=os_owner().principal)
