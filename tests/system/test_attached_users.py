"""The users whom an attached server authenticates are told apart by all that makes them different ones."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import anyio
import pytest
import uvicorn
from attached_clients import open_http
from fastmcp import FastMCP
from fastmcp.server.auth import AccessToken as FastMCPToken
from fastmcp.server.auth import TokenVerifier
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl
from real_daemon import ERAS, text_of
from starlette.applications import Starlette

from workroot import SessionManager, attach
from workroot.attached import fastmcp as attached_fastmcp
from workroot.errors import SessionTakenError
from workroot.request_context import require_user_id

Framework = Literal["sdk", "fastmcp"]
FRAMEWORKS: tuple[Framework, ...] = ("sdk", "fastmcp")

WHO: dict[str, dict[str, Any]] = {
    "of-one": {"client_id": "editor", "subject": "alice", "claims": {"iss": "https://one", "sub": "alice"}},
    "of-two": {"client_id": "editor", "subject": "alice", "claims": {"iss": "https://two", "sub": "alice"}},
    "of-nobody": {"client_id": "editor", "subject": "alice", "claims": {"sub": "alice"}},
    "client": {"client_id": "alice", "subject": None, "claims": {}},
}
"""By token: each says alice, and no two mean the same."""


class OfSdk:
    """Lets in whoever bears one of the tokens."""

    async def verify_token(self, token: str) -> AccessToken | None:
        return AccessToken(token=token, scopes=[], **WHO[token]) if token in WHO else None


class OfFastMCP(TokenVerifier):
    """Does the same, as FastMCP wants it."""

    async def verify_token(self, token: str) -> FastMCPToken | None:
        return FastMCPToken(token=token, scopes=[], **WHO[token]) if token in WHO else None


async def allocate(session: str) -> str:
    """A tool that allocates a session of a chosen id to whoever calls."""
    manager = SessionManager("users")
    try:
        return f"{require_user_id()} has {await manager.allocate_session(session)}"
    except SessionTakenError as error:
        return f"{require_user_id()}: {type(error).__name__}"


def served(framework: Framework) -> Starlette:
    if framework == "fastmcp":
        app: FastMCP[Any] = FastMCP("users", auth=OfFastMCP())
        attached_fastmcp.attach(app)
        app.tool(allocate)
        return app.http_app()
    url = AnyHttpUrl("http://127.0.0.1")
    auth = AuthSettings(issuer_url=url, resource_server_url=url, validate_token_resource=False)
    server: MCPServer[Any] = MCPServer("users", token_verifier=OfSdk(), auth=auth)
    attach(server)
    server.add_tool(allocate)
    return server.streamable_http_app()


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[str]:
    """Serve *app* on loopback until the block is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # who comes early waits in its queue
        config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(server.serve, sockets=[listener]))
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
            finally:
                server.should_exit = True


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.row("B11")
async def test_users_of_one_name_of_two_issuers_and_a_client_of_that_name_never_meet(
    mode: str, framework: Framework
) -> None:
    answers: dict[str, str] = {}

    async with serving(served(framework)) as url:
        for token in WHO:
            async with open_http(url, mode, token=token) as client:
                own = f"{framework}-{mode}-{token}"
                answers[token] = text_of(await client.call_tool("allocate", {"session": own}))
        taken = f"{framework}-{mode}-of-one"
        for token in ("of-two", "of-nobody", "client"):
            async with open_http(url, mode, token=token) as client:
                answers[f"{token} again"] = text_of(await client.call_tool("allocate", {"session": taken}))

    assert [answers[token].partition(" has ")[0] for token in WHO] == [
        "subject:https%3A%2F%2Fone:alice",
        "subject:https%3A%2F%2Ftwo:alice",
        "subject::alice",
        "client:alice",
    ]
    assert all(answers[f"{token} again"].endswith(": SessionTakenError") for token in ("of-two", "of-nobody", "client"))
