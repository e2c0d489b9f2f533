"""Servers written with FastMCP 4 that workroot is attached to: real clients of both eras, over both transports."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import fastmcp
import httpx2
import pytest
import uvicorn
from fastmcp import Context, FastMCP
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import PythonStdioTransport
from fastmcp.dependencies import Depends
from fastmcp.server.auth import StaticTokenVerifier
from fastmcp.server.transforms import ToolTransform
from fastmcp.tools import Tool, forward_raw
from fastmcp.tools.tool_transform import ArgTransform, ArgTransformConfig, ToolTransformConfig
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequiredResult,
    TextContent,
    TextResourceContents,
)
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, Home, RawClient, answer_of, error_of, open_home, text_of

from workroot import CurrentProject as SdkProject
from workroot import request_context
from workroot.attached import channels
from workroot.attached.fastmcp import CurrentProject, CurrentSession, attach
from workroot.attached.fastmcp_parameters import UnfilledParameterError
from workroot.attached.rate_limit import RateLimit
from workroot.attached.tool_table import ToolNameError
from workroot.core.projects import Project
from workroot.core.sessions import Alias, Owner
from workroot.mcp_face.rate_limits import RATE_LIMITED
from workroot.project_finder import ProjectFinder
from workroot.session_context import SessionContextManager
from workroot.storage.memory import MemoryStore

NOTES = Path(__file__).parents[2] / "docs" / "examples" / "fastmcp_notes.py"
RESOLUTION = "workroot/resolution"
DIRECTORY = "workroot/directory"


@pytest.fixture
def places() -> Iterator[Home]:
    """A home with projects in it; no daemon runs there."""
    with open_home() as made:
        yield made


@asynccontextmanager
async def serving(app: FastMCP[Any]) -> AsyncIterator[str]:
    """Serve *app* over Streamable HTTP on loopback until the block is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # who comes early waits in its queue
        config = uvicorn.Config(app.http_app(), log_level="warning", ws="none", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(server.serve, sockets=[listener]))
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
            finally:
                server.should_exit = True


@asynccontextmanager
async def connected(url: str, era: str, **headers: str) -> AsyncIterator[Client]:
    """Open the SDK's client over HTTP; a header's underscores stand for hyphens."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx2.AsyncClient(headers=sent, timeout=DEADLINE_SECONDS) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=era, read_timeout_seconds=DEADLINE_SECONDS) as client:
            yield client


def spawned(home: Home, directory: Path, era: str) -> Client:
    """Return the SDK's client of the example over stdio, as an editor starts it in *directory*."""
    environment = {"PWD": "", **home.environment, "FASTMCP_LOG_LEVEL": "ERROR"}
    parameters = StdioServerParameters(command=sys.executable, args=[str(NOTES)], cwd=directory, env=environment)
    return Client(parameters, mode=era, read_timeout_seconds=DEADLINE_SECONDS)


async def called(client: Client, tool: str, arguments: dict[str, Any], meta: Any) -> CallToolResult:
    """Call a tool with further entries in `_meta`."""
    return await client.call_tool(tool, arguments, meta=meta)


def meta_of(result: CallToolResult) -> dict[str, Any]:
    assert result.meta is not None, text_of(result)
    found: dict[str, Any] = result.meta[RESOLUTION]
    return found


async def notes_path(project: CurrentProject) -> str:
    """A dependency of tools, with one of its own."""
    return f"{project.root}/notes.txt"


def whereabouts() -> FastMCP[Any]:
    """Return an attached server whose tools tell where their caller works, in each way of asking."""
    app: FastMCP[Any] = FastMCP("whereabouts")
    attach(app)

    @app.tool
    async def where(project: CurrentProject) -> str:
        return project.root

    @app.tool
    def anywhere(project: CurrentProject | None, text: str = "") -> str:
        return f"{text}{project.root if project is not None else 'nowhere'}"

    @app.tool
    async def who(session: CurrentSession) -> str:
        return session.session_id

    @app.tool
    async def plain(text: str) -> str:
        return text

    return app


# The example


@pytest.mark.parametrize("era", ERAS)
async def test_the_example_keeps_notes_by_project_for_whoever_starts_it(places: Home, era: str) -> None:
    project = places.repository("poems")

    async with spawned(places, project, era) as client:
        await client.call_tool("add", {"text": "a line"})
        added = await client.call_tool("add", {"text": "another"})
        read = await answer_of(client, "read")

    assert text_of(added) == "poems has 2 notes now"
    assert read["result"] == ["a line", "another"]


@pytest.mark.parametrize("era", ERAS)
async def test_the_example_serves_the_client_of_fastmcp_too(places: Home, era: str) -> None:
    one, two = places.repository("one"), places.repository("two")
    transport = PythonStdioTransport(
        NOTES, cwd=str(one), env={"PWD": "", **places.environment}, python_cmd=sys.executable, keep_alive=False
    )

    async with fastmcp.Client(transport, mode=era, timeout=DEADLINE_SECONDS) as client:
        here = await client.call_tool("add", {"text": "x"})
        there = await client.call_tool("add", {"text": "y", "directory": str(two)})
        count = await client.call_tool("everywhere", {})

    assert here.data == "one has 1 notes now"
    assert there.data == "two has 1 notes now"
    assert count.data == "2 notes, 1 of them in one"


@pytest.mark.parametrize("era", ERAS)
async def test_the_example_names_the_next_call_where_no_project_is(places: Home, era: str) -> None:
    async with spawned(places, places.directory("empty"), era) as client:
        refused = await error_of(client, "add", text="x")
        count = await answer_of(client, "everywhere")

    assert "this needs a project" in refused
    assert "set_working_directory(directory=ABSOLUTE PATH)" in refused
    assert count["result"] == "0 notes"


# What is listed


@pytest.mark.parametrize("era", ERAS)
async def test_the_session_tools_are_those_of_the_daemon(home: Home, era: str) -> None:
    home.start()
    async with serving(whereabouts()) as url, connected(url, era) as client, home.open_client(era) as editor:
        ours = {tool.name: tool.model_dump(mode="json") for tool in (await client.list_tools()).tools}
        daemons = [tool.model_dump(mode="json") for tool in (await editor.list_tools()).tools]

    assert len(daemons) == 4
    assert [ours[tool["name"]] for tool in daemons] == daemons


@pytest.mark.parametrize("era", ERAS)
async def test_what_workroot_fills_is_no_argument_and_the_signs_are(era: str) -> None:
    async with serving(whereabouts()) as url, connected(url, era) as client:
        listed = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}

    for name, own in (("where", set()), ("anywhere", {"text"}), ("who", set())):
        assert set(listed[name]["properties"]) == {*own, "session_id", "directory"}
        assert listed[name].get("required", []) == []
        assert listed[name]["additionalProperties"] is False
    assert set(listed["plain"]["properties"]) == {"text"}
    assert listed["plain"]["additionalProperties"] is False


async def test_a_schema_that_says_nothing_of_further_arguments_is_closed() -> None:
    class Open(Tool):
        async def run(self, arguments: dict[str, Any]) -> Any:
            return fastmcp.tools.ToolResult(content=json.dumps(arguments))

    app = whereabouts()
    app.add_tool(Open(name="open", parameters={"type": "object", "properties": {"text": {"type": "string"}}}))
    app.add_tool(Open(name="any", parameters={"type": "object", "properties": {}, "additionalProperties": True}))

    async with fastmcp.Client(app) as client:
        listed = {tool.name: tool.input_schema for tool in await client.list_tools()}
        refused = await client.call_tool("open", {"txt": "x"}, raise_on_error=False)
        taken = await client.call_tool("any", {"txt": "x"})

    assert listed["open"]["additionalProperties"] is False
    assert listed["any"]["additionalProperties"] is True
    assert "did you mean 'text'?" in refused.content[0].text
    assert taken.content[0].text == '{"txt": "x"}'


# Where the caller works


@pytest.mark.parametrize("era", ERAS)
async def test_a_session_that_was_set_decides_where_its_calls_work(places: Home, era: str) -> None:
    project = places.repository("project")

    async with serving(whereabouts()) as url, connected(url, era) as client:
        moved = await answer_of(client, "set_working_directory", directory=str(project))
        where = await client.call_tool("where", {"session_id": moved["session_id"]})
        who = await answer_of(client, "who", session_id=moved["session_id"])

    assert text_of(where) == str(project)
    assert who["result"] == moved["session_id"]
    assert meta_of(where)["project_root"] == str(project)
    assert meta_of(where)["session_id"] == moved["session_id"]
    assert meta_of(where)["source"] == "pin"


@pytest.mark.parametrize("era", ERAS)
async def test_the_argument_directory_decides_for_its_call(places: Home, era: str) -> None:
    one, two = places.repository("one"), places.repository("two")

    async with serving(whereabouts()) as url, connected(url, era, Workroot_Directory=str(one)) as client:
        here = await client.call_tool("where", {})
        there = await client.call_tool("where", {"directory": str(two)})
        optional = await answer_of(client, "anywhere", directory=str(two), text="in ")

    assert (text_of(here), meta_of(here)["source"]) == (str(one), "header")
    assert (text_of(there), meta_of(there)["source"]) == (str(two), "argument")
    assert optional["result"] == f"in {two}"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("transport", ["memory", "http"])
async def test_the_roots_of_the_client_are_asked_for(places: Home, era: str, transport: str) -> None:
    project = places.repository("r\u00e9pertoire \u00e0 part")
    app = whereabouts()

    async with serving(app) as url:
        there: Any = app if transport == "memory" else url
        async with fastmcp.Client(there, mode=era, roots=[project.as_uri()], timeout=DEADLINE_SECONDS) as client:
            where = await client.call_tool("where", {})
            own = await client.call_tool("get_working_directory", {})

    assert where.data == str(project)
    assert where.meta is not None
    assert where.meta[RESOLUTION]["source"] == "roots"
    assert own.structured_content is not None
    assert own.structured_content["working_directory"] == str(project)


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_project_fails_with_candidates(places: Home, era: str) -> None:
    known, elsewhere = places.repository("known"), places.directory("elsewhere")

    async with serving(whereabouts()) as url, connected(url, era) as client:
        await answer_of(client, "set_working_directory", directory=str(known))
        refused = await client.call_tool("where", {"directory": str(places.top)})
        nowhere = await client.call_tool("where", {"directory": str(elsewhere)})
        optional = await answer_of(client, "anywhere", directory=str(elsewhere))

    assert refused.is_error
    assert str(known) in text_of(refused)
    assert refused.meta is not None
    assert refused.meta["workroot/error"]["code"] == "project_needed"
    assert refused.meta["workroot/error"]["candidates"] == [{"directory": str(known)}]
    assert nowhere.is_error
    assert f"no project owns {elsewhere}" in text_of(nowhere)
    assert optional["result"] == "nowhere"


@pytest.mark.parametrize("era", ERAS)
async def test_who_gives_no_sign_hears_where_it_worked_of_late(
    places: Home, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = places.repository("project")
    monkeypatch.chdir("/")
    monkeypatch.delenv("PWD", raising=False)
    app = whereabouts()

    async with fastmcp.Client(app, mode=era) as before:
        await before.call_tool("set_working_directory", {"directory": str(project)})
    async with fastmcp.Client(app, mode=era) as client:
        refused = await client.call_tool("where", {}, raise_on_error=False)
        optional = await client.call_tool("anywhere", {})

    assert refused.is_error
    assert refused.meta is not None
    assert refused.meta["workroot/error"]["candidates"] == [{"directory": str(project)}]
    assert optional.data == "nowhere"


async def test_a_directory_of_the_tools_own_is_no_sign_and_a_session_is(places: Home) -> None:
    app, project = whereabouts(), places.repository("project")

    @app.tool
    async def find(directory: str, session_id: str, project: CurrentProject) -> str:
        return f"{directory} of {session_id} in {project.root}"

    async with fastmcp.Client(app) as client:
        moved = await client.call_tool("set_working_directory", {"directory": str(project)})
        assert moved.structured_content is not None
        session_id = moved.structured_content["session_id"]
        found = await client.call_tool("find", {"directory": "src", "session_id": session_id})
        refused = await client.call_tool("find", {"directory": "src", "session_id": "wr_x"}, raise_on_error=False)

    assert found.data == f"src of {session_id} in {project}"
    assert refused.is_error


@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_that_needs_a_session_says_how_to_get_one(places: Home, era: str) -> None:
    project = places.repository("project")

    async with serving(whereabouts()) as url, connected(url, era, Workroot_Directory=str(project)) as client:
        refused = await error_of(client, "who")
        unknown = await error_of(client, "who", session_id="wr_unknown")

    assert "this needs a session" in refused
    assert "set_working_directory" in refused
    assert "unknown" in unknown


async def test_tools_that_were_there_before_ask_too_and_a_session_may_be_missing(places: Home) -> None:
    app: FastMCP[Any] = FastMCP("late")
    project = places.repository("project")

    @app.tool
    async def which(session: CurrentSession | None = None) -> str:
        return session.session_id if session is not None else "none"

    attach(app)

    async with fastmcp.Client(app) as client:
        moved = await client.call_tool("set_working_directory", {"directory": str(project)})
        assert moved.structured_content is not None
        session_id = moved.structured_content["session_id"]
        without = await client.call_tool("which", {"directory": str(project)})
        with_it = await client.call_tool("which", {"session_id": session_id})

    assert without.data == "none"
    assert with_it.data == session_id


async def test_two_clients_whose_calls_interleave_never_see_the_project_of_the_other(places: Home) -> None:
    app = whereabouts()
    both = anyio.Event()
    waiting: list[str] = []

    @app.tool
    async def slow(project: CurrentProject, session: CurrentSession) -> list[str]:
        waiting.append(project.root)
        if len(waiting) == 2:
            both.set()
        await both.wait()  # both calls are within their tool now
        return [project.root, session.session_id, str(request_context.get_session_id())]

    seen: dict[str, tuple[str, list[str]]] = {}

    async def work(url: str, era: str, directory: Path) -> None:
        async with connected(url, era) as client:
            moved = await answer_of(client, "set_working_directory", directory=str(directory))
            answer = await answer_of(client, "slow", session_id=moved["session_id"])
            seen[str(directory)] = (moved["session_id"], answer["result"])

    with anyio.fail_after(DEADLINE_SECONDS):
        async with serving(app) as url, anyio.create_task_group() as tasks:
            for era, name in zip(ERAS, ("one", "two"), strict=True):
                tasks.start_soon(work, url, era, places.repository(name))

    assert len(seen) == 2
    for root, (session_id, answer) in seen.items():
        assert answer == [root, session_id, session_id]


async def test_a_connection_of_the_handshake_era_has_a_default_session_of_its_own(places: Home) -> None:
    one, two = places.repository("one"), places.repository("two")
    seen = []

    async with serving(whereabouts()) as url, connected(url, LEGACY) as first, connected(url, LEGACY) as second:
        await answer_of(first, "set_working_directory", directory=str(one))
        await answer_of(second, "set_working_directory", directory=str(two))
        seen = [text_of(await client.call_tool("where", {})) for client in (first, second, first)]

    assert seen == [str(one), str(two), str(one)]


async def test_roots_of_other_kinds_do_not_hide_those_that_are_directories(places: Home) -> None:
    project = places.repository("project")
    roots = [{"uri": "vscode-remote://somewhere/x"}, {"uri": project.as_uri()}]
    process = await anyio.open_process(
        [sys.executable, str(NOTES)], cwd="/", env={"PWD": "", **places.environment}, stderr=subprocess.DEVNULL
    )
    async with process:
        assert process.stdin is not None
        assert process.stdout is not None
        client = RawClient(process.stdin, process.stdout)
        await client.initialize(roots=True)
        await client.send_call(1, "add", text="x")
        asked = await client.receive()
        await client.send(id=asked["id"], result={"roots": roots})
        answer = await client.receive()
        await client.end_input()
        await client.wait_end()

    assert asked["method"] == "roots/list"
    assert answer["result"]["structuredContent"] == {"result": "project has 1 notes now"}


# What is refused


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_argument_is_refused_with_the_near_match_and_nothing_runs(places: Home, era: str) -> None:
    app = whereabouts()
    ran: list[str] = []

    @app.tool
    async def add(text: str, project: CurrentProject) -> str:
        ran.append(text)
        return project.root

    directory = str(places.repository("project"))
    async with serving(app) as url, connected(url, era) as client:
        misspelt = await client.call_tool("add", {"text": "x", "directoy": directory})
        plain = await error_of(client, "plain", text="x", txet="y")
        own = await error_of(client, "get_working_directory", sesion_id="wr_x")

    assert misspelt.is_error
    assert "did you mean 'directory'?" in text_of(misspelt)
    assert misspelt.meta is not None
    assert misspelt.meta["workroot/error"]["code"] == "invalid_arguments"
    assert "did you mean 'text'?" in plain
    assert "did you mean 'session_id'?" in own
    assert ran == []


@pytest.mark.parametrize("tool", ["where", "anywhere"])
async def test_no_client_can_pass_a_project(places: Home, tool: str) -> None:
    forged = {"project": {"root": "/", "project_id": "x", "name": "y"}}

    async with serving(whereabouts()) as url, connected(url, ERAS[1]) as client:
        refused = await error_of(client, tool, directory=str(places.repository("p")), **forged)

    assert "has no argument 'project'" in refused


async def test_no_client_can_pass_a_project_to_a_server_that_nothing_is_attached_to() -> None:
    app: FastMCP[Any] = FastMCP("bare")

    @app.tool
    async def anywhere(project: CurrentProject | None = None) -> str:
        return str(project)

    @app.tool
    async def where(project: CurrentProject) -> str:
        return project.root

    async with fastmcp.Client(app) as client:
        forged = {"project": {"root": "/", "project_id": "x", "name": "y"}}
        first = await client.call_tool("anywhere", forged, raise_on_error=False)
        second = await client.call_tool("where", {}, raise_on_error=False)

    assert first.is_error
    assert second.is_error
    assert "attach" in second.content[0].text


# Whose request it is


@pytest.mark.row("K7", "B25")
@pytest.mark.parametrize("era", ERAS)
async def test_every_request_is_served_inside_of_a_request_context(places: Home, era: str) -> None:
    app = whereabouts()
    seen: list[request_context.CurrentContext] = []

    @app.tool
    async def note(text: str) -> str:
        seen.append(request_context.get_current_context())
        request_context.set_user_id("left behind")
        return text

    @app.resource("notes://one")
    async def one() -> str:
        seen.append(request_context.get_current_context())
        return "one"

    @app.prompt
    async def ask() -> str:
        seen.append(request_context.get_current_context())
        return "what?"

    async with serving(app) as url, connected(url, era) as client:
        moved = await answer_of(client, "set_working_directory", directory=str(places.repository("p")))
        headers = {"Workroot_Session": moved["session_id"]}
        async with connected(url, era, **headers) as other:
            await called(other, "note", {"text": "x"}, {"progressToken": "token"})
            await other.read_resource("notes://one")
            await other.get_prompt("ask")
        async with connected(url, era, Workroot_Session="../../made-up") as stranger:
            await called(stranger, "note", {"text": "x"}, {})
            await called(stranger, "note", {"text": "x"}, {"workroot/session": "wr_made_up"})

    assert [context["session_id"] for context in seen[:3]] == [moved["session_id"]] * 3
    assert [context["session_id"] for context in seen[3:]] == [None] * 2
    assert [context["user_id"] for context in seen] == [None] * 5
    assert seen[0]["progress_token"] == "token"
    assert request_context.get_user_id() is None


@pytest.mark.parametrize("era", ERAS)
async def test_the_authenticated_user_owns_the_session_and_no_other_sees_it(places: Home, era: str) -> None:
    tokens: dict[str, dict[str, Any]] = {
        name: {"client_id": "editor", "sub": name, "scopes": []} for name in ("ada", "bob")
    }
    app: FastMCP[Any] = FastMCP("private", auth=StaticTokenVerifier(tokens))
    attach(app)

    @app.tool
    async def whose(project: CurrentProject) -> str:
        return f"{request_context.require_user_id()} in {project.name}"

    project = places.repository("secret")
    async with serving(app) as url, connected(url, era, Authorization="Bearer ada") as ada:
        moved = await answer_of(ada, "set_working_directory", directory=str(project))
        hers = await answer_of(ada, "whose", session_id=moved["session_id"])
        async with connected(url, era, Authorization="Bearer bob") as bob:
            refused = await error_of(bob, "whose", session_id=moved["session_id"])
            known = await answer_of(bob, "list_projects")

    assert hers["result"] == "subject::ada in secret"
    assert "unknown" in refused
    assert "secret" not in refused
    assert known["projects"] == []


@pytest.mark.parametrize("era", ERAS)
async def test_who_asks_too_often_is_refused_until_later(era: str) -> None:
    now = [0.0]
    app: FastMCP[Any] = FastMCP("busy")
    attach(app, rate_limit=RateLimit(per_second=1, burst=5, clock=lambda: now[0]))

    @app.tool
    async def plain() -> str:
        return "done"

    async def call(client: Client) -> str:
        try:
            return text_of(await client.call_tool("plain", {}))
        except MCPError as error:
            return str(error.error.code)

    async with serving(app) as url, connected(url, era) as client:
        answers = [await call(client) for _ in range(6)]
        now[0] = 1.5
        later = await call(client)

    assert answers[0] == "done"
    assert answers[-1] == str(RATE_LIMITED)
    assert later == "done"


@pytest.mark.parametrize("era", ERAS)
async def test_an_error_of_ours_from_the_authors_own_rate_limit_is_told_as_it_is(era: str) -> None:
    class Switched:
        is_on = False

        def check(self, principal: str) -> None:
            if self.is_on:
                raise ToolNameError(["that is too many"])

    limit, app = Switched(), FastMCP[Any]("busy")
    attach(app, rate_limit=limit)

    @app.tool
    async def plain() -> str:
        raise AssertionError("it must not be called")

    async with serving(app) as url, connected(url, era) as client:
        limit.is_on = True
        called = await client.call_tool("plain", {})
        with pytest.raises(MCPError, match="that is too many") as listed:
            await client.list_resources()

    assert called.is_error
    assert (called.meta or {})["workroot/error"]["code"] == "tool_name_taken"
    assert listed.value.error.data == {"code": "tool_name_taken"}


# What clients could make up


async def with_the_sdks(project: SdkProject) -> str:
    return project.root


async def with_the_sdks_if_any(project: SdkProject | None) -> str:
    return str(project)


async def with_a_plain_project(project: Project | None = None) -> str:
    return str(project)


@pytest.mark.parametrize("tool", [with_the_sdks, with_the_sdks_if_any, with_a_plain_project])
async def test_a_server_whose_clients_could_make_up_a_project_does_not_start(tool: Any) -> None:
    app: FastMCP[Any] = FastMCP("forged")
    attach(app)
    app.tool(tool)

    with pytest.raises(RuntimeError, match=r"would let its clients make up project: .*attached.fastmcp") as refused:
        async with fastmcp.Client(app):
            pytest.fail("it started")
    assert isinstance(refused.value.__cause__, UnfilledParameterError)


@pytest.mark.parametrize("prompt", [with_the_sdks, with_a_plain_project])
async def test_prompts_and_templates_whose_clients_could_make_up_a_project_are_refused_too(prompt: Any) -> None:
    async def start(app: FastMCP[Any]) -> None:
        with pytest.raises(RuntimeError, match=r"would let its clients make up project: .* and alone"):
            async with fastmcp.Client(app):
                pytest.fail("it started")

    of_prompts, of_templates, later = FastMCP[Any]("forged"), FastMCP[Any]("forged"), FastMCP[Any]("forged")
    for app in (of_prompts, of_templates, later):
        attach(app)
    of_prompts.prompt(prompt)
    of_templates.resource("notes://{project}")(prompt)

    await start(of_prompts)
    await start(of_templates)
    async with fastmcp.Client(later) as client:
        later.prompt(prompt)
        made_up = json.dumps({"project_id": "x", "name": "bank", "root": "/"})
        with pytest.raises(MCPError, match="would let its clients make up project"):
            await client.get_prompt(prompt.__name__, {"project": made_up})


@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_that_is_added_later_is_not_called_if_its_clients_could_make_up_a_project(era: str) -> None:
    app = whereabouts()
    made_up = {"project": {"project_id": "x", "name": "bank", "root": "/"}}

    async with serving(app) as url, connected(url, era) as client:
        await client.list_tools()  # it has started
        app.tool(with_the_sdks)
        result = await client.call_tool("with_the_sdks", made_up)

    assert result.is_error
    assert (result.meta or {})["workroot/error"]["code"] == "unfilled_parameter"


# Life


@pytest.mark.parametrize("era", ERAS)
async def test_a_session_outlives_the_client_that_opened_it(places: Home, era: str) -> None:
    project = places.repository("project")

    async with serving(whereabouts()) as url:
        async with connected(url, era) as first:
            moved = await answer_of(first, "set_working_directory", directory=str(project))
        async with connected(url, era) as second:
            where = await answer_of(second, "where", session_id=moved["session_id"])

    assert where["result"] == str(project)


@pytest.mark.row("B4")
async def test_the_sessions_are_opened_once_for_all_clients_and_closed_with_the_server(places: Home) -> None:
    class Service(SessionContextManager):
        life: list[str] = []  # noqa: RUF012 -- of this test's own class
        noted: set[Alias] = set()  # noqa: RUF012 -- likewise

        async def start(self) -> None:
            self.life.append("start")
            await super().start()

        async def stop(self) -> None:
            self.life.append("stop")
            await super().stop()

        def connected(self, owner: Owner, alias: Alias) -> AbstractContextManager[None]:
            self.noted.add(alias)
            return super().connected(owner, alias)

    app: FastMCP[Any] = FastMCP("once")
    service = Service(MemoryStore(), ProjectFinder(str(uuid.uuid4())), home=str(places.top / "home"))
    attach(app, store=service)
    async with serving(app) as url:
        for era in ERAS:
            async with connected(url, era) as client, connected(url, era) as beside:
                await answer_of(client, "get_working_directory")
                await answer_of(beside, "get_working_directory")
        during = list(service.life)

    assert during == ["start"]
    assert service.life == ["start", "stop"]
    assert len(service.noted) == 2  # those of the handshake era, whose sessions are not swept meanwhile


async def test_sessions_in_a_file_are_there_after_a_restart(places: Home) -> None:
    project, path = places.repository("project"), places.top / "sessions.db"

    def made() -> FastMCP[Any]:
        app: FastMCP[Any] = FastMCP("kept")
        attach(app, store=path)

        @app.tool
        async def where(project: CurrentProject) -> str:
            return project.root

        return app

    async with fastmcp.Client(made()) as client:
        moved = await client.call_tool("set_working_directory", {"directory": str(project)})
    assert moved.structured_content is not None
    async with fastmcp.Client(made()) as client:
        where = await client.call_tool("where", {"session_id": moved.structured_content["session_id"]})

    assert where.data == str(project)


async def test_a_server_with_a_tool_of_one_of_our_names_does_not_start() -> None:
    app: FastMCP[Any] = FastMCP("taken")
    attach(app)

    @app.tool
    async def list_projects() -> str:
        return "mine"

    with pytest.raises(RuntimeError, match="list_projects"):
        async with fastmcp.Client(app):
            pass
    with pytest.raises(ToolNameError):
        attach(app)


def test_a_server_of_the_sdk_is_told_which_attach_it_needs() -> None:
    server: Any = MCPServer("other")

    with pytest.raises(TypeError, match=r"workroot\.attach$"):
        attach(server)


# FastMCP's own ways


async def test_a_dependency_of_a_tool_may_ask_for_the_project(places: Home) -> None:
    app, project = whereabouts(), places.repository("project")

    @app.tool
    def path(text: str, file: Annotated[str, Depends(notes_path)]) -> str:
        return f"{text} in {file}"

    @app.tool
    async def path_too(file: str = Depends(notes_path)) -> str:
        return file

    async with fastmcp.Client(app) as client:
        first = await client.call_tool("path", {"text": "x", "directory": str(project)})
        second = await client.call_tool("path_too", {"directory": str(project)})

    assert first.data == f"x in {project}/notes.txt"
    assert second.data == f"{project}/notes.txt"


async def test_a_tool_that_was_transformed_asks_as_before(places: Home) -> None:
    app, project = whereabouts(), places.repository("project")

    @app.tool
    async def find(text: str, here: CurrentProject | None, project: CurrentProject) -> str:
        return f"{text} {here == project} {project.root}"

    original = await app.local_provider.get_tool("find")
    assert original is not None
    renamed = {"text": ArgTransform(name="wanted"), "here": ArgTransform(name="there")}
    app.add_tool(Tool.from_tool(original, name="before", transform_args=renamed))
    app.add_transform(
        ToolTransform(
            {"where": ToolTransformConfig(name="after", arguments={"directory": ArgTransformConfig(name="at")})}
        )
    )

    async with fastmcp.Client(app) as client:
        listed = {tool.name: set(tool.input_schema["properties"]) for tool in await client.list_tools()}
        before = await client.call_tool("before", {"wanted": "x", "directory": str(project)})
        after = await client.call_tool("after", {"at": str(project)})

    assert listed["before"] == {"wanted", "session_id", "directory"}
    assert listed["after"] == {"session_id", "at"}
    assert before.data == f"x True {project}"
    assert after.data == str(project)


async def test_a_tool_that_runs_another_for_two_directories_at_once_gets_both(places: Home) -> None:
    app = whereabouts()
    one, two = places.repository("one"), places.repository("two")
    both = anyio.Event()
    waiting: list[str] = []

    @app.tool
    async def slow(project: CurrentProject) -> str:
        waiting.append(project.root)
        if len(waiting) == 2:
            both.set()
        await both.wait()
        return f"{project.root} {request_context.get_session_id()}"

    async def twice(session_id: str) -> str:
        first, second = await asyncio.gather(forward_raw(session_id=session_id), forward_raw(directory=str(two)))
        return " ".join(str(part.structured_content) for part in (first, second))

    listed = await app.get_tool("slow")
    assert listed is not None
    app.add_tool(
        Tool.from_tool(listed, name="twice", transform_fn=twice, transform_args={"directory": ArgTransform(hide=True)})
    )

    with anyio.fail_after(DEADLINE_SECONDS):
        async with fastmcp.Client(app) as client:
            moved = await client.call_tool("set_working_directory", {"directory": str(one)})
            assert moved.structured_content is not None
            session_id = moved.structured_content["session_id"]
            answer = await client.call_tool("twice", {"session_id": session_id})

    assert answer.data == f"{{'result': '{one} {session_id}'}} {{'result': '{two} None'}}"


async def test_an_attached_server_may_be_mounted_on_another(places: Home) -> None:
    project = places.repository("project")
    outer: FastMCP[Any] = FastMCP("outer")
    outer.mount(whereabouts(), namespace="in")

    async with serving(outer) as url, connected(url, ERAS[0]) as client:
        moved = await answer_of(client, "in_set_working_directory", directory=str(project))
        where = await client.call_tool("in_where", {"session_id": moved["session_id"]})
        optional = await answer_of(client, "in_anywhere", directory=str(project))
        refused = await error_of(client, "in_where", directoy=str(project))

    assert text_of(where) == str(project)
    assert meta_of(where)["project_root"] == str(project)
    assert optional["result"] == str(project)
    assert "did you mean 'directory'?" in refused


@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_of_a_mounted_server_asks_the_one_that_it_is_mounted_on(places: Home, era: str) -> None:
    app, project = whereabouts(), places.repository("project")
    inner: FastMCP[Any] = FastMCP("inner")

    @inner.tool
    async def deep(project: CurrentProject) -> str:
        return project.root

    app.mount(inner)

    async with fastmcp.Client(app, mode=era, roots=[project.as_uri()]) as client:
        deeply = await client.call_tool("deep", {})
    async with serving(app) as url, connected(url, era) as bare:
        refused = await called(bare, "deep", {}, {DIRECTORY: str(places.directory("empty"))})

    assert deeply.data == str(project)
    assert deeply.meta is not None
    assert deeply.meta[RESOLUTION]["source"] == "roots"
    assert refused.is_error
    assert refused.meta is not None
    assert refused.meta["workroot/error"]["code"] == "project_needed"


@pytest.mark.parametrize("era", ERAS)
async def test_resources_and_prompts_may_ask_for_the_project_too(places: Home, era: str) -> None:
    app, project = whereabouts(), places.repository("project")

    @app.resource("notes://here")
    async def here(project: CurrentProject) -> str:
        return f"notes of {project.name}"

    @app.prompt
    async def review(project: CurrentProject) -> str:
        return f"review {project.name}"

    async with fastmcp.Client(app, mode=era, roots=[project.as_uri()]) as client:
        (content,) = await client.read_resource("notes://here")
        prompt = await client.get_prompt("review")
    async with serving(app) as url, connected(url, era, Workroot_Directory=str(places.directory("empty"))) as bare:
        with pytest.raises(MCPError, match="no project owns"):
            await bare.read_resource("notes://here")

    assert isinstance(content, TextResourceContents)
    assert content.text == "notes of project"
    assert isinstance(prompt.messages[0].content, TextContent)
    assert prompt.messages[0].content.text == "review project"


async def test_a_tool_that_asks_its_client_something_does_not_see_our_question(places: Home) -> None:
    app, project = whereabouts(), places.repository("project")
    rounds: list[list[str] | None] = []

    @app.tool
    async def guarded(project: CurrentProject, ctx: Context) -> str | InputRequiredResult:
        answers = ctx.input_responses
        rounds.append(None if answers is None else sorted(answers))
        if answers is None:
            form = ElicitRequestFormParams(message="Sure?", requested_schema={"type": "object", "properties": {}})
            return InputRequiredResult(input_requests={"sure": ElicitRequest(params=form)}, request_state="asked")
        return f"{ctx.request_state} in {project.root}"

    async def sure(message: str, response_type: object, params: object, context: object) -> ElicitResult[Any]:
        return ElicitResult(action="accept")

    async with fastmcp.Client(app, mode=ERAS[1], roots=[project.as_uri()], elicitation_handler=sure) as client:
        answer = await client.call_tool("guarded", {})

    assert answer.data == f"asked in {project}"
    assert rounds == [None, ["sure"]]


async def test_links_that_a_tool_adds_come_with_its_result(places: Home) -> None:
    app, project = whereabouts(), places.repository("project")

    @app.tool
    async def linked(project: CurrentProject) -> str:
        channels.add_resource_link(f"file://{project.root}/notes.txt")
        return project.name

    async with fastmcp.Client(app) as client:
        answer = await client.call_tool("linked", {"directory": str(project)})

    assert [part.type for part in answer.content] == ["text", "resource_link"]
    assert answer.data == "project"


async def test_what_a_tool_says_as_it_is_keeps_its_form_and_gets_our_meta(places: Home) -> None:
    app, project = whereabouts(), places.repository("project")

    @app.tool
    async def raw(project: CurrentProject) -> CallToolResult:
        return CallToolResult(content=[TextContent(text=project.name)], is_error=True, _meta={"own": 1})

    async with fastmcp.Client(app) as client:
        answer = await client.call_tool("raw", {"directory": str(project)}, raise_on_error=False)

    assert answer.is_error
    assert answer.meta is not None
    assert answer.meta["own"] == 1
    assert answer.meta[RESOLUTION]["project_root"] == str(project)


# The package without FastMCP


def test_importing_workroot_does_not_import_fastmcp() -> None:
    code = "import sys, workroot; workroot.attach; sys.exit('fastmcp' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


@pytest.mark.parametrize(
    "absence",
    [
        "sys.modules['fastmcp'] = None",
        "import fastmcp.tools; del fastmcp.tools.InputRequiredToolResult",  # as earlier ones are
    ],
)
def test_without_fastmcp_4_the_error_says_what_to_install(absence: str) -> None:
    code = f"import sys; {absence}; import workroot.attached.fastmcp"

    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=30, capture_output=True, text=True)

    assert ended.returncode == 1
    assert "ImportError: workroot.attached.fastmcp is for" in ended.stderr
    assert 'pip install "workroot[fastmcp]"' in ended.stderr
