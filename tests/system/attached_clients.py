"""Starts attached servers as processes, and opens real clients of them, in both eras."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx2
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.session import ElicitationFnT, ListRootsFnT
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Implementation, ListRootsResult, RequestParamsMeta, Root, TextContent
from pydantic import FileUrl, UrlConstraints
from real_daemon import DEADLINE_SECONDS, Home, Roots

__all__ = [
    "EXAMPLES",
    "SERVER",
    "HttpServer",
    "claiming",
    "error_of",
    "http_server",
    "meta_of",
    "open_http",
    "stdio_client",
    "text_of",
]

SERVER = str(Path(__file__).with_name("attached_server.py"))
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

_RUNNING = re.compile(rb"running on (http://127\.0\.0\.1:\d+)")


def stdio_client(
    home: Home,
    mode: str,
    directory: Path,
    *,
    program: str | Path = SERVER,
    name: str = "ada",
    roots: Roots | None = None,
    elicited: ElicitationFnT | None = None,
    environment: Mapping[str, str] | None = None,
    **options: object,
) -> Client:
    """Return a client that starts a server of its own in *directory*; enter it with `async with`."""
    parameters = StdioServerParameters(
        command=sys.executable,
        args=[str(program), json.dumps(options)],
        cwd=directory,
        env={"PWD": "", **home.environment, **(environment or {})},
    )
    return Client(
        parameters,
        mode=mode,
        client_info=Implementation(name=name, version="1"),
        list_roots_callback=_answering(roots) if roots is not None else None,
        elicitation_callback=elicited,
        read_timeout_seconds=DEADLINE_SECONDS,
    )


@dataclass(frozen=True)
class HttpServer:
    url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)


@contextmanager
def http_server(home: Home, *, program: str | Path = SERVER, **options: object) -> Iterator[HttpServer]:
    """Run a server over HTTP; at the end it is told to stop, and does."""
    arguments = [sys.executable, str(program), json.dumps({"transport": "http", **options})]
    directory = home.environment["HOME"]
    with subprocess.Popen(arguments, env=home.environment, cwd=directory, stderr=subprocess.PIPE, bufsize=0) as process:
        try:
            yield HttpServer(_url(process), process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.communicate(timeout=DEADLINE_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise


def _url(process: subprocess.Popen[bytes]) -> str:
    """Return where it says that it listens."""
    assert process.stderr is not None
    said, deadline = b"", time.monotonic() + DEADLINE_SECONDS
    while (found := _RUNNING.search(said)) is None:
        assert select.select([process.stderr], [], [], max(0, deadline - time.monotonic()))[0], said.decode()
        part = os.read(process.stderr.fileno(), 65536)  # not by lines: a second one would stay in a buffer, unseen
        assert part, said.decode()
        said += part
    return f"{found[1].decode()}/mcp"


@asynccontextmanager
async def open_http(
    url: str,
    mode: str,
    *,
    token: str | None = None,
    directory: Path | None = None,
    headers: Mapping[str, str] | None = None,
    roots: Roots | None = None,
) -> AsyncIterator[Client]:
    """Open a client over HTTP that says by a header in which directory it works."""
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    if directory is not None:
        sent["Workroot-Directory"] = str(directory)
    async with httpx2.AsyncClient(headers=sent) as http:
        transport = streamable_http_client(url, http_client=http)
        callback = _answering(roots) if roots is not None else None
        async with Client(
            transport, mode=mode, list_roots_callback=callback, read_timeout_seconds=DEADLINE_SECONDS
        ) as client:
            yield client


def text_of(result: CallToolResult) -> str:
    """Return the text of a result that is no error."""
    [content] = result.content
    assert isinstance(content, TextContent)
    assert not result.is_error, content.text
    return content.text


def error_of(result: CallToolResult) -> tuple[str, str]:
    """Return the code and the text of a result that is an error."""
    [content] = result.content
    assert isinstance(content, TextContent)
    assert result.is_error, content.text
    return (result.meta or {})["workroot/error"]["code"], content.text


def claiming(session: str) -> RequestParamsMeta:
    """Return the `_meta` of a call that names its session."""
    return cast("RequestParamsMeta", {"workroot/session": session})


def meta_of(result: CallToolResult) -> dict[str, Any]:
    """Return where a result says that it was made."""
    meta: dict[str, Any] = (result.meta or {})["workroot/resolution"]
    return meta


class _AnyUri(FileUrl):
    """A root's URI of any kind, as editors send them; the SDK's own type takes `file:` alone."""

    _constraints = UrlConstraints()


def _answering(roots: Roots) -> ListRootsFnT:
    async def list_roots(context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=[Root.model_construct(uri=_AnyUri(uri)) for uri in roots()])

    return list_roots
