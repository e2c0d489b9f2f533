"""Daemons that answer control requests as no daemon should, at the place where a home's daemon would be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from real_daemon import Home

from workroot import rendezvous

Serve = Callable[["Peer"], Awaitable[None]]


class Peer:
    """A client, seen from the daemon's side.

    Attributes:
        hello: the fields of its first line.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.hello: dict[str, Any] = {}

    async def greet(self, **fields: object) -> None:
        """Take the client's hello, and say ours."""
        self.hello = await self.receive()
        self.send_bytes(rendezvous.hello_line(version="9.9", **fields))

    async def receive(self) -> dict[str, Any]:
        """Return the next line; raises `EOFError` at the end."""
        if not (line := await self._reader.readline()):
            raise EOFError
        received: dict[str, Any] = json.loads(line)
        return received

    def send(self, **fields: object) -> None:
        self.send_bytes(json.dumps(fields).encode() + b"\n")

    def answer(self, request: dict[str, Any], value: object) -> None:
        """Answer an operation of sessions."""
        self.send(id=request["id"], result={"value": value, "is_reach_bounded": False})

    def send_bytes(self, line: bytes) -> None:
        self._writer.write(line)

    async def drain(self) -> None:
        await self._writer.drain()


@asynccontextmanager
async def fake_daemon(home: Home, serve: Serve) -> AsyncIterator[list[Peer]]:
    """Let *serve* talk to whoever connects; its end closes the connection. Yields who came."""
    came: list[Peer] = []
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = Peer(reader, writer)
        came.append(peer)
        try:
            await serve(peer)
        except (EOFError, ConnectionError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    path = rendezvous.prepare_meeting_place(str(home.state))
    server = await asyncio.start_unix_server(converse, path)
    try:
        yield came
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
