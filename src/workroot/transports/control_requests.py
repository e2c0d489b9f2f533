"""Control requests of one connection: of the command line one after another, of programs many at once.

A request with an `id` is answered under it as soon as that can be, whatever came before it; `{"cancel": id}` ends it,
and so does hanging up. Requests without one are answered in their order, before anything else is read. A daemon that
ends answers what it has begun, and says `{"ending": true}`: what has no answer by then was not done.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from workroot.errors import WorkrootError
from workroot.transports.lines import LineTooLongError
from workroot.transports.places import since
from workroot.wire_values.errors import fields_of_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from workroot.limits import Limits
    from workroot.logs.loop_errors import Seldom
    from workroot.transports.lines import LineReader
    from workroot.transports.places import Place

__all__ = ["ControlRequests"]

logger = logging.getLogger(__name__)

_RESERVED_SECONDS = 60.0  # how long a place of the command line may be held without a question
_LONGEST_COMMAND = 40  # in the log
_LONGEST_ID = 64
_MOST_BYTES_AT_ONCE = 512 * 1024  # of a request that is answered beside others; those of 64 KiB of metadata fit in


class ControlRequests:
    """Answers the requests of one connection until it ends.

    Args:
        lines: come from the client.
        say: sends one line to it; raises `anyio.BrokenResourceError` if it does not take it.
        perform: answers a command, given its name and arguments.
        place: the connection's.
        limits: how many are answered at once.
        seldom: keeps the log from filling.
    """

    def __init__(
        self,
        lines: LineReader,
        say: Callable[[bytes], Awaitable[None]],
        perform: Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]],
        *,
        place: Place,
        limits: Limits,
        seldom: Seldom,
    ) -> None:
        self._lines, self._say, self._perform = lines, say, perform
        self._place, self._seldom = place, seldom
        self._room = anyio.Semaphore(limits.max_requests_in_flight, fast_acquire=True)
        self._speaking = anyio.Lock(fast_acquire=True)
        self._under_way: dict[int | str, asyncio.Task[None]] = {}
        self._reading = anyio.CancelScope()
        self._is_finishing, self._is_broken_off, self._is_over = False, False, anyio.Event()
        self._working: set[int | str] = set()  # those of them that nothing was told of yet

    async def serve(self) -> None:
        """Read requests and answer them, until the client hangs up or does not read its answers.

        What it asked for and has not been told by then is given up.
        """
        self._lines.on_line = self._place.note_asked
        self._place.is_busy = lambda: bool(self._under_way)
        try:
            async with asyncio.TaskGroup() as tasks:  # half of what one of anyio costs a request
                with self._reading, suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    await self._read(tasks)
                if not self._is_finishing:
                    for task in tuple(self._under_way.values()):
                        task.cancel()
            if self._is_finishing and not self._is_broken_off:
                await self._tell({"ending": True})
        finally:
            self._is_over.set()

    async def finish(self) -> None:
        """Read nothing more, and return when all that was begun is answered; then the connection ends."""
        self._is_finishing = True
        self._reading.cancel()
        await self._is_over.wait()

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                if not self._place.is_reserved:
                    line = await self._lines.receive()
                else:
                    with anyio.fail_after(_RESERVED_SECONDS):
                        line = await self._lines.receive()
            except TimeoutError:
                return
            except LineTooLongError as error:
                await self._tell({"error": _fields("invalid_request", str(error))})
                return
            self._lines.done()
            match _parsed(line):
                case {"cancel": int() | str() as request_id}:
                    if request_id in self._working:
                        self._under_way[request_id].cancel()
                case {"command": str() as command, "arguments": dict() as arguments, "id": int() | str() as request_id}:
                    if problem := self._problem_of(line, request_id):
                        await self._tell({"id": request_id, "error": _fields("invalid_request", problem)})
                        continue
                    await self._room.acquire()
                    self._working.add(request_id)
                    task = tasks.create_task(self._answer_beside(command, arguments, request_id))
                    self._under_way[request_id] = task
                    task.add_done_callback(partial(self._forget, request_id))
                case {"command": str() as command, "arguments": dict() as arguments}:
                    await self._send(await self._answer(command, arguments, {}))
                case _:
                    await self._tell({"error": _fields("invalid_request", "this is not a control request")})

    def _problem_of(self, line: bytes, request_id: int | str) -> str | None:
        if request_id in self._under_way:
            return "a request of this id is under way"
        if len(str(request_id)) > _LONGEST_ID:
            return f"an id may have {_LONGEST_ID} characters at most"
        if len(line) > _MOST_BYTES_AT_ONCE:
            return f"a request with an id may have {_MOST_BYTES_AT_ONCE} bytes at most"
        return None

    async def _answer_beside(self, command: str, arguments: dict[str, Any], request_id: int | str) -> None:
        """Answer a request while others are read; what is told is told whole, so only the work can be cancelled."""
        line = await self._answer(command, arguments, {"id": request_id})
        self._working.discard(request_id)
        try:
            await self._send(line)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._reading.cancel()

    def _forget(self, request_id: int | str, _task: asyncio.Task[None]) -> None:
        """Let another request have the room of one that has ended, even if it never began."""
        self._working.discard(request_id)
        del self._under_way[request_id]
        self._room.release()

    async def _tell(self, answer: Mapping[str, Any]) -> None:
        await self._send(_line(answer))

    async def _send(self, line: bytes) -> None:
        async with self._speaking:
            try:
                await self._say(line)
            except BaseException:
                self._is_broken_off = True  # half a line may be out: nothing can be said here any more
                raise

    async def _answer(self, command: str, arguments: dict[str, Any], under: Mapping[str, Any]) -> bytes:
        """Return the line that answers a request, with the fields *under* which it is to be found."""
        try:
            return _line({**under, **await self._outcome(command, arguments)})
        except Exception:  # a boundary: one command's fault ends neither the connection nor the daemon
            self._note_failed(command)
            problem = f"the command {command!r} failed; the daemon's log says why"
            return _line({**under, "error": _fields("internal_error", problem)})

    async def _outcome(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"result": await self._perform(command, arguments)}
        except WorkrootError as error:
            return {"error": fields_of_error(error)}
        except TypeError:  # what a command raises for arguments that are not its, and a fault of ours may too
            self._note_failed(command)
            return {"error": _fields("invalid_request", f"the arguments are not those of the command {command!r}")}

    def _note_failed(self, command: str) -> None:
        if (untold := self._seldom.is_due(("control", command[:_LONGEST_COMMAND]))) is not None:
            logger.exception("the control command %r failed%s", command[:_LONGEST_COMMAND], since(untold))


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _line(answer: Mapping[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def _fields(code: str, problem: str) -> dict[str, str]:
    return {"code": code, "message": problem}
