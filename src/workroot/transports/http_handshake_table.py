"""The handshake-era conversations that HTTP holds in memory: few, and none of them has to be.

Whatever is dropped is made again at its client's next request. The longest unused goes first; one whose client
holds a stream open goes only if no other can, and one with a call that somebody waits for never: if all are like
that, the newcomer is told to try again.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from workroot.peer import Conversation, RootsMemory
from workroot.transports.http_handshake import HandshakeObjects
from workroot.transports.http_in_flight import HANG_UP_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

    from anyio.abc import TaskGroup
    from mcp.server.lowlevel import Server
    from starlette.types import Scope

    from workroot.core.sessions import Alias, Owner
    from workroot.limits import Limits
    from workroot.peer import Peer
    from workroot.transports.http_handshake_ids import IssuedId

__all__ = ["AllBusyError", "HandshakeTable"]

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
_MOST_MET = 4096  # conversations that are known to have been in memory before


class AllBusyError(Exception):
    """As many conversations as may be held have a call under way."""


@dataclass(slots=True, eq=False)
class _Held:
    """A conversation that is held in memory."""

    owner: Owner
    objects: HandshakeObjects
    conversation: Conversation
    last_used: float
    calls: int = 0
    streams: int = 0

    @property
    def is_working(self) -> bool:
        """Tell whether a call is under way."""
        return self.calls > 0 or self.objects.is_working

    @property
    def is_idle(self) -> bool:
        return not self.is_working and not self.streams


class HandshakeTable:
    """Makes, finds and drops conversations.

    Args:
        limits: how many are held, and how long without use.
        connected: held as long as a conversation is; must neither wait nor raise.
    """

    def __init__(
        self,
        server: Server[Any],
        *,
        limits: Limits,
        connected: Callable[[Owner, Alias], AbstractContextManager[None]],
    ) -> None:
        self._server, self._options = server, server.create_initialization_options()
        self._limits, self._connected = limits, connected
        self._held: OrderedDict[Alias, _Held] = OrderedDict()  # least recently used first
        self._met: OrderedDict[Alias, None] = OrderedDict()
        self._tasks: TaskGroup | None = None

    def __contains__(self, alias: Alias) -> bool:
        return alias in self._held

    def __len__(self) -> int:
        return len(self._held)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold conversations; all are dropped on leaving."""
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._drop_idle)
            try:
                yield
            finally:
                for alias in tuple(self._held):
                    self._let_go(alias)
                self._tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def begun(self, issued: IssuedId | None) -> AsyncIterator[HandshakeObjects]:
        """Yield objects that answer one `initialize`: the conversation costs nothing until it is used."""
        objects = HandshakeObjects(self._server, self._options, issued)
        async with anyio.create_task_group() as tasks:
            await tasks.start(objects.run, None)
            try:
                yield objects
            finally:
                await objects.end()

    @asynccontextmanager
    async def use(
        self, issued: IssuedId, peer: Peer, scope: Scope, *, is_stream: bool
    ) -> AsyncIterator[HandshakeObjects]:
        """Yield the objects of a conversation, and keep them meanwhile; *peer* becomes part of it.

        Args:
            scope: the request's; who hangs up does not wait for the answer any more, though a call goes on.
            is_stream: it is a stream that stands, and no call.

        Raises:
            AllBusyError: there is no room now.
        """
        for _ in range(_ATTEMPTS):
            held = self._held.get(issued.alias)
            if held is None or held.objects.is_over:
                held = self._make(issued, peer)
            peer.conversation = held.conversation
            with self._in_use(issued.alias, held, is_stream=is_stream) as deserted:
                scope[HANG_UP_KEY] = deserted
                await held.objects.ready.wait()
                if not held.objects.is_over:  # it may have had to make room meanwhile
                    yield held.objects
                    return
        raise AllBusyError

    async def drop(self, alias: Alias) -> None:
        """Let go of a conversation, whatever is under way in it."""
        if (objects := self._let_go(alias)) is not None:
            await objects.end()

    async def drop_all(self) -> None:
        """Let go of all conversations."""
        for alias in tuple(self._held):
            await self.drop(alias)

    def _make(self, issued: IssuedId, peer: Peer) -> _Held:
        if self._tasks is None:
            raise RuntimeError("conversations can be held only while `running`")
        self._let_go(issued.alias)
        self._make_room(self._tasks)
        # Whoever was asked for its roots by earlier objects may have answered: silence means something then.
        is_resumed = not issued.is_from_now or issued.alias in self._met
        conversation = Conversation(roots=RootsMemory(resumed=is_resumed))
        conversation.hears = False
        holding = ExitStack()
        holding.enter_context(self._connected(peer.owner, issued.alias))
        conversation.on_close(holding.close)
        peer.conversation = conversation
        objects = HandshakeObjects(self._server, self._options, issued)
        held = self._held[issued.alias] = _Held(peer.owner, objects, conversation, anyio.current_time())
        self._tasks.start_soon(objects.run, peer)
        return held

    @contextmanager
    def _in_use(self, alias: Alias, held: _Held, *, is_stream: bool) -> Iterator[Callable[[], None]]:
        """Count a use; yields what is to be called when nobody waits for its end any more."""
        calls = int(not is_stream)
        held.calls += calls
        held.streams += is_stream
        self._touch(alias, held)

        def desert() -> None:
            nonlocal calls
            held.calls -= calls
            calls = 0

        try:
            yield desert
        finally:
            desert()
            held.streams -= is_stream
            self._touch(alias, held)

    def _touch(self, alias: Alias, held: _Held) -> None:
        held.last_used = anyio.current_time()
        if self._held.get(alias) is held:
            self._held.move_to_end(alias)

    def _make_room(self, tasks: TaskGroup) -> None:
        while len(self._held) >= self._limits.max_http_sessions:
            idle = (alias for alias, held in self._held.items() if held.is_idle)
            standing = (alias for alias, held in self._held.items() if not held.is_working)
            deserted = (alias for alias, held in self._held.items() if not held.calls)  # nobody waits for the answer
            victim = next(idle, None) or next(standing, None) or next(deserted, None)
            if victim is None:
                raise AllBusyError
            if (objects := self._let_go(victim)) is not None:
                tasks.start_soon(objects.end)

    def _let_go(self, alias: Alias) -> HandshakeObjects | None:
        """Hold a conversation no more; its objects are to be ended."""
        if (held := self._held.pop(alias, None)) is None:
            return None
        self._met[alias] = None
        if len(self._met) > _MOST_MET:
            self._met.popitem(last=False)
        held.conversation.close()
        return held.objects

    async def _drop_idle(self) -> None:
        while True:
            await anyio.sleep(self._limits.http_session_idle_seconds / 10)
            before = anyio.current_time() - self._limits.http_session_idle_seconds
            for alias, held in tuple(self._held.items()):
                if held.is_idle and held.last_used < before:
                    await self.drop(alias)
