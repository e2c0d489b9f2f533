"""Programs whose sessions a daemon allocates while it is killed again and again, and who know what it acknowledged."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from workroot.daemon_client.client import connect
from workroot.errors import DaemonUnavailableError, StoreUnavailableError
from workroot.session_manager import SessionManager

__all__ = ["Allocator"]

MOST_SESSIONS = 6  # of each allocator at a time: most of what it does is done to sessions that a daemon has outlived


@dataclass
class Kept:
    """What an allocator knows of a session.

    Attributes:
        is_certain: that it was allocated was acknowledged.
        counted: how often an increment was acknowledged, and how often it was asked for.
        appended: the same of a list.
        codes: what `take` may find there: the code, nothing (None), or either.
        ends: what may have become of it; several where an end was asked for and not answered.
    """

    is_certain: bool = False
    counted: tuple[int, int] = (0, 0)
    appended: tuple[int, int] = (0, 0)
    codes: frozenset[str | None] = frozenset({"code"})
    ends: frozenset[str] = frozenset({"active"})


@dataclass
class Allocator:
    """A program that has sessions allocated, counts in them and ends them, one call after the other."""

    home: str
    number: int
    chance: random.Random
    kept: dict[str, Kept] = field(default_factory=dict)
    acknowledged: int = 0

    async def work(self, answered: Callable[[], None]) -> None:
        """Call until the daemon is gone."""
        async with connect(home=self.home) as client:
            manager = SessionManager("crashes", sessions=client)
            while True:
                try:
                    await self._call(manager)
                except (DaemonUnavailableError, StoreUnavailableError):
                    return
                self.acknowledged += 1
                answered()

    async def _call(self, manager: SessionManager) -> None:
        active = [name for name, kept in self.kept.items() if kept.ends == {"active"} and kept.is_certain]
        if len(active) < MOST_SESSIONS:
            name = f"a{self.number}-{len(self.kept)}"
            kept = self.kept[name] = Kept()
            assert await manager.allocate_session(name, custom_metadata={"code": "code"}) == name
            kept.is_certain = True
            return
        name = self.chance.choice(active)
        await self.chance.choice((self._count, self._count, self._append, self._take, self._end))(manager, name)

    async def _count(self, manager: SessionManager, name: str) -> None:
        kept = self.kept[name]
        sure, asked = kept.counted
        kept.counted = (sure, asked + 1)
        total = await manager.increment(name, "n")
        assert total == sure + 1, "lost, or counted twice"
        kept.counted = (sure + 1, sure + 1)

    async def _append(self, manager: SessionManager, name: str) -> None:
        kept = self.kept[name]
        sure, asked = kept.appended
        kept.appended = (sure, asked + 1)
        assert await manager.append(name, "log", sure) == sure + 1
        kept.appended = (sure + 1, sure + 1)

    async def _take(self, manager: SessionManager, name: str) -> None:
        kept = self.kept[name]
        before = kept.codes
        kept.codes = before | {None}
        assert await manager.take(name, "code") in before, "given out twice"
        kept.codes = frozenset({None})

    async def _end(self, manager: SessionManager, name: str) -> None:
        kept, is_deleted = self.kept[name], self.chance.random() < 0.5
        end = "terminated" if is_deleted else "invalidated"
        kept.ends |= {end}
        assert await (manager.delete_session(name) if is_deleted else manager.invalidate_session(name))
        kept.ends = frozenset({end})

    async def check(self) -> None:
        """Check what a new daemon holds against what is known; from then on that is what is known."""
        async with connect(home=self.home) as client:
            manager = SessionManager("crashes", sessions=client)
            for name, kept in self.kept.items():
                info = await manager.get_session_info(name, include_ended=True)
                if info is None:
                    assert not kept.is_certain, "lost"
                    continue
                assert info["status"] in kept.ends, "an end that came back, or that nobody asked for"
                assert await manager.validate_session(name) == (info["status"] == "active")
                kept.is_certain, kept.ends = True, frozenset({info["status"]})
                if info["status"] == "active":
                    self._check_values(kept, info["custom_metadata"])

    def _check_values(self, kept: Kept, values: Mapping[str, object]) -> None:
        total, log, code = values.get("n", 0), values.get("log", []), values.get("code")
        assert isinstance(total, int)
        assert isinstance(log, list)
        assert kept.counted[0] <= total <= kept.counted[1], "lost, or counted twice"
        assert kept.appended[0] <= len(log) <= kept.appended[1], "lost, or added twice"
        assert log == list(range(len(log)))
        assert code in kept.codes, "taken, and there again"
        kept.counted, kept.appended = (total, total), (len(log), len(log))
        kept.codes = frozenset({"code" if code == "code" else None})
