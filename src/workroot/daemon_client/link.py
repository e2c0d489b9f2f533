"""One connection to the daemon that carries many calls at once.

Each line out has an id, and its answer comes back under it whenever it is ready. What is in flight when the connection
ends fails, and is never sent again: nobody knows whether it was done. A daemon that ends in order says so when it has
answered all that it had begun; what it did not answer can go to the next one.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from workroot.daemon_client.line_socket import LineSocket
from workroot.errors import ControlError, DaemonUnavailableError
from workroot.rendezvous import parse_hello
from workroot.wire_values.errors import error_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from workroot.errors import WorkrootError

__all__ = ["Link", "LinkClosedError"]

_LONGEST_ANSWER = 16 * 1024 * 1024
_AT_ONCE = 64  # the daemon answers as many beside each other; further ones wait here, where they can still be let go
_LONGEST_REQUEST = 512 * 1024  # what the daemon takes of one that is answered beside others
_MOST_UNSENT = _AT_ONCE * _LONGEST_REQUEST  # of calls that were given up, too: a daemon may be suspended for long


class LinkClosedError(Exception):
    """The connection ended before the daemon began with a call; that can be sent over another one."""


_Answer: TypeAlias = "Mapping[str, Any] | WorkrootError | LinkClosedError"


class Link:
    """An open connection, of the event loop that made it.

    Args:
        connection: to the daemon, non-blocking; closed with the link.
        path: of the socket, for errors.
        answer_seconds: how long each caller waits in all, for errors.

    Attributes:
        version: the daemon's, once it said hello.
    """

    def __init__(self, connection: socket.socket, path: str, answer_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._path, self._answer_seconds = path, answer_seconds
        self._lines = LineSocket(connection, take=self._take, lost=self._end_gone, longest=_LONGEST_ANSWER)
        self._room = anyio.Semaphore(_AT_ONCE, fast_acquire=True)
        self._waiting: dict[int, asyncio.Future[_Answer]] = {}
        self._last_id = 0
        self._greeting: asyncio.Future[_Answer] | None = None
        self.version = "unknown"

    async def greet(self, line: bytes, *, until: float) -> None:
        """Say hello, and wait for the daemon's.

        Args:
            line: ours.
            until: when to give up, on the event loop's clock.

        Raises:
            ControlError: what listens there does not speak this protocol.
            DaemonUnavailableError: it refused, went away, or did not answer in time.
        """
        self._greeting = self._loop.create_future()
        self._lines.send(line)
        hello = await self._answer_of(self._greeting, until, "the daemon did not answer")
        if isinstance(problem := hello.get("error"), str):
            raise DaemonUnavailableError(self._path, f"the daemon let this program not in ({problem[:200]})")
        self.version = str(hello.get("version", self.version))[:40]

    async def ask(self, command: str, arguments: Mapping[str, object], *, what: str, until: float) -> Mapping[str, Any]:
        """Return the daemon's result for a command.

        Args:
            command: the daemon's name for it.
            arguments: JSON.
            what: the caller's name for it, for errors.
            until: when to give up, on the event loop's clock; the daemon is told to, too.

        Raises:
            ControlError: it cannot be asked, or the answer is not one.
            DaemonUnavailableError: the daemon went away, or did not answer in time; whether it was done is not known.
            LinkClosedError: it had gone away before, or has not begun with it.
            WorkrootError: the daemon refused.
        """
        await self._take_room(what, until)
        try:
            if not self._waiting:
                self._lines.receive()  # it may have gone away while this loop did not look
            if not self._lines.is_open:
                raise LinkClosedError
            result = await self._exchange(command, arguments, what=what, until=until)
        finally:
            self._room.release()
        return self._result_of(result, what)

    async def _exchange(
        self, command: str, arguments: Mapping[str, object], *, what: str, until: float
    ) -> Mapping[str, Any]:
        if self._lines.unsent > _MOST_UNSENT:
            await checkpoint()  # a caller who tries again and again lets the daemon have its turn
            problem = f"{what} was not sent: the daemon does not read what it was asked before"
            raise DaemonUnavailableError(self._path, problem)
        self._last_id = number = self._last_id + 1
        line = _line_of(number, command, arguments, what)
        self._waiting[number] = answer = self._loop.create_future()
        try:
            if not self._lines.send(line):
                raise LinkClosedError
            return await self._answer_of(answer, until, f"the daemon did not answer {what}")
        finally:
            if self._waiting.pop(number, None) is not None:  # no answer came
                self._withdraw(number)

    async def _take_room(self, what: str, until: float) -> None:
        try:
            self._room.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(until - self._loop.time()):
                await self._room.acquire()
                return
            problem = f"{what} was not sent: too many calls wait for the daemon"
            raise DaemonUnavailableError(self._path, problem) from None

    def close(self, problem: str = "this program closed the connection") -> None:
        """End the connection, and fail what is in flight. Idempotent."""
        self._end(lambda: DaemonUnavailableError(self._path, problem))

    @property
    def is_open(self) -> bool:
        """Whether it may still be used."""
        return self._lines.is_open

    def _withdraw(self, number: int) -> None:
        """Tell the daemon that nobody waits for a call any more."""
        self._lines.send(json.dumps({"cancel": number}).encode() + b"\n")

    # In

    async def _answer_of(self, answer: asyncio.Future[_Answer], until: float, problem: str) -> Mapping[str, Any]:
        timer = self._loop.call_at(until, self._expire, answer, f"{problem} within {self._answer_seconds:g} s")
        try:
            found = await answer
        finally:
            timer.cancel()
        if isinstance(found, Exception):
            raise found
        return found

    def _expire(self, answer: asyncio.Future[_Answer], problem: str) -> None:
        if not answer.done():
            answer.set_result(DaemonUnavailableError(self._path, problem))

    def _take(self, line: bytes) -> None:
        answer: object
        try:
            answer = parse_hello(line) if self._greeting is not None else json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            self._end_misunderstood()
        elif self._greeting is not None:
            greeting, self._greeting = self._greeting, None
            _tell(greeting, answer)
        elif isinstance(number := answer.get("id"), int):
            if (asked := self._waiting.pop(number, None)) is not None:  # else nobody waits for it any more
                _tell(asked, answer)
        elif answer.get("ending") is True:
            self._end(LinkClosedError)
        elif isinstance(error := answer.get("error"), dict):  # of a daemon that knows no ids, or a line that it refused
            for asked in self._waiting.values():
                _tell(asked, {"error": error})
            self._waiting.clear()
        else:
            self._end_misunderstood()

    def _result_of(self, answer: Mapping[str, Any], what: str) -> Mapping[str, Any]:
        if isinstance(result := answer.get("result"), dict):
            return result
        if not isinstance(error := answer.get("error"), dict):
            raise ControlError(f"the daemon at {self._path} answered {what} with what is not an answer")
        if error.get("code") in ("unknown_command", "unknown_operation"):
            raise ControlError(
                f"the daemon (workroot {self.version}) is too old for {what}: run `workroot upgrade` and try again",
                str(error["code"]),
            )
        raise error_of(error)

    # The end

    def _end_gone(self, error: OSError | ValueError | None) -> None:
        if isinstance(error, ValueError):
            self._end(lambda: ControlError(f"the daemon at {self._path} answered without an end"))
            return
        why = f" ({error.strerror or error})" if error is not None else ""
        problem = f"the daemon went away{why}; whether it did what was under way is not known. None answers"
        self._end(lambda: DaemonUnavailableError(self._path, problem))

    def _end_misunderstood(self) -> None:
        problem = f"what answers at {self._path} is no workroot daemon: look what listens there, end it and try again"
        self._end(lambda: ControlError(problem))

    def _end(self, error: Callable[[], WorkrootError | LinkClosedError]) -> None:
        self._lines.close()
        failed = [*self._waiting.values(), *([self._greeting] if self._greeting is not None else [])]
        self._waiting.clear()
        self._greeting = None
        for each in failed:
            _tell(each, error())


def _line_of(number: int, command: str, arguments: Mapping[str, object], what: str) -> bytes:
    line = json.dumps({"id": number, "command": command, "arguments": arguments}).encode() + b"\n"
    if len(line) > _LONGEST_REQUEST:
        raise ControlError(f"{what} takes {len(line)} bytes to ask; at most {_LONGEST_REQUEST} may be sent")
    return line


def _tell(asked: asyncio.Future[_Answer], answer: _Answer) -> None:
    if not asked.done() and not asked.get_loop().is_closed():
        asked.set_result(answer)
