"""A server of somebody else's with workroot attached, as its clients see it: real processes over stdio, both eras."""

from __future__ import annotations

import json

import pytest
from attached_clients import claiming, error_of, meta_of, stdio_client, text_of
from mcp.client import ClientRequestContext
from mcp_types import ElicitRequestParams, ElicitResult, TextResourceContents
from real_daemon import ERAS, LEGACY, MODERN, Home

from workroot.mcp_face.tools import TOOLS

AUTO_SWITCH_OFF = 'version = "1.0"\nauto_switch = false\n\n[project]\nname = "shy"\n'
STRICT = 'version = "1.0"\nstrict_mode = true\n\n[project]\nname = "strict"\n'
BROKEN = 'version = "1.0"\n\n[project]\nname = 5\n'


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("tool", ["where", "where_sync", "where_if_any"])
async def test_a_tool_gets_the_project_that_its_client_works_in(home: Home, mode: str, tool: str) -> None:
    lab = home.repository("lab")
    inner = lab / "src"
    inner.mkdir()

    async with stdio_client(home, mode, inner) as client:
        result = await client.call_tool(tool)

    assert text_of(result) == f"lab {lab}"
    meta = meta_of(result)
    assert (meta["project_root"], meta["directory"], meta["source"]) == (str(lab), str(inner), "connector")


@pytest.mark.parametrize("mode", ERAS)
async def test_a_tool_that_asks_gets_the_two_arguments_and_all_are_closed(home: Home, mode: str) -> None:
    async with stdio_client(home, mode, home.repository("lab")) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    assert list(tools)[:4] == [tool.name for tool in TOOLS]
    assert [tools[tool.name].input_schema for tool in TOOLS] == [tool.input_schema for tool in TOOLS]
    assert [tools[tool.name].output_schema for tool in TOOLS] == [tool.output_schema for tool in TOOLS]
    assert {name: sorted(tool.input_schema.get("properties", {})) for name, tool in list(tools.items())[4:]} == {
        "where": ["directory", "session_id"],
        "where_sync": ["directory", "session_id"],
        "where_if_any": ["directory", "session_id"],
        "where_if_any_sync": ["directory", "note", "session_id"],
        "who": ["directory", "session_id"],
        "who_if_any": ["directory", "session_id"],
        "root": ["directory", "session_id"],
        "titled": ["directory", "session_id"],
        "own_arguments": ["directory", "session_id"],
        "plain": ["colour", "text"],
        "in_force": [],
        "lives_so_far": [],
    }
    assert all(tool.input_schema["additionalProperties"] is False for tool in tools.values())
    assert "session_id" not in tools["where"].input_schema.get("required", [])


@pytest.mark.parametrize("mode", ERAS)
async def test_an_argument_that_a_tool_does_not_take_is_refused_with_the_near_match(home: Home, mode: str) -> None:
    async with stdio_client(home, mode, home.repository("lab")) as client:
        misspelt = error_of(await client.call_tool("plain", {"text": "a", "color": "blue"}))
        invented = error_of(await client.call_tool("where", {"sessionid": "x"}))
        none = error_of(await client.call_tool("in_force", {"x": 1}))

    assert misspelt[0] == invented[0] == none[0] == "invalid_arguments"
    assert misspelt[1].startswith("plain has no argument 'color'; did you mean 'colour'?")
    assert invented[1].startswith("where has no argument 'sessionid'; did you mean 'session_id'?")
    assert none[1].startswith("in_force has no argument 'x'; it takes none")


@pytest.mark.parametrize("mode", ERAS)
async def test_no_client_can_pass_a_project_or_a_session_itself(home: Home, mode: str) -> None:
    made_up = {"project_id": "x", "name": "bank", "root": "/"}

    async with stdio_client(home, mode, home.repository("lab")) as client:
        project = error_of(await client.call_tool("where", {"project": made_up}))
        optional = error_of(await client.call_tool("where_if_any", {"project": None}))
        session = error_of(await client.call_tool("who", {"session": {"session_id": "wr_x"}}))

    assert project[0] == optional[0] == session[0] == "invalid_arguments"


@pytest.mark.parametrize("mode", ERAS)
async def test_an_argument_of_the_wrong_type_is_told_as_the_sdk_tells_it(home: Home, mode: str) -> None:
    async with stdio_client(home, mode, home.directory("nobody's")) as client:
        wrong = await client.call_tool("where_if_any_sync", {"note": {"a": 1}})
        not_text = error_of(await client.call_tool("where", {"session_id": 5}))

    assert wrong.is_error
    assert "validation error" in str(wrong.content)
    assert not_text == (
        "invalid_arguments",
        "where: session_id must be a string, not int\n"
        "Next: repeat the call with the arguments that the tool's input schema names.",
    )


@pytest.mark.parametrize("mode", ERAS)
async def test_without_a_project_a_tool_that_needs_one_fails_and_one_that_does_not_runs(home: Home, mode: str) -> None:
    nowhere = home.directory("nobody's")

    async with stdio_client(home, mode, nowhere) as client:
        code, text = error_of(await client.call_tool("where"))
        if_any = text_of(await client.call_tool("where_if_any"))
        if_any_sync = text_of(await client.call_tool("where_if_any_sync", {"note": "works"}))

    assert code == "project_needed"
    assert text == (
        f"this needs a project, and no project owns {nowhere}; call set_working_directory(directory=ABSOLUTE PATH)"
    )
    assert (if_any, if_any_sync) == ("nowhere", "works nowhere")


@pytest.mark.parametrize("mode", ERAS)
async def test_where_nothing_is_known_the_error_says_so_and_names_the_call_to_make(home: Home, mode: str) -> None:
    async with stdio_client(home, mode, home.top / "home") as client:  # home says nothing about a project
        code, text = error_of(await client.call_tool("where"))
        if_any = text_of(await client.call_tool("where_if_any"))

    assert (code, if_any) == ("project_needed", "nowhere")
    assert text == (
        "this needs a project, and it is not known in which one you work (no sign names a directory); "
        "call set_working_directory(directory=ABSOLUTE PATH)"
    )


@pytest.mark.parametrize("mode", ERAS)
async def test_where_nothing_is_known_the_callers_own_recent_projects_are_candidates(home: Home, mode: str) -> None:
    lab = home.repository("lab")

    async with stdio_client(home, mode, home.top / "home") as client:
        opened = await client.call_tool("set_working_directory", {"directory": str(lab)})
        await client.call_tool("close_session", {"session_id": (opened.structured_content or {})["session_id"]})
        _, text = error_of(await client.call_tool("where"))
        if_any = text_of(await client.call_tool("where_if_any"))

    assert text.endswith(f"for example one of: {lab}")
    assert if_any == "nowhere"


@pytest.mark.parametrize("mode", ERAS)
async def test_roots_in_several_projects_are_the_candidates_of_the_error(home: Home, mode: str) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")

    async with stdio_client(home, mode, home.top / "home", roots=lambda: [lab.as_uri(), shop.as_uri()]) as client:
        result = await client.call_tool("where")
        if_any = await client.call_tool("where_if_any")
        chosen = text_of(await client.call_tool("where", {"directory": str(shop)}))

    for each in (result, if_any):  # between two projects there is one, so none is no answer
        code, text = error_of(each)
        assert code == "project_needed"
        assert "the client's roots lie in several projects" in text
        assert text.endswith(f"for example one of: {lab}; {shop}")
        assert (each.meta or {})["workroot/error"]["candidates"] == [{"directory": str(lab)}, {"directory": str(shop)}]
        assert meta_of(each)["outcome"] == "ambiguous"
    assert chosen == f"shop {shop}"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_root_that_is_no_directory_here_does_not_spoil_the_others(home: Home, mode: str) -> None:
    lab = home.repository("lab")

    async with stdio_client(
        home, mode, home.top / "home", roots=lambda: ["vscode-remote://ssh/x", lab.as_uri()]
    ) as client:
        result = await client.call_tool("where")
        listed = await client.call_tool("get_working_directory")

    assert text_of(result) == f"lab {lab}"
    assert meta_of(result)["source"] == meta_of(listed)["source"] == "roots"


@pytest.mark.parametrize("mode", ERAS)
async def test_roots_are_asked_anew_in_every_call(home: Home, mode: str) -> None:
    now = [home.repository("lab")]

    async with stdio_client(home, mode, home.top / "home", roots=lambda: [now[0].as_uri()]) as client:
        first = text_of(await client.call_tool("where"))
        now[0] = home.repository("shop")
        second = text_of(await client.call_tool("where"))

    assert (first.split()[0], second.split()[0]) == ("lab", "shop")


@pytest.mark.parametrize("mode", ERAS)
async def test_a_tool_may_ask_its_user_as_well_as_the_client_for_its_roots(home: Home, mode: str) -> None:
    lab = home.repository("lab")

    async def elicited(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="accept", content={"title": "Dune"})

    async with stdio_client(home, mode, home.top / "home", roots=lambda: [lab.as_uri()], elicited=elicited) as client:
        assert text_of(await client.call_tool("titled")) == "Dune in lab"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_resolver_of_the_authors_own_may_ask_for_the_project(home: Home, mode: str) -> None:
    lab = home.repository("lab")

    async with stdio_client(home, mode, lab) as client:
        assert text_of(await client.call_tool("root")) == str(lab)
        assert error_of(await client.call_tool("root", {"directory": str(home.directory("x"))}))[0] == "project_needed"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_session_is_passed_on_by_argument_and_by_meta(home: Home, mode: str) -> None:
    lab, shop = home.repository("lab"), home.repository("shop")

    async with stdio_client(home, mode, lab) as client:
        opened = await client.call_tool("set_working_directory", {"directory": str(shop)})
        assert opened.structured_content is not None
        session = opened.structured_content["session_id"]
        by_argument = text_of(await client.call_tool("where", {"session_id": session}))
        by_meta = text_of(await client.call_tool("where", meta=claiming(session)))
        of_session = text_of(await client.call_tool("who", {"session_id": session}))
        without = text_of(await client.call_tool("where"))

    assert by_argument == by_meta == f"shop {shop}"
    assert of_session == f"{session} {shop}"
    # In the handshake era the connection stands for the session; in the modern one it stands for nobody.
    assert without == (f"shop {shop}" if mode == LEGACY else f"lab {lab}")


@pytest.mark.parametrize("mode", ERAS)
async def test_a_session_that_is_not_there_is_an_error_that_says_which(home: Home, mode: str) -> None:
    lab = home.repository("lab")

    async with stdio_client(home, mode, lab) as client:
        nobody = error_of(await client.call_tool("who"))
        unknown = error_of(await client.call_tool("where", {"session_id": "wr_made_up"}))
        opened = await client.call_tool("set_working_directory", {"directory": str(lab)})
        assert opened.structured_content is not None
        session = {"session_id": opened.structured_content["session_id"]}
        await client.call_tool("close_session", session)
        closed = error_of(await client.call_tool("who", session))
        if_any = text_of(await client.call_tool("who_if_any"))

    assert nobody[0] == "session_needed"
    assert "call set_working_directory(directory=ABSOLUTE PATH)" in nobody[1]
    assert unknown[0] == "unknown_session"
    assert closed[0] == "closed_session"
    assert str(lab) in closed[1]
    assert if_any == "nobody"


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.row("S14", "B8")
async def test_a_broken_config_is_no_missing_project(home: Home, mode: str) -> None:
    broken = home.with_config("broken", BROKEN)

    async with stdio_client(home, mode, broken) as client:
        needed = error_of(await client.call_tool("where"))
        if_any = error_of(await client.call_tool("where_if_any"))

    assert needed[0] == if_any[0] == "invalid_config"
    assert "config.toml" in needed[1]
    assert "Next: ask the user to mend the config" in needed[1]
    assert needed == if_any


@pytest.mark.parametrize("mode", ERAS)
async def test_a_project_without_auto_switch_is_entered_on_request_only(home: Home, mode: str) -> None:
    shy = home.with_config("shy", AUTO_SWITCH_OFF)

    async with stdio_client(home, mode, shy) as client:
        before = error_of(await client.call_tool("where"))
        if_any = text_of(await client.call_tool("where_if_any"))
        opened = await client.call_tool("set_working_directory", {"project": str(shy)})
        assert opened.structured_content is not None
        after = await client.call_tool("where", {"session_id": opened.structured_content["session_id"]})

    assert before[0] == "project_needed"
    assert "auto_switch is off" in before[1]
    assert if_any == "nowhere"
    assert text_of(after) == f"shy {shy}"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_strict_project_answers_for_nothing_outside_of_it(home: Home, mode: str) -> None:
    strict, lab = home.with_config("strict", STRICT), home.repository("lab")

    async with stdio_client(home, mode, strict) as client:
        code, text = error_of(await client.call_tool("where", {"directory": str(lab)}))

    assert code == "strict_mode"
    assert f"call set_working_directory(directory={str(lab)!r})" in text or "set_working_directory" in text


@pytest.mark.parametrize("mode", ERAS)
async def test_a_session_follows_a_client_that_moves(home: Home, mode: str) -> None:
    main = home.repository("lab")
    tree = home.worktree(main, "tree")
    now = [main]

    async with stdio_client(home, mode, home.top / "home", roots=lambda: [now[0].as_uri()]) as client:
        opened = await client.call_tool("set_working_directory", {"directory": str(main)})
        assert opened.structured_content is not None
        session = {"session_id": opened.structured_content["session_id"]}
        now[0] = tree
        moved = await client.call_tool("who", session)

    assert text_of(moved).split()[1] == str(tree)
    assert meta_of(moved)["previous"]["working_directory"] == str(main)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_session_set_against_its_clients_signs_is_stale_when_they_change(home: Home, mode: str) -> None:
    lab, shop, farm = home.repository("lab"), home.repository("shop"), home.repository("farm")
    now = [lab]

    async with stdio_client(home, mode, home.top / "home", roots=lambda: [now[0].as_uri()]) as client:
        opened = await client.call_tool("set_working_directory", {"directory": str(shop)})
        assert opened.structured_content is not None
        session = {"session_id": opened.structured_content["session_id"]}
        now[0] = farm
        for tool in ("where", "where_if_any"):
            code, text = error_of(await client.call_tool(tool, session))
            assert code == "project_needed"
            assert text.endswith(f"for example one of: {shop}; {farm}")


@pytest.mark.parametrize("mode", ERAS)
async def test_arguments_that_a_tool_has_itself_stay_its_own(home: Home, mode: str) -> None:
    lab = home.repository("lab")

    async with stdio_client(home, mode, lab) as client:
        own = text_of(await client.call_tool("own_arguments", {"directory": "out", "session_id": None}))
        code, _ = error_of(await client.call_tool("own_arguments", {"directory": "out", "session_id": "made-up"}))

    assert own == "out None lab"
    assert code == "unknown_session"  # a session that is named is meant, whoever declared the argument


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.row("K7", "B25")
async def test_each_request_is_served_in_the_context_of_its_real_session(home: Home, mode: str) -> None:
    lab = home.repository("lab")

    async with stdio_client(home, mode, lab) as client:
        opened = await client.call_tool("set_working_directory", {"directory": str(lab)})
        assert opened.structured_content is not None
        session = opened.structured_content["session_id"]
        real, made_up = claiming(session), claiming("made-up")
        in_tool = json.loads(text_of(await client.call_tool("in_force", meta=real)))["session_id"]
        in_prompt = await client.get_prompt("context_of_prompt", meta=real)
        in_resource = await client.read_resource("test://context", meta=real)
        in_none = json.loads(text_of(await client.call_tool("in_force", meta=made_up)))["session_id"]
        without = json.loads(text_of(await client.call_tool("in_force")))["session_id"]

    [content] = in_resource.contents
    assert isinstance(content, TextResourceContents)
    assert in_tool == session
    assert json.loads(content.text) == {"session": session, "user": None}
    assert session in str(in_prompt.messages)
    assert in_none is None
    assert without == (session if mode == LEGACY else None)


@pytest.mark.parametrize("mode", ERAS)
async def test_the_authors_own_lifespan_is_left_as_it_is(home: Home, mode: str) -> None:
    async with stdio_client(home, mode, home.repository("lab")) as client:
        lives = await client.call_tool("lives_so_far")

    assert lives.structured_content == {"result": ["began"]}


async def test_an_editors_variable_is_a_sign_as_it_is_for_a_connector(home: Home) -> None:
    lab = home.repository("lab")

    async with stdio_client(
        home, MODERN, home.top / "home", environment={"WORKSPACE_FOLDER_PATHS": str(lab)}
    ) as client:
        result = await client.call_tool("where")

    assert text_of(result) == f"lab {lab}"
    assert meta_of(result)["detail"] == "WORKSPACE_FOLDER_PATHS"
