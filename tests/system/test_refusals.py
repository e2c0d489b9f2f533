"""What a refused call is answered with: the problem, the call to make next, and what there is to choose from."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult
from real_daemon import ERAS, MODERN, Home, answer_of, open_home, text_of
from test_roots import Window

from workroot.errors import (
    ChangeRefusedError,
    ClosedSessionError,
    ConfigError,
    DirectoryError,
    DryRunError,
    ExpiredSessionError,
    MoveRefusedError,
    ProjectNeededError,
    ProjectUnknownError,
    SessionError,
    SignsDisagreeError,
    StoreUnavailableError,
    StrictModeError,
    UnknownSessionError,
    WorkrootError,
)
from workroot.identity import TokenFile
from workroot.mcp_face.refusals import refusal
from workroot.mcp_face.tools import ArgumentsError

NAMES_A_CALL = (
    ProjectNeededError("it is in none"),
    ProjectUnknownError("shop"),
    StrictModeError("/elsewhere", "shop", "/shop"),
    SessionError("?", "'?' cannot be a session id; pass the session_id that set_working_directory returned"),
    UnknownSessionError("wr_a"),
    ClosedSessionError("wr_a", "/shop"),
    ExpiredSessionError("wr_a", "/shop"),
)
NAMES_NO_CALL = (
    DirectoryError("/a{0}b", "Directory does not exist"),
    ConfigError("/shop/.workroot/config.toml", "is not TOML"),
    DryRunError("dry_run: a switch was reported, not made"),
    MoveRefusedError("/elsewhere", "roots", ("/shop",)),
    SignsDisagreeError("directory", ("a", "/a"), ("b", "/b")),
    StoreUnavailableError("the disk is full"),
    ChangeRefusedError("the session", "too long"),
    ArgumentsError("get_working_directory has no argument 'x'"),
    WorkrootError("something"),
)


def details_of(result: CallToolResult) -> dict[str, Any]:
    assert result.is_error, result
    assert result.meta is not None
    details = result.meta["workroot/error"]
    assert isinstance(details, dict)
    return details


def lines_of(result: CallToolResult) -> list[str]:
    return text_of(result).splitlines()


@pytest.mark.parametrize("error", [*NAMES_A_CALL, *NAMES_NO_CALL], ids=lambda error: error.code)
def test_every_error_names_the_call_to_make_next_and_has_a_list_of_candidates(error: WorkrootError) -> None:
    result = refusal(error)

    details = details_of(result)
    assert (details["code"], details["message"]) == (error.code, str(error))
    assert "call" in details["next"]
    assert "{" not in details["next"]
    assert all(set(each) <= {"directory", "name", "id"} and each["directory"] for each in details["candidates"])
    assert isinstance(details["candidates"], list)
    assert lines_of(result)[0] == str(error)


@pytest.mark.parametrize("error", NAMES_NO_CALL, ids=lambda error: error.code)
def test_the_text_of_an_error_that_names_no_call_ends_with_it(error: WorkrootError) -> None:
    result = refusal(error)

    assert lines_of(result) == [str(error), f"Next: {details_of(result)['next']}."]


@pytest.mark.parametrize("error", NAMES_A_CALL, ids=lambda error: error.code)
def test_the_text_of_an_error_that_names_a_call_says_it_once(error: WorkrootError) -> None:
    assert lines_of(refusal(error)) == [str(error)]


def test_an_ended_session_s_error_names_its_directory_in_the_next_call() -> None:
    said = details_of(refusal(ClosedSessionError("wr_a", "/a\n'b")))["next"]

    assert said.startswith('call set_working_directory(directory="/a\\n\'b") without session_id')


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("tool", ["get_working_directory", "set_working_directory"])
async def test_a_directory_that_cannot_be_used_is_answered_with_what_to_call(shared: Home, era: str, tool: str) -> None:
    async with shared.open_client(era) as client:
        result = await client.call_tool(tool, {"directory": "relative"})

    assert lines_of(result) == [
        "Directory path must be absolute: relative",
        "Next: call set_working_directory(directory=ABSOLUTE PATH) with an existing directory, or "
        "get_working_directory without a directory to see where you are.",
    ]


@pytest.mark.parametrize("era", ERAS)
async def test_projects_to_choose_from_are_told_by_directory_name_and_id(era: str) -> None:
    with open_home() as home:
        home.start()
        shop = home.repository("shop")
        async with home.open_client(era) as client:
            place = await answer_of(client, "set_working_directory", directory=str(shop))
            result = await client.call_tool("set_working_directory", {"project": "nonesuch"})

    project = place["project_info"]
    assert details_of(result)["candidates"] == [
        {"directory": str(shop), "name": project["name"], "id": project["id"]},
    ]


async def test_directories_within_reach_are_told_as_candidates_too() -> None:
    with open_home(WORKROOT_MODEL_MAY_MOVE="roots") as home:
        home.start()
        shop, elsewhere = home.repository("shop"), home.repository("elsewhere")
        async with home.open_client(MODERN, roots=Window([shop.as_uri()])) as client:
            result = await client.call_tool("set_working_directory", {"directory": str(elsewhere)})

    assert details_of(result)["code"] == "move_refused"
    assert details_of(result)["candidates"] == [{"directory": str(shop)}]


@pytest.mark.parametrize("era", ERAS)
async def test_an_empty_session_header_is_no_session_and_an_empty_one_in_meta_is_an_error(
    shared: Home, era: str
) -> None:
    project = shared.repository(f"empty-header-{era}")
    token = TokenFile(shared.state / "tokens.json").create(f"empty-{era}")
    headers = {"Authorization": f"Bearer {token}", "Workroot-Session": "", "Workroot-Directory": str(project)}
    url = shared.ask("status")["http"]["url"]
    empty: Any = {"workroot/session": ""}

    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http), mode=era) as client,
    ):
        answer = await answer_of(client, "get_working_directory")
        refused = await client.call_tool("get_working_directory", {}, meta=empty)

    assert answer["working_directory"] == str(project)
    assert details_of(refused)["code"] == "invalid_session"
