"""One client's conversation, as far as it must survive a restart of the daemon: plain state, no bytes are moved here.

What the client sent waits in order until a daemon takes it. What a daemon took and did not answer is never
sent again, since it may have been carried out; only what is the same however often it is sent is repeated:
the opening exchange of the handshake era, whose second answer is swallowed, and `subscriptions/listen`. A daemon
that ends in order ends these streams too; unless the user stopped it for good, the client does not hear of that.
"""

from __future__ import annotations

from collections import deque

from workroot.connector.messages import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    Message,
    error_line,
    read_long_line,
    read_message,
)
from workroot.rendezvous import MAX_LINE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from workroot.connector.lines import LongLine
    from workroot.connector.messages import Key

__all__ = ["MAX_WAITING_BYTES", "MAX_WAITING_LINES", "Conversation", "ReplayRefusedError"]

MAX_WAITING_LINES = 64
MAX_WAITING_BYTES = MAX_LINE_BYTES

_MAX_ABANDONED = 1024
_INITIALIZE = "initialize"
_INITIALIZED = "notifications/initialized"
_LISTEN = "subscriptions/listen"
_REPEATED = (_INITIALIZE, _LISTEN)

_UNDER_WAY = "while this call was under way: it may or may not have been carried out; retry it"
_RESTARTED = f"the workroot daemon restarted {_UNDER_WAY}"
_ENDED = f"the workroot daemon ended {_UNDER_WAY}"


class ReplayRefusedError(Exception):
    """The new daemon refused the opening exchange that the earlier one had accepted."""


class Conversation:
    """What one client asked, what of it is under way, and what a new daemon has to be told.

    Args:
        is_stopped: tells whether the user wants no daemon, so that streams which end with it have ended.
    """

    def __init__(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        self._is_stopped = is_stopped
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._opening: deque[Message] = deque()
        self._in_flight: dict[Key, Message] = {}
        self._abandoned: dict[Key, None] = {}
        self._initialize: Message | None = None
        self._initialized: Message | None = None
        self._awaited: Key | None = None

    @property
    def is_full(self) -> bool:
        """Whether as much waits for a daemon as may wait: the client has to be kept waiting too."""
        return len(self._waiting) >= MAX_WAITING_LINES or self._waiting_bytes >= MAX_WAITING_BYTES

    @property
    def has_waiting(self) -> bool:
        """Whether anything of the client was not sent yet."""
        return bool(self._waiting)

    @property
    def listens(self) -> list[object]:
        """The ids of the `subscriptions/listen` requests that will be sent again, and were acknowledged before.

        The daemon swallows their second acknowledgement. A client still waits for that of the others.
        """
        return [message.request_id for message in self._opening if message.was_acknowledged]

    def add_client_line(self, line: bytes) -> None:
        """Take a line of the client, to be sent when its turn comes."""
        self._waiting.append(read_message(line))
        self._waiting_bytes += len(line)

    def refuse_client_line(self, line: LongLine) -> bytes | None:
        """Return the answer to a line of the client that was too long, or None if it was itself an answer."""
        message = read_long_line(line)
        if message.is_response:
            return None
        text = f"the message is {line.size} bytes long, and the limit is {MAX_LINE_BYTES}: it was not passed on"
        return error_line(message.request_id, INVALID_REQUEST, text)

    def next_line(self) -> bytes | None:
        """Return what is to be sent next, or None if nothing is, for now; it stays until `begin_next`."""
        if self._opening:
            # The rest of the opening waits for the swallowed answer: no request may precede it.
            return self._opening[0].line if self._awaited is None else None
        while self._awaited is None and self._waiting:
            message = self._waiting[0]
            if message.cancels not in self._abandoned:
                return message.line
            self._take_waiting()  # the client knows already that this request came to nothing
        return None

    def begin_next(self) -> None:
        """Note that a first byte of `next_line` was sent: from here on a daemon may act on it."""
        message = self._opening.popleft() if self._opening else self._take_waiting()
        if message is self._initialize:
            self._awaited = message.key
        elif message.method == _INITIALIZED:
            self._initialized = message
        elif message.cancels is not None:
            self._in_flight.pop(message.cancels, None)  # a cancelled request need not be answered
        elif message.method is not None and message.key is not None:
            self._abandoned.pop(message.key, None)
            self._in_flight[message.key] = message
            if message.method not in _REPEATED:
                message.line = b""  # never sent again, so it need not take memory

    def add_daemon_line(self, line: bytes) -> bool:
        """Take note of a line of the daemon, and return whether the client is to see it.

        Raises:
            ReplayRefusedError: it says that the conversation cannot go on with this daemon.
        """
        answer = read_message(line)
        if answer.acknowledges is not None and (listen := self._in_flight.get(answer.acknowledges)):
            listen.was_acknowledged = True
        if answer.method is not None or answer.key is None:
            return True
        if answer.key == self._awaited:
            if not answer.succeeded:
                raise ReplayRefusedError(
                    "the daemon that runs now does not accept what the client and an earlier daemon agreed on; "
                    "restart this server in the client"
                )
            self._awaited = None
            return False
        request = self._in_flight.get(answer.key)
        if request is not None and request.method == _LISTEN and answer.succeeded and not self._is_stopped():
            return False  # the daemon leaves, and another one goes on with the stream
        self._in_flight.pop(answer.key, None)
        if request is not None and request.method == _INITIALIZE and answer.succeeded:
            self._initialize, self._initialized = request, None
        return True

    def refuse_daemon_line(self, line: LongLine) -> bytes | None:
        """Return what the client is told instead of a line that was too long, or None if it answers nothing known."""
        answer = read_long_line(line)
        if answer.method is not None or answer.key is None or self._in_flight.pop(answer.key, None) is None:
            return None
        text = f"the answer is {line.size} bytes long, and the limit is {MAX_LINE_BYTES}: ask for less"
        return error_line(answer.request_id, INTERNAL_ERROR, text)

    def lose_daemon(self) -> list[bytes]:
        """Prepare for another daemon, and return the answers to what was under way with the one that is lost."""
        repeated = [message for message in self._in_flight.values() if message.method in _REPEATED]
        repeated += [message for message in self._opening if message.method in _REPEATED]
        lost = [message for message in self._in_flight.values() if message.method not in _REPEATED]
        agreed = [message for message in (self._initialize, self._initialized) if message is not None]
        self._opening = deque(agreed + [message for message in repeated if message is not self._initialize])
        self._in_flight.clear()
        self._awaited = None
        return [self._abandon(message, _RESTARTED) for message in lost]

    def give_up(self, reason: str) -> list[bytes]:
        """Return the answers to everything that was asked and will not be answered, since *reason*."""
        answers = [self._abandon(message, _ENDED) for message in self._in_flight.values()]
        for message in (*self._opening, *self._waiting):
            if message.method is not None and message.key is not None and message is not self._initialize:
                answers.append(self._abandon(message, f"this call was not carried out: {reason}"))
        self._in_flight.clear()
        self._opening.clear()
        self._waiting.clear()
        self._waiting_bytes = 0
        return answers

    def _take_waiting(self) -> Message:
        message = self._waiting.popleft()
        self._waiting_bytes -= len(message.line)
        return message

    def _abandon(self, message: Message, text: str) -> bytes:
        if message.key is not None:
            self._abandoned[message.key] = None
            if len(self._abandoned) > _MAX_ABANDONED:
                del self._abandoned[next(iter(self._abandoned))]
        return error_line(message.request_id, INTERNAL_ERROR, text, retry=True)
