"""Where an attached server's sessions are: in memory, in a file of its own, or with somebody else."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from workroot import rendezvous
from workroot.core.identities import Identities
from workroot.project_finder import ProjectFinder
from workroot.session_context import SessionContextManager
from workroot.settings import load_settings, session_rules
from workroot.storage.memory import MemoryStore
from workroot.storage.sqlite import open_sqlite_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from workroot.core.ports import Clock, SessionStore
    from workroot.session_service import SessionService

__all__ = ["service_opener"]


@dataclass(slots=True)
class _Use:
    """How attached servers use a service that was given to them.

    Attributes:
        is_started_here: it was not running before: the last of them stops it.
        count: how many use it now.
    """

    is_started_here: bool
    count: int = 0


_uses: WeakKeyDictionary[SessionService, _Use] = WeakKeyDictionary()


def service_opener(
    store: str | os.PathLike[str] | SessionService | None, clock: Clock
) -> Callable[[], AbstractAsyncContextManager[SessionService]]:
    """Return what opens the sessions that *store* means, as often as it is called.

    Args:
        store: None for memory, which outlasts an event loop but not the process; a path for a file of this process;
            or sessions that somebody keeps already: they are started if they do not run, and only then stopped.
        clock: the time, where this process keeps them.

    Raises:
        TypeError: *store* is something else.
        ValueError: it is SQLite's name for memory, which would be a file here.
    """
    if store is None:
        memory = MemoryStore()
        return lambda: _kept_in_memory(memory, clock)
    if isinstance(store, str | os.PathLike):
        if os.fspath(store) in ("", ":memory:"):
            raise ValueError(f"store={store!r} names no file; leave it out to keep the sessions in memory")
        path = os.path.abspath(store)  # now: a server may change its directory
        return lambda: _kept_in_file(path, clock)
    if isinstance(store, type) or not callable(getattr(store, "resolve", None)):
        raise TypeError(f"store must be a path, what workroot.connect() returns, or None for memory, not {store!r}")
    return lambda: _kept_elsewhere(store)


@asynccontextmanager
async def _kept_in_memory(memory: MemoryStore, clock: Clock) -> AsyncIterator[SessionService]:
    async with _manager(memory, clock) as sessions:
        yield sessions


@asynccontextmanager
async def _kept_in_file(path: str, clock: Clock) -> AsyncIterator[SessionService]:
    async with open_sqlite_store(path) as store, _manager(store, clock) as sessions:
        yield sessions


@asynccontextmanager
async def _kept_elsewhere(service: SessionService) -> AsyncIterator[SessionService]:
    """Use a service that others may use as well: what ran before goes on afterwards."""
    use = _uses.get(service)
    if use is None or not use.count:
        # Of a service that cannot tell whether it runs, whoever made it is taken to have started it.
        use = _uses[service] = _Use(is_started_here=not getattr(service, "is_started", True))
    use.count += 1
    is_open = False
    try:
        await service.start()
        is_open = True
        yield service
    finally:
        use.count -= 1
        if is_open and use.is_started_here and not use.count:
            await service.stop()


@asynccontextmanager
async def _manager(store: SessionStore, clock: Clock) -> AsyncIterator[SessionContextManager]:
    """Run a manager by the rules that the user has set for all of workroot."""
    settings, state, identities = load_settings(), await store.load(), Identities()
    finder = ProjectFinder(
        state.namespace,
        trusted_directories=settings.trusted_directories,
        identities=identities,
        config_names=settings.config_names,
    )
    async with SessionContextManager(
        store,
        finder,
        clock=clock,
        home=_real_home(),
        rules=session_rules(settings),
        identities=identities,
        state=state,
    ) as sessions:
        yield sessions


def _real_home() -> str:
    return os.path.realpath(rendezvous.home_directory())
