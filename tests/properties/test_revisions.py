"""Whatever happens in whatever order: revisions only grow, what ended stays so, and a restart changes nothing."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from fakes import DAY, FakePlaces, HeldStore, ManualClock, place
from workroot.core.sessions import (
    Alias,
    Ending,
    Owner,
    SessionContext,
    SessionId,
    SessionKey,
)
from workroot.core.signs import Signs
from workroot.errors import (
    ClosedSessionError,
    ExpiredSessionError,
    SessionError,
    StoreUnavailableError,
    UnknownSessionError,
)
from workroot.session_context import SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore

OWNERS = [Owner("uid:1000"), Owner("uid:1001"), Owner("uid:1000", "other")]
ENDED = {Ending.CLOSED: ClosedSessionError, Ending.EXPIRED: ExpiredSessionError}
NEVER = 10_000 * DAY

owners = st.sampled_from(OWNERS)
session_ids = st.sampled_from(["one", "two", "three"])
aliases = st.sampled_from([Alias("editor"), Alias("terminal")])
directories = st.sampled_from(["/work/a", "/work/b", "/work/c"])


def refused_with(expected: type[SessionError] | None) -> AbstractContextManager[object]:
    return pytest.raises(expected) if expected is not None else nullcontext()


class Sessions(RuleBasedStateMachine):
    """One manager at a time over one store; beside it, what must be so."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.store = HeldStore(MemoryStore())
        self.places = FakePlaces({each: place(each, project=each) for each in ("/work/a", "/work/b", "/work/c")})
        self.manager = self.new_manager()
        self.held: dict[SessionKey, tuple[Owner, str, int]] = {}
        self.used_at: dict[SessionKey, float] = {}
        self.ended: dict[SessionKey, tuple[Owner, str, Ending]] = {}
        self.default: dict[tuple[Owner, Alias], SessionKey] = {}

    def new_manager(self) -> SessionContextManager:
        return SessionContextManager(
            self.store,
            self.places,
            clock=self.clock,
            rules=SessionRules(sweep_seconds=NEVER, write_behind_seconds=NEVER),
        )

    def teardown(self) -> None:
        self.runner.run(self.manager.stop())
        self.runner.close()

    @initialize()
    def start(self) -> None:
        self.runner.run(self.manager.start())

    def expected_error(self, owner: Owner, key: SessionKey) -> type[SessionError] | None:
        """Return what a call by handle must raise, or None if it must succeed."""
        if key in self.held:
            return None if self.held[key][0] == owner else UnknownSessionError
        if key in self.ended and self.ended[key][0] == owner:
            return ENDED[self.ended[key][2]]
        return UnknownSessionError

    def moved(self, session: SessionContext, directory: str) -> None:
        before = self.held.get(session.key)
        assert session.key not in self.ended
        assert session.working_directory == session.project_root == directory
        assert session.revision == (before[2] + 1 if before else 1)
        self.held[session.key] = (session.owner, directory, session.revision)
        self.used_at[session.key] = self.clock.awake()

    def end(self, key: SessionKey, ending: Ending) -> None:
        owner, directory, _ = self.held.pop(key)
        self.ended[key] = (owner, directory, ending)
        self.default = {name: bound for name, bound in self.default.items() if bound != key}

    # What people do

    @rule(owner=owners, session_id=session_ids, directory=directories)
    def set_directory(self, owner: Owner, session_id: str, directory: str) -> None:
        key = SessionKey(owner.sandbox, SessionId(session_id))
        is_new = key not in self.held and key not in self.ended
        expected = None if is_new else self.expected_error(owner, key)
        with refused_with(expected):
            session = self.runner.run(self.manager.set_working_directory(session_id, directory, owner=owner))
        if expected is None:
            self.moved(session, directory)

    @rule(owner=owners, session_id=session_ids)
    def get(self, owner: Owner, session_id: str) -> None:
        key = SessionKey(owner.sandbox, SessionId(session_id))
        expected = self.expected_error(owner, key)
        with refused_with(expected):
            session = self.manager.get_session(session_id, owner=owner)
        if expected is None:
            assert (session.owner, session.working_directory, session.revision) == self.held[key]
            self.used_at[key] = self.clock.awake()

    @rule(owner=owners, session_id=session_ids)
    def resolve(self, owner: Owner, session_id: str) -> None:
        key = SessionKey(owner.sandbox, SessionId(session_id))
        expected = self.expected_error(owner, key)
        with refused_with(expected):
            resolution = self.runner.run(self.manager.resolve(owner, Signs(session_id=session_id)))
        if expected is None:
            assert resolution.place is not None
            assert resolution.place.directory == self.held[key][1]
            self.used_at[key] = self.clock.awake()

    @rule(owner=owners, session_id=session_ids)
    def close(self, owner: Owner, session_id: str) -> None:
        key = SessionKey(owner.sandbox, SessionId(session_id))
        expected = self.expected_error(owner, key)
        with refused_with(expected):
            self.runner.run(self.manager.close_session(session_id, owner=owner))
        if expected is None:
            self.end(key, Ending.CLOSED)

    @rule(owner=owners, alias=aliases, directory=directories)
    def enter_default(self, owner: Owner, alias: Alias, directory: str) -> None:
        entered = self.runner.run(self.manager.enter(owner, Signs(alias=alias), directory))
        session = entered.resolution.session
        assert session is not None
        assert self.default.get((owner, alias), session.key) == session.key
        assert (entered.before is None) == ((owner, alias) not in self.default)
        self.default[owner, alias] = session.key
        self.moved(session, directory)

    @rule(owner=owners, alias=aliases)
    def resolve_default(self, owner: Owner, alias: Alias) -> None:
        session = self.runner.run(self.manager.resolve(owner, Signs(alias=alias))).session
        key = self.default.get((owner, alias))
        assert (session.key if session else None) == key
        if session is not None and key is not None:
            assert (session.owner, session.working_directory, session.revision) == self.held[key]
            self.used_at[key] = self.clock.awake()

    # What happens to them

    @rule(hours=st.sampled_from([1, 12, 23, 25]))
    def let_time_pass(self, hours: int) -> None:
        self.clock.advance(hours * 3600.0)
        self.manager._ledger.sessions.end_window()  # no task runs between the steps that could

    @rule(wall=st.sampled_from([0.0, 1_600_000_000.0, 1_900_000_000.0]))
    def set_the_wall_clock(self, wall: float) -> None:
        """It means nothing, not even over a restart: the machine was not awake for longer than before."""
        self.clock.jump_wall_to(wall)

    @rule()
    def sweep(self) -> None:
        stale = {key for key in self.held if self.clock.awake() - self.used_at[key] > DAY}

        swept = self.runner.run(self.manager.sweep())

        assert sorted(swept) == sorted(key.session_id for key in stale)
        for key in stale:
            self.end(key, Ending.EXPIRED)

    @rule(owner=owners, session_id=session_ids, directory=directories)
    def set_directory_while_the_store_fails(self, owner: Owner, session_id: str, directory: str) -> None:
        self.store.fail(StoreUnavailableError("disk full"))
        try:
            self.runner.run(self.manager.set_working_directory(session_id, directory, owner=owner))
        except (SessionError, StoreUnavailableError):
            self.store.fail_no_more()
        else:
            raise AssertionError("a change was acknowledged that was not kept")

    @rule()
    def restart(self) -> None:
        self.runner.run(self.manager.stop())
        self.manager = self.new_manager()
        self.runner.run(self.manager.start())

    # What is always so

    @invariant()
    def what_is_shown_is_what_must_be(self) -> None:
        shown = {each.key: (each.owner, each.working_directory, each.revision) for each in self.manager.all_sessions()}
        assert shown == self.held
        assert self.manager.ended_count() == len(self.ended)

    @invariant()
    def what_is_kept_is_what_is_shown(self) -> None:
        kept = self.runner.run(self.store.load())
        shown = {each.key: replace(each, last_used=0.0) for each in self.manager.all_sessions()}
        assert {each.key: replace(each, last_used=0.0) for each in kept.sessions} == shown
        assert {each.key: (each.owner, each.last_directory, each.ending) for each in kept.ended} == self.ended


def test_any_order_of_changes_sweeps_failures_and_restarts_keeps_every_promise() -> None:
    run_state_machine_as_test(Sessions, settings=settings(max_examples=200, stateful_step_count=30, deadline=None))
