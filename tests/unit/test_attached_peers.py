"""Who is at the other end of an attached server's connection, and how long that one counts as being there."""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from fakes import DAY, HOUR, ManualClock
from workroot import CurrentSession, attach
from workroot.attached.facts import CallFacts
from workroot.attached.peers import Peers, own_hints, principal_of
from workroot.core.sessions import Alias, Owner
from workroot.session_context import SessionContextManager

_DEADLINE = 5.0


def token(subject: str | None, *, client: str = "editor", issuer: str | None = None) -> AccessToken:
    claims = {"iss": issuer} if issuer is not None else None
    return AccessToken(token="secret", client_id=client, scopes=[], subject=subject, claims=claims)


def test_a_principal_is_the_tokens_user_whichever_client_brings_it() -> None:
    assert principal_of(token("ada", client="editor")) == principal_of(token("ada", client="agent"))
    assert principal_of(token(None, client="agent")) == "client:agent"


def test_no_two_users_have_one_principal() -> None:
    tokens = [
        token("ada"),
        token("ada", issuer="https://one"),
        token("ada", issuer="https://two"),
        token("one:ada"),
        token("ada", issuer="one"),
        token(None, client="ada"),
        token(None, client="subject:ada"),
    ]

    assert len({principal_of(each) for each in tokens}) == len(tokens)


def test_the_own_surroundings_are_those_that_a_connector_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    hints = own_hints({"PWD": "/pwd", "CLAUDE_PROJECT_DIR": "/claude", "SECRET": "/no"})

    assert [(hint.detail, hint.directory) for hint in hints] == [
        ("CLAUDE_PROJECT_DIR", "/claude"),
        ("working directory", str(tmp_path)),
        ("PWD", "/pwd"),
    ]


def test_a_directory_that_is_gone_is_no_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert own_hints({}) == ()


def test_a_connection_is_a_sign_in_the_handshake_era_only() -> None:
    alias = Alias("attached:x")

    signs = {era: CallFacts(owner=Owner("uid:1"), is_handshake=era, alias=alias).signs() for era in (True, False)}

    assert (signs[True].alias, signs[False].alias) == (alias, None)


async def test_connections_are_told_apart_and_forgotten() -> None:
    app, peers, aliases = MCPServer("test"), Peers(Owner("uid:1")), []
    ended: list[Alias | None] = []

    async def note(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method == "tools/list":
            peer = await peers.peer_of(ctx, is_located=False)
            if peer.alias not in aliases:
                peer.conversation.on_close(partial(ended.append, peer.alias))
            aliases.append(peer.alias)
        return await call_next(ctx)

    app.middleware.append(note)
    for _ in range(2):
        async with Client(app, mode="legacy") as client:
            await client.list_tools()
            await client.list_tools()
    await anyio.wait_all_tasks_blocked()
    gc.collect()
    await anyio.wait_all_tasks_blocked()

    first, again, second, _ = aliases
    assert first is not None
    assert first == again != second
    assert set(ended) == {first, second}
    assert len(ended) == 2


@pytest.fixture
def app() -> MCPServer[Any]:
    made: MCPServer[Any] = MCPServer("test")

    @made.tool()
    async def before_attach() -> None: ...

    return made


async def held(attachment_service: object) -> int:
    assert isinstance(attachment_service, SessionContextManager)
    return await attachment_service.get_session_count()


@pytest.mark.row("S7", "S9", "B4")
async def test_the_sweeper_runs_on_when_one_of_three_clients_leaves(app: MCPServer[Any], tmp_path: Path) -> None:
    clock = ManualClock()
    attached = attach(app, clock=clock)
    first_there, second_there = Client(app, mode="legacy"), Client(app, mode="2026-07-28")
    async with attached as attachment, first_there as first, second_there as second:
        async with Client(app, mode="legacy") as third:
            for client in (first, second, third):
                await client.call_tool("set_working_directory", {"directory": str(tmp_path)})
        assert await held(attachment.service) == 3
        gc.collect()  # the third connection has ended
        with anyio.fail_after(_DEADLINE):
            for _ in range(26):
                await anyio.wait_all_tasks_blocked()
                clock.advance(HOUR)
            while await held(attachment.service) > 1:  # the sweeper ends those that nobody is connected to
                await anyio.wait_all_tasks_blocked()
                clock.advance(HOUR)
        assert not (await first.call_tool("get_working_directory")).is_error


async def test_the_session_of_a_live_connection_is_not_stale(app: MCPServer[Any], tmp_path: Path) -> None:
    clock = ManualClock()
    async with attach(app, clock=clock) as attachment, Client(app, mode="legacy") as client:
        app.add_tool(whoever)
        await client.call_tool("set_working_directory", {"directory": str(tmp_path)})
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            clock.advance(DAY)
        result = await client.call_tool("whoever")
        assert not result.is_error
        assert await held(attachment.service) == 1


async def test_a_connection_that_lasts_longer_than_the_sessions_are_open_is_noted_again(
    app: MCPServer[Any], tmp_path: Path
) -> None:
    clock = ManualClock()
    attachment = attach(app, clock=clock)
    async with Client(app, mode="legacy") as client:
        opened = await client.call_tool("set_working_directory", {"directory": str(tmp_path)})
        await attachment.aclose()
        again = await client.call_tool("get_working_directory")  # opens the same memory again
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            clock.advance(DAY)
        assert await held(attachment.service) == 1
    await attachment.aclose()

    assert opened.structured_content is not None
    assert again.structured_content is not None
    assert again.structured_content["session_id"] == opened.structured_content["session_id"]


async def whoever(session: CurrentSession) -> str:
    return session.session_id
