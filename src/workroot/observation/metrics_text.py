"""The metrics as text that Prometheus reads; the names are an interface.

Loaded by the first who asks for them: prometheus-client takes 50 ms.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from workroot import __version__
from workroot.mcp_face.meter import DURATION_BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from workroot.mcp_face.meter import Meter, Outcome
    from workroot.observation.metrics import SessionTally
    from workroot.observation.status import Vitals

__all__ = ["CONTENT_TYPE_LATEST", "metrics_text"]

_Name = TypeVar("_Name", bound=str)


def metrics_text(vitals: Vitals, meter: Meter, sessions: SessionTally) -> bytes:
    """Return all metrics as of now."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([*_of_sessions(sessions), *_of_requests(meter), *_of_vitals(vitals)]))
    ProcessCollector(registry=registry)  # process_*: memory, processor time, descriptors
    return generate_latest(registry)


class _Families(Collector):
    """What was worked out already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_sessions(sessions: SessionTally) -> Iterator[Metric]:
    label = ("user_id",)
    yield _gauge("mcp_sessions_active", "Sessions that are held.", label, _single(sessions.active))
    yield _counter("mcp_sessions_created", "Sessions opened since the start.", label, _single(sessions.created))
    yield _counter("mcp_sessions_closed", "Sessions closed by their clients.", label, _single(sessions.closed))
    yield _counter("mcp_sessions_expired", "Sessions ended because they were idle.", label, _single(sessions.expired))


def _of_requests(meter: Meter) -> Iterator[Metric]:
    yield _counter("workroot_requests", "MCP requests answered.", ("method", "outcome"), _pairs(meter.requests()))
    yield _counter("workroot_tool_calls", "Calls of tools answered.", ("tool", "outcome"), _pairs(meter.calls()))
    durations = HistogramMetricFamily(
        "workroot_tool_call_duration_seconds", "How long calls of tools took.", labels=("tool",)
    )
    bounds = [*map(str, DURATION_BOUNDS), "+Inf"]
    for tool, each in meter.durations().items():
        durations.add_metric([tool], list(zip(bounds, accumulate(each.classes), strict=True)), each.sum_seconds)
    yield durations


def _of_vitals(vitals: Vitals) -> Iterator[Metric]:
    store, watching = vitals.store, vitals.watching
    yield _gauge("workroot_build_info", "The version.", ("version",), {(__version__,): 1})
    yield _gauge("workroot_uptime_seconds", "Time since the start.", (), {(): vitals.uptime_seconds})
    connections: dict[tuple[str, ...], int] = {}
    for client in vitals.clients:
        kind = (client.transport, client.era)
        connections[kind] = connections.get(kind, 0) + 1
    yield _gauge("workroot_connections", "Connections by kind.", ("transport", "era"), connections)
    yield _gauge("workroot_connectors", "Connectors on the Unix socket.", (), {(): vitals.connections})
    yield _gauge("workroot_stale_sessions", "Sessions to be ended by the next sweep.", (), {(): vitals.stale_sessions})
    yield _gauge("workroot_projects", "Projects that are known.", (), {(): vitals.projects})
    yield _counter("workroot_refusals", "What was refused or given up on.", ("kind",), _single(vitals.refusals))
    yield _counter(
        "workroot_store_commits",
        "Transactions of the store.",
        ("outcome",),
        {("kept",): store.commits, ("failed",): store.failed_commits},
    )
    yield _gauge("workroot_store_usable", "1 if changes can be kept.", (), {(): int(store.problem is None)})
    is_lost = int(store.memory_only_since is not None)
    yield _gauge("workroot_store_memory_only", "1 if nothing that is kept reaches the disk.", (), {(): is_lost})
    aside = len(store.moved_aside)
    yield _gauge("workroot_store_moved_aside", "Files moved out of the store's place since the start.", (), {(): aside})
    yield _gauge("workroot_store_waiting", "Callers that wait for a commit.", (), {(): store.waiting})
    yield _gauge(
        "workroot_store_bytes",
        "Sizes of the store's files.",
        ("file",),
        {("database",): store.size_bytes or 0, ("wal",): store.wal_bytes or 0},
    )
    yield _gauge(
        "workroot_watched_directories",
        "Directories whose changes are seen, told by the system or looked at.",
        ("how",),
        {("told",): watching.watched, ("polled",): watching.polled},
    )
    yield _counter("workroot_watch_failures", "Watches that ended by themselves.", (), {(): watching.failures})
    yield _counter("workroot_log_records", "Records of the log.", ("level",), _single(vitals.log_records))


def _single(values: Mapping[_Name, int]) -> dict[tuple[str, ...], int]:
    return {(name,): value for name, value in values.items()}


def _pairs(values: Mapping[tuple[str, Outcome], int]) -> dict[tuple[str, ...], int]:
    return dict(values.items())


def _gauge(name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def _counter(name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family
