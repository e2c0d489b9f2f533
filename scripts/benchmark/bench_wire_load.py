"""The clients of the wire benchmark, all in one lean process: bytes out, bytes in, and the time between.

`connectors` drives `workroot connect` processes over their pipes; `http` drives two HTTP servers in turns over
connections that are kept open. A client has one call under way at a time. What is to be sent comes as JSON on
standard input, the times in milliseconds go as JSON to standard output: an SDK client would be slower than what it
measures.
"""

from __future__ import annotations

import asyncio
import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from typing import Any, cast

import uvloop

MODERN = "2026-07-28"
HANDSHAKE = "2025-11-25"
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}
_SLOWEST_SECONDS = 30.0


def request(number: int, method: str, params: dict[str, Any], era: str) -> bytes:
    """Return a request as a client of *era* sends it."""
    given = {**params, "_meta": _META} if era == MODERN else params
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": given}).encode()


def call(number: int, tool: str, arguments: dict[str, str], era: str) -> bytes:
    """Return a tool call."""
    return request(number, "tools/call", {"name": tool, "arguments": arguments}, era)


def initialize() -> bytes:
    """Return what a client of the handshake era says first."""
    client = {"name": "bench", "version": "1"}
    return request(0, "initialize", {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": client}, HANDSHAKE)


INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'


class Connector:
    """A stdio server, and a client that calls one tool of it, `set_working_directory` with its directories in turn.

    The server may be a connector, or one that the figures of connectors stand beside.
    """

    def __init__(
        self, command: list[str], directories: list[str], tool: str, era: str, arguments: dict[str, str] | None = None
    ) -> None:
        self._process = subprocess.Popen(
            command, cwd=directories[0], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self.descriptor = self._out.fileno()
        self._read = b""
        self._era, self._tool, self._arguments = era, tool, arguments or {}
        self._requests = self._made(directories)
        self.began = 0.0

    def _made(self, directories: list[str]) -> Iterator[bytes]:
        arguments = dict(self._arguments)
        if self._era == MODERN and self._tool == "set_working_directory":
            arguments["session_id"] = self._opened(directories[0])
        for number in count(1):
            if self._tool == "set_working_directory":
                arguments["directory"] = directories[number % len(directories)]
            yield call(number, self._tool, arguments, self._era) + b"\n"

    def _opened(self, directory: str) -> str:
        answer = self._ask(call(0, "set_working_directory", {"directory": directory}, self._era))
        return str(json.loads(answer)["result"]["structuredContent"]["session_id"])

    def open(self) -> None:
        """Do what comes before the first call that is measured."""
        if self._era == HANDSHAKE:
            self._ask(initialize())
            self._in.write(INITIALIZED + b"\n")

    def send(self) -> None:
        """Send the next call."""
        line = next(self._requests)
        self.began = time.perf_counter()
        self._in.write(line)

    def receive(self) -> bytes | None:
        """Return the answer, if it is here whole."""
        piece = self._out.read(1 << 16)
        if not piece:
            raise EOFError("a connector ended")
        self._read += piece
        if not self._read.endswith(b"\n"):
            return None
        answer, self._read = self._read, b""
        return answer

    def _ask(self, message: bytes) -> bytes:
        self._in.write(message + b"\n")
        while (answer := self.receive()) is None:
            pass
        return answer

    def close(self) -> None:
        """End it."""
        self._in.close()
        self._process.wait(timeout=10)
        self._out.close()


def drive_connectors(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Let clients call as fast as they are answered: all at a time, or in turns; the seconds and each call's time."""
    connectors = [Connector(**client) for client in plan["clients"]]
    call_them = _call_in_turns if plan["in_turns"] else _call_all
    try:
        for connector in connectors:
            connector.open()
        call_them(connectors, plan["warm_seconds"])
        return call_them(connectors, plan["seconds"])
    finally:
        for connector in connectors:
            connector.close()


def _call_in_turns(connectors: list[Connector], seconds: float) -> list[dict[str, Any]]:
    """Have one call under way, of one client after the other; return what each found."""
    found: list[dict[str, Any]] = [{"seconds": 0.0, "times": [], "failures": 0} for _ in connectors]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for connector, theirs in zip(connectors, found, strict=True):
            connector.send()
            while (answer := connector.receive()) is None:
                pass
            took = time.perf_counter() - connector.began
            theirs["seconds"] += took
            theirs["times"].append(took * 1000)
            theirs["failures"] += _is_failure(answer)
    return found


def _is_failure(answer: bytes) -> bool:
    return b'"structuredContent"' not in answer or b'"isError":true' in answer


def _call_all(connectors: list[Connector], seconds: float) -> list[dict[str, Any]]:
    """Have one call of each client under way; return what all of them found together."""
    times, poll = [], select.epoll()
    known = {connector.descriptor: connector for connector in connectors}
    began = time.perf_counter()
    end, waiting = began + seconds, len(connectors)
    for connector in connectors:
        poll.register(connector.descriptor, select.EPOLLIN)
        connector.send()
    failures = 0
    while waiting:
        ready = poll.poll(_SLOWEST_SECONDS)
        if not ready:
            raise TimeoutError("no answer came")
        for descriptor, _ in ready:
            connector = known[descriptor]
            if (answer := connector.receive()) is None:
                continue
            now = time.perf_counter()
            times.append((now - connector.began) * 1000)
            failures += _is_failure(answer)
            if now < end:
                connector.send()
            else:
                waiting -= 1
    took = time.perf_counter() - began
    poll.close()
    return [{"seconds": took, "times": times, "failures": failures}]


class HttpClient(asyncio.Protocol):
    """One connection that is kept open; knows of HTTP what these servers send."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._transport: asyncio.Transport | None = None
        self._read = b""
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(EOFError("a server hung up"))

    def data_received(self, data: bytes) -> None:
        self._read = self._read + data if self._read else data
        head, blank, body = self._read.partition(b"\r\n\r\n")
        if not blank:
            return
        lower = head.lower()
        if (at := lower.find(b"content-length:")) >= 0:
            is_whole = len(body) >= int(lower[at + 15 :].split(b"\r\n", 1)[0])
        else:
            is_whole = body.endswith(b"0\r\n\r\n")
        if is_whole and self._answer is not None:
            answer, self._read = self._read, b""
            self._answer.set_result(answer)

    async def post(self, body: bytes, extra: bytes = b"") -> bytes:
        """Send one request, and return the answer, its head included."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        head = b"%bcontent-length: %d\r\n%b\r\n" % (self._head, len(body), extra)
        self._transport.write(head + body)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class HttpUser:
    """A client of one server: its connection and, in the handshake era, its session."""

    def __init__(self, server: dict[str, Any], era: str) -> None:
        self._server, self._era = server, era
        head = f"POST {server['path']} HTTP/1.1\r\nhost: 127.0.0.1:{server['port']}\r\n"
        head += "accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in server["headers"].items())
        self._client = HttpClient(head.encode())
        self._extra = f"mcp-protocol-version: {era}\r\n"
        if era == MODERN:
            self._extra += f"mcp-method: tools/call\r\nmcp-name: {server['tool']}\r\n"
        self._numbers = count(1)

    async def open(self) -> None:
        """Connect, and do what comes before the first call."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._client, "127.0.0.1", self._server["port"])
        if self._era == HANDSHAKE:
            answer = await self._client.post(initialize())
            fields = {
                name.lower(): value for name, _, value in (line.partition(b": ") for line in answer.split(b"\r\n"))
            }
            self._extra += f"mcp-session-id: {fields[b'mcp-session-id'].decode()}\r\n"
            await self._client.post(INITIALIZED, self._extra.encode())

    async def call_until(self, end: float, times: list[float], failures: list[bytes]) -> None:
        """Call until *end*; note how long each call took, and what was no answer."""
        extra = self._extra.encode()
        while (began := time.perf_counter()) < end:
            body = call(next(self._numbers), self._server["tool"], self._server["arguments"], self._era)
            answer = await self._client.post(body, extra)
            times.append((time.perf_counter() - began) * 1000)
            if not answer.startswith(b"HTTP/1.1 200") or b'"result"' not in answer or b'"isError":true' in answer:
                failures.append(answer)

    def close(self) -> None:
        self._client.close()


async def drive_http(plan: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Call each server for some seconds, in turns; return each one's rounds."""
    users = [[HttpUser(server, plan["era"]) for _ in range(plan["connections"])] for server in plan["servers"]]
    for theirs in users:
        for user in theirs:
            await user.open()
    for theirs in users:
        await _call_http(theirs, plan["warm_seconds"])
    rounds: list[list[dict[str, Any]]] = [[] for _ in users]
    for number in range(plan["rounds"]):
        order = list(enumerate(users))
        for which, theirs in order if number % 2 == 0 else reversed(order):
            rounds[which].append(await _call_http(theirs, plan["seconds"]))
    for theirs in users:
        for user in theirs:
            user.close()
    return rounds


async def _call_http(users: list[HttpUser], seconds: float) -> dict[str, Any]:
    times: list[float] = []
    failures: list[bytes] = []
    began = time.perf_counter()
    await asyncio.gather(*(user.call_until(began + seconds, times, failures) for user in users))
    if failures:
        print(f"{len(failures)} calls failed, the first: {failures[0][:2000]!r}", file=sys.stderr)
    return {"seconds": time.perf_counter() - began, "times": times, "failures": len(failures)}


def main() -> None:
    """Carry out the plan."""
    plan = json.load(sys.stdin)
    if sys.argv[1] == "http":
        found: object = uvloop.run(drive_http(plan))
    else:
        found = drive_connectors(plan)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
