"""Changes reach clients: `subscriptions/listen` in the modern era, `resources/subscribe` in the other.

What a client of the handshake era subscribed to, and the log level that it set, are kept under its alias. When it
comes back to another connection or daemon, it has them again, and is told once of each resource: it may have missed
something. An event only ever reaches those who may see it.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    EmptyResult,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
    SetLevelRequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)

from workroot.errors import StoreError
from workroot.events import Event, ProjectsChanged, SessionEnded, SessionMoved
from workroot.mcp_face.evidence import is_handshake, peer_of
from workroot.mcp_face.listens import MOST_ADDRESSES, Listens, check_address
from workroot.mcp_face.log_messages import LogMessage, message_about
from workroot.mcp_face.resources import PROJECTS_URI, project_uri, session_uri

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp.server.session import ServerSession
    from mcp_types import SubscriptionsListenRequestParams, SubscriptionsListenResult

    from workroot.core.sessions import Owner, SessionId
    from workroot.counters import Counters
    from workroot.limits import Limits
    from workroot.peer import Conversation, Peer
    from workroot.session_context import SessionContextManager

__all__ = ["Subscriptions"]

logger = logging.getLogger(__name__)

_NOTIFY_SECONDS = 15.0  # a client that takes no notification for so long misses it
_MOST_MESSAGES = 64  # that wait for one client
_THE_LIST = ""  # among addresses: not one resource has changed, but which there are
_TOO_MANY = f"a connection may subscribe to {MOST_ADDRESSES} resources: unsubscribe from one first"


@dataclass(slots=True)
class _Subscriber:
    """A connection of the handshake era that wants to hear of something."""

    session: ServerSession
    peer: Peer
    default_session: SessionId | None
    addresses: set[str] = field(default_factory=set)
    log_level: str | None = None
    has_listed: bool = False  # it knows which resources there are, and wants to hear of others
    due: dict[str, None] = field(default_factory=dict)  # what it has to be told, each once
    messages: deque[LogMessage] = field(default_factory=lambda: deque(maxlen=_MOST_MESSAGES))
    is_told: bool = False  # a task is telling it

    def note(self, event: Event, addresses: tuple[str, ...]) -> None:
        """Note what this connection has to be told of *event*."""
        self.due.update((address, None) for address in addresses if address in self.addresses)
        if self.has_listed and isinstance(event, ProjectsChanged):
            self.due[_THE_LIST] = None
        if self.log_level is not None:
            message = message_about(event, self.default_session)
            if message is not None and message.is_wanted(self.log_level):
                self.messages.append(message)


class Subscriptions:
    """Turns the manager's events into notifications, in both eras.

    Args:
        sessions: knows each connection's default session, and keeps what connections asked for.
        counters: counts streams above the limits.
        limits: how many streams may be open.
    """

    def __init__(self, sessions: SessionContextManager, counters: Counters, limits: Limits) -> None:
        self._sessions, self._kept = sessions, sessions.connections
        self.listens = Listens(counters, limits)
        self._subscribers: dict[Owner, dict[Conversation, _Subscriber]] = {}
        self._tasks: TaskGroup | None = None

    def serve(self, tasks: TaskGroup) -> None:
        """From now on send the handshake era's notifications from tasks of this group."""
        self._tasks = tasks

    def close(self) -> None:
        """End every listen stream as the protocol wants it: with its result."""
        self.listens.close()

    def publish(self, event: Event) -> None:
        """Tell whoever may see the event and asked for it."""
        owner, addresses = _addresses(event)
        self.listens.publish(owner, addresses)
        if isinstance(event, ProjectsChanged):
            self.listens.publish_list(owner)
        for subscriber in tuple(self._subscribers.get(owner, {}).values()):
            self._follow(subscriber, event)
            subscriber.note(event, addresses)
            self._tell_soon(subscriber)

    async def listen(
        self, ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Serve one stream of `subscriptions/listen`."""
        return await self.listens.listen(ctx, params)

    async def resume(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Server middleware: a client that comes back has what it asked for before; one that lists hears of more."""
        if ctx.method != "initialize" and is_handshake(ctx):
            self._resume(ctx)
            if ctx.method == "resources/list":
                self._subscriber(ctx).has_listed = True
        return await call_next(ctx)

    async def subscribe(self, ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
        """Notify this connection of a resource from now on (handshake era)."""
        peer, address = peer_of(ctx), str(params.uri)
        check_address(address)
        addresses = self._subscriber(ctx).addresses
        if address not in addresses and len(addresses) >= MOST_ADDRESSES:
            raise MCPError(INVALID_REQUEST, _TOO_MANY)
        if peer.alias is not None:
            keeping = self._kept.subscribe(peer.owner, peer.alias, address, is_resumable=peer.is_resumable)
            if not await _kept(keeping):
                raise MCPError(INVALID_REQUEST, _TOO_MANY)
        addresses.add(address)
        return EmptyResult()

    async def unsubscribe(self, ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams) -> EmptyResult:
        """Notify this connection of a resource no more (handshake era)."""
        peer, address = peer_of(ctx), str(params.uri)
        if peer.alias is not None:
            await _kept(self._kept.unsubscribe(peer.owner, peer.alias, address))
        subscriber = self._subscribers.get(peer.owner, {}).get(peer.conversation)
        if subscriber is not None:
            subscriber.addresses.discard(address)
            subscriber.due.pop(address, None)
        return EmptyResult()

    async def set_level(self, ctx: ServerRequestContext[Any, Any], params: SetLevelRequestParams) -> EmptyResult:
        """Send this connection messages of a level and above from now on (handshake era)."""
        peer = peer_of(ctx)
        if peer.alias is not None:
            keeping = self._kept.set_log_level(peer.owner, peer.alias, params.level, is_resumable=peer.is_resumable)
            await _kept(keeping)
        self._subscriber(ctx).log_level = params.level
        return EmptyResult()

    def _resume(self, ctx: ServerRequestContext[Any, Any]) -> None:
        peer = peer_of(ctx)
        if peer.alias is None or peer.conversation in self._subscribers.get(peer.owner, {}):
            return
        kept = self._kept.get(peer.owner, peer.alias)
        if kept is not None and (kept.subscriptions or kept.log_level is not None):
            subscriber = self._subscriber(ctx)
            subscriber.addresses.update(kept.subscriptions)
            subscriber.log_level = kept.log_level
            subscriber.due.update(dict.fromkeys(sorted(kept.subscriptions)))
            self._tell_soon(subscriber)

    def _subscriber(self, ctx: ServerRequestContext[Any, Any]) -> _Subscriber:
        peer = peer_of(ctx)
        subscribers = self._subscribers.setdefault(peer.owner, {})
        if (subscriber := subscribers.get(peer.conversation)) is None:
            subscriber = subscribers[peer.conversation] = _Subscriber(ctx.session, peer, self._default_of(peer))
            peer.conversation.on_close(partial(self._forget, peer.owner, peer.conversation))
            peer.conversation.on_hearing(partial(self._tell_soon, subscriber))
        return subscriber

    def _default_of(self, peer: Peer) -> SessionId | None:
        session = self._sessions.default_session(peer.owner, peer.alias) if peer.alias is not None else None
        return session.session_id if session is not None else None

    def _follow(self, subscriber: _Subscriber, event: Event) -> None:
        """Keep in mind which session is a connection's: that is not known any more once it has ended."""
        if isinstance(event, SessionMoved):
            subscriber.default_session = self._default_of(subscriber.peer)

    def _tell_soon(self, subscriber: _Subscriber) -> None:
        is_due = bool(subscriber.due or subscriber.messages) and subscriber.peer.conversation.hears
        if is_due and not subscriber.is_told and self._tasks is not None:
            subscriber.is_told = True
            self._tasks.start_soon(self._tell, subscriber)

    async def _tell(self, subscriber: _Subscriber) -> None:
        """Send what is due to one connection; a slow one holds up nobody else."""
        session, conversation = subscriber.session, subscriber.peer.conversation
        try:
            while (subscriber.due or subscriber.messages) and conversation.hears:
                with anyio.move_on_after(_NOTIFY_SECONDS):
                    if subscriber.due:
                        address = next(iter(subscriber.due))
                        del subscriber.due[address]
                        await (
                            session.send_resource_list_changed()
                            if address == _THE_LIST
                            else session.send_resource_updated(address)
                        )
                    else:
                        await session.send_notification(_notification(subscriber.messages.popleft()))
        except Exception:  # a boundary: one connection's fault is not another's
            logger.exception("a notification could not be sent")
        finally:
            subscriber.is_told = False

    def _forget(self, owner: Owner, conversation: Conversation) -> None:
        subscribers = self._subscribers.get(owner, {})
        subscribers.pop(conversation, None)
        if not subscribers:
            self._subscribers.pop(owner, None)


async def _kept(keeping: Awaitable[bool | None]) -> bool | None:
    """Wait until something is kept.

    Raises:
        MCPError: it is not; nothing changed.
    """
    try:
        return await keeping
    except StoreError as error:
        raise MCPError(INTERNAL_ERROR, f"nothing changed: {error}") from error


def _notification(message: LogMessage) -> LoggingMessageNotification:
    params = LoggingMessageNotificationParams(level=message.level, logger="workroot", data=message.text)
    return LoggingMessageNotification(params=params)


def _addresses(event: Event) -> tuple[Owner, tuple[str, ...]]:
    """Return whose event it is, and the resources that it changes."""
    match event:
        case SessionMoved(session, _):
            return session.owner, (session_uri(session.session_id),)
        case SessionEnded(ended):
            return ended.owner, (session_uri(ended.session_id),)
        case ProjectsChanged(owner, project_id):
            return owner, (PROJECTS_URI, project_uri(project_id))
