"""A daemon's parts as far as its status and metrics need them, without a daemon."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from mcp.server.context import ServerRequestContext
from mcp_types import Implementation
from prometheus_client.parser import text_string_to_metric_families

from fakes import DAY, FakePlaces, ManualClock, place
from workroot.core.sessions import Owner
from workroot.counters import Counters
from workroot.mcp_face.meter import Meter
from workroot.observation.metrics import Metrics
from workroot.observation.status import DaemonStatus
from workroot.peer import Peer
from workroot.session_context import SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.health import StoreHealth
from workroot.storage.memory import MemoryStore
from workroot.watching.health import WatchHealth

ADA, EVE = Owner("uid:1000"), Owner("user:eve")
STORE = StoreHealth(
    path="/s/workroot.db",
    size_bytes=4096,
    wal_bytes=None,
    journal_mode="wal",
    schema_version=3,
    problem=None,
    commits=5,
    failed_commits=1,
    waiting=0,
)
WATCHING = WatchHealth(watched=2, polled=1, failures=0, last_failure=None, is_working=True)


class FakeLog:
    failed = 0

    def problems(self) -> list[dict[str, str | int]]:
        return [{"time": "t", "level": "ERROR", "logger": "x", "message": "m", "count": 3}]

    def counts(self) -> dict[str, int]:
        return {"INFO": 7, "ERROR": 3}


class World:
    """A daemon's parts, as far as its metrics need them."""

    def __init__(self) -> None:
        self.clock, self.meter, self.counters = ManualClock(), Meter(), Counters()
        self.store, self.watching, self.is_stopping = STORE, WATCHING, False
        self.sessions = SessionContextManager(
            MemoryStore(),
            FakePlaces({"/a": place("/a", project="a")}),
            clock=self.clock,
            rules=SessionRules(idle_seconds=DAY, sweep_seconds=1000 * DAY),
        )
        self.status = DaemonStatus(
            facts={"boot": "b00t", "http": None},
            sessions=self.sessions,
            connections=lambda: 4,
            meter=self.meter,
            store=lambda: self.store,
            watching=lambda: self.watching,
            counters=self.counters,
            log=cast("Any", FakeLog()),
            is_stopping=lambda: self.is_stopping,
        )
        self.metrics = Metrics(self.status, self.meter, self.sessions)

    async def samples(self) -> dict[str, float]:
        """Return each sample by its name and label values, in the alphabetic order of the labels."""
        _, text = await self.metrics.render()
        return {
            "/".join((sample.name, *sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }


def context(
    peer: Peer | None = None,
    *,
    method: str = "tools/call",
    tool: str = "get_working_directory",
    name: str | None = "ada",
    version: str = "2026-07-28",
    request_id: int | None = 1,
) -> ServerRequestContext[Any, Any]:
    params = SimpleNamespace(client_info=Implementation(name=name, version="1")) if name is not None else None
    made = SimpleNamespace(
        request=peer if peer is not None else Peer(owner=ADA),
        method=method,
        params={"name": tool},
        request_id=request_id,
        protocol_version=version,
        session=SimpleNamespace(client_params=params),
    )
    return cast("ServerRequestContext[Any, Any]", made)


async def pass_through(meter: Meter, ctx: ServerRequestContext[Any, Any], result: object) -> None:
    async def answer(_: ServerRequestContext[Any, Any]) -> Any:
        if isinstance(result, BaseException):
            raise result
        return result

    await meter(ctx, answer)
