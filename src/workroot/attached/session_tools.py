"""The session tools of an attached server: the daemon's own, asked of the server's sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_types import CallToolRequestParams, ListToolsResult
from mcp_types.methods import serialize_server_result

from workroot.core.answer import Alternative
from workroot.core.signs import Source
from workroot.decisions import DecisionLog
from workroot.mcp_face.calls import ToolCalls
from workroot.mcp_face.tools import TOOLS
from workroot.settings import load_settings
from workroot.trust import TrustStore

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp_types import CallToolResult, InputRequiredResult

    from workroot.core.ports import Clock
    from workroot.core.sessions import Owner
    from workroot.session_service import SessionService

__all__ = ["SessionTools"]

_RECENT = 5


class SessionTools:
    """Answers the tools that `attach` adds."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._decisions = clock, DecisionLog()
        self._made: tuple[SessionService, ToolCalls] | None = None
        self._listed: dict[str, dict[str, dict[str, Any]]] = {}

    def has(self, name: str) -> bool:
        """Tell whether a tool is one of them."""
        return any(tool.name == name for tool in TOOLS)

    async def answer(
        self, service: SessionService, ctx: ServerRequestContext[Any, Any]
    ) -> CallToolResult | InputRequiredResult:
        """Answer a call.

        Args:
            service: the sessions.
            ctx: of the call; its request is the `Peer` that sent it.

        Raises:
            ValidationError: it is no call of a tool.
        """
        params = {key: value for key, value in (ctx.params or {}).items() if key != "_meta"}
        return await self._calls(service)(ctx, CallToolRequestParams.model_validate(params, by_name=False))

    async def recent(self, service: SessionService, owner: Owner) -> tuple[Alternative, ...]:
        """Return a few projects that *owner* worked in of late, for callers of whom nothing is known.

        Raises:
            WorkrootError: the sessions cannot be asked.
        """
        if not self._calls(service).show_recent:
            return ()
        known = await service.known_projects(owner)
        return tuple(Alternative(each.root, Source.REGISTRY, "recent project", each.name) for each in known[:_RECENT])

    def listed(self, name: str, version: str) -> dict[str, Any]:
        """Return a tool as the protocol's *version* lists it."""
        if version not in self._listed:
            result = ListToolsResult(tools=list(TOOLS)).model_dump(by_alias=True, mode="json", exclude_none=True)
            rows = serialize_server_result("tools/list", version, result)["tools"]
            self._listed[version] = {row["name"]: row for row in rows}
        return self._listed[version][name]

    def _calls(self, service: SessionService) -> ToolCalls:
        if self._made is None or self._made[0] is not service:
            settings = load_settings()
            trust = TrustStore(settings.trust_path)
            calls = ToolCalls(service, self._decisions, trust, self._clock, show_recent=settings.show_recent_projects)
            self._made = (service, calls)
        return self._made[1]
