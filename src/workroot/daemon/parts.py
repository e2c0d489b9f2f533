"""Builds the parts of the daemon out of its settings, and joins them; the package says when each starts and ends."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from workroot import rendezvous
from workroot.client_profiles import client_profiles
from workroot.clock import SystemClock
from workroot.core.identities import Identities
from workroot.counters import Counters
from workroot.daemon.collector import sparing_what_is_loaded
from workroot.daemon.idle_exit import IdleExit
from workroot.daemon.settings_reload import LimitsInForce, LiveParts
from workroot.decisions import DecisionLog
from workroot.lost_disks import memory_only
from workroot.mcp_face import McpFace
from workroot.project_finder import ProjectFinder
from workroot.session_context import SessionContextManager
from workroot.settings import session_rules
from workroot.storage.sqlite import open_sqlite_store
from workroot.trust import TrustStore
from workroot.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from workroot.logs import Log
    from workroot.settings import Settings
    from workroot.storage.sqlite import SqliteStore

__all__ = ["Parts", "open_parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """What all faces share."""

    sessions: SessionContextManager
    finder: ProjectFinder
    decisions: DecisionLog
    face: McpFace
    idle: IdleExit
    facts: dict[str, Any]
    store: SqliteStore
    watcher: Watcher
    log: Log
    counters: Counters
    limits: LimitsInForce

    def live(self, *, set_log_level: Callable[[str], None], may_leave: bool) -> LiveParts:
        """Return what is told when settings change."""
        return LiveParts(
            self.sessions,
            self.finder,
            self.face,
            self.idle,
            self.limits,
            set_log_level=set_log_level,
            may_leave=may_leave,
        )


@asynccontextmanager
async def open_parts(settings: Settings, *, may_leave: bool, log: Log, tracing: bool = False) -> AsyncIterator[Parts]:
    """Open what keeps the state, and build what answers from it.

    Args:
        settings: what the user wishes.
        may_leave: the daemon may end by itself when nobody needs it.
        log: is open, and knows what went wrong of late.
        tracing: make spans of messages; somebody takes them.
    """
    clock, decisions, counters, limits = SystemClock(), DecisionLog(), Counters(), LimitsInForce.of(settings)
    client_profiles()  # read now, so that no call waits for it
    with sparing_what_is_loaded() as end_loading:
        async with open_sqlite_store(settings.database_path, may_keep_in_memory=True) as store:
            state, identities = await store.load(), Identities()
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
                counters=counters,
                identities=identities,
                state=state,
            ) as sessions:
                del state  # all of it is in the manager
                end_loading()
                trust = TrustStore(settings.trust_path)
                face = McpFace(
                    sessions,
                    decisions,
                    trust,
                    clock,
                    show_recent=settings.show_recent_projects,
                    remark=partial(_remark_of, store),
                    limits=limits,
                    counters=counters,
                    tracing=tracing,
                )
                idle = IdleExit(settings.idle_exit_seconds if may_leave else 0)
                watcher = Watcher(config_names=settings.config_names)
                yield Parts(
                    sessions, finder, decisions, face, idle, _facts(settings), store, watcher, log, counters, limits
                )


def _remark_of(store: SqliteStore) -> str | None:
    """Return what every answer has to say while nothing that is kept reaches the disk."""
    trouble = store.trouble
    return memory_only(trouble.since, trouble.because) if trouble is not None else None


def _real_home() -> str:
    return os.path.realpath(rendezvous.home_directory())


def _facts(settings: Settings) -> dict[str, Any]:
    state = str(settings.state_directory)
    return {
        "boot": secrets.token_hex(4),
        "started_at": time.time(),
        "state_directory": state,
        "socket": rendezvous.socket_path(state),
        "database": str(settings.database_path),
        "log": str(settings.log_path),
        "http": None,
    }
