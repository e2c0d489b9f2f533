"""How the watching is, for whoever looks into the daemon."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WatchHealth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchHealth:
    """What is watched at a moment.

    Attributes:
        watched: directories that the system tells of.
        polled: directories that are looked at in intervals instead.
        failures: how often a watch ended by itself; it is begun anew each time.
        last_failure: why the last one did, or None.
        is_working: False while watching fails, and everything is polled.
    """

    watched: int
    polled: int
    failures: int
    last_failure: str | None
    is_working: bool
