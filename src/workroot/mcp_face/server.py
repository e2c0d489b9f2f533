"""The MCP server itself: the SDK's low-level server with our handlers, the same for every transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp_types import ListToolsResult, PaginatedRequestParams, ServerCapabilities, SetLevelRequestParams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from workroot import __version__
from workroot.counters import Counters
from workroot.limits import DEFAULT_LIMITS
from workroot.mcp_face.calls import ToolCalls
from workroot.mcp_face.evidence import keep_all_roots
from workroot.mcp_face.meter import Meter
from workroot.mcp_face.not_offered import refuse_tasks
from workroot.mcp_face.plain_calls import PlainCalls
from workroot.mcp_face.rate_limits import RateLimits
from workroot.mcp_face.resources import Resources, only_page
from workroot.mcp_face.subscriptions import Subscriptions
from workroot.mcp_face.tools import TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.context import ServerRequestContext

    from workroot.core.ports import Clock
    from workroot.decisions import DecisionLog
    from workroot.limits import Limits
    from workroot.session_context import SessionContextManager
    from workroot.trust import TrustStore

__all__ = ["McpFace"]

_INSTRUCTIONS = (
    "workroot knows in which directory and project you work, and tells how it knows. "
    "Ask get_working_directory when in doubt; it changes nothing. If it is unknown or wrong, call "
    "set_working_directory with the absolute path, and pass the session_id that it returns on later calls."
)

_EXPERIMENTAL: dict[str, dict[str, Any]] = {"codex/sandbox-state-meta": {}}
"""Codex tells its directory on every call, but only to servers that name this."""

_TOOLS_TTL_MS = 5 * 60 * 1000


class McpFace(Server[None]):
    """The server that all transports serve; its handlers find the caller by the message's `Peer`."""

    def __init__(
        self,
        sessions: SessionContextManager,
        decisions: DecisionLog,
        trust: TrustStore,
        clock: Clock,
        *,
        show_recent: bool = True,
        remark: Callable[[], str | None] = lambda: None,
        limits: Limits = DEFAULT_LIMITS,
        counters: Counters | None = None,
        tracing: bool = False,
    ) -> None:
        self.meter = Meter()
        resources = Resources(sessions, trust)
        counters = counters if counters is not None else Counters()
        self.subscriptions = Subscriptions(sessions, counters, limits)
        self._calls = ToolCalls(sessions, decisions, trust, clock, show_recent=show_recent, remark=remark)
        super().__init__(
            "workroot",
            version=__version__,
            title="workroot",
            description="Knows in which project each of your editors and agents works.",
            instructions=_INSTRUCTIONS,
            # The list of tools is the same for everybody; what resources say is the caller's own and always fresh.
            cache_hints={
                "tools/list": CacheHint(ttl_ms=_TOOLS_TTL_MS, scope="private"),
                "resources/list": CacheHint(),
                "resources/templates/list": CacheHint(),
                "resources/read": CacheHint(),
                "server/discover": CacheHint(),
            },
            on_list_tools=_list_tools,
            on_call_tool=self._calls,
            on_list_resources=resources.list,
            on_list_resource_templates=resources.list_templates,
            on_read_resource=resources.read,
            on_subscribe_resource=self.subscriptions.subscribe,
            on_unsubscribe_resource=self.subscriptions.unsubscribe,
            on_subscriptions_listen=self.subscriptions.listen,
        )
        # The SDK traces every message for OpenTelemetry, which costs 5 % of a call, be there an exporter or not.
        tracers = list(self.middleware) if tracing else []
        self.middleware[:] = [
            *tracers,
            self.meter,
            RateLimits(limits, counters, clock),
            refuse_tasks,
            keep_all_roots,
            self.subscriptions.resume,
            PlainCalls(self, self._calls),
        ]
        # Not an argument of the constructor, since the SDK warns of it there: it is of the handshake era alone.
        self.add_request_handler("logging/setLevel", SetLevelRequestParams, self.subscriptions.set_level)

    def show_recent(self, is_shown: bool) -> None:
        """From now on, name the owner's recent projects where a directory is unknown, or do not."""
        self._calls.show_recent = is_shown

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """Return what `initialize` answers.

        `tools.listChanged` is true because clients that hear false never ask for the list again, and a
        restart may bring another one.
        """
        changes = notification_options or NotificationOptions(tools_changed=True, resources_changed=True)
        return super().create_initialization_options(changes, experimental_capabilities, extensions)

    def get_capabilities(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
        *,
        protocol_version: str | None = None,
    ) -> ServerCapabilities:
        """Return what this server offers; only `logging` is of the handshake era alone."""
        capabilities = super().get_capabilities(
            notification_options,
            {**_EXPERIMENTAL, **(experimental_capabilities or {})},
            extensions,
            protocol_version=protocol_version,
        )
        if protocol_version in MODERN_PROTOCOL_VERSIONS:
            capabilities.logging = None
        return capabilities


async def _list_tools(ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None) -> ListToolsResult:
    only_page("tools/list", params)
    return ListToolsResult(tools=list(TOOLS))
