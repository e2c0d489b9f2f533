"""Changes reach clients: `subscriptions/listen` in the modern era, `resources/subscribe` in the other.

Every owner has a bus of its own, so an event can only ever reach those who may see it: asking for
somebody else's session is honoured like any other address, and never hears anything.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup
from mcp.server.subscriptions import ListenHandler, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_REQUEST,
    EmptyResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from workroot.events import Event, ProjectsChanged, SessionEnded, SessionMoved
from workroot.mcp_face.evidence import peer_of
from workroot.mcp_face.resources import PROJECTS_URI, project_uri, session_uri

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession

    from workroot.core.sessions import Owner
    from workroot.peer import Conversation

__all__ = ["Subscriptions"]

logger = logging.getLogger(__name__)

_LISTENS_PER_OWNER = 256
_URIS_PER_CONVERSATION = 256
_NOTIFY_SECONDS = 15.0  # a client that takes no notification for so long misses it


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


@dataclass(slots=True)
class _Subscriber:
    """A connection of the handshake era that subscribed to something."""

    session: ServerSession
    uris: set[str] = field(default_factory=set)
    due: dict[str, None] = field(default_factory=dict)  # what it has to be told, each once
    is_told: bool = False  # a task is telling it


class Subscriptions:
    """Turns the manager's events into notifications, in both eras."""

    def __init__(self) -> None:
        self._buses: dict[Owner, tuple[_OwnerBus, ListenHandler]] = {}
        self._subscribers: dict[Owner, dict[Conversation, _Subscriber]] = {}
        self._tasks: TaskGroup | None = None

    def serve(self, tasks: TaskGroup) -> None:
        """From now on send the handshake era's notifications from tasks of this group."""
        self._tasks = tasks

    def close(self) -> None:
        """End every listen stream as the protocol wants it: with its result."""
        for _, handler in self._buses.values():
            handler.close()

    def publish(self, event: Event) -> None:
        """Tell whoever may see the event and asked for it."""
        owner, uris = _addresses(event)
        if owner in self._buses:
            for uri in uris:
                self._buses[owner][0].tell(ResourceUpdated(uri=uri))
        for subscriber in self._subscribers.get(owner, {}).values():
            subscriber.due.update((uri, None) for uri in uris if uri in subscriber.uris)
            if subscriber.due and not subscriber.is_told and self._tasks is not None:
                subscriber.is_told = True
                self._tasks.start_soon(self._tell, subscriber)

    async def listen(
        self, ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Serve one stream of `subscriptions/listen` (MCP 2026-07-28, basic/utilities/subscriptions)."""
        owner = peer_of(ctx).owner
        if owner not in self._buses:
            bus = _OwnerBus()
            self._buses[owner] = bus, ListenHandler(bus, max_subscriptions=_LISTENS_PER_OWNER)
        return await self._buses[owner][1](ctx, params)

    async def subscribe(self, ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
        """Notify this connection of a resource from now on (handshake era)."""
        peer = peer_of(ctx)
        subscribers = self._subscribers.setdefault(peer.owner, {})
        if peer.conversation not in subscribers:
            subscribers[peer.conversation] = _Subscriber(ctx.session)
            peer.conversation.on_close(lambda: self._forget(peer.owner, peer.conversation))
        uris = subscribers[peer.conversation].uris
        if len(uris) >= _URIS_PER_CONVERSATION:
            raise MCPError(INVALID_REQUEST, f"a connection may subscribe to {_URIS_PER_CONVERSATION} resources")
        uris.add(str(params.uri))
        return EmptyResult()

    async def unsubscribe(self, ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams) -> EmptyResult:
        """Notify this connection of a resource no more (handshake era)."""
        peer = peer_of(ctx)
        subscriber = self._subscribers.get(peer.owner, {}).get(peer.conversation)
        if subscriber is not None:
            subscriber.uris.discard(str(params.uri))
        return EmptyResult()

    async def _tell(self, subscriber: _Subscriber) -> None:
        """Send what is due to one connection; a slow one holds up nobody else."""
        try:
            while subscriber.due:
                uri = next(iter(subscriber.due))
                del subscriber.due[uri]
                with anyio.move_on_after(_NOTIFY_SECONDS):
                    await subscriber.session.send_resource_updated(uri)
        except Exception:  # a boundary: one connection's fault is not another's
            logger.exception("a notification could not be sent")
        finally:
            subscriber.is_told = False

    def _forget(self, owner: Owner, conversation: Conversation) -> None:
        subscribers = self._subscribers.get(owner, {})
        subscribers.pop(conversation, None)
        if not subscribers:
            self._subscribers.pop(owner, None)


def _addresses(event: Event) -> tuple[Owner, tuple[str, ...]]:
    """Return whose event it is, and the resources that it changes."""
    match event:
        case SessionMoved(session, _):
            return session.owner, (session_uri(session.session_id),)
        case SessionEnded(ended):
            return ended.owner, (session_uri(ended.session_id),)
        case ProjectsChanged(owner, project_id):
            return owner, (PROJECTS_URI, project_uri(project_id))
