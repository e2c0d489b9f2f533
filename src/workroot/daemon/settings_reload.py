"""Settings that are read again while the daemon runs: what can change at once does, the rest is said to wait.

A file with a mistake changes nothing at all.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pydantic import ConfigDict

from workroot.errors import SettingsError
from workroot.limits import Limits
from workroot.settings import session_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workroot.daemon.idle_exit import IdleExit
    from workroot.mcp_face import McpFace
    from workroot.project_finder import ProjectFinder
    from workroot.session_context import SessionContextManager
    from workroot.settings import Settings

__all__ = ["LIVE_SETTINGS", "RESTART_SETTINGS", "LimitsInForce", "LiveParts", "SettingsReload"]

logger = logging.getLogger(__name__)


LIVE_SETTINGS: Mapping[str, str] = {
    "log_level": "at once",
    "trusted_directories": "from the next call on",
    "model_may_move": "from the next call on",
    "show_recent_projects": "from the next call on",
    "session_idle_seconds": "at the next sweep",
    "ended_session_days": "at the next sweep",
    "sweep_interval_seconds": "at once; the time since the last sweep does not count",
    "idle_exit_seconds": "at once; the time without a client so far does not count",
    "drain_seconds": "at the end of the daemon",
    "max_connections": "for new connections",
    "max_connections_per_user": "for new connections",
    "max_requests_in_flight": "for new connections of connectors",
    "max_listens": "for new streams",
    "max_listens_per_client": "for new streams",
    "max_http_sessions": "from the next new session on",
    "http_session_idle_seconds": "after at most a tenth of the earlier time",
    "requests_per_second": "at once",
    "request_burst": "at once",
    "rate_limit_per_second": "at once",
    "rate_limit_burst": "at once",
    "max_sessions": "from the next new session on",
    "max_ended_sessions": "when the next session ends",
    "max_allocated_sessions": "from the next allocation on",
    "max_projects": "from the next new project on",
    "max_database_mib": "at the next sweep",
    "header_seconds": "for new connections",
    "body_seconds": "for new connections; over HTTP for new requests",
    "write_seconds": "for new connections",
}
"""The settings that SIGHUP changes, and when that is felt."""

RESTART_SETTINGS: tuple[str, ...] = ("http", "http_port", "config_names", "write_behind_seconds", "otel_endpoint")
"""The settings that only a restart changes; `WORKROOT_HOME`, which is no setting of the file, is another."""


class LimitsInForce(Limits):
    """The limits as they are now: whoever is bound by them reads them here each time."""

    model_config = ConfigDict(frozen=False)

    @classmethod
    def of(cls, settings: Settings) -> LimitsInForce:
        """Return the limits of *settings*."""
        return cls(**{name: getattr(settings, name) for name in Limits.model_fields})

    def change(self, settings: Settings) -> None:
        """Be the limits of *settings* from now on."""
        for name in Limits.model_fields:
            setattr(self, name, getattr(settings, name))


class LiveParts:
    """What has to be told of a change. Each method takes the settings that hold from now on."""

    def __init__(
        self,
        sessions: SessionContextManager,
        finder: ProjectFinder,
        face: McpFace,
        idle: IdleExit,
        limits: LimitsInForce,
        *,
        set_log_level: Callable[[str], None],
        may_leave: bool,
    ) -> None:
        self._sessions, self._finder, self._face, self._idle, self._limits = sessions, finder, face, idle, limits
        self._set_log_level, self._may_leave = set_log_level, may_leave

    def tell(self, settings: Settings, changed: frozenset[str]) -> None:
        """Let the parts go on with *settings*, of which *changed* are others than before."""
        if "log_level" in changed:
            self._set_log_level(settings.log_level)
        if "trusted_directories" in changed:
            self._finder.trust_directories(settings.trusted_directories)
        if "show_recent_projects" in changed:
            self._face.show_recent(settings.show_recent_projects)
        if "idle_exit_seconds" in changed and self._may_leave:
            self._idle.seconds = settings.idle_exit_seconds
        self._limits.change(settings)
        self._sessions.change_rules(session_rules(settings))


class SettingsReload:
    """Holds the settings that are in force.

    Args:
        settings: those that the daemon started with.
        read: reads them anew; raises SettingsError.

    Attributes:
        current: what is in force. A setting that only a restart changes keeps its first value here.
        problem: why the last reading changed nothing; None if it was good.
    """

    def __init__(self, settings: Settings, read: Callable[[], Settings]) -> None:
        self.current, self._read = settings, read
        self._parts: LiveParts | None = None
        self.problem: str | None = None

    def attach(self, parts: LiveParts) -> None:
        """Tell *parts* of changes from now on."""
        self._parts = parts

    def __call__(self) -> None:
        """Read the settings again, and put in force what can be."""
        if self._parts is None:
            return  # still starting, with what the file said a moment ago
        try:
            read = self._read()
        except SettingsError as error:
            self.problem = str(error)
            logger.error("the settings stay as they are: %s", error)
            return
        self.problem = None
        differing = {name for name in type(read).model_fields if getattr(read, name) != getattr(self.current, name)}
        live = frozenset(differing & LIVE_SETTINGS.keys())
        waiting = sorted(differing - live)
        self.current = self.current.model_copy(update={name: getattr(read, name) for name in live})
        if waiting:
            logger.warning("needs a restart: %s", ", ".join(waiting))
        logger.info("settings read again; changed: %s", ", ".join(sorted(live)) or "none")
        self._parts.tell(self.current, live)  # last: it may be that less is logged from now on
