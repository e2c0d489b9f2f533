"""What a tool's function asks for, and how an attached server's tools are followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Optional

import pytest
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import InvalidSignature, ToolError
from mcp.server.mcpserver.resolve import Resolve, find_resolved_parameters

from workroot import CurrentProject, CurrentSession, attach
from workroot.attached.signatures import Needs, adapted
from workroot.attached.tool_table import ToolNameError, ToolTable
from workroot.core.projects import Project

BOTH = ("session_id", "directory")


async def of_project(project: CurrentProject) -> str:
    return project.name


async def of_nothing() -> str:
    return ""


async def asking(text: str, project: CurrentProject) -> None: ...


async def asking_if_any(text: str, project: CurrentProject | None) -> None: ...


def asking_in_old_words(project: Optional[CurrentProject] = None) -> None: ...  # noqa: UP045 -- authors write so


async def of_session(session: CurrentSession | None, session_id: str) -> None: ...


async def behind(name: Annotated[str, Resolve(of_project)]) -> None: ...


async def other(name: Annotated[str, Resolve(of_nothing)], project: Project | None = None) -> None: ...


class Notes:
    async def add(self, project: CurrentProject | None) -> str:
        return "added" if project is None else project.name


class Asking:
    async def __call__(self, project: CurrentProject) -> None: ...


@pytest.mark.parametrize(
    ("function", "added"),
    [
        (asking, BOTH),
        (asking_if_any, BOTH),
        (asking_in_old_words, BOTH),
        (of_session, ("directory",)),
        (behind, BOTH),
        (Notes().add, BOTH),
        (Asking(), BOTH),
    ],
)
def test_a_tool_that_asks_gets_the_arguments_that_it_has_not_itself(
    function: Callable[..., Any], added: tuple[str, ...]
) -> None:
    same, needs = adapted(function)

    assert needs == Needs(is_resolved=True, added=added)
    assert find_resolved_parameters(same)  # the SDK can read it


@pytest.mark.parametrize("function", [of_nothing, other, lambda text: text])
def test_a_tool_that_does_not_ask_is_left_as_it_is(function: Callable[..., Any]) -> None:
    assert adapted(function) == (function, Needs())


async def test_a_function_under_another_signature_does_the_same() -> None:
    same, _ = adapted(Notes().add)

    assert await same(project=None) == "added"
    assert same.__name__ == "add"


def test_an_annotation_that_cannot_be_read_is_left_to_the_sdk() -> None:
    app = MCPServer("test")
    attach(app)

    def unreadable(x: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821 -- what the test is about

    with pytest.raises(InvalidSignature):
        app.add_tool(unreadable)


def test_a_union_with_more_than_none_is_refused_as_the_sdk_does() -> None:
    app = MCPServer("test")
    attach(app)

    def unclear(project: CurrentProject | int | None) -> None: ...

    with pytest.raises(InvalidSignature, match="union"):
        app.add_tool(unclear)


def test_a_server_with_a_tool_of_one_of_our_names_is_not_attached() -> None:
    app = MCPServer("test")
    app.add_tool(of_nothing, name="list_projects")

    with pytest.raises(ToolNameError, match="this server has its own list_projects: rename those"):
        attach(app)
    assert len(app.middleware) == len(MCPServer("other").middleware)


def test_a_server_is_attached_once() -> None:
    app = MCPServer("test")
    attach(app)

    with pytest.raises(ToolNameError, match="attach a server once only"):
        attach(app)


def test_a_tool_of_one_of_our_names_cannot_be_added_or_removed() -> None:
    app = MCPServer("test")
    attach(app)

    with pytest.raises(ToolNameError, match="close_session"):

        @app.tool()
        def close_session() -> None: ...

    with pytest.raises(ToolNameError, match="rename"):
        app.remove_tool("close_session")


async def test_tools_that_come_and_go_are_followed() -> None:
    app = MCPServer("test")
    table = ToolTable(app)

    app.add_tool(asking, name="one")
    assert await table.arguments_of("one") == frozenset({"text", *BOTH})
    app.remove_tool("one")
    assert await table.arguments_of("one") is None
    app.add_tool(of_nothing, name="one")
    assert (await table.arguments_of("one"), table.needs_of("one")) == (frozenset(), Needs())


async def test_of_two_tools_of_one_name_the_first_counts_as_with_the_sdk() -> None:
    app = MCPServer("test", warn_on_duplicate_tools=False)
    app.add_tool(of_nothing, name="early")
    table = ToolTable(app)
    app.add_tool(asking, name="early")
    app.add_tool(asking, name="late")
    app.add_tool(of_nothing, name="late")

    assert (table.needs_of("early"), table.needs_of("late").added) == (Needs(), BOTH)
    assert await table.arguments_of("early") == frozenset()


async def test_a_tool_that_was_not_attached_says_so() -> None:
    app = MCPServer("test")
    app.add_tool(asking)
    attach(app)

    with pytest.raises(ToolError, match=r"call workroot.attach\(app\) before the tool is added"):
        await app.call_tool("asking", {"text": "x"})
