"""What tools of an attached server say to their clients and ask of them: over HTTP, several clients at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.session import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from mcp_types import (
    CallToolResult,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    ErrorData,
    ListRootsResult,
    LoggingLevel,
    LoggingMessageNotificationParams,
    ResourceLink,
    Root,
    TextContent,
)
from pydantic import FileUrl
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, MODERN, text_of

import workroot
from workroot.attached.channels import (
    add_resource_link,
    collected_links,
    create_elicitation,
    create_message,
    get_http_request,
    list_roots,
    send_log,
    send_progress,
)
from workroot.errors import ChannelUnavailableError, ClientRefusedError
from workroot.request_context import get_current_context, get_progress_token

LINES = 5


@dataclass
class Heard:
    """What reached one client."""

    lines: list[object] = field(default_factory=list)
    progress: list[tuple[float, float | None, str | None]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def log(self, params: LoggingMessageNotificationParams) -> None:
        self.lines.append(params.data)

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append((progress, total, message))


@asynccontextmanager
async def serving(app: MCPServer[Any], **options: Any) -> AsyncIterator[str]:
    """Serve *app* over Streamable HTTP on loopback until the block is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app.streamable_http_app(**options), log_level="warning", ws="none")
        config.timeout_graceful_shutdown = 5
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(server.serve, sockets=[listener]))
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
            finally:
                server.should_exit = True


@asynccontextmanager
async def connected(url: str, era: str, heard: Heard | None = None, **options: Any) -> AsyncIterator[Client]:
    """Open the SDK's client, which writes down what reaches it."""
    async with httpx2.AsyncClient(timeout=DEADLINE_SECONDS) as http:
        transport = streamable_http_client(url, http_client=http)
        if heard is not None:
            options = {"logging_callback": heard.log, "log_level": "debug", **options}
        async with Client(transport, mode=era, read_timeout_seconds=DEADLINE_SECONDS, **options) as client:
            yield client


def new_server() -> MCPServer[Any]:
    app: MCPServer[Any] = MCPServer("channels")
    workroot.attach(app)
    return app


@pytest.mark.row("K8", "B26")
@pytest.mark.parametrize("era", ERAS)
async def test_two_clients_calls_at_once_each_hear_their_own_five_lines_and_progress(era: str) -> None:
    app, round_of_both = new_server(), asyncio.Barrier(2)

    @app.tool()
    async def speak(name: str) -> str:
        for number in range(LINES):
            await round_of_both.wait()  # both are in the same round: their lines are sent side by side
            await send_log("info", f"{name} {number}")
            await send_progress(number, LINES, name)
        return name

    heard = {"ada": Heard(), "bob": Heard()}
    with anyio.fail_after(DEADLINE_SECONDS):
        async with (
            serving(app) as url,
            connected(url, era, heard["ada"]) as ada,
            connected(url, era, heard["bob"]) as bob,
            anyio.create_task_group() as tasks,
        ):
            for name, client in (("ada", ada), ("bob", bob)):
                call = partial(client.call_tool, "speak", {"name": name}, progress_callback=heard[name].on_progress)
                tasks.start_soon(call)
    for name, what in heard.items():
        assert what.lines == [f"{name} {number}" for number in range(LINES)]
        assert what.progress == [(number, LINES, name) for number in range(LINES)]


@pytest.mark.row("K8", "B26")
@pytest.mark.parametrize("era", ERAS)
async def test_two_calls_of_one_client_add_links_each_to_its_own_result(era: str) -> None:
    app, both = new_server(), asyncio.Barrier(2)

    @app.tool()
    async def link(name: str) -> str:
        add_resource_link(f"notes://{name}/first.md", mime_type="text/markdown")
        await both.wait()
        await asyncio.to_thread(add_resource_link, f"notes://{name}/second.md", "Second", "from a thread")
        await both.wait()
        return str(len(collected_links()))

    results: dict[str, CallToolResult] = {}

    async def call(client: Client, name: str) -> None:
        results[name] = await client.call_tool("link", {"name": name})

    with anyio.fail_after(DEADLINE_SECONDS):
        async with serving(app) as url, connected(url, era) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(call, client, "a")
            tasks.start_soon(call, client, "b")
    for name, result in results.items():
        text, *links = result.content
        assert isinstance(text, TextContent)
        assert text.text == "2"
        assert links == [
            ResourceLink(uri=f"notes://{name}/first.md", name="first.md", mime_type="text/markdown"),
            ResourceLink(uri=f"notes://{name}/second.md", name="Second", description="from a thread"),
        ]


async def test_a_tool_that_runs_in_a_thread_adds_links_and_a_later_call_has_none_of_them() -> None:
    app = new_server()

    @app.tool()
    def link() -> str:
        add_resource_link("notes://one")
        return "linked"

    @app.tool()
    def plain() -> str:
        return "plain"

    with anyio.fail_after(DEADLINE_SECONDS):
        async with Client(app) as client:
            assert len((await client.call_tool("link", {})).content) == 2
            assert len((await client.call_tool("plain", {})).content) == 1


@pytest.mark.row("K8")
@pytest.mark.parametrize(("wanted", "expected"), [("warning", ["warning", "error"]), (None, [])])
async def test_a_modern_client_hears_the_levels_that_it_asked_for(
    wanted: LoggingLevel | None, expected: list[str]
) -> None:
    app, heard = new_server(), Heard()
    levels: tuple[LoggingLevel, ...] = ("debug", "info", "warning", "error")

    @app.tool()
    async def speak() -> str:
        for level in levels:
            await send_log(level, level, "channels")
        return "said"

    with anyio.fail_after(DEADLINE_SECONDS):
        async with serving(app) as url, connected(url, MODERN, logging_callback=heard.log, log_level=wanted) as client:
            assert text_of(await client.call_tool("speak", {})) == "said"
    assert heard.lines == expected


@pytest.mark.row("K8")
async def test_what_is_told_outside_of_calls_is_dropped_and_what_is_asked_is_refused() -> None:
    await send_progress(1, 2, "nobody hears it")
    await send_log("info", "nobody hears it")
    add_resource_link("notes://nobody")
    assert collected_links() == ()
    assert get_http_request() is None
    asks: list[Callable[[], Awaitable[object]]] = [
        list_roots,
        partial(create_message, [{"role": "user", "content": {"type": "text", "text": "?"}}]),
        partial(create_elicitation, "?", {"type": "object", "properties": {}}),
    ]
    for ask in asks:
        with pytest.raises(RuntimeError, match="ask within a tool") as caught:
            await ask()
        assert isinstance(caught.value, ChannelUnavailableError)


@pytest.mark.row("K8", "B26")
async def test_each_client_of_the_handshake_era_answers_its_own_calls_questions() -> None:
    app, both = new_server(), asyncio.Barrier(2)

    @app.tool()
    async def ask() -> str:
        await both.wait()
        (root,) = await list_roots()
        await both.wait()
        said = await create_message(
            [{"role": "user", "content": {"type": "text", "text": "who?"}}], 10, "Be short.", stop_sequences=["."]
        )
        await both.wait()
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        told = await create_elicitation("Your name?", schema, title="Hello", description="It is kept.")
        assert isinstance(said["content"], dict)
        assert isinstance(told["content"], dict)
        return f"{root['uri']} {said['role']} {said['content']['text']} {told['action']} {told['content']['name']}"

    def answers(name: str, heard: Heard) -> dict[str, Any]:
        async def roots(context: ClientRequestContext) -> ListRootsResult:
            return ListRootsResult(roots=[Root(uri=FileUrl(f"file:///{name}"))])

        async def sample(context: ClientRequestContext, params: CreateMessageRequestParams) -> CreateMessageResult:
            heard.asked.append(f"{params.system_prompt} {params.max_tokens} {params.stop_sequences}")
            return CreateMessageResult(role="assistant", content=TextContent(text=name), model="m")

        async def elicit(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
            assert isinstance(params, ElicitRequestFormParams)
            heard.asked.append(params.message)
            return ElicitResult(action="accept", content={"name": name})

        return {"list_roots_callback": roots, "sampling_callback": sample, "elicitation_callback": elicit}

    results: dict[str, str] = {}

    async def call(client: Client, name: str) -> None:
        results[name] = text_of(await client.call_tool("ask", {}))

    heard = {"ada": Heard(), "bob": Heard()}
    with anyio.fail_after(DEADLINE_SECONDS):
        async with (
            serving(app) as url,
            connected(url, LEGACY, **answers("ada", heard["ada"])) as ada,
            connected(url, LEGACY, **answers("bob", heard["bob"])) as bob,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(call, ada, "ada")
            tasks.start_soon(call, bob, "bob")
    for name, what in heard.items():
        assert results[name] == f"file:///{name} assistant {name} accept {name}"
        assert what.asked == ["Be short. 10 ['.']", "Hello\n\nYour name?\n\nIt is kept."]


async def outcomes() -> str:
    """Ask for all three, and tell what came of it."""
    told = []
    asks: list[Callable[[], Awaitable[object]]] = [
        list_roots,
        partial(create_message, [{"role": "user", "content": {"type": "text", "text": "?"}}]),
        partial(create_elicitation, "?", {"type": "object", "properties": {}}),
    ]
    for ask in asks:
        try:
            told.append(str(await ask()))
        except (ChannelUnavailableError, ClientRefusedError) as error:
            told.append(f"{error.code} {error.channel}: {error}")
    return "\n".join(told)


async def _no_roots(context: ClientRequestContext) -> ListRootsResult:
    return ListRootsResult(roots=[])


@pytest.mark.row("K8")
@pytest.mark.parametrize(("era", "reason"), [(LEGACY, "did not declare"), (MODERN, "Resolve(ask)")])
async def test_a_client_that_cannot_be_asked_is_not_and_the_reason_is_told(era: str, reason: str) -> None:
    app = new_server()
    app.tool()(outcomes)
    options: dict[str, Any] = {"list_roots_callback": _no_roots} if era == MODERN else {}
    with anyio.fail_after(DEADLINE_SECONDS):
        async with serving(app) as url, connected(url, era, **options) as client:
            told = text_of(await client.call_tool("outcomes", {})).splitlines()
    assert [line.split(":")[0] for line in told] == [
        "channel_unavailable roots",
        "channel_unavailable sampling",
        "channel_unavailable elicitation",
    ]
    assert all(reason in line for line in told)


async def test_a_server_that_answers_with_json_alone_cannot_ask() -> None:
    app = new_server()
    app.tool()(outcomes)
    with anyio.fail_after(DEADLINE_SECONDS):
        async with (
            serving(app, json_response=True) as url,
            connected(url, LEGACY, list_roots_callback=_no_roots) as client,
        ):
            told = text_of(await client.call_tool("outcomes", {})).splitlines()
    assert told[0].startswith("channel_unavailable roots: roots is not available: nothing can be asked")


async def test_a_client_that_says_no_is_told_from_one_that_cannot_be_asked() -> None:
    app = new_server()
    app.tool()(outcomes)

    async def no(context: ClientRequestContext, *_: object) -> ErrorData:
        return ErrorData(code=-1, message="User rejected")

    refusing: dict[str, Any] = {"list_roots_callback": no, "sampling_callback": no, "elicitation_callback": no}
    with anyio.fail_after(DEADLINE_SECONDS):
        async with serving(app) as url, connected(url, LEGACY, **refusing) as client:
            told = text_of(await client.call_tool("outcomes", {})).splitlines()
    assert [line.split(":")[0] for line in told] == [
        f"client_refused {name}" for name in ("roots", "sampling", "elicitation")
    ]
    assert all("User rejected" in line for line in told)


async def test_a_client_that_stays_silent_is_not_waited_for_beyond_the_deadline() -> None:
    app, asked = new_server(), anyio.Event()

    @app.tool()
    async def ask() -> str:
        try:
            await list_roots(timeout_seconds=0.05)
        except ClientRefusedError as error:
            return str(error)
        return "answered"

    async def silent(context: ClientRequestContext) -> ListRootsResult:
        asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    with anyio.fail_after(DEADLINE_SECONDS):
        async with serving(app) as url, connected(url, LEGACY, list_roots_callback=silent) as client:
            assert "no answer within 0.05 s" in text_of(await client.call_tool("ask", {}))
    assert asked.is_set()


@pytest.mark.row("K5", "K8")
@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_sees_its_request_and_what_its_client_can_be_asked_for(era: str) -> None:
    app, heard = new_server(), Heard()
    seen: list[object] = []

    @app.tool()
    async def look() -> str:
        context = get_current_context()
        seen.append((context["sampling_available"], context["elicitation_available"], context["roots_available"]))
        seen.append(get_progress_token() is not None)
        request = get_http_request()
        return "none" if request is None else f"{request.method} {request.url.path}"

    with anyio.fail_after(DEADLINE_SECONDS):
        async with serving(app) as url, connected(url, era, list_roots_callback=_no_roots) as client:
            called = await client.call_tool("look", {}, progress_callback=heard.on_progress)
            assert text_of(called) == "POST /mcp"
    assert seen == [(False, False, era == LEGACY), True]
