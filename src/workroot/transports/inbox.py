"""What one client has said and nobody has taken yet: in the order it came, and not without end.

Requests beyond those that may be worked on wait here. Answers to our own requests and cancellations overtake them, or
64 calls that wait for such an answer would wait for each other.
"""

from __future__ import annotations

from collections import deque

from mcp.shared.dispatcher import coerce_request_id
from mcp_types import JSONRPCMessage, JSONRPCRequest

from workroot.limits import DEFAULT_LIMITS
from workroot.transports.unanswered import UnansweredRequests, cancelled_id

__all__ = ["Inbox"]

_MOST = 64
_MOST_BYTES = 1024 * 1024  # as they weigh


class Inbox:
    """The messages of one connection that wait for their turn.

    Args:
        unanswered: all requests of the connection; those that wait here included.
        most_in_flight: how many requests may be worked on at a time, of 1 MiB together; one may always.
    """

    def __init__(
        self, unanswered: UnansweredRequests, *, most_in_flight: int = DEFAULT_LIMITS.max_requests_in_flight
    ) -> None:
        self._unanswered, self._most_in_flight = unanswered, most_in_flight
        self._requests: deque[tuple[int, JSONRPCRequest, int]] = deque()  # number of arrival, request, size
        self._others: deque[tuple[int, JSONRPCMessage]] = deque()
        self._arrived = 0
        self._size = 0

    @property
    def has_requests(self) -> bool:
        """Whether a request waits for its turn."""
        return bool(self._requests)

    @property
    def is_full(self) -> bool:
        """Whether no more may be read until one of these has had its turn."""
        return len(self._requests) >= _MOST or len(self._others) >= _MOST or self._size >= _MOST_BYTES

    def add(self, message: JSONRPCMessage, size: int) -> None:
        """Put a message behind the others; one that takes back a request which waits here removes it instead."""
        self._arrived += 1
        if isinstance(message, JSONRPCRequest):
            self._requests.append((self._arrived, message, size))
            self._size += size
            self._unanswered.note_incoming(message, size)
        elif self._withdraw(message):
            self._unanswered.note_incoming(message)
        else:
            self._others.append((self._arrived, message))

    def take(self, *, may_begin: bool = True) -> JSONRPCMessage | None:
        """Return the first message that may be worked on now; no request unless one *may_begin*."""
        if self._unanswered.count < len(self._requests):  # forgotten: the client is gone
            self._requests.clear()
            self._size = 0
        may_begin = may_begin and bool(self._requests) and self._has_room()
        if self._others and not (may_begin and self._requests[0][0] < self._others[0][0]):
            _, message = self._others.popleft()
            self._unanswered.note_incoming(message)
            return message
        if not may_begin:
            return None
        _, request, size = self._requests.popleft()
        self._size -= size
        return request

    def _withdraw(self, message: JSONRPCMessage) -> bool:
        cancelled = cancelled_id(message)
        if cancelled is None:
            return False
        for entry in reversed(self._requests):
            if coerce_request_id(entry[1].id) == coerce_request_id(cancelled):
                self._requests.remove(entry)
                self._size -= entry[2]
                return True
        return False

    def _has_room(self) -> bool:
        in_flight = self._unanswered.count - len(self._requests)
        return in_flight == 0 or (in_flight < self._most_in_flight and self._unanswered.size - self._size < _MOST_BYTES)
