"""A clock, places and a store that a test holds in its hands.

Each keeps its port's promises. What waits is let go by the test, so that no test waits for time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from workroot.core.ports import Clock, PlaceFinder, SessionStore
from workroot.core.projects import ConfigProblem, Directory, Place, Project, ProjectId, StopReason
from workroot.errors import DirectoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workroot.core.changes import Change, StoredState

__all__ = ["DAY", "HOUR", "ClockAhead", "FakePlaces", "Gate", "HeldStore", "ManualClock", "place"]

HOUR = 3600.0
DAY = 24 * HOUR


class ClockAhead:
    """The monotonic clock, as far ahead as a test wishes: for code that waits in threads."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Gate:
    """Holds whoever arrives until the test opens it."""

    def __init__(self) -> None:
        self.reached, self._opened = anyio.Event(), anyio.Event()

    async def pass_through(self) -> None:
        self.reached.set()
        await self._opened.wait()

    def open(self) -> None:
        self._opened.set()


@dataclass(eq=False)
class _Sleeper:
    due: float
    woken: anyio.Event = field(default_factory=anyio.Event)


class ManualClock(Clock):
    """A `Clock` that stands still until it is told to go on."""

    def __init__(self, *, wall: float = 1_700_000_000.0, awake: float = 5_000.0, since_boot: float = 90 * DAY) -> None:
        self._wall, self._awake, self._since_boot = wall, awake, since_boot
        self._sleepers: list[_Sleeper] = []
        self._arrived = anyio.Event()

    def wall(self) -> float:
        return self._wall

    def awake(self) -> float:
        return self._awake

    def since_boot(self) -> float:
        return self._since_boot

    async def sleep(self, seconds: float) -> None:
        sleeper = _Sleeper(self._awake + seconds)
        self._sleepers.append(sleeper)
        self._arrived.set()
        try:
            await sleeper.woken.wait()
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)

    def advance(self, seconds: float) -> None:
        """Let time pass, on all clocks; who has slept long enough wakes."""
        self._wall += seconds
        self._awake += seconds
        self._since_boot += seconds
        for sleeper in [each for each in self._sleepers if each.due <= self._awake]:
            self._sleepers.remove(sleeper)
            sleeper.woken.set()

    def jump_wall_to(self, wall: float) -> None:
        """Somebody sets the wall clock; no time passes."""
        self._wall = wall

    def suspend(self, seconds: float) -> None:
        """The machine sleeps; only the wall clock goes on."""
        self._wall += seconds

    def reboot(self, *, off_seconds: float = 0.0, awake_seconds: float = 30.0) -> None:
        """The machine is off for a time, and then awake for a while before anybody looks; nobody sleeps through it."""
        self._wall += off_seconds + awake_seconds
        self._awake, self._since_boot = awake_seconds, awake_seconds

    def due_times(self) -> list[float]:
        """Return in how many seconds each sleeper wakes, soonest first."""
        return sorted(sleeper.due - self._awake for sleeper in self._sleepers)

    async def wait_sleepers(self, count: int) -> None:
        """Return when *count* tasks sleep: what woke has been done."""
        while len(self._sleepers) < count:
            self._arrived = anyio.Event()
            await self._arrived.wait()


def place(
    directory: str,
    *,
    project: str | None = None,
    root: str | None = None,
    worktree_of: str | None = None,
    given: str | None = None,
    problem: ConfigProblem | None = None,
) -> Place:
    """Return what is seen at *directory*: owned by the project named *project*, at *root* or there."""
    top = Directory(root or directory)
    owner = None
    if project is not None:
        owner = Project(
            project_id=ProjectId(f"id-of-{project}"),
            name=project,
            root=top,
            worktree_of=Directory(worktree_of) if worktree_of else None,
            config_path=f"{top}/.workroot/config.toml",
        )
    return Place(
        directory=Directory(directory),
        given=given or directory,
        project=owner,
        config_path=problem.path if problem else owner.config_path if owner else None,
        config_error=problem,
        stopped_at=top,
        stop=StopReason.CONFIG if owner or problem else StopReason.FILESYSTEM_ROOT,
    )


class FakePlaces(PlaceFinder):
    """A `PlaceFinder` that knows the directories of a dictionary and no others."""

    def __init__(self, known: Mapping[str, Place]) -> None:
        self.known = dict(known)
        self.asked: list[str] = []
        self._gates: dict[str, deque[Gate]] = {}

    def hold(self, directory: str) -> Gate:
        """Hold the next look at *directory*; further calls hold the ones after it."""
        gate = Gate()
        self._gates.setdefault(directory, deque()).append(gate)
        return gate

    async def find(self, directory: str) -> Place:
        self.asked.append(directory)
        await checkpoint()
        if gates := self._gates.get(directory):
            await gates.popleft().pass_through()
        if not directory.startswith("/"):
            raise DirectoryError(directory, "Directory path must be absolute")
        if directory not in self.known:
            raise DirectoryError(directory, "Directory does not exist")
        return self.known[directory]


class HeldStore(SessionStore):
    """A `SessionStore` in front of another one: it can hold a commit or let it fail.

    As in a queue with one writer, what a cancelled caller asked for is kept all the same.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._gates: deque[Gate] = deque()
        self._load_gates: deque[Gate] = deque()
        self._failures: deque[Exception] = deque()
        self._writing: set[asyncio.Task[None]] = set()
        self.commits: list[tuple[Change, ...]] = []

    def hold(self) -> Gate:
        """Hold the next commit before anything of it is kept; further calls hold the ones after it."""
        self._gates.append(gate := Gate())
        return gate

    def hold_load(self) -> Gate:
        """Hold the next load after it has read."""
        self._load_gates.append(gate := Gate())
        return gate

    def fail(self, *errors: Exception) -> None:
        """Let the next commits raise these, one each; nothing of them is kept."""
        self._failures.extend(errors)

    def fail_no_more(self) -> None:
        self._failures.clear()

    async def load(self) -> StoredState:
        state = await self._store.load()
        if self._load_gates:
            await self._load_gates.popleft().pass_through()
        return state

    async def commit(self, changes: Sequence[Change]) -> None:
        writing = asyncio.get_running_loop().create_task(self._write(tuple(changes)))
        self._writing.add(writing)
        writing.add_done_callback(self._written)
        await asyncio.wait([writing])
        writing.result()

    async def tidy(self) -> int:
        return await self._store.tidy()

    def attach(self, snapshot: Callable[[], StoredState], adopt: Callable[[StoredState], None]) -> None:
        self._store.attach(snapshot, adopt)

    async def wait_written(self) -> None:
        """Return when all that was asked for is kept or refused."""
        while self._writing:
            await asyncio.wait(self._writing)

    async def _write(self, changes: tuple[Change, ...]) -> None:
        self.commits.append(changes)
        if self._gates:
            await self._gates.popleft().pass_through()
        if self._failures:
            raise self._failures.popleft()
        await self._store.commit(changes)

    def _written(self, writing: asyncio.Task[None]) -> None:
        self._writing.discard(writing)
        if not writing.cancelled():
            writing.exception()  # its caller may have been cancelled: then nobody else asks
