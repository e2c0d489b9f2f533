"""`subscriptions/listen` of the modern era: who hears of what, and how many streams may be open.

Every owner has a bus of its own, so an event can only ever reach those who may see it: asking for
somebody else's session is honoured like any other address, and never hears anything.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
from mcp.server.subscriptions import ListenHandler, ResourcesListChanged, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, INVALID_REQUEST

from workroot.limits import DEFAULT_LIMITS
from workroot.mcp_face.evidence import peer_of
from workroot.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from mcp.server.context import ServerRequestContext
    from mcp_types import SubscriptionsListenRequestParams, SubscriptionsListenResult

    from workroot.core.sessions import Owner
    from workroot.counters import Counters
    from workroot.limits import Limits

__all__ = ["MOST_ADDRESSES", "Listens", "check_address"]

MOST_ADDRESSES = 256
"""Resources that one stream, or one connection of the handshake era, may ask for."""

_NO_LIMIT = 2**31  # of the SDK's own: ours is checked first, and may be set later
_LONGEST_LISTEN = 64 * 1024  # of its parameters
_LONGEST_ADDRESS = 256  # ours have 150 characters at most


class Listens:
    """The open streams, and the way of events to them.

    Args:
        limits: how many may be open; may be set later.
        counters: counts those above.
    """

    def __init__(self, counters: Counters, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._counters = counters
        self._buses: dict[Owner, tuple[_OwnerBus, ListenHandler]] = {}
        self._open: Counter[Hashable] = Counter()

    @property
    def open(self) -> int:
        """How many streams are open."""
        return self._open.total()

    def close(self) -> None:
        """End every stream as the protocol wants it: with its result."""
        for _, handler in self._buses.values():
            handler.close()

    def publish(self, owner: Owner, addresses: Iterable[str]) -> None:
        """Tell *owner*'s streams that these resources have changed."""
        if owner in self._buses:
            for address in addresses:
                self._buses[owner][0].tell(ResourceUpdated(uri=address))

    def publish_list(self, owner: Owner) -> None:
        """Tell *owner*'s streams that there may be other resources than before."""
        if owner in self._buses:
            self._buses[owner][0].tell(ResourcesListChanged())

    async def listen(
        self, ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Serve one stream (MCP 2026-07-28, basic/utilities/subscriptions).

        Raises:
            MCPError: too many are open, or it asks for too much.
        """
        owner, client = peer_of(ctx).owner, _client_of(ctx)
        if len(json.dumps(ctx.params)) > _LONGEST_LISTEN:  # kept for as long as the stream
            raise MCPError(INVALID_PARAMS, f"a request to listen has {_LONGEST_LISTEN} bytes at most")
        self._check(client, params)
        if owner not in self._buses:
            bus = _OwnerBus()
            self._buses[owner] = bus, ListenHandler(bus, max_subscriptions=_NO_LIMIT)
        self._open[client] += 1
        try:
            return await self._buses[owner][1](ctx, params)
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]

    def _check(self, client: Hashable, params: SubscriptionsListenRequestParams) -> None:
        addresses = params.notifications.resource_subscriptions or ()
        if len(addresses) > MOST_ADDRESSES:
            raise MCPError(INVALID_PARAMS, f"a stream may listen to {MOST_ADDRESSES} resources: ask for fewer")
        for address in addresses:
            check_address(address)
        own, total = self.limits.max_listens_per_client, self.limits.max_listens
        if self._open[client] >= own:
            self._counters.add("listen_limit")
            raise MCPError(
                INVALID_REQUEST,
                f"{own} streams of this client's are open, and a client may have as many: end one of them first "
                f"(setting max_listens_per_client)",
            )
        if self.open >= total:
            self._counters.add("listen_limit")
            raise MCPError(
                INVALID_REQUEST,
                f"{total} streams are open, and all clients together may have as many: try again later "
                f"(setting max_listens)",
            )


def check_address(address: str) -> None:
    """Check that an address is none that only takes memory.

    Raises:
        MCPError: it is too long.
    """
    if len(address) > _LONGEST_ADDRESS:
        raise MCPError(INVALID_PARAMS, f"the address of a resource has {_LONGEST_ADDRESS} characters at most")


class _OwnerBus:
    """The SDK's fan-out seam for one owner's events."""

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[ServerEvent], None]] = {}

    async def publish(self, event: ServerEvent) -> None:
        """Tell every listener."""
        self.tell(event)
        await anyio.lowlevel.checkpoint()

    def tell(self, event: ServerEvent) -> None:
        """Tell every listener, at once."""
        for listener in tuple(self._listeners.values()):
            listener(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Call *listener* at every event; return what ends that."""
        token = object()
        self._listeners[token] = listener

        def unsubscribe() -> None:
            self._listeners.pop(token, None)

        return unsubscribe


def _client_of(ctx: ServerRequestContext[Any, Any]) -> Hashable:
    """Return whose streams are counted together: a connection's, and over HTTP an owner's."""
    peer = peer_of(ctx)
    return peer if isinstance(ctx.request, Peer) else peer.owner
