"""Whatever becomes of the clocks: who was used within the idle time lives, and who was not for much longer does not."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from fakes import DAY, HOUR, FakePlaces, ManualClock, place
from workroot.errors import ExpiredSessionError, UnknownSessionError
from workroot.session_context import SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore

NEVER = 100_000 * DAY
IDLE = DAY
NAMES = ["one", "two", "three"]

spans = st.sampled_from([0.0, 1.0, HOUR, 11 * HOUR, 13 * HOUR, DAY, 3 * DAY])
steps = st.one_of(
    st.sampled_from([2 * DAY, 3650 * DAY, -2 * DAY, -20_000 * DAY]), st.floats(-40_000 * DAY, 40_000 * DAY)
)


class Idle(RuleBasedStateMachine):
    """One daemon after the other over one store; beside it, for how long the machine was awake since each use."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.unused: dict[str, float] = {}

    @initialize()
    def start(self) -> None:
        self.manager = SessionContextManager(
            self.store,
            FakePlaces({"/work": place("/work")}),
            clock=self.clock,
            rules=SessionRules(idle_seconds=IDLE, sweep_seconds=NEVER, write_behind_seconds=NEVER),
        )
        self.runner.run(self.manager.start())

    @rule(name=st.sampled_from(NAMES))
    def use(self, name: str) -> None:
        try:
            self.manager.get_session(name)
        except ExpiredSessionError:
            return
        except UnknownSessionError:
            self.runner.run(self.manager.set_working_directory(name, "/work"))
        self.unused[name] = 0.0
        self.runner.run(self.manager._ledger.end_window())

    @rule(seconds=spans)
    def be_awake(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.unused = {name: unused + seconds for name, unused in self.unused.items()}

    @rule(seconds=spans)
    def sleep(self, seconds: float) -> None:
        self.clock.suspend(seconds)

    @rule(step=steps)
    def set_the_wall_clock(self, step: float) -> None:
        self.clock.jump_wall_to(max(0.0, self.clock.wall() + step))

    @rule(awake=spans, is_orderly=st.booleans())
    def restart(self, awake: float, is_orderly: bool) -> None:
        if is_orderly:
            self.runner.run(self.manager.stop())
        else:
            self.runner.run(self.manager._upkeep.jobs.stop())
        self.be_awake(awake)
        self.start()

    @rule(off=spans, awake=spans)
    def reboot(self, off: float, awake: float) -> None:
        self.runner.run(self.manager._upkeep.jobs.stop())
        self.clock.reboot(off_seconds=off, awake_seconds=awake)
        self.unused = {name: unused + awake for name, unused in self.unused.items()}
        self.start()

    @rule()
    def sweep(self) -> None:
        for name in self.runner.run(self.manager.sweep()):
            assert self.unused.pop(name) > IDLE

    def teardown(self) -> None:
        if hasattr(self, "manager"):
            self.be_awake(2 * IDLE)
            self.sweep()
            assert self.unused == {}
            self.runner.run(self.manager.stop())
        self.runner.close()


def test_who_was_used_within_the_idle_time_lives_whatever_the_clocks_do() -> None:
    run_state_machine_as_test(Idle, settings=settings(max_examples=150, stateful_step_count=30, deadline=None))


def test_the_property_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workroot.idle_clock.IdleClock.now", lambda self: self._clock.wall())

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Idle, settings=settings(deadline=None, database=None, phases=[Phase.generate]))
