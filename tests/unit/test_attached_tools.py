"""What a tool's function asks for, and how an attached server's tools are followed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NewType, Optional, cast

import pytest
from fastmcp import FastMCP
from mcp.server import MCPServer, Server
from mcp.server.mcpserver.exceptions import InvalidSignature, ToolError
from mcp.server.mcpserver.resolve import Resolve, find_resolved_parameters
from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType

from workroot import CurrentProject, CurrentSession, DaemonClient, attach, connect
from workroot.attached.signatures import Needs, adapted
from workroot.attached.tool_table import ToolNameError, ToolTable
from workroot.core.projects import Project
from workroot.core.sessions import SessionContext

BOTH = ("session_id", "directory")
Here = TypeAliasType("Here", CurrentProject)
Renamed = NewType("Renamed", Project)
MaybeSession = TypeAliasType("MaybeSession", CurrentSession | None)


async def of_project(project: CurrentProject) -> str:
    return project.name


async def of_nothing() -> str:
    return ""


async def asking(text: str, project: CurrentProject) -> None: ...


async def asking_if_any(text: str, project: CurrentProject | None) -> None: ...


def asking_in_old_words(project: Optional[CurrentProject] = None) -> None: ...  # noqa: UP045 -- authors write so


async def of_session(session: CurrentSession | None, session_id: str) -> None: ...


async def behind(name: Annotated[str, Resolve(of_project)]) -> None: ...


async def other(name: Annotated[str, Resolve(of_nothing)], project: str | None = None) -> None: ...


async def with_words(project: Annotated[CurrentProject | None, "where the caller works"]) -> None: ...


async def with_words_inside(project: Annotated[CurrentProject | None, "x"] | None = None) -> None: ...


async def under_an_alias(session: MaybeSession, project: Here) -> None: ...


async def with_other_names(
    text: Annotated[str, Field(alias="directory")],
    project: CurrentProject,
    word: str = Field("", validation_alias="session_id"),
) -> None: ...


class Notes:
    async def add(self, project: CurrentProject | None) -> str:
        return "added" if project is None else project.name


class Tree(BaseModel):
    branches: list[Tree]


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
        (with_words, BOTH),
        (with_words_inside, BOTH),
        (under_an_alias, BOTH),
        (with_other_names, ()),
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


class Note(BaseModel):
    text: str
    project: CurrentProject | None = None


@dataclass
class Line:
    session: SessionContext


def aware(project: Project) -> None: ...


def aware_or_not(project: Project | None) -> None: ...


def unclear(project: CurrentProject | int | None) -> None: ...


def unclear_in_words(project: Annotated[CurrentProject | int | None, "x"]) -> None: ...


def several(projects: list[CurrentProject]) -> None: ...


def in_a_model(note: Note) -> None: ...


def in_a_dataclass(line: Annotated[Line | None, "x"]) -> None: ...


def under_another_name(project: Renamed) -> None: ...


@pytest.mark.parametrize(
    "function",
    [aware, aware_or_not, unclear, unclear_in_words, several, in_a_model, in_a_dataclass, under_another_name],
)
def test_a_project_or_session_that_clients_could_make_up_is_refused(function: Callable[..., Any]) -> None:
    app = MCPServer("test")
    attach(app)

    with pytest.raises(InvalidSignature, match=r"would be filled by clients.*annotate it as `CurrentProject`"):
        app.add_tool(function)


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"store": 5}, TypeError, "store must be a path"),
        ({"store": connect}, TypeError, "store must be a path"),
        ({"store": DaemonClient}, TypeError, "store must be a path"),
        ({"store": ":memory:"}, ValueError, "leave it out to keep the sessions in memory"),
        ({"store": ""}, ValueError, "names no file"),
        ({"rate_limit": 5}, TypeError, "rate_limit must be a RateLimit"),
    ],
)
async def test_an_option_of_another_kind_is_refused_before_anything_is_changed(
    options: dict[str, Any], kind: type[Exception], told: str
) -> None:
    app = MCPServer("test")

    with pytest.raises(kind, match=told):
        attach(app, **options)

    assert await app.list_tools() == []
    attach(app)


@pytest.mark.parametrize("function", [aware_or_not, asking_if_any, asking])
async def test_a_prompt_or_resource_that_asks_is_refused_since_the_sdk_fills_tools_alone(
    function: Callable[..., Any],
) -> None:
    app = MCPServer("test")
    attach(app)

    with pytest.raises(InvalidSignature, match=r"Parameter 'project' of .* to tools alone: make it a tool"):
        app.prompt()(function)
    with pytest.raises(InvalidSignature, match=r"Parameter 'project' of .* to tools alone: make it a tool"):
        app.resource("notes://{text}/{project}")(function)
    assert (await app.list_prompts(), await app.list_resource_templates()) == ([], [])


async def test_other_prompts_and_resources_are_added_as_ever() -> None:
    app = MCPServer("test")
    attach(app)

    app.prompt(title="Of nothing")(of_nothing)
    app.resource("notes://all", title="All")(of_nothing)

    assert [prompt.title for prompt in await app.list_prompts()] == ["Of nothing"]
    assert [resource.title for resource in await app.list_resources()] == ["All"]


async def test_a_model_that_holds_itself_is_an_argument_like_others() -> None:
    app = MCPServer("test")
    attach(app)

    def grow(tree: Tree) -> None: ...

    app.add_tool(grow)
    assert "grow" in [tool.name for tool in await app.list_tools()]


def test_a_server_of_another_kind_is_refused_with_what_to_call_instead() -> None:
    with pytest.raises(TypeError, match=r"not for <class 'fastmcp.*'>; .* call attach of workroot.attached.fastmcp"):
        attach(cast("MCPServer[Any]", FastMCP("other")))
    with pytest.raises(TypeError, match=r"is for an MCPServer .* not for <class 'mcp.*Server'>; attach one of those"):
        attach(cast("MCPServer[Any]", Server("other")))


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
