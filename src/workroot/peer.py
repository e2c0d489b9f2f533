"""The other end of a connection, as transports know it and handlers see it.

A transport makes one `Peer` a connection (over modern HTTP: a request) and attaches it to each
message; nothing in it decides who calls, except the owner.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anyio

    from workroot.core.sessions import Alias, Owner
    from workroot.core.signs import Hint, Roots

__all__ = ["PEER_KEY", "Conversation", "Peer", "Resumption", "RootsMemory"]

PEER_KEY = "workroot.peer"
"""Where in the scope of an HTTP request its `Peer` is."""


@dataclass(slots=True, kw_only=True)
class RootsMemory:
    """What a connection has shown of answering the question for its roots.

    Attributes:
        answered: it has answered once, so silence from now on means something.
        refused: it never answered or does not know the question; it is not asked again until it says that its
            roots changed.
        resumed: the connection goes on from one to an earlier daemon, which the client may have answered: its
            first silence means something too, and makes this false.
        asking: while the question is out, what fires when that ends; None otherwise.
        answer: how the last question ended; None if whoever asked was cancelled.
    """

    answered: bool = False
    refused: bool = False
    resumed: bool = False
    asking: anyio.Event | None = None
    answer: Roots | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Conversation:
    """What the handshake era keeps per connection, for as long as it lasts.

    Attributes:
        roots: what it has shown of answering the question for its roots.
    """

    roots: RootsMemory = field(default_factory=RootsMemory)
    _closing: list[Callable[[], None]] = field(default_factory=list)
    _hearing: list[Callable[[], None]] = field(default_factory=list)
    _hears: bool = True

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call *callback* when the connection ends; it must not raise or wait."""
        self._closing.append(callback)

    @property
    def hears(self) -> bool:
        """Whether what is sent unasked reaches the client now; over HTTP, while it holds a stream open."""
        return self._hears

    @hears.setter
    def hears(self, hears: bool) -> None:
        self._hears = hears
        if hears:
            for callback in tuple(self._hearing):
                callback()

    def on_hearing(self, callback: Callable[[], None]) -> None:
        """Call *callback* whenever the client begins to hear what it is sent; it must not raise or wait."""
        self._hearing.append(callback)

    def close(self) -> None:
        """The connection ended: let go of what was kept for it. Safe to call twice."""
        while self._closing:
            self._closing.pop()()

    @contextmanager
    def open(self) -> Iterator[Conversation]:
        """Close on leaving."""
        try:
            yield self
        finally:
            self.close()


@dataclass(slots=True, kw_only=True)
class Resumption:
    """What a connector carried over from a connection to an earlier daemon.

    Attributes:
        listens: ids of the `subscriptions/listen` requests that it sends again and that were acknowledged before.
    """

    listens: frozenset[str | int] = frozenset()


@dataclass(slots=True, kw_only=True, eq=False)
class Peer:
    """Who is at the other end, and what the transport knows of where that one works.

    Attributes:
        owner: on whose behalf; checked by the transport (peer credentials, token).
        alias: the connection's own name, or None if it must not have a default session.
            It counts in the handshake era only.
        hints: the connector's facts or the request's headers, best first.
        header_session: the header `Workroot-Session`, or None.
        is_resumable: the client may come back under its alias long after this connection has ended.
    """

    owner: Owner
    alias: Alias | None = None
    hints: tuple[Hint, ...] = ()
    header_session: str | None = None
    is_resumable: bool = False
    resumption: Resumption | None = None
    conversation: Conversation = field(default_factory=Conversation)
