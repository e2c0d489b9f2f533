"""Counts requests and knows which clients are there: a middleware of the server, for every transport and era.

It costs a call some microseconds and keeps nothing of what is in a message but names: of the client, of the method
and of the tool, and of these two only those that exist here.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, InputRequiredResult
from pydantic import ValidationError

from workroot.mcp_face.evidence import client_name, is_handshake, peer_of
from workroot.mcp_face.tools import TOOLS
from workroot.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

    from workroot.peer import Conversation

__all__ = ["DURATION_BOUNDS", "Client", "Durations", "Meter", "Outcome"]

Outcome: TypeAlias = Literal["ok", "tool_error", "input_required", "refused", "failed", "cancelled"]
"""How a request ended: `refused` is an error of the protocol, `failed` a fault of ours."""

DURATION_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""In seconds, the upper bounds of the classes that durations fall into; there is one above all."""

_METHODS = frozenset(
    {
        *("initialize", "ping", "server/discover", "logging/setLevel", "subscriptions/listen"),
        *("tools/call", "tools/list", "prompts/list", "prompts/get", "completion/complete"),
        *("resources/list", "resources/templates/list", "resources/read"),
        *("resources/subscribe", "resources/unsubscribe"),
    }
)
_TOOL_NAMES = frozenset(tool.name for tool in TOOLS)
_OTHER = "other"
_LONGEST_NAME = 64  # characters


class Client(NamedTuple):
    """What is known of the client at the other end of a connection.

    Attributes:
        name: as it calls itself, or None.
        transport: `unix` for a connector, `http`.
        era: `modern` is MCP 2026-07-28, `handshake` all before.
    """

    name: str | None
    transport: Literal["unix", "http"]
    era: Literal["modern", "handshake"]


@dataclass(slots=True)
class Durations:
    """How long calls took: a count per class of `DURATION_BOUNDS`, and the sum in seconds."""

    classes: list[int] = field(default_factory=lambda: [0] * (len(DURATION_BOUNDS) + 1))
    sum_seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.classes[bisect_left(DURATION_BOUNDS, seconds)] += 1
        self.sum_seconds += seconds


class Meter:
    """Counts, and remembers who is connected for as long as they are."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, Outcome]] = Counter()
        self._calls: Counter[tuple[str, Outcome]] = Counter()
        self._durations: dict[str, Durations] = {}
        self._clients: dict[Conversation, Client] = {}

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Have a message answered, and count it."""
        conversation = peer_of(ctx).conversation
        if conversation not in self._clients:
            self._meet(ctx, conversation)
        if ctx.request_id is None:
            return await call_next(ctx)
        begun, outcome = time.perf_counter(), _CANCELLED
        try:
            result = await call_next(ctx)
            outcome = _outcome_of(result)
        except (MCPError, ValidationError):
            outcome = "refused"
            raise
        except Exception:  # counted here, answered by whoever called
            outcome = "failed"
            raise
        finally:
            self._count(ctx, outcome, begun)
        return result

    def requests(self) -> Mapping[tuple[str, Outcome], int]:
        """Return how many requests there were of each method and outcome, calls of tools included."""
        return dict(self._requests)

    def calls(self) -> Mapping[tuple[str, Outcome], int]:
        """Return how many calls there were of each tool and outcome."""
        return dict(self._calls)

    def durations(self) -> Mapping[str, Durations]:
        """Return how long the calls of each tool took."""
        return self._durations

    def clients(self) -> Sequence[Client]:
        """Return the clients of the connections that have said something and are still there."""
        return tuple(self._clients.values())

    def _meet(self, ctx: ServerRequestContext[Any, Any], conversation: Conversation) -> None:
        name, is_old = client_name(ctx), is_handshake(ctx)
        if name is None and (is_old or ctx.method == "initialize"):
            return  # it is about to say who it is
        transport: Literal["unix", "http"] = "unix" if isinstance(ctx.request, Peer) else "http"
        name = name[:_LONGEST_NAME] if name is not None else None
        self._clients[conversation] = Client(name, transport, "handshake" if is_old else "modern")
        conversation.on_close(lambda: self._forget(conversation))

    def _forget(self, conversation: Conversation) -> None:
        self._clients.pop(conversation, None)

    def _count(self, ctx: ServerRequestContext[Any, Any], outcome: Outcome, begun: float) -> None:
        self._requests[ctx.method if ctx.method in _METHODS else _OTHER, outcome] += 1
        if ctx.method != "tools/call":
            return
        name = ctx.params.get("name") if ctx.params is not None else None
        tool = name if isinstance(name, str) and name in _TOOL_NAMES else _OTHER
        self._calls[tool, outcome] += 1
        if (durations := self._durations.get(tool)) is None:
            durations = self._durations[tool] = Durations()
        durations.add(time.perf_counter() - begun)


_CANCELLED: Outcome = "cancelled"


def _outcome_of(result: HandlerResult) -> Outcome:
    """Tell how a result ended its request; it is one of ours, or what the SDK has made of it for the wire."""
    match result:
        case CallToolResult(is_error=True) | {"isError": True}:
            return "tool_error"
        case InputRequiredResult() | {"resultType": "input_required"}:
            return "input_required"
        case _:
            return "ok"
