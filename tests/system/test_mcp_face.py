"""What clients of both eras see of the tools and resources of a real daemon, errors included."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp_types import CacheableResult, TextResourceContents
from real_daemon import ERAS, LEGACY, MODERN, MODERN_META, Home, answer_of, error_of, open_home, text_of

TOOL_NAMES = ["get_working_directory", "set_working_directory", "list_projects", "close_session"]


def sessions_in(home: Home, top: Path) -> list[str]:
    return [name for name, each in home.sessions().items() if each["given_directory"].startswith(str(top))]


# Directories that cannot be worked in


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("tool", ["get_working_directory", "set_working_directory"])
@pytest.mark.row("S10")
async def test_a_directory_that_cannot_be_worked_in_is_a_tool_error_and_changes_nothing(
    shared: Home, era: str, tool: str
) -> None:
    project = shared.repository(f"fixed-{era}-{tool}")
    (project / "file").touch()
    wrong = {
        "relative/path": "Directory path must be absolute: relative/path",
        "~/src": "Directory path must be absolute: ~/src",
        "": "Directory path must be absolute: ",
        f"{project}/missing": f"Directory does not exist: {project}/missing",
        f"{project}/file": f"Path is not a directory: {project}/file",
        f"{project}/file/below": f"Directory does not exist: {project}/file/below",
        f"{project}/\0": f"Directory path must not contain NUL: {project}/\\x00",
        f"{project}/{'a' * 256}": f"Directory cannot be used (File name too long): {project}/{'a' * 256}",
        "/" + "a" * 4095: "Directory path must not be longer than 4,095 bytes: /aaa",
        "/" + "é" * 2048: "Directory path must not be longer than 4,095 bytes: /\u00e9",
    }

    async with shared.open_client(era, project) as client:
        before = await answer_of(client, "set_working_directory", directory=str(project))
        session = before["session_id"]
        revision = shared.sessions()[session]["revision"]
        for directory, problem in wrong.items():
            result = await client.call_tool(tool, {"directory": directory, "session_id": session})
            assert result.is_error, directory
            assert text_of(result).startswith(problem)
            assert result.meta is not None
            assert result.meta["workroot/error"]["code"] == "invalid_directory"
        after = await answer_of(client, "get_working_directory", session_id=session)

    assert after["working_directory"] == str(project)
    assert shared.sessions()[session]["revision"] == revision
    assert sessions_in(shared, project) == [session]


@pytest.mark.parametrize("era", ERAS)
async def test_half_of_a_surrogate_pair_in_a_path_is_refused_before_it_is_read_as_one(shared: Home, era: str) -> None:
    project = shared.repository(f"surrogate-{era}")
    meta = MODERN_META if era == MODERN else None

    async with shared.open_raw_connector(project) as client:
        if era == LEGACY:
            await client.initialize()
        refused = await client.call(1, "set_working_directory", meta=meta, directory=f"{project}/\ud800")
        answered = await client.call(2, "get_working_directory", meta=meta)

    assert refused["error"]["code"] == -32700
    assert answered["result"]["structuredContent"]["working_directory"] == str(project)
    assert sessions_in(shared, project) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every directory")
@pytest.mark.parametrize("era", ERAS)
async def test_an_unreadable_directory_is_a_tool_error(shared: Home, era: str) -> None:
    hidden = shared.directory(f"hidden-{era}")
    hidden.chmod(0)

    async with shared.open_client(era) as client:
        error = await error_of(client, "set_working_directory", directory=str(hidden))

    assert error == f"Directory is not readable: {hidden}"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("config", "line", "field"),
    [
        ('version = "1.0"\n\n[project]\nname = ""\n', None, "project.name"),
        ('version = "1.0"\n[project]\nname = "ok"\nid = "no uuid"\n', None, "project.id"),
        ('version = "1.0"\n[project\n', 2, None),
    ],
    ids=["name", "id", "syntax"],
)
@pytest.mark.row("S10")
async def test_a_broken_config_is_reported_with_file_line_and_field(
    shared: Home, era: str, config: str, line: int | None, field: str | None, request: pytest.FixtureRequest
) -> None:
    name = f"broken-{request.node.callspec.id}"
    outer = shared.repository(name)
    project = shared.with_config(f"{name}/inner", config)
    path = str(project / ".workroot" / "config.toml")

    async with shared.open_client(era, project) as client:
        result = await client.call_tool("get_working_directory", {})
        moved = await answer_of(client, "set_working_directory", directory=str(project))

    answer = result.structured_content
    assert isinstance(answer, dict)
    assert outer.is_dir()
    for each in (answer, moved):
        assert (each["config_found"], each["config_path"], each["project_info"]) == (True, path, None)
        assert each["working_directory"] == str(project)
    (warning,) = answer["warnings"]
    assert warning.startswith(f"{path}:{line}" if line else path)
    assert field is None or f"{field}: " in warning
    assert warning in text_of(result)
    assert len(text_of(result).splitlines()) <= 3


# Arguments


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("tool", "arguments", "problem"),
    [
        ("set_working_directory", {"directroy": "/tmp"}, "did you mean 'directory'?"),
        ("set_working_directory", {"directory": "/tmp", "sessionId": "x"}, "did you mean 'session_id'?"),
        ("get_working_directory", {"qwxyz": 1}, "it takes: session_id, directory"),
        ("set_working_directory", {"directory": ["/tmp"]}, "directory must be a string, not list"),
        ("set_working_directory", {"directory": "/tmp", "project": "x"}, "takes either directory"),
        ("set_working_directory", {}, "takes either directory"),
        ("set_working_directory", {"directory": None}, "takes either directory"),
        ("close_session", {}, "needs the argument 'session_id'"),
        ("list_projects", {"cursor": "101"}, "'101' is not a cursor of this list"),
        ("get_working_directory", {"session_id": "../x"}, "'../x' cannot be a session id"),
        ("get_working_directory", {"session_id": "x" * 129}, "cannot be a session id"),
    ],
)
async def test_arguments_that_a_tool_does_not_take_are_tool_errors(
    shared: Home, era: str, tool: str, arguments: dict[str, Any], problem: str
) -> None:
    before = set(shared.sessions())

    async with shared.open_client(era) as client:
        result = await client.call_tool(tool, arguments)

    assert result.is_error
    assert problem in text_of(result)
    assert set(shared.sessions()) == before


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_tool_is_refused_with_the_names_there_are(shared: Home, era: str) -> None:
    async with shared.open_client(era) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("get_cwd", {})

    assert caught.value.code == -32602
    assert "unknown tool 'get_cwd'" in str(caught.value)
    assert all(name in str(caught.value) for name in TOOL_NAMES)


@pytest.mark.parametrize("era", ERAS)
async def test_arguments_that_are_null_count_as_left_out(shared: Home, era: str) -> None:
    project = shared.repository(f"null-{era}")

    async with shared.open_client(era, project) as client:
        answer = await answer_of(client, "get_working_directory", directory=None, session_id=None)

    assert answer["working_directory"] == str(project)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.row("S14")
async def test_a_client_s_nowhere_is_unknown_and_says_what_to_call(shared: Home, era: str) -> None:
    recent = shared.repository(f"recent-{era}")

    async with shared.open_client(era) as client:  # started in the home directory, which says nothing
        await answer_of(client, "get_working_directory", meta={"workroot/directory": str(recent)})
        result = await client.call_tool("get_working_directory", {})

    answer = result.structured_content
    assert isinstance(answer, dict)
    assert (answer["working_directory"], answer["project_info"], answer["authority"]) == (None, None, None)
    assert answer["source"] == "unknown"
    assert {"directory": str(recent), "source": "registry", "detail": "recent project", "project": recent.name} == (
        answer["alternatives"][0]
    )
    assert len(answer["alternatives"]) <= 5
    text = text_of(result)
    assert len(text.splitlines()) <= 3
    assert "set_working_directory(directory=" in text
    assert str(recent) in text


async def test_recent_projects_can_be_withheld() -> None:
    with open_home(WORKROOT_SHOW_RECENT_PROJECTS="0") as home:
        project = home.repository("secret")
        async with home.open_client(LEGACY) as client:
            await answer_of(client, "get_working_directory", directory=str(project))
            result = await client.call_tool("get_working_directory", {})

    assert isinstance(result.structured_content, dict)
    assert result.structured_content["alternatives"] == []
    assert "secret" not in text_of(result)


# Handles


@pytest.mark.parametrize("era", ERAS)
async def test_unknown_and_closed_handles_are_two_different_errors(shared: Home, era: str) -> None:
    project = shared.repository(f"handles-{era}")

    async with shared.open_client(era, project) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(project)))["session_id"]
        await answer_of(client, "close_session", session_id=session)
        results = {
            name: await client.call_tool(tool, {"session_id": handle} | extra)
            for name, tool, handle, extra in [
                ("get closed", "get_working_directory", session, {}),
                ("set closed", "set_working_directory", session, {"directory": str(project)}),
                ("close closed", "close_session", session, {}),
                ("get unknown", "get_working_directory", "wr_unknown", {}),
                ("set unknown", "set_working_directory", "wr_unknown", {"directory": str(project)}),
                ("close unknown", "close_session", "wr_unknown", {}),
            ]
        }
        again = await answer_of(client, "set_working_directory", directory=str(project))

    for name, result in results.items():
        assert result.is_error
        assert result.meta is not None
        error = result.meta["workroot/error"]
        assert error["code"] == ("closed_session" if "closed" in name else "unknown_session")
        assert "set_working_directory" in text_of(result)
        if "closed" in name:
            assert error["last_directory"] == str(project)
            assert "was closed" in text_of(result)
            assert str(project) in text_of(result)
    assert again["session_id"] != session
    assert "wr_unknown" not in shared.sessions()


@pytest.mark.parametrize("era", ERAS)
async def test_an_expired_handle_is_an_error_with_the_old_directory_and_the_call_to_repeat(era: str) -> None:
    with open_home(WORKROOT_SESSION_IDLE_SECONDS="0.001") as home:
        home.start()
        project = home.repository("idle")
        async with home.open_client(MODERN, project) as opener, home.open_client(era, project) as client:
            session = (await answer_of(opener, "set_working_directory", directory=str(project)))["session_id"]
            swept = home.run("sweep", "--json")
            result = await client.call_tool("get_working_directory", {"session_id": session})
            closed = await client.call_tool("close_session", {"session_id": session})

    assert json.loads(swept.stdout) == {"removed": [session]}
    for each in (result, closed):
        assert each.is_error
        assert each.meta is not None
        assert each.meta["workroot/error"]["code"] == "expired_session"
        assert each.meta["workroot/error"]["last_directory"] == str(project)
        assert "expired" in text_of(each)
        assert f"set_working_directory(directory={str(project)!r})" in text_of(each)
        assert "repeat this call" in text_of(each)


@pytest.mark.parametrize("era", ERAS)
async def test_a_stranger_learns_of_no_handle_more_than_that_it_is_unknown(shared: Home, era: str) -> None:
    project = shared.repository(f"private-{era}")

    async with shared.open_client(era, project) as owner, shared.open_http_client(era, "eve") as stranger:
        live = (await answer_of(owner, "set_working_directory", directory=str(project)))["session_id"]
        async with shared.open_client(MODERN, project) as other:
            closed = (await answer_of(other, "set_working_directory", directory=str(project)))["session_id"]
            await answer_of(other, "close_session", session_id=closed)

        async def errors(tool: str, **arguments: str) -> list[str]:
            found = []
            for handle in (live, closed, "wr_never"):
                error = await error_of(stranger, tool, session_id=handle, **arguments)
                found.append(error.replace(handle, "HANDLE"))
            return found

        for tool, arguments in (
            ("get_working_directory", {}),
            ("set_working_directory", {"directory": str(project)}),
            ("close_session", {}),
        ):
            assert len(set(await errors(tool, **arguments))) == 1
        for handle in (live, closed, "wr_never"):
            with pytest.raises(MCPError, match="unknown session"):
                await stranger.read_resource(f"workroot://sessions/{handle}", cache_mode="bypass")
        projects = await answer_of(stranger, "list_projects")
        mine = await answer_of(owner, "get_working_directory", session_id=live)

    assert projects["projects"] == []
    assert mine["working_directory"] == str(project)


@pytest.mark.parametrize("era", ERAS)
async def test_a_token_for_the_same_user_reaches_the_same_sessions(shared: Home, era: str) -> None:
    project = shared.repository(f"same-user-{era}")

    async with shared.open_client(era, project) as editor, shared.open_http_client(era) as other:
        session = (await answer_of(editor, "set_working_directory", directory=str(project)))["session_id"]
        answer = await answer_of(other, "get_working_directory", session_id=session)

    assert answer["working_directory"] == str(project)


# Lists, capabilities, hints


async def _tools(client: Client) -> list[dict[str, Any]]:
    listed = await client.list_tools(cache_mode="bypass")
    return [tool.model_dump(by_alias=True, exclude_none=True) for tool in listed.tools]


async def test_the_tools_are_the_same_for_everybody_and_at_any_time(shared: Home) -> None:
    project = shared.repository("tools")

    async with (
        shared.open_client(LEGACY, project) as one,
        shared.open_client(MODERN) as two,
        shared.open_http_client(LEGACY, "eve") as three,
        shared.open_http_client(MODERN) as four,
    ):
        first = await _tools(one)
        await answer_of(one, "set_working_directory", directory=str(project))
        lists = [await _tools(client) for client in (one, two, three, four)]

    assert [tool["name"] for tool in first] == TOOL_NAMES
    assert all(tools == first for tools in lists)
    for tool in first:
        assert tool["inputSchema"]["additionalProperties"] is False
        assert tool["outputSchema"]["type"] == "object"
        assert all(each["description"] for each in tool["inputSchema"]["properties"].values())
        assert len(tool["description"]) > 80
    assert [tool["annotations"]["readOnlyHint"] for tool in first] == [True, False, True, False]


@pytest.mark.parametrize("mode", [LEGACY, "auto"])
@pytest.mark.parametrize("way", ["connector", "http"])
async def test_capabilities_say_that_lists_change_and_resources_can_be_subscribed_to(
    shared: Home, mode: str, way: str
) -> None:
    async with shared.open_client(mode) if way == "connector" else shared.open_http_client(mode) as client:
        assert (client.protocol_version == MODERN) is (mode == "auto")
        capabilities = client.server_capabilities
        assert client.instructions is not None
        assert "set_working_directory" in client.instructions
        assert client.server_info is not None
        assert client.server_info.name == "workroot"

    assert capabilities.tools is not None
    assert capabilities.tools.list_changed is True
    assert capabilities.resources is not None
    assert capabilities.resources.subscribe is True
    assert capabilities.resources.list_changed is True
    assert capabilities.experimental is not None
    assert "codex/sandbox-state-meta" in capabilities.experimental


async def test_modern_lists_and_reads_say_how_long_they_may_be_kept(shared: Home) -> None:
    project = shared.repository("hints")

    async with shared.open_client("auto", project) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(project)))["session_id"]
        kept: dict[str, CacheableResult] = {
            "tools": await client.list_tools(),
            "resources": await client.list_resources(),
            "templates": await client.list_resource_templates(),
            "projects": await client.read_resource("workroot://projects"),
            "session": await client.read_resource(f"workroot://sessions/{session}"),
            "discover": await client.session.discover(),
        }

    assert {result.cache_scope for result in kept.values()} == {"private"}
    assert kept.pop("tools").ttl_ms > 0
    assert {name: result.ttl_ms for name, result in kept.items()} == dict.fromkeys(kept, 0)


# Resources


async def _read(client: Client, uri: str) -> dict[str, Any]:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "application/json"
    loaded: dict[str, Any] = json.loads(content.text)
    return loaded


@pytest.mark.parametrize("era", ERAS)
async def test_resources_show_the_caller_s_projects_and_session(shared: Home, era: str) -> None:
    main = shared.repository(f"resource-{era}")
    worktree = shared.worktree(main, f"resource-{era}-fix")

    async with shared.open_client(era, main) as client:
        here = await answer_of(client, "get_working_directory")
        moved = await answer_of(client, "set_working_directory", directory=str(worktree))
        project_id, session_id = here["project_info"]["id"], moved["session_id"]
        resources = [str(each.uri) for each in (await client.list_resources()).resources]
        templates = [each.uri_template for each in (await client.list_resource_templates()).resource_templates]
        projects = await _read(client, "workroot://projects")
        project = await _read(client, f"workroot://projects/{project_id}")
        session = await _read(client, f"workroot://sessions/{session_id}")
        with pytest.raises(MCPError, match="no resource at workroot://nothing") as caught:
            await client.read_resource("workroot://nothing")

    assert resources[:2] == ["workroot://projects", f"workroot://projects/{project_id}"]
    assert templates == ["workroot://projects/{id}", "workroot://sessions/{session_id}"]
    assert [row["root"] for row in projects["projects"][:2]] == [str(worktree), str(main)]
    assert (project["id"], project["name"]) == (project_id, main.name)
    assert [(row["root"], row["worktree_of"]) for row in project["roots"]] == [
        (str(worktree), str(main)),
        (str(main), None),
    ]
    assert (session["session_id"], session["working_directory"]) == (session_id, str(worktree))
    assert session["project_root"] == str(worktree)
    assert caught.value.code == -32602


# What is not stored


async def test_nothing_is_stored_for_what_asks_nothing_of_a_place(home: Home) -> None:
    home.start()
    project = home.repository("quiet")

    async with home.open_raw_connector(project) as old, home.open_raw_connector(project) as new:
        await old.initialize()
        for number, method in enumerate(["ping", "tools/list", "resources/list", "resources/templates/list"], start=1):
            await old.send(id=number, method=method)
            assert "result" in await old.receive()
        for number, method in enumerate(["server/discover", "tools/list", "resources/list"]):
            await new.send(id=number, method=method, params={"_meta": MODERN_META})
            assert "result" in await new.receive()
        status = home.ask("status")

    assert (status["sessions"], status["projects"], status["connections"]) == (0, 0, 2)
    assert home.ask("decisions") == {"decisions": []}


@pytest.mark.parametrize("era", ERAS)
async def test_asking_where_one_is_opens_no_session(home: Home, era: str) -> None:
    project = home.repository("asked")

    async with home.open_client(era, project) as client:
        for _ in range(3):
            await answer_of(client, "get_working_directory")
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(client.call_tool, "get_working_directory", {})

        assert home.sessions() == {}


@pytest.mark.parametrize("era", ERAS)
async def test_a_cursor_or_an_address_that_is_none_is_refused(shared: Home, era: str) -> None:
    project = shared.repository(f"addressed-{era}")
    async with shared.open_client(era, project) as client:
        found = await answer_of(client, "get_working_directory")
        assert "is not a cursor of this list" in await error_of(client, "list_projects", cursor="9" * 5000)
        with pytest.raises(MCPError, match="no resource at"):
            await client.read_resource(found["project_info"]["id"])
