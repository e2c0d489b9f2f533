"""Faults that this program must never have, as edits of its source, and the test that would notice each.

They are those that a rewrite brings in most easily and that a daemon in good health never shows.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAULTS", "Edit", "Fault"]


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a file.

    Attributes:
        path: relative to the tree.
        old: text that the file holds once.
        new: what stands there instead.
    """

    path: str
    old: str
    new: str

    def applied_to(self, text: str) -> str:
        """Return the file's text with the change.

        Raises:
            LookupError: it does not hold the old text once: the fault has to be written anew for the new code.
        """
        if (times := text.count(self.old)) != 1:
            raise LookupError(f"{self.path} holds {times} times, not once, the text that is to be changed:\n{self.old}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        name: what the program would do.
        caught_by: the test that fails with it and passes without it, as pytest names it.
        edits: how to make it.
    """

    name: str
    caught_by: str
    edits: tuple[Edit, ...]


_OPENING = "src/workroot/storage/opening.py"
_PARTS = "src/workroot/daemon/parts.py"
_QUEUE = "src/workroot/storage/commit_queue.py"
_DATABASE = "src/workroot/storage/database.py"
_BATCHES = "src/workroot/storage/batches.py"
_HELD_STATE = "src/workroot/held_state.py"
_IDLE_CLOCK = "src/workroot/idle_clock.py"
_LIVE_CONNECTIONS = "src/workroot/live_connections.py"
_PINS = "src/workroot/core/pins.py"
_RESOLUTION = "src/workroot/core/resolution.py"
_NETWORK_DISKS = "src/workroot/storage/network_disks.py"
_TRUST = "src/workroot/core/trust.py"

FAULTS = (
    Fault(
        "answers before the commit",
        "tests/system/test_store_faults.py::test_whichever_call_fails_the_answers_are_true_and_it_heals[ENOSPC-once]",
        (
            Edit(
                _QUEUE,
                "self._answer(batch, await self._write([request for request, _ in batch]))",
                "self._answer(batch, [None for _ in batch])\n"
                "                    await self._write([request for request, _ in batch])",
            ),
        ),
    ),
    Fault(
        "undoes what a neighbour was promised when one caller's changes fail",
        "tests/contracts/test_session_store.py::test_a_refused_caller_does_not_touch_those_who_wait_beside_it",
        (
            Edit(
                _BATCHES,
                """\
        apply_changes(connection, batch[0] if len(batch) == 1 else [*chain.from_iterable(batch)])
""",
                """\
        refused: dict[int, Exception] = {}
        for number, changes in enumerate(batch):
            try:
                apply_changes(connection, changes)
            except (sqlite3.Error, ValueError, OverflowError) as error:
                connection.execute("ROLLBACK")
                connection.execute("BEGIN IMMEDIATE")
                refused[number] = error
""",
            ),
            Edit(
                _BATCHES,
                "    return [None] * len(batch)\n",
                "    return [refused.get(number) for number in range(len(batch))]\n",
            ),
        ),
    ),
    Fault(
        "syncs the log now and then only",
        "tests/system/test_power_loss.py::test_the_log_is_synced_between_every_request_and_its_answer",
        (Edit(_NETWORK_DISKS, 'Pragma("synchronous", "FULL", 2)', 'Pragma("synchronous", "NORMAL", 1)'),),
    ),
    Fault(
        "acknowledges into a file that has lost its name",
        "tests/system/test_sqlite_store.py::test_a_file_deleted_while_a_commit_runs_is_noticed_before_the_answer",
        (
            Edit(
                _DATABASE,
                """\
        if self._file.look(unkept and unkept.__cause__):
            raise HeldStateNeededError
""",
                "",
            ),
        ),
    ),
    Fault(
        "gives up a transaction when one caller no longer waits",
        "tests/contracts/test_session_store.py::test_cancelled_callers_do_not_touch_the_commits_of_others",
        (
            Edit(
                _QUEUE,
                """\
        if (error := await answer) is not None:
            raise error
""",
                """\
        try:
            error = await answer
        except asyncio.CancelledError:
            self._life.cancel()
            raise
        if error is not None:
            raise error
""",
            ),
        ),
    ),
    Fault(
        "shows in memory what is not kept yet",
        "tests/unit/test_session_context.py::test_a_store_that_fails_leaves_everything_as_it_was",
        (
            Edit(
                _HELD_STATE,
                "        await self._commit(changes)\n        self.sessions.apply(changes, seen=self.idle.now())",
                "        self.sessions.apply(changes, seen=self.idle.now())\n        await self._commit(changes)",
            ),
        ),
    ),
    Fault(
        "acknowledges what is in memory only without saying so",
        "tests/system/test_lost_disks.py::test_on_a_full_disk_the_daemon_serves_from_memory_says_so_and_heals",
        (
            Edit(
                _PARTS,
                "return memory_only(trouble.since, trouble.because) if trouble is not None else None",
                "return None",
            ),
        ),
    ),
    Fault(
        "throws a spoilt database away",
        "tests/system/test_opening.py::test_a_spoilt_database_is_kept_aside_and_a_new_one_serves_at_once",
        (
            Edit(
                _OPENING,
                '    aside = move_aside(path, "damaged")\n',
                '    aside = move_aside(path, "damaged")\n    os.truncate(aside, 0)\n',
            ),
        ),
    ),
    Fault(
        "counts idle time on the wall clock",
        "tests/unit/test_session_context.py::test_a_wall_clock_that_is_set_ends_nothing_in_use",
        (Edit(_IDLE_CLOCK, "return self._clock.awake() + self._from_awake", "return self._clock.wall()"),),
    ),
    Fault(
        "ends the session of a live connection",
        "tests/unit/test_session_context.py::test_a_session_with_a_live_connection_is_not_stale",
        (
            Edit(
                _LIVE_CONNECTIONS,
                "return any((session.owner, alias) in self._names for alias in aliases)",
                "return not aliases and False",
            ),
            Edit(
                _LIVE_CONNECTIONS,
                "yield session if session is not None and sessions.seen(session.key) < before else None",
                "yield session if session is None and before < 0 else None",
            ),
        ),
    ),
    Fault(
        "lets a pin outlive what it was set for",
        "tests/unit/test_pins.py::test_a_pin_that_agreed_with_a_sign_follows_it",
        (Edit(_PINS, "        if slot in then:\n", "        if slot in then and not then:\n"),),
    ),
    Fault(
        "guesses one of several projects",
        "tests/unit/test_resolution.py::test_roots_in_several_projects_are_candidates_and_no_one_elses_sign_is",
        (Edit(_RESOLUTION, "if len({owner_of(place) for _, place in roots}) > 1:", "if len(roots) < 0:"),),
    ),
    Fault(
        "allows another content of a file that was allowed once",
        "tests/unit/test_trust_store.py::test_what_is_allowed_is_this_content_of_this_file",
        (Edit(_TRUST, "if any(record.subject.digest == subject.digest for record in of_file):", "if of_file:"),),
    ),
)
"""The first two are planted in every run, all of them with `--full`."""
