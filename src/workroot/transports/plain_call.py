"""Plain tool calls: one message in, one message out, which is how nearly all calls come.

The SDK serves every request as if it might become a stream of messages: tasks, and channels between them. A plain call
needs none of that. Whatever is not plain goes to the SDK as it came, so that what is refused is refused there, in its
words; and what is answered here is answered as there.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import anyio
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp.shared.message import ServerMessageMetadata
from mcp_types import ErrorData

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp.server.runner import ServerRunner
    from mcp.shared.dispatcher import CallOptions
    from mcp.shared.transport_context import TransportContext
    from mcp_types import RequestId

__all__ = ["PlainCall", "compact"]

logger = logging.getLogger(__name__)


class PlainCall:
    """One call that says nothing before its answer; in the SDK's terms its own `DispatchContext`.

    Args:
        request: by which handlers find the peer.
        transport: what the call came by; nobody can be asked anything over it.

    Attributes:
        request_id: as its client sent it.
        message: the whole JSON-RPC request.
    """

    __slots__ = ("_cancel_requested", "message", "message_metadata", "request_id", "transport")

    can_send_request = False

    def __init__(self, message: Mapping[str, Any], request: object, transport: TransportContext) -> None:
        self.message, self.transport = message, transport
        self.request_id: RequestId = message["id"]
        self.message_metadata = ServerMessageMetadata(request_context=request)
        self._cancel_requested: anyio.Event | None = None

    async def answered_by(self, runner: ServerRunner[Any], *, unforeseen: int) -> tuple[dict[str, Any], int | None]:
        """Return the JSON-RPC response, and the code of the error if it is one.

        Args:
            unforeseen: the code of an error that is a fault of ours; the text says no more than that.
        """
        begun = {"jsonrpc": "2.0", "id": self.request_id}
        try:
            result = await runner.on_request(self, self.message["method"], self.message["params"])
        except Exception as raised:  # a boundary: one call's fault is not another's
            error = handler_exception_to_error_data(raised)
            if error is None:
                logger.exception("a tool call failed")
                error = ErrorData(code=unforeseen, message="Internal server error")
            return {**begun, "error": error.model_dump(mode="json", by_alias=True, exclude_none=True)}, error.code
        return {**begun, "result": result}, None

    # What the SDK asks of a call

    @property
    def cancel_requested(self) -> anyio.Event:
        """Never set: whoever cancels a call cancels what answers it."""
        if self._cancel_requested is None:
            self._cancel_requested = anyio.Event()
        return self._cancel_requested

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Refuse: nobody would hear the question."""
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Drop a notification: what is told in a call's own stream does not come from our tools."""
        logger.debug("dropped %s: the answer to this call is one message", method)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Drop it: our tools tell of none."""


def compact(message: Mapping[str, Any]) -> bytes:
    """Return a message as JSON; a name on disk may hold half of a surrogate pair, which is escaped."""
    try:
        return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(message, separators=(",", ":")).encode()
