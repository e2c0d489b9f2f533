"""A client that wants events again, of an attached server whose author keeps none, is told so.

The SDK leaves such a request without an answer, and its client with the error 500.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from workroot.transports.http_refusal import NO_REPLAY, wants_replay
from workroot.transports.http_signs import header_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["NoReplay"]


class NoReplay:
    """ASGI middleware: refuses `Last-Event-ID` on one path.

    Args:
        app: answers everything else.
        path: where MCP is served.
    """

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and self._is_for_mcp(scope) and wants_replay(scope) and _is_handshake(scope):
            await NO_REPLAY.answer(send)
        else:
            await self._app(scope, receive, send)

    def _is_for_mcp(self, scope: Scope) -> bool:
        """Tell whether a request is for MCP, wherever its server is mounted."""
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        return path == self._path


def _is_handshake(scope: Scope) -> bool:
    version = header_of(scope, b"mcp-protocol-version")
    return version is None or version in HANDSHAKE_PROTOCOL_VERSIONS
