"""Carries lines between the client's pipes and the daemon's socket, in one thread, with bounded buffers.

Whoever does not read makes the other side wait, not this process grow. What the daemon said or that it hung up
is always looked at before the client's lines are sent, so that none goes to a daemon known to be gone.
"""

from __future__ import annotations

import os
from _socket import SHUT_WR, socket  # see `meeting` for why not `socket`
from time import monotonic

from workroot.connector.lines import LineSplitter, LongLine
from workroot.connector.meeting import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from workroot.connector.outbox import Outbox
from workroot.connector.readiness import GONE, READ, WRITE, wait_ready
from workroot.rendezvous import common_wire, parse_hello

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workroot.connector.conversation import Conversation
    from workroot.connector.meeting import Reaching

    Hello = Callable[[bool, Sequence[object]], bytes]
    """Makes the first line; told whether it is a later connection, and which listens are known to be served."""

    Reach = Callable[[float, float], Reaching]
    """Starts to look for a daemon; told for how many seconds to try again, and how many to wait first."""

    Replace = Callable[[Mapping[str, object]], Reaching | None]
    """Told what a daemon says of itself, starts to put another in its place, or returns None."""

__all__ = ["RECONNECT_SECONDS", "DaemonRefusedError", "Relay"]

RECONNECT_SECONDS = 20.0
"""How long a daemon may be away before the conversation is given up."""

_PIECE_BYTES = 1 << 16
_HELLO_SECONDS = 10.0
_SETTLED_SECONDS = 1.0
_LAST_WORDS_SECONDS = 1.0
_DORMANT_LOOK_SECONDS = 5.0


class DaemonRefusedError(Exception):
    """The daemon answered, and does not serve this connector; asking again would change nothing."""


class Relay:
    """One client's way to whichever daemon runs.

    Args:
        conversation: what was said so far.
        hello: makes the first line of a connection.
        reach: looks for a daemon.
        say: tells the user something, beside the protocol.
        replace: puts a daemon that is too old out of its place; asked about the first one that answers, and only once.
        is_stopped: tells whether the user wants no daemon; until the client has something to say, none is looked for.
        served: called once, when the first daemon has got what the client has said so far and nobody waits for us.
        patience: for how many seconds a daemon that was lost may be away.
        client_in: descriptor that the client's lines come from.
        client_out: descriptor that the client reads.

    Attributes:
        was_connected: a daemon has served this conversation, so a loss is a restart.
    """

    def __init__(
        self,
        conversation: Conversation,
        hello: Hello,
        reach: Reach,
        say: Callable[[str], None],
        *,
        replace: Replace | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
        served: Callable[[], None] = lambda: None,
        patience: float = RECONNECT_SECONDS,
        client_in: int = 0,
        client_out: int = 1,
    ) -> None:
        self._conversation, self._hello, self._reach, self._say = conversation, hello, reach, say
        self._replace, self._is_stopped = replace, is_stopped
        self._served: Callable[[], None] | None = served
        self._longest_outage = patience
        self._in, self._outbox = client_in, Outbox(client_out)
        self._input_open = True
        self._client_lines, self._daemon_lines = LineSplitter(), LineSplitter()
        self._sending = b""  # what is left of the line that the daemon is getting
        self._connection: socket | None = None
        self._sendable = self._greeted = self._spoken = False
        self._connected_at = self._outage_ends = 0.0
        self._next_pause = 0.0
        self._awaited: int | None = None  # what the search for a daemon waits for, and until when
        self._resume_at = 0.0
        self._dormant_until: float | None = None  # no daemon is looked for, since the user stopped it
        self._is_silent = False  # the last daemon took the connection, and did not say hello
        self._reaching: Reaching | None = reach(0.0, 0.0)
        self.was_connected = False

    def run(self) -> None:
        """Serve until the client has left and has all its answers.

        Raises:
            DaemonRefusedError: see there.
            ReplayRefusedError: a later daemon does not know what the client and an earlier one agreed on.
            WorkrootError, OSError: no daemon could be reached; as `reach_daemon`.
        """
        try:
            while not self._is_over():
                self._step()
        finally:
            if self._reaching is not None:
                self._reaching.close()  # lets go of the lock at once
            if self._connection is not None:
                self._connection.close()

    def give_up(self, reason: str) -> None:
        """Tell the client that nothing it asked will be answered, as far as it reads."""
        if self._input_open and wait_ready({self._in: READ}, 0):
            self._read_client()
        for line in self._conversation.give_up(reason):
            self._outbox.add(line)
        deadline = monotonic() + _LAST_WORDS_SECONDS
        while self._outbox and not self._outbox.is_broken and (left := deadline - monotonic()) > 0:
            wait_ready({self._outbox.descriptor: WRITE}, left)
            self._outbox.write_nowait()

    def _is_over(self) -> bool:
        if self._outbox.is_broken:
            return True
        is_served = self._connection is None and (self.was_connected or self._reaching is None)
        return is_served and not self._input_open and not self._conversation.has_waiting and not self._outbox

    def _step(self) -> None:
        self._go_on_reaching({})
        ready = wait_ready(self._wanted(), self._patience())
        if ready.get(self._outbox.descriptor, 0) & GONE:
            self._outbox.is_broken = True
            return
        if self._connection is not None and ready.get(self._connection.fileno(), 0) & (READ | GONE):
            self._read_daemon(self._connection)
        self._go_on_reaching(ready)
        if ready.get(self._in):
            self._read_client()
        self._wake_up()
        self._write_daemon()
        self._outbox.write_nowait()
        if self._served is not None and self._greeted and not self._sending:
            served, self._served = self._served, None
            served()

    def _wanted(self) -> dict[int, int]:
        wanted = {self._outbox.descriptor: WRITE if self._outbox else 0}
        has_room = not self._outbox.is_full
        if self._input_open and has_room and not self._conversation.is_full:
            wanted[self._in] = READ
        if self._connection is not None:
            has_more = self._sendable and (self._sending or (self._greeted and self._conversation.next_line()))
            what = (READ if has_room else 0) | (WRITE if has_more else 0)
            if what:  # without interest a hang-up would be reported again and again
                wanted[self._connection.fileno()] = what
        elif self._reaching is not None and self._awaited is not None:
            wanted[self._awaited] = READ
        return wanted

    def _patience(self) -> float | None:
        if self._reaching is not None:
            return self._resume_at - monotonic()
        if self._connection is not None and not self._greeted:
            return self._connected_at + _HELLO_SECONDS - monotonic()
        if self._dormant_until is not None:
            return self._dormant_until - monotonic()
        return None

    # The daemon

    def _go_on_reaching(self, ready: dict[int, int]) -> None:
        if self._connection is not None:
            if not self._greeted and monotonic() >= self._connected_at + _HELLO_SECONDS:
                self._is_silent = True
                self._lose_daemon(self._connection)
            return
        if self._reaching is None or (monotonic() < self._resume_at and self._awaited not in ready):
            return
        try:
            self._awaited, seconds = next(self._reaching)
            self._resume_at = monotonic() + seconds
        except StopIteration as found:
            self._greet(found.value)

    def _greet(self, connection: socket) -> None:
        self._reaching = self._awaited = None
        self._connection, self._connected_at = connection, monotonic()
        self._sendable, self._greeted, self._spoken = True, False, False
        self._daemon_lines = LineSplitter()
        self._sending = self._hello(self.was_connected, self._conversation.listens)
        self._write_daemon()

    def _read_daemon(self, connection: socket) -> None:
        try:
            piece = connection.recv(_PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:  # it died with something unread; what it had answered came before
            piece = b""
        if not piece:
            self._lose_daemon(connection)
            return
        for line in self._daemon_lines.feed(piece):
            if self._connection is not connection:
                return  # it is being replaced
            if not self._greeted:
                self._take_hello(connection, line)
            else:
                self._take_daemon_line(line)

    def _take_hello(self, connection: socket, line: bytes | LongLine) -> None:
        try:
            fields = parse_hello(b"" if isinstance(line, LongLine) else line)
        except ValueError as problem:
            raise DaemonRefusedError(f"{problem}; `workroot stop`, then start again") from None
        self._is_silent = False
        replace, self._replace = self._replace, None
        if replace is not None and (reaching := replace(fields)) is not None:
            connection.close()
            self._connection, self._sending = None, b""
            self._reaching, self._resume_at = reaching, monotonic()
            return
        try:
            common_wire(fields, sender="daemon")
        except ValueError as problem:
            raise DaemonRefusedError(str(problem)) from None
        if "error" in fields:
            raise DaemonRefusedError(f"the daemon refused: {fields['error']}")
        self._greeted = self.was_connected = True

    def _take_daemon_line(self, line: bytes | LongLine) -> None:
        self._spoken = True
        if isinstance(line, LongLine):
            self._say(f"the daemon sent a line of {line.size} bytes; it was not passed on")
            if answer := self._conversation.refuse_daemon_line(line):
                self._outbox.add(answer)
        elif self._conversation.add_daemon_line(line):
            self._outbox.add(line)

    def _lose_daemon(self, connection: socket) -> None:
        """Answer what was under way, and look for another daemon, less eagerly if this one did not last.

        Raises:
            DaemonRefusedError: daemons came and went for as long as one may be away.
        """
        connection.close()
        self._connection, self._sending = None, b""
        for line in self._conversation.lose_daemon():
            self._outbox.add(line)
        now = monotonic()
        lasted = self._spoken or (self._greeted and now - self._connected_at > _SETTLED_SECONDS)
        if lasted or not self._outage_ends:
            self._outage_ends, self._next_pause = now + self._longest_outage, 0.0
        elif now > self._outage_ends:
            problem = (
                "a daemon takes connections and does not answer" if self._is_silent else "none kept the connection"
            )
            raise DaemonRefusedError(
                f"for {self._longest_outage:.0f} s {problem}; `workroot status` tells more, `workroot stop` ends it"
            )
        if self._conversation.has_waiting:
            self._look_for_daemon(now)
        elif self._input_open:
            if self._is_stopped():
                self._dormant_until = now + _DORMANT_LOOK_SECONDS
            else:
                self._look_for_daemon(now)

    def _wake_up(self) -> None:
        """Look for a daemon again when the client has something to say, or somebody has started one."""
        if self._dormant_until is None or not (self._input_open or self._conversation.has_waiting):
            return
        now = monotonic()
        if not self._conversation.has_waiting:
            if now < self._dormant_until:
                return
            if self._is_stopped():
                self._dormant_until = now + _DORMANT_LOOK_SECONDS
                return
        self._outage_ends, self._next_pause = now + self._longest_outage, 0.0
        self._look_for_daemon(now)

    def _look_for_daemon(self, now: float) -> None:
        self._dormant_until = None
        self._reaching = self._reach(self._outage_ends - now, self._next_pause)
        self._resume_at = now
        self._next_pause = min(2 * self._next_pause or FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)

    def _write_daemon(self) -> None:
        """Send what can be sent without waiting, and say so once when nothing more will come."""
        if self._connection is None or not self._sendable:
            return
        try:
            while line := self._sending or (self._conversation.next_line() if self._greeted else None):
                sent = self._connection.send(line)
                if not self._sending:
                    self._conversation.begin_next()
                self._sending = line[sent:]
            if self._greeted and not self._input_open and not self._conversation.has_waiting:
                self._sendable = False
                self._connection.shutdown(SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            self._sendable = False  # it is gone; what it said before can still be read, and then the end

    # The client

    def _read_client(self) -> None:
        try:
            piece = os.read(self._in, _PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        lines = self._client_lines.feed(piece) if piece else self._client_lines.finish()
        self._input_open = bool(piece)
        for line in lines:
            if not isinstance(line, LongLine):
                self._conversation.add_client_line(line)
            elif answer := self._conversation.refuse_client_line(line):
                self._outbox.add(answer)
