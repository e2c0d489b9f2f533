"""The HTTP face with a real uvicorn on loopback: the SDK's own client in both eras, and raw sockets for the rude."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import SocketStream, TaskStatus
from child_client import ChildClient, child_client
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListRootsRequest,
    ListRootsResult,
    ListToolsResult,
    PaginatedRequestParams,
    Root,
    TextContent,
    Tool,
)
from pydantic import FileUrl

from workroot.clock import SystemClock
from workroot.core.changes import Change
from workroot.core.sessions import Alias, Owner
from workroot.core.signs import Hint, Source
from workroot.counters import Counters
from workroot.errors import RendezvousError, StoreUnavailableError
from workroot.identity import TokenFile, os_owner
from workroot.kept_connections import KeptConnections
from workroot.limits import Limits
from workroot.peer import PEER_KEY, Peer
from workroot.transports import http_port
from workroot.transports.http_port import bind_port
from workroot.transports.streamable_http import serve_http

MODERN = "2026-07-28"
ERAS = ["legacy", MODERN]
Context = ServerRequestContext[dict[str, Any], Any]


class EchoServer:
    """Its tool tells what the peer carries; in the handshake era it asks for the client's roots within the call."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.closed: list[str] = []
        self.closing = anyio.Event()
        self.entered = anyio.Event()
        self.release = anyio.Event()
        self.bus = InMemorySubscriptionBus()
        self.server: Server[dict[str, Any]] = Server(
            "echo",
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_subscriptions_listen=ListenHandler(self.bus),
        )

    async def _list_tools(self, _: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        tools = [Tool(name=name, input_schema={"type": "object"}) for name in ("who", "wait")]
        return ListToolsResult(tools=tools, ttl_ms=0, cache_scope="private")

    async def _call_tool(self, ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        assert ctx.request is not None
        peer: Peer = ctx.request.scope[PEER_KEY]
        self.peers.append(peer)
        if params.name == "wait":
            self.entered.set()
            await self.release.wait()
        if params.name == "tell":
            await ctx.session.send_tool_list_changed()
        roots: list[str] = []
        capabilities = ctx.session.client_capabilities
        if ctx.protocol_version != MODERN and capabilities is not None and capabilities.roots is not None:
            related = ServerMessageMetadata(related_request_id=ctx.request_id)
            answer = await ctx.session.send_request(ListRootsRequest(), ListRootsResult, metadata=related)
            roots = [str(root.uri) for root in answer.roots]
        name = str((params.arguments or {}).get("name", ""))
        peer.conversation.on_close(lambda: self._note_closed(name))
        said = {
            "principal": peer.owner.principal,
            "alias": peer.alias,
            "hints": [[str(hint.source), hint.detail, hint.directory] for hint in peer.hints],
            "header_session": peer.header_session,
            "roots": roots,
        }
        return CallToolResult(content=[TextContent(text=json.dumps(said))], structured_content=said)

    def _note_closed(self, name: str) -> None:
        self.closed.append(name)
        self.closing.set()


@dataclass
class Daemon:
    """A running HTTP face."""

    echo: EchoServer
    tokens: TokenFile
    url: str
    port: int
    token: str
    stop: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    stopped: anyio.Event = field(default_factory=anyio.Event)

    @asynccontextmanager
    async def client(
        self, mode: str, token: str | None = None, query: str = "", roots: list[str] | None = None, **headers: str
    ) -> AsyncIterator[Client]:
        async def list_roots(context: ClientRequestContext) -> ListRootsResult:
            return ListRootsResult(roots=[Root(uri=FileUrl(root)) for root in roots or ()])

        said = {"Authorization": f"Bearer {token or self.token}"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx2.AsyncClient(headers=said) as http:
            transport = streamable_http_client(self.url + query, http_client=http)
            async with Client(transport, mode=mode, list_roots_callback=list_roots if roots else None) as client:
                yield client

    async def who(self, client: Client, name: str = "") -> dict[str, Any]:
        said = (await client.call_tool("who", {"name": name})).structured_content
        assert isinstance(said, dict)
        return said

    def head(self, method: str = "POST", path: str = "/mcp", /, **changed: str | None) -> str:
        """Return a request's head; a header given as None is left out."""
        headers: dict[str, str | None] = {
            "Host": f"127.0.0.1:{self.port}",
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
        return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""])

    async def say(self, head: str, body: bytes = b"") -> tuple[int, str]:
        """Send bytes on a connection of their own; return the status and all that came until it was closed."""
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
            await stream.send(head.encode("latin-1") + body)
            answer = b""
            with anyio.fail_after(5):
                async for part in stream:
                    answer += part
        return int(answer.split(b" ", 2)[1]), answer.decode("latin-1")

    async def opened(self, request: str) -> SocketStream:
        """Return a connection on which an event stream has begun."""
        stream = await anyio.connect_tcp("127.0.0.1", self.port)
        await stream.send(request.encode("latin-1"))
        assert b"text/event-stream" in await stream.receive()
        return stream

    def listening(self) -> str:
        """Return a request for a stream of the modern era."""
        params = {"notifications": {"toolsListChanged": True}, "_meta": MODERN_META}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params})
        modern = {"MCP_Protocol_Version": MODERN, "Mcp_Method": "subscriptions/listen"}
        return self.head(Content_Length=str(len(body)), **modern) + body

    async def post(self, message: object, **headers: str | None) -> tuple[int, str]:
        body = json.dumps(message).encode()
        return await self.say(self.head(Content_Length=str(len(body)), Connection="close", **headers), body)

    async def initialize(self, **headers: str | None) -> str:
        """Open a handshake-era session by hand and return its id."""
        client = {"name": "hand", "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        status, answer = await self.post(message, **headers)
        assert status == 200
        (session_id,) = [line[16:] for line in answer.split("\r\n") if line.lower().startswith("mcp-session-id: ")]
        return session_id


CALL_WHO = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "who", "arguments": {"name": "hand"}}}
CALL_WAIT = CALL_WHO | {"params": {"name": "wait", "arguments": {}}}
CALL_TELL = CALL_WHO | {"params": {"name": "tell", "arguments": {}}}
MODERN_META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}


@asynccontextmanager
async def running(state: Path, **options: Any) -> AsyncIterator[Daemon]:
    tokens = TokenFile(state / "tokens.json")
    listener = bind_port(state)
    async with anyio.create_task_group() as tasks:
        echo = EchoServer()
        token = tokens.create("test")
        daemon = Daemon(echo, tokens, "", listener.getsockname()[1], token)

        async def serve(*, task_status: TaskStatus[str]) -> None:
            try:
                with daemon.stop:
                    await serve_http(echo.server, listener=listener, tokens=tokens, task_status=task_status, **options)
            finally:
                daemon.stopped.set()

        daemon.url = await tasks.start(serve)
        yield daemon
        daemon.stop.cancel()
        with anyio.fail_after(5):
            await daemon.stopped.wait()


@pytest.fixture(autouse=True)
def _another_default_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep clear of a daemon that the person running the tests may have."""
    monkeypatch.setattr(http_port, "DEFAULT_PORT", free_port())


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    # pytest-asyncio may end a fixture in another task than it began in, which a task group must not
    started: asyncio.Future[Daemon] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def host() -> None:
        async with running(tmp_path) as daemon:
            started.set_result(daemon)
            await over.wait()

    hosting = asyncio.create_task(host())
    await asyncio.wait((started, hosting), timeout=5, return_when=asyncio.FIRST_COMPLETED)
    yield started.result()
    over.set()
    await hosting


async def until(stream: SocketStream, end: bytes) -> bytes:
    """Return what comes on *stream*, up to the part that *end* is in."""
    received = b""
    while end not in received:
        received += await stream.receive()
    return received


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


# Both eras, the SDK's client


@pytest.mark.parametrize("mode", [*ERAS, "auto"])
async def test_a_call_carries_its_tokens_owner(daemon: Daemon, mode: str) -> None:
    guest = daemon.tokens.create("guest", user="ada")
    with anyio.fail_after(5):
        async with daemon.client(mode) as mine, daemon.client(mode, guest) as theirs:
            assert (await daemon.who(mine))["principal"] == os_owner().principal
            assert (await daemon.who(theirs))["principal"] == "user:ada"


async def test_a_handshake_session_is_one_conversation_with_its_id_as_alias(daemon: Daemon) -> None:
    with anyio.fail_after(5):
        async with daemon.client("legacy") as one, daemon.client("legacy") as other:
            aliases = [(await daemon.who(client))["alias"] for client in (one, one, other)]

    assert aliases[0] == aliases[1] != aliases[2]
    assert None not in aliases
    first, second, third = (peer.conversation for peer in daemon.echo.peers)
    assert first is second
    assert first is not third


async def test_a_handshake_conversation_closes_with_its_session(daemon: Daemon) -> None:
    with anyio.fail_after(5):
        async with daemon.client("legacy") as client:
            await daemon.who(client, "one")
            assert daemon.echo.closed == []
        await daemon.echo.closing.wait()
    assert daemon.echo.closed == ["one"]


async def test_a_modern_call_is_a_conversation_of_its_own_without_an_alias(daemon: Daemon) -> None:
    with anyio.fail_after(5):
        async with daemon.client(MODERN) as client:
            assert (await daemon.who(client, "first"))["alias"] is None
            await daemon.echo.closing.wait()
            assert daemon.echo.closed == ["first"]
            await daemon.who(client, "second")
    assert daemon.echo.peers[0].conversation is not daemon.echo.peers[1].conversation


async def test_a_session_id_means_nothing_in_the_modern_era(daemon: Daemon) -> None:
    with anyio.fail_after(5):
        session_id = await daemon.initialize()
        async with daemon.client(MODERN, Mcp_Session_Id=session_id) as client:
            assert (await daemon.who(client))["alias"] is None


@pytest.mark.parametrize("mode", ERAS)
async def test_the_head_of_a_request_gives_signs(daemon: Daemon, mode: str) -> None:
    with anyio.fail_after(5):
        async with daemon.client(
            mode,
            query="?directory=%2Fhome%2Fada%2F%C3%BC&other=1",
            Workroot_Directory="/srv/app",
            Workroot_Session="wr_1",
        ) as client:
            said = await daemon.who(client)

    assert said["header_session"] == "wr_1"
    assert said["hints"] == [
        ["header", "Workroot-Directory", "/srv/app"],
        ["header", "?directory=", "/home/ada/ü"],
    ]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_value_that_was_never_expanded_is_passed_on_for_whoever_asks_why(daemon: Daemon, mode: str) -> None:
    literal = "${workspaceFolder}"
    with anyio.fail_after(5):
        async with daemon.client(mode, query=f"?directory={literal}", Workroot_Directory=literal) as client:
            said = await daemon.who(client)
    assert said["hints"] == [["header", "Workroot-Directory", literal], ["header", "?directory=", literal]]


@pytest.mark.parametrize("value", ["/home/ada/ü".encode(), "/home/ada/ü".encode("latin-1")])
async def test_a_directory_header_is_read_as_utf8_or_as_latin1(daemon: Daemon, value: bytes) -> None:
    session_id = await daemon.initialize()
    await daemon.post(CALL_WHO, Mcp_Session_Id=session_id, Workroot_Directory=value.decode("latin-1"))
    assert [hint.directory for hint in daemon.echo.peers[0].hints] == ["/home/ada/ü"]


def told(daemon: Daemon, client: ChildClient, **options: Any) -> int:
    """Have another process call `who`; what it carried is the last of the daemon's peers then."""
    headers = {
        "Authorization": f"Bearer {daemon.token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "who",
    }
    message = CALL_WHO | {"params": {"name": "who", "arguments": {}, "_meta": MODERN_META}}
    return client.post(daemon.port, "/mcp", headers | options.pop("headers", {}), message, **options)


async def hints_told(daemon: Daemon, client: ChildClient, **options: Any) -> list[Hint]:
    with anyio.fail_after(5):
        assert await anyio.to_thread.run_sync(partial(told, daemon, client, **options)) == 200
    return list(daemon.echo.peers[-1].hints)


async def test_a_process_on_a_kept_connection_is_followed_from_directory_to_directory(
    daemon: Daemon, tmp_path: Path
) -> None:
    (tmp_path / "later").mkdir()
    with child_client(tmp_path) as client:
        first = await hints_told(daemon, client)
        client.chdir(tmp_path / "later")
        second = await hints_told(daemon, client)
        detail = f"process {client.pid} (child_client)"
    assert first == [Hint(Source.PROCESS, detail, str(tmp_path))]
    assert second == [Hint(Source.PROCESS, detail, str(tmp_path / "later"))]


async def test_a_port_that_another_process_uses_next_tells_of_that_one(daemon: Daemon, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "other").mkdir()
    with child_client(tmp_path) as one, child_client(tmp_path / "other") as other:
        first = await hints_told(daemon, one, source_port=port)
        one.drop()
        second = await hints_told(daemon, other, source_port=port)
    assert [hint.directory for hint in (*first, *second)] == [str(tmp_path), str(tmp_path / "other")]


async def test_what_a_process_suggests_comes_after_its_headers(daemon: Daemon, tmp_path: Path) -> None:
    with child_client(tmp_path) as client:
        hints = await hints_told(daemon, client, headers={"Workroot-Directory": "/srv/app"})
    assert [(hint.source, hint.directory) for hint in hints] == [
        (Source.HEADER, "/srv/app"),
        (Source.PROCESS, str(tmp_path)),
    ]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
async def test_a_process_that_relays_for_others_gives_no_sign(daemon: Daemon, tmp_path: Path, header: str) -> None:
    with child_client(tmp_path) as client:
        assert await hints_told(daemon, client, headers={header: "192.0.2.1"}) == []


async def test_a_process_does_not_speak_for_a_token_of_somebody_else(daemon: Daemon, tmp_path: Path) -> None:
    guest = daemon.tokens.create("guest", user="ada")
    with child_client(tmp_path) as client:
        assert await hints_told(daemon, client, headers={"Authorization": f"Bearer {guest}"}) == []


async def test_roots_are_asked_for_within_a_handshake_call(daemon: Daemon) -> None:
    with anyio.fail_after(5):
        async with daemon.client("legacy", roots=["file:///home/ada/app"]) as client:
            assert (await daemon.who(client))["roots"] == ["file:///home/ada/app"]


async def test_a_listen_stream_of_the_modern_era_carries_events(daemon: Daemon) -> None:
    with anyio.fail_after(5):
        async with daemon.client(MODERN) as client, client.listen(tools_list_changed=True) as events:
            await daemon.echo.bus.publish(ToolsListChanged())
            assert isinstance(await anext(events), ToolsListChanged)


# Whose session


async def test_somebody_elses_session_does_not_exist(daemon: Daemon) -> None:
    session_id = await daemon.initialize()
    stranger = f"Bearer {daemon.tokens.create('guest', user='ada')}"
    theirs = await daemon.post(CALL_WHO, Mcp_Session_Id=session_id, Authorization=stranger)
    nobodys = await daemon.post(CALL_WHO, Mcp_Session_Id="0" * 32, Authorization=stranger)
    ended = await daemon.say(
        daemon.head("DELETE", Mcp_Session_Id=session_id, Authorization=stranger, Connection="close")
    )
    mine = await daemon.post(CALL_WHO, Mcp_Session_Id=session_id)

    assert theirs[0] == nobodys[0] == ended[0] == 404
    assert theirs[1].partition("\r\n\r\n")[2] == nobodys[1].partition("\r\n\r\n")[2]
    assert mine[0] == 200
    assert daemon.echo.peers[0].alias not in (None, session_id)  # an alias is short, and no secret


async def test_two_tokens_of_one_user_share_their_sessions(daemon: Daemon) -> None:
    session_id = await daemon.initialize()
    second = daemon.tokens.create("second")
    assert (await daemon.post(CALL_WHO, Mcp_Session_Id=session_id, Authorization=f"Bearer {second}"))[0] == 200


async def test_a_revoked_token_is_refused_at_the_next_request(daemon: Daemon) -> None:
    session_id = await daemon.initialize()
    daemon.tokens.revoke("test")
    assert (await daemon.post(CALL_WHO, Mcp_Session_Id=session_id))[0] == 401


async def test_a_stream_of_the_handshake_era_ends_before_its_next_event_once_its_token_is_revoked(
    daemon: Daemon,
) -> None:
    other = daemon.tokens.create("other")
    session_id = await daemon.initialize()
    standing = daemon.head("GET", Mcp_Session_Id=session_id, Content_Type=None)
    with anyio.fail_after(5):
        async with await daemon.opened(standing) as stream:
            await daemon.post(CALL_TELL, Mcp_Session_Id=session_id, Authorization=f"Bearer {other}")
            assert b"list_changed" in await until(stream, b"list_changed")

            daemon.tokens.revoke("test")
            told = await daemon.post(CALL_TELL, Mcp_Session_Id=session_id, Authorization=f"Bearer {other}")
            assert told[0] == 200
            assert await until(stream, b"0\r\n\r\n") == b"0\r\n\r\n"


async def test_a_stream_of_the_modern_era_ends_before_its_next_event_once_its_token_is_revoked(
    daemon: Daemon,
) -> None:
    other = daemon.tokens.create("other")
    listening = daemon.listening()
    with anyio.fail_after(5):
        async with (
            await daemon.opened(listening) as revoked,
            await daemon.opened(listening.replace(daemon.token, other)) as kept,
        ):
            await daemon.echo.bus.publish(ToolsListChanged())
            for stream in (revoked, kept):
                assert b"list_changed" in await until(stream, b"list_changed")

            daemon.tokens.revoke("test")
            await daemon.echo.bus.publish(ToolsListChanged())
            assert await until(revoked, b"0\r\n\r\n") == b"0\r\n\r\n"
            assert b"list_changed" in await until(kept, b"list_changed")


async def test_an_ended_session_does_not_come_back(daemon: Daemon) -> None:
    session_id = await daemon.initialize()
    head = daemon.head("DELETE", Mcp_Session_Id=session_id, Connection="close")
    assert (await daemon.say(head))[0] == 200
    assert (await daemon.post(CALL_WHO, Mcp_Session_Id=session_id))[0] == 404


async def test_a_session_that_cannot_be_ended_for_good_goes_on_and_its_client_hears_of_it(tmp_path: Path) -> None:
    async def refuse(changes: Sequence[Change], show: Callable[[], None]) -> None:
        raise StoreUnavailableError("the disk is full")

    async with running(tmp_path, kept=KeptConnections(refuse, SystemClock())) as daemon:
        session_id = await daemon.initialize()
        status, text = await daemon.say(daemon.head("DELETE", Mcp_Session_Id=session_id, Connection="close"))
        assert (await daemon.post(CALL_WHO, Mcp_Session_Id=session_id))[0] == 200
    assert status == 503
    assert "could not be ended for good; send this again" in text


async def test_a_session_that_is_long_idle_is_let_go_and_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path, limits=Limits(http_session_idle_seconds=0.2)) as daemon:
        session_id = await daemon.initialize()
        await daemon.post(CALL_WHO, Mcp_Session_Id=session_id)
        with anyio.fail_after(5):
            await daemon.echo.closing.wait()
        assert daemon.echo.closed == ["hand"]
        assert (await daemon.post(CALL_WHO, Mcp_Session_Id=session_id))[0] == 200
    first, second = daemon.echo.peers
    assert first.alias == second.alias
    assert first.conversation is not second.conversation


async def test_a_handshake_sessions_alias_is_in_use_from_its_first_call_until_it_ends(tmp_path: Path) -> None:
    held: list[Alias] = []

    @contextmanager
    def connected(owner: Owner, alias: Alias) -> Iterator[None]:
        assert owner == os_owner()
        held.append(alias)
        yield
        held.remove(alias)

    async with running(tmp_path, connected=connected) as daemon:
        deleted, kept, _ = [await daemon.initialize() for _ in range(3)]
        assert held == []
        for session_id in (deleted, kept):
            assert (await daemon.post(CALL_WHO, Mcp_Session_Id=session_id))[0] == 200
        assert held == [peer.alias for peer in daemon.echo.peers]
        await daemon.post(CALL_WHO)  # refused, since it opens no session
        await daemon.post(
            CALL_WHO | {"params": {"name": "who", "arguments": {}, "_meta": MODERN_META}},
            MCP_Protocol_Version=MODERN,
            Mcp_Method="tools/call",
            Mcp_Name="who",
        )
        await daemon.say(daemon.head("DELETE", Mcp_Session_Id=deleted, Connection="close"))
        assert held == [daemon.echo.peers[1].alias]
    assert held == []


async def test_a_session_that_is_long_idle_does_not_keep_its_alias_in_use(tmp_path: Path) -> None:
    let_go = anyio.Event()

    @contextmanager
    def connected(_: Owner, __: Alias) -> Iterator[None]:
        yield
        let_go.set()

    async with running(tmp_path, connected=connected, limits=Limits(http_session_idle_seconds=0.2)) as daemon:
        await daemon.post(CALL_WHO, Mcp_Session_Id=await daemon.initialize())
        with anyio.fail_after(5):
            await let_go.wait()


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_a_session_with_a_call_under_way_is_not_idle(tmp_path: Path, hangs_up: bool) -> None:
    limits = Limits(http_session_idle_seconds=0.2)
    async with running(tmp_path, limits=limits) as daemon, anyio.create_task_group() as tasks:
        busy = await daemon.initialize()
        calling = anyio.CancelScope()
        answers: list[tuple[int, str]] = []

        async def call() -> None:
            with calling:
                answers.append(await daemon.post(CALL_WAIT, Mcp_Session_Id=busy))

        tasks.start_soon(call)
        with anyio.fail_after(5):
            await daemon.echo.entered.wait()
            if hangs_up:
                calling.cancel()
            await daemon.post(CALL_WHO, Mcp_Session_Id=await daemon.initialize())
            await daemon.echo.closing.wait()  # that one was used later, and was let go
            assert daemon.echo.closed == ["hand"]
            await daemon.post(CALL_WHO | {"id": 3}, Mcp_Session_Id=busy)
            daemon.echo.release.set()
    first, *_, last = daemon.echo.peers
    assert first.conversation is last.conversation
    assert hangs_up or answers[0][0] == 200


async def test_above_the_cap_the_longest_unused_session_is_let_go_and_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path, limits=Limits(max_http_sessions=2)) as daemon:
        ids = [await daemon.initialize() for _ in range(3)]
        for number in (0, 1, 0, 2, 1):
            assert (await daemon.post(CALL_WHO, Mcp_Session_Id=ids[number]))[0] == 200

    conversations = [peer.conversation for peer in daemon.echo.peers]
    assert conversations[0] is conversations[2]
    assert conversations[1] is not conversations[4]


async def test_above_the_cap_a_session_that_only_listens_gives_way(tmp_path: Path) -> None:
    async with running(tmp_path, limits=Limits(max_http_sessions=1)) as daemon:
        with anyio.fail_after(5):
            old, new = await daemon.initialize(), await daemon.initialize()
            standing = daemon.head("GET", Mcp_Session_Id=old, Connection="close")
            async with await daemon.opened(standing) as stream:
                assert (await daemon.post(CALL_WHO, Mcp_Session_Id=new))[0] == 200
                rest = b"".join([part async for part in stream])
            assert rest.endswith(b"0\r\n\r\n")  # its stream has a clean end
            async with await daemon.opened(standing):  # and begins anew when it is asked for
                pass


async def test_above_the_cap_a_call_that_nobody_waits_for_gives_way(tmp_path: Path) -> None:
    async with running(tmp_path, limits=Limits(max_http_sessions=1)) as daemon, anyio.create_task_group() as tasks:
        left, new = await daemon.initialize(), await daemon.initialize()
        calling = anyio.CancelScope()

        async def call() -> None:
            with calling:
                await daemon.post(CALL_WAIT, Mcp_Session_Id=left)

        tasks.start_soon(call)
        with anyio.fail_after(5):
            await daemon.echo.entered.wait()
            calling.cancel()
            while (await daemon.post(CALL_WHO, Mcp_Session_Id=new))[0] != 200:
                pass  # that the caller has hung up is not known at once
        assert (await daemon.post(CALL_WHO, Mcp_Session_Id=left))[0] == 200


async def test_above_the_cap_a_call_under_way_is_not_lost_and_the_newcomer_hears_why(tmp_path: Path) -> None:
    counters = Counters()
    limits = Limits(max_http_sessions=1)
    async with running(tmp_path, limits=limits, counters=counters) as daemon, anyio.create_task_group() as tasks:
        answers: list[tuple[int, str]] = []
        busy, new = await daemon.initialize(), await daemon.initialize()

        async def call() -> None:
            answers.append(await daemon.post(CALL_WAIT, Mcp_Session_Id=busy))

        tasks.start_soon(call)
        with anyio.fail_after(5):
            await daemon.echo.entered.wait()
            status, text = await daemon.post(CALL_WHO, Mcp_Session_Id=new)
            daemon.echo.release.set()
    assert status == 503
    assert "have calls under way; send this again" in text
    assert counters.counts() == {"connection_limit": 1}
    assert answers[0][0] == 200


# Calls that are answered without the SDK's streams


@pytest.mark.parametrize("tool", ["who", "none of the tools"])
async def test_a_plain_handshake_call_is_answered_as_the_sdk_answers_it(daemon: Daemon, tool: str) -> None:
    call = CALL_WHO | {"params": {"name": tool, "arguments": {"name": "\u00fc\ud83d\ude00"}}}
    with anyio.fail_after(5):
        session = {"Mcp_Session_Id": await daemon.initialize()}
        plain = await daemon.post(call, **session)
        sdk = await daemon.post(call, Accept="application/json;q=1, text/event-stream", **session)
    assert _undated(plain[1]) == _undated(sdk[1])


@pytest.mark.parametrize("version", [MODERN, "2099-01-01"])
async def test_a_plain_modern_call_is_answered_as_the_sdk_answers_it(daemon: Daemon, version: str) -> None:
    meta = MODERN_META | {"io.modelcontextprotocol/protocolVersion": version}
    call = CALL_WHO | {"params": {"name": "who", "arguments": {"name": "\u00fc\ud83d\ude00"}, "_meta": meta}}
    headers = {"MCP_Protocol_Version": version, "Mcp_Method": "tools/call", "Mcp_Name": "who"}
    with anyio.fail_after(5):
        plain = await daemon.post(call, **headers)
        sdk = await daemon.post(call, Accept="application/json;q=1, text/event-stream", **headers)
    assert _undated(plain[1]) == _undated(sdk[1])


async def test_a_handshake_call_that_is_taken_back_gets_no_answer_and_holds_nothing(daemon: Daemon) -> None:
    answers: list[tuple[int, str]] = []
    async with anyio.create_task_group() as tasks:
        session = {"Mcp_Session_Id": await daemon.initialize()}

        async def call() -> None:
            answers.append(await daemon.post(CALL_WAIT, **session))

        tasks.start_soon(call)
        with anyio.fail_after(5):
            await daemon.echo.entered.wait()
            cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}
            assert (await daemon.post(cancelled, **session))[0] == 202
    ((status, text),) = answers
    assert status == 200
    assert "data:" not in text


async def test_a_handshake_call_whose_session_is_ended_gets_no_answer(daemon: Daemon) -> None:
    answers: list[tuple[int, str]] = []
    async with anyio.create_task_group() as tasks:
        session_id = await daemon.initialize()

        async def call() -> None:
            answers.append(await daemon.post(CALL_WAIT, Mcp_Session_Id=session_id))

        tasks.start_soon(call)
        with anyio.fail_after(5):
            await daemon.echo.entered.wait()
            await daemon.say(daemon.head("DELETE", Mcp_Session_Id=session_id, Connection="close"))
    assert "data:" not in answers[0][1]


async def test_a_modern_call_is_cancelled_when_its_client_hangs_up(daemon: Daemon) -> None:
    params = {**CALL_WAIT["params"], "_meta": MODERN_META}  # type: ignore[dict-item] # it is a mapping
    body = json.dumps(CALL_WAIT | {"params": params})
    modern = {"MCP_Protocol_Version": MODERN, "Mcp_Method": "tools/call", "Mcp_Name": "wait"}
    over = anyio.Event()
    with anyio.fail_after(5):
        async with await anyio.connect_tcp("127.0.0.1", daemon.port) as stream:
            await stream.send((daemon.head(Content_Length=str(len(body)), **modern) + body).encode("latin-1"))
            await daemon.echo.entered.wait()
            daemon.echo.peers[0].conversation.on_close(over.set)
        await over.wait()


def _undated(answer: str) -> str:
    return "\r\n".join(line for line in answer.split("\r\n") if not line.startswith("date: "))


# The rude


@pytest.mark.parametrize("era", [None, MODERN])
@pytest.mark.parametrize(
    ("status", "changed"),
    [
        (421, {"Host": "evil.example"}),
        (421, {"Host": "127.0.0.1:1"}),
        (421, {"Host": None}),
        (403, {"Origin": "http://evil.example"}),
        (403, {"Origin": "http://127.0.0.1:1"}),
        (403, {"Sec_Fetch_Site": "cross-site"}),
        (401, {"Authorization": None}),
        (401, {"Authorization": "Bearer wrt_wrong"}),
        (413, {"Content_Length": "2000000"}),
        (400, {"Origin": "http://127.0.0.1:1\r\nOrigin: http://127.0.0.1:1"}),
        (400, {"Accept": "*/*\r\nHost: evil.example"}),
        (400, {"Accept": "*/*\r\nAuthorization: Bearer other"}),
    ],
)
async def test_who_may_not_speak_is_refused_before_sending_a_body(
    daemon: Daemon, era: str | None, status: int, changed: dict[str, str | None]
) -> None:
    promised = {"Content_Length": "100"} | changed  # no body follows: an answer means that none was waited for
    answered, answer = await daemon.say(daemon.head(MCP_Protocol_Version=era, **promised))

    assert answered == status
    assert "access-control" not in answer.lower()
    assert daemon.echo.peers == []


@pytest.mark.parametrize("path", ["/", "/mcp/", "/.well-known/oauth-protected-resource/mcp"])
async def test_other_paths_lead_nowhere(daemon: Daemon, path: str) -> None:
    status, answer = await daemon.say(daemon.head("GET", path))
    assert status == 404
    assert "location:" not in answer.lower()


async def test_a_preflight_is_not_answered_as_one(daemon: Daemon) -> None:
    status, answer = await daemon.say(
        daemon.head("OPTIONS", Origin="http://evil.example", Access_Control_Request_Method="POST")
    )
    assert status == 403
    assert "access-control" not in answer.lower()


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_without_a_session_there_is_no_stream_and_nothing_to_end(daemon: Daemon, method: str) -> None:
    status, _ = await daemon.say(daemon.head(method, Connection="close"))
    assert status == 400
    status, _ = await daemon.say(daemon.head(method, MCP_Protocol_Version=MODERN, Connection="close"))
    assert status == 405


async def test_what_is_not_initialize_opens_no_session(daemon: Daemon) -> None:
    assert (await daemon.post(CALL_WHO))[0] == 400
    assert daemon.echo.peers == []


async def test_a_body_in_chunks_is_cut_off_at_the_limit(daemon: Daemon) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    one_more = b"1\r\nx\r\n"  # and no last chunk: whoever answers did not wait for the end
    status, _ = await daemon.say(daemon.head(Transfer_Encoding="chunked"), chunk * 16 + one_more)
    assert status == 413
    assert daemon.echo.peers == []


async def test_a_client_that_sends_too_much_at_once_reads_why(daemon: Daemon) -> None:
    headers = {"Authorization": f"Bearer {daemon.token}", "Content-Type": "application/json"}
    with anyio.fail_after(5):
        async with httpx2.AsyncClient(headers=headers) as http:
            answer = await http.post(daemon.url, content=b"x" * 3_000_000)
    assert answer.status_code == 413
    assert "at most 1048576 bytes" in answer.text


async def test_garbage_ends_its_own_connection_only(daemon: Daemon) -> None:
    assert (await daemon.say("\x16\x03\x01 not HTTP at all\r\n\r\n"))[0] == 400
    with anyio.fail_after(5):
        async with daemon.client(MODERN) as client:
            assert await daemon.who(client)


async def test_the_log_says_once_what_was_refused_on_however_many_connections(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "workroot")
    for _ in range(3):
        await daemon.say("not HTTP at all\r\n\r\n")
        await daemon.say(daemon.head(Authorization="Bearer wrt_wrong"))

    told = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert [line.partition(":")[0] for line in told] == [
        "refused an HTTP request with 400",
        "refused an HTTP request with 401",
    ]
    assert "wrt_wrong" not in caplog.text


async def test_hanging_up_in_the_middle_of_a_body_harms_nobody(daemon: Daemon) -> None:
    session_id = await daemon.initialize()
    async with await anyio.connect_tcp("127.0.0.1", daemon.port) as stream:
        await stream.send(daemon.head(Content_Length="100", Mcp_Session_Id=session_id).encode() + b'{"half":')
    assert (await daemon.post(CALL_WHO, Mcp_Session_Id=session_id))[0] == 200


# Start and end


async def test_it_listens_on_loopback_and_leaves_signals_alone(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with running(tmp_path) as daemon:
        assert daemon.url == f"http://127.0.0.1:{daemon.port}/mcp"
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_an_end_completes_open_streams_and_is_quick(tmp_path: Path) -> None:
    async with running(tmp_path, drain_seconds=0.2) as daemon:
        standing = daemon.head("GET", Mcp_Session_Id=await daemon.initialize(), Content_Type=None)
        with anyio.fail_after(3):
            async with await daemon.opened(standing) as one, await daemon.opened(daemon.listening()) as other:
                daemon.stop.cancel()
                await daemon.stopped.wait()
                for stream in (one, other):
                    rest = b"".join([part async for part in stream])
                    assert rest.endswith(b"0\r\n\r\n")  # a whole response, not a broken connection


async def test_an_end_does_not_wait_for_a_standing_stream(tmp_path: Path) -> None:
    async with running(tmp_path, drain_seconds=60) as daemon:
        standing = daemon.head("GET", Mcp_Session_Id=await daemon.initialize(), Content_Type=None)
        with anyio.fail_after(5):
            async with await daemon.opened(standing):
                daemon.stop.cancel()
                await daemon.stopped.wait()


async def test_an_end_lets_a_call_in_flight_finish(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, anyio.create_task_group() as tasks:
        results: list[object] = []

        async def call(mode: str) -> None:
            async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {daemon.token}"}) as http:
                transport = streamable_http_client(daemon.url, http_client=http, terminate_on_close=False)
                async with Client(transport, mode=mode) as client:
                    await client.list_tools()  # else the SDK asks for them after the call, of a daemon that is gone
                    results.append((await client.call_tool("wait", {})).structured_content)

        tasks.start_soon(call, MODERN)
        with anyio.fail_after(5):
            await daemon.echo.entered.wait()
            daemon.stop.cancel()
            daemon.echo.release.set()
            await daemon.stopped.wait()
    assert len(results) == 1


async def test_an_end_tells_the_client_of_a_hung_call_to_send_it_again(tmp_path: Path) -> None:
    async with running(tmp_path, drain_seconds=0.1) as daemon, anyio.create_task_group() as tasks:
        answers: list[tuple[int, str]] = []
        message = CALL_WAIT | {"params": {"name": "wait", "arguments": {}, "_meta": MODERN_META}}

        async def call() -> None:
            answers.append(
                await daemon.post(message, MCP_Protocol_Version=MODERN, Mcp_Method="tools/call", Mcp_Name="wait")
            )

        tasks.start_soon(call)
        with anyio.fail_after(3):
            await daemon.echo.entered.wait()
            daemon.stop.cancel()
            await daemon.stopped.wait()
    assert answers[0][0] == 503
    assert "send this again" in answers[0][1]


async def test_an_end_cuts_off_a_hung_handshake_call_and_half_a_body_in_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as daemon, anyio.create_task_group() as tasks:
        session_id = await daemon.initialize()
        half = daemon.head(Content_Length="100") + "{"
        answers: list[tuple[int, str]] = []

        async def say(request: str) -> None:
            answers.append(await daemon.say(request))

        body = json.dumps(CALL_WAIT)
        tasks.start_soon(say, half)
        tasks.start_soon(say, daemon.head(Content_Length=str(len(body)), Mcp_Session_Id=session_id) + body)
        with anyio.fail_after(5):
            await daemon.echo.entered.wait()
        with anyio.fail_after(3):  # the promise, with the default drain
            daemon.stop.cancel()
            await daemon.stopped.wait()
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert [status for status, _ in answers] == [503, 503]
    assert all("send this again" in answer for _, answer in answers)


async def test_an_end_closes_the_conversations(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.post(CALL_WHO, Mcp_Session_Id=await daemon.initialize())
        assert daemon.echo.closed == []
    assert daemon.echo.closed == ["hand"]


async def test_starting_and_ending_many_times_leaves_nothing_open(tmp_path: Path) -> None:
    async def once() -> int:
        async with running(tmp_path / "state", drain_seconds=0.1) as daemon:
            await daemon.initialize()
            daemon.tokens.revoke("test")
        return len(os.listdir("/dev/fd"))

    (tmp_path / "state").mkdir()
    first = await once()
    assert [await once() for _ in range(5)] == [first] * 5


# The port


def test_the_usual_port_is_taken_when_it_is_free_and_kept(tmp_path: Path) -> None:
    with bind_port(tmp_path) as listener:
        assert listener.getsockname() == ("127.0.0.1", http_port.DEFAULT_PORT)
    kept = tmp_path / "http-port"
    assert kept.read_text() == f"{http_port.DEFAULT_PORT}\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["http-port"]


def test_another_port_is_chosen_when_the_usual_one_is_taken_and_kept_then(
    tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_port, "DEFAULT_PORT", taken)
    with bind_port(tmp_path) as listener:
        chosen = listener.getsockname()[1]
    monkeypatch.setattr(http_port, "DEFAULT_PORT", free_port())
    with bind_port(tmp_path) as listener:
        assert listener.getsockname()[1] == chosen != taken


def test_a_kept_port_that_somebody_else_uses_is_an_error_and_stays_kept(tmp_path: Path, taken: int) -> None:
    (tmp_path / "http-port").write_text(f"{taken}\n")
    with pytest.raises(RendezvousError, match=rf"127\.0\.0\.1:{taken} is used by another program; choose another"):
        bind_port(tmp_path)
    assert (tmp_path / "http-port").read_text() == f"{taken}\n"


def test_a_wanted_port_is_used_and_not_kept(tmp_path: Path) -> None:
    wanted = free_port()
    with bind_port(tmp_path, wanted) as listener:
        assert listener.getsockname()[1] == wanted
    assert os.listdir(tmp_path) == []


def test_a_wanted_port_that_somebody_else_uses_is_an_error(tmp_path: Path, taken: int) -> None:
    with pytest.raises(RendezvousError, match="is used by another program"):
        bind_port(tmp_path, taken)


@pytest.mark.parametrize("content", ["", "x", "0", "65536", "-1", "7668 7669"])
def test_a_kept_port_that_is_none_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "http-port").write_text(content)
    with pytest.raises(RendezvousError, match="does not hold a port number"):
        bind_port(tmp_path)


def test_a_port_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RendezvousError, match="cannot be written"):
        bind_port(tmp_path / "missing")
