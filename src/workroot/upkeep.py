"""What is done for sessions without anybody asking, from the start to the stop: sweeps, room for more, late writes."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from workroot.housekeeping import Housekeeping
from workroot.session_room import SessionRoom
from workroot.sweeper import SECOND_LOOK_SECONDS, Sweeper

if TYPE_CHECKING:
    from workroot.core.ports import Clock, SessionStore
    from workroot.counters import Counters
    from workroot.live_connections import LiveConnections
    from workroot.session_ledger import SessionLedger
    from workroot.session_rules import SessionRules
    from workroot.turns import Turns

__all__ = ["Upkeep"]

_FIRST_SECONDS = 60.0  # from the start to the first sweep: a daemon that never lives for an interval sweeps too
_LETTERS_SHARE = 0.5  # of the bytes that the store may take, for what allocated sessions remember
_FIRST_SHARE = 1 / 60  # of an interval that is longer than an hour: who sweeps seldom begins late


class Upkeep:
    """Keeps what is held within the rules.

    Args:
        turns: a session whose turn is taken is in the middle of a change.
        live: a session with a live connection is in use.
        store: knows how much room it takes.
        counters: count the sessions that gave way.
        rules: hold until `change`.

    Attributes:
        sweeper: ends what is stale.
        jobs: run from `start` on.
        loop: the event loop in which it was started last; None before.
        pid: of the process in which that was; None before.
    """

    def __init__(
        self,
        ledger: SessionLedger,
        turns: Turns,
        live: LiveConnections,
        *,
        store: SessionStore,
        clock: Clock,
        counters: Counters,
        rules: SessionRules,
    ) -> None:
        self._ledger = ledger
        self._room = SessionRoom(
            ledger,
            store,
            turns,
            live.is_connected,
            counters,
            max_sessions=rules.max_sessions,
            max_bytes=rules.max_store_bytes,
        )
        self.sweeper = Sweeper(
            ledger, turns, live, self._room, idle_seconds=rules.idle_seconds, ended_seconds=rules.ended_seconds
        )
        self.jobs = Housekeeping(
            clock,
            every=((rules.sweep_seconds, self.sweeper.housekeep),),
            first_seconds=max(_FIRST_SECONDS, rules.sweep_seconds * _FIRST_SHARE),
            after=(
                (rules.write_behind_seconds, ledger.behind.wait_noted, ledger.end_window),
                (SECOND_LOOK_SECONDS, self.sweeper.wait_postponed, self.sweeper.sweep),
            ),
        )
        self.loop: asyncio.AbstractEventLoop | None = None
        self.pid: int | None = None
        self.change(rules)

    def change(self, rules: SessionRules) -> None:
        """Go on with other rules, from the next sweep on; the time of late writes stays as it was."""
        self.sweeper.idle_seconds, self.sweeper.ended_seconds = rules.idle_seconds, rules.ended_seconds
        self._room.max_sessions, self._room.max_bytes = rules.max_sessions, rules.max_store_bytes
        self._ledger.max_ended, self._ledger.projects.most = rules.max_ended_sessions, rules.max_projects
        self._ledger.max_allocated = rules.max_allocated_sessions
        self._ledger.max_letters = rules.max_store_bytes * _LETTERS_SHARE
        self.jobs.change_interval(self.sweeper.housekeep, rules.sweep_seconds)

    async def make_room(self) -> None:
        """End so many sessions as are held above the limit, now instead of at the next sweep.

        Raises:
            StoreUnavailableError: the next sweep does it.
        """
        await self._room.end_excess()

    def start(self) -> None:
        """Begin. Idempotent; in another event loop than before, begin anew there."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            self.loop, self.pid = loop, os.getpid()
            self._ledger.behind.renew()
            self.sweeper.renew()
        self.jobs.start()

    async def stop(self) -> None:
        """End the jobs, and write what was left to write. Idempotent."""
        await self.jobs.stop()
        self._ledger.note_idle_mark()
        await self._ledger.end_window()
