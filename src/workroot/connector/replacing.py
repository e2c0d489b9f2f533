"""After an upgrade in place, the daemon still runs the old code: the first newer connector puts a new one in its place.

Only a newer version of the same installation does so, and each connector at most once: two versions cannot
fight for the place. The database is copied first, and what the old daemon was asked is answered before it ends.
"""

from __future__ import annotations

import json
import os
import re
from time import monotonic

from workroot import __version__
from workroot.connector.lines import LineSplitter
from workroot.connector.meeting import connect_nowait
from workroot.connector.starting import LOOK_AGAIN_SECONDS, open_turn, start_daemon, start_in_turn, take_turn
from workroot.errors import DaemonStartError
from workroot.instance import is_instance_held
from workroot.rendezvous import hello_line, installation, instance_lock_path, parse_hello

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Generator, Mapping, Sequence

    from workroot.connector.meeting import Pause, Reaching

__all__ = ["is_newer", "is_replaceable", "replace_daemon", "way_back"]

_TURN_SECONDS = 15.0
_ANSWER_SECONDS = 5.0
_END_SECONDS = 8.0  # 5 s to drain, and as long as closing a store may take on a slow disk
_PIECE_BYTES = 1 << 16
_LONGEST_VERSION = 100  # characters

_VERSION = re.compile(  # the normal form of versions (packaging.python.org, "Version specifiers")
    r"v?(\d+(?:\.\d+)*)(?:(a|b|rc)(\d+))?(?:\.post(\d+))?(?:\.dev(\d+))?(?:\+[a-z0-9.]+)?", re.ASCII
)


class _NotReplacedError(Exception):
    """The old daemon goes on; the text says why."""


def is_newer(version: object, than: object) -> bool:
    """Tell whether *version* is known to be newer; what cannot be read as a version never is."""
    newer, older = _order(version), _order(than)
    return newer is not None and older is not None and newer > older


def is_replaceable(fields: Mapping[str, object]) -> bool:
    """Tell whether a daemon that says *fields* of itself runs older code of this very installation."""
    return fields.get("installation") == installation() and is_newer(__version__, fields.get("version"))


def replace_daemon(state: str, command: Sequence[str], say: Callable[[str], None]) -> Reaching:
    """Ask the older daemon of *state* to copy the database, drain and end; start ours, and return a connection to it.

    If the old one cannot be asked or does not end in time, a connection to whatever serves then.

    Args:
        state: the directory that the daemon is for.
        command: what starts a daemon.
        say: tells the user something.

    Raises:
        DaemonStartError: the old daemon ended, and the new one did not come up.
        RendezvousError: the meeting place is not this user's alone.
        OSError: the system refused.
    """
    lock = open_turn(state)
    try:
        deadline = monotonic() + _TURN_SECONDS
        while not take_turn(lock):
            if monotonic() > deadline:
                return (yield from start_daemon(state, command))
            yield None, LOOK_AGAIN_SECONDS
        ended: tuple[object, dict[str, object]] | None = None
        try:
            ended = yield from _end_older(state)
        except (_NotReplacedError, OSError) as problem:
            say(f"the daemon was not replaced by version {__version__}, and goes on: {problem}; run `workroot upgrade`")
        try:
            connection = yield from start_in_turn(state, command)
        except DaemonStartError:
            if ended is not None:
                say(f"version {__version__} did not come up in place of {ended[0]}; {way_back(*ended)}")
            raise
        if ended is not None:
            say(f"version {__version__} runs in place of {ended[0]}, since workroot was upgraded; {way_back(*ended)}")
        return connection
    finally:
        os.close(lock)


def way_back(version: object, backup: Mapping[str, object]) -> str:
    """Return how to get back to *version* of this same installation, and to the database as it was then."""
    return (
        f"to go back, install workroot {version} here again, then run: "
        f"'{backup.get('python')}' -I -m workroot upgrade --restore '{backup.get('path')}'"
    )


def _end_older(state: str) -> Generator[Pause, None, tuple[object, dict[str, object]] | None]:
    """End the daemon if it is still an older one; return its version and what it said of its copy of the database."""
    connection = connect_nowait(state)
    if connection is None:
        return None
    try:
        control = _Control(connection)
        try:
            hello = parse_hello((yield from control.exchange(hello_line(role="control", version=__version__))))
        except ValueError as problem:
            raise _NotReplacedError(str(problem)) from None
        if not is_replaceable(hello):
            return None  # somebody was faster
        backup = yield from control.ask("backup")
        yield from control.ask("stop")
    finally:
        connection.close()
    deadline = monotonic() + _END_SECONDS
    while is_instance_held(instance_lock_path(state)):
        if monotonic() > deadline:
            raise _NotReplacedError(f"it was asked to stop, and has not ended after {_END_SECONDS:.0f} s")
        yield None, LOOK_AGAIN_SECONDS
    return hello.get("version"), backup


class _Control:
    """Control requests on a connection that does not block."""

    def __init__(self, connection: socket) -> None:
        self._connection = connection
        self._splitter = LineSplitter()
        self._lines: list[bytes] = []

    def ask(self, command: str) -> Generator[Pause, None, dict[str, object]]:
        """Return the result of *command*.

        Raises:
            _NotReplacedError: the daemon refuses, or does not answer.
        """
        line = yield from self.exchange(json.dumps({"command": command, "arguments": {}}).encode() + b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and isinstance(result := answer.get("result"), dict):
            return result
        error = answer.get("error") if isinstance(answer, dict) else None
        problem = error.get("message") if isinstance(error, dict) else "its answer is not one"
        raise _NotReplacedError(f"asked for {command!r}, it says: {problem}")

    def exchange(self, line: bytes) -> Generator[Pause, None, bytes]:
        """Send *line*, which fits into any socket, and return the next one."""
        self._connection.send(line)
        deadline = monotonic() + _ANSWER_SECONDS
        while not self._lines:
            if (left := deadline - monotonic()) <= 0:
                raise _NotReplacedError(f"it does not answer within {_ANSWER_SECONDS:.0f} s")
            yield self._connection.fileno(), left
            try:
                piece = self._connection.recv(_PIECE_BYTES)
            except BlockingIOError:
                continue
            if not piece:
                raise _NotReplacedError("it hung up")
            self._lines += [each for each in self._splitter.feed(piece) if isinstance(each, bytes)]
        return self._lines.pop(0)


def _order(version: object) -> tuple[object, ...] | None:
    """Return a key that sorts as versions do, or None for what is not one."""
    match = _VERSION.fullmatch(version) if isinstance(version, str) and len(version) <= _LONGEST_VERSION else None
    if match is None:
        return None
    release = [int(number) for number in match[1].split(".")]
    while release and not release[-1]:
        release.pop()
    stage = (match[2], int(match[3])) if match[2] else ("", 0) if match[5] and not match[4] else ("z", 0)
    after = int(match[4]) if match[4] else -1
    return release, stage, after, match[5] is None, int(match[5] or 0)
