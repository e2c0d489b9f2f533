"""A client over HTTP that writes its requests by hand, in the handshake era, and a home whose daemon it speaks to."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
from real_daemon import DEADLINE_SECONDS, HANDSHAKE_VERSION, Home, open_home

from workroot.identity import TokenFile

__all__ = ["UNLIMITED", "Hand", "Stream", "hands", "messages", "serving"]

UNLIMITED = {"WORKROOT_REQUESTS_PER_SECOND": "100000", "WORKROOT_REQUEST_BURST": "100000"}


@contextmanager
def serving(**settings: str) -> Iterator[Home]:
    """Open a home whose daemon serves HTTP, with further settings; nobody takes its port while it restarts."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    with open_home(WORKROOT_HTTP="1", WORKROOT_HTTP_PORT=port, **UNLIMITED, **settings) as made:
        made.start()
        yield made


class Stream:
    """An open response of events."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        """Return the next message."""
        with anyio.fail_after(DEADLINE_SECONDS):
            async for line in self._lines:
                if line.startswith("data: {"):
                    message: dict[str, Any] = json.loads(line.removeprefix("data: "))
                    return message
        raise AssertionError("the stream has ended")


class Hand:
    """A client that writes its requests by hand, and keeps what a client keeps: the URL, a token and the id."""

    def __init__(self, http: httpx2.AsyncClient, url: str, token: str) -> None:
        self._http, self._url = http, url
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
        self._count = 0
        self.session_id = ""

    def headers(self, **more: str) -> dict[str, str]:
        session = {"Mcp-Session-Id": self.session_id} if self.session_id else {}
        return {**self._headers, **session, **more}

    async def say(self, message: dict[str, Any], **headers: str) -> httpx2.Response:
        said = {"jsonrpc": "2.0", **message}
        return await self._http.post(self._url, json=said, headers=self.headers(**headers))

    async def ask(self, method: str, params: dict[str, Any] | None = None, **headers: str) -> httpx2.Response:
        self._count += 1
        return await self.say({"id": self._count, "method": method, "params": params or {}}, **headers)

    async def open(self, capabilities: dict[str, Any] | None = None, name: str = "hand") -> None:
        """Do the handshake."""
        client = {"name": name, "version": "1"}
        params = {"protocolVersion": HANDSHAKE_VERSION, "capabilities": capabilities or {}, "clientInfo": client}
        response = await self.ask("initialize", params)
        assert response.status_code == 200
        assert messages(response)[0]["result"]["protocolVersion"] == HANDSHAKE_VERSION
        self.session_id = response.headers["Mcp-Session-Id"]
        assert (await self.say({"method": "notifications/initialized"})).status_code == 202

    async def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool that has to succeed."""
        response = await self.ask("tools/call", {"name": tool, "arguments": arguments})
        assert response.status_code == 200, response.text
        content: dict[str, Any] = messages(response)[-1]["result"]["structuredContent"]
        return content

    async def delete(self) -> int:
        return (await self._http.delete(self._url, headers=self.headers())).status_code

    async def announce(self, length: int) -> int:
        """Begin a request with a body of so many bytes, send none of it, and return the status of the answer."""
        url = urlsplit(self._url)
        assert url.hostname is not None
        assert url.port is not None
        head = {"Host": url.netloc, "Content-Type": "application/json", "Content-Length": length, **self.headers()}
        lines = [f"POST {url.path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        async with await anyio.connect_tcp(url.hostname, url.port) as stream:
            await stream.send("\r\n".join(lines).encode())
            with anyio.fail_after(DEADLINE_SECONDS):
                return int((await stream.receive()).split(b" ", 2)[1])

    @asynccontextmanager
    async def posted(self, message: dict[str, Any]) -> AsyncIterator[Stream]:
        """Open the stream that answers a request."""
        said = {"jsonrpc": "2.0", **message}
        async with self._http.stream("POST", self._url, json=said, headers=self.headers()) as response:
            yield Stream(response)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Stream]:
        """Open the standing stream."""
        async with self._http.stream("GET", self._url, headers=self.headers()) as response:
            assert response.status_code == 200
            yield Stream(response)


def messages(response: httpx2.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines()]
    return [json.loads(line) for line in lines if line.startswith("{")]


@asynccontextmanager
async def hands(home: Home, count: int = 1, *, user: str | None = None) -> AsyncIterator[list[Hand]]:
    tokens = TokenFile(home.state / "tokens.json")
    token = tokens.create(f"t{len(tokens.list())}", user)
    url = home.ask("status")["http"]["url"]
    async with httpx2.AsyncClient(timeout=DEADLINE_SECONDS) as http:
        yield [Hand(http, url, token) for _ in range(count)]
