"""The four tools: what they are called with, and what they answer. A fixed list, in a fixed order.

`tools/list` must not vary by connection nor as a side effect of a call (MCP 2026-07-28, server/tools).
Unknown arguments are refused: a model that misspells one must hear it.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mcp_types import Tool, ToolAnnotations

from workroot.errors import WorkrootError
from workroot.mcp_face.answers import ClosedAnswer, ProjectsAnswer, WorkingDirectoryAnswer, output_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["TOOLS", "ArgumentsError", "checked_arguments", "unknown_argument"]


class ArgumentsError(WorkrootError):
    """A tool was called with arguments that it does not take; nothing was done."""

    code = "invalid_arguments"


def _schema(required: tuple[str, ...] = (), **properties: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            name: {"type": "string", "description": description} for name, description in properties.items()
        },
        **({"required": list(required)} if required else {}),
        "additionalProperties": False,
    }


_SESSION_ID = "The session_id that set_working_directory returned to you. Leave it out if you have none."

TOOLS = (
    Tool(
        name="get_working_directory",
        title="Get working directory",
        description=(
            "Tells where this server works for you: directory, project, and how it knows. Changes nothing. "
            "Call it when a path, a project or an answer looks wrong, or before work that must not land in the wrong "
            "project. If working_directory is null, the server cannot know: call set_working_directory with the "
            "absolute path that you work in. With `directory` it tells which project owns that directory instead."
        ),
        input_schema=_schema(
            session_id=_SESSION_ID,
            directory="Absolute path to ask about, instead of where you work.",
        ),
        output_schema=output_schema(WorkingDirectoryAnswer),
        annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
    ),
    Tool(
        name="set_working_directory",
        title="Set working directory",
        description=(
            "Makes this server work for you in another directory or project. Usually unnecessary: call it when "
            "get_working_directory is wrong or unknown, or when you move, say into a worktree. Give `directory` or "
            "`project`, not both. Returns a session_id: pass it as session_id on every later call to this server. "
            "A subagent needs its own: let it call this without session_id. A session lives until close_session, or "
            "until it is idle for a day; then calls with it fail and tell you how to open the next one."
        ),
        input_schema=_schema(
            directory="Absolute path of an existing directory.",
            project="Id or name of a project from list_projects, or a path in one; its root becomes the directory.",
            session_id="The session to move. Leave it out to open a new one.",
        ),
        output_schema=output_schema(WorkingDirectoryAnswer),
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        ),
    ),
    Tool(
        name="list_projects",
        title="List projects",
        description=(
            "Lists the projects that this user has worked in, latest first, each with id, name and root; worktrees of "
            "one repository share the id. Use it to find the `project` for set_working_directory."
        ),
        input_schema=_schema(
            query="Only projects whose name, id or root contains this text.",
            cursor="next_cursor of the answer before, for the rest of a long list.",
        ),
        output_schema=output_schema(ProjectsAnswer),
        annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
    ),
    Tool(
        name="close_session",
        title="Close session",
        description=(
            "Forgets a session that you opened with set_working_directory, for good. Call it when your task is done. "
            "Sessions that are not closed expire by themselves after a day without use."
        ),
        input_schema=_schema(required=("session_id",), session_id="The session to forget."),
        output_schema=output_schema(ClosedAnswer),
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False
        ),
    ),
)
"""All tools, in the order in which they are listed."""


def checked_arguments(tool: Tool, arguments: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the arguments that were given; those that are null count as left out.

    Raises:
        ArgumentsError: one is unknown (the text names the near match), not text, or missing.
    """
    known: Mapping[str, Any] = tool.input_schema["properties"]
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    for name, value in given.items():
        if name not in known:
            raise unknown_argument(tool.name, name, known)
        if not isinstance(value, str):
            raise ArgumentsError(f"{tool.name}: {name} must be a string, not {type(value).__name__}")
    for name in tool.input_schema.get("required", ()):
        if name not in given:
            raise ArgumentsError(f"{tool.name} needs the argument {name!r}")
    return given


def unknown_argument(tool: str, name: str, known: Iterable[str]) -> ArgumentsError:
    """Return what a caller hears of an argument that a tool does not take; names the near match.

    Args:
        tool: its name.
        name: of the argument that was given.
        known: the names of those that it takes.
    """
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    takes = f"it takes: {', '.join(names)}" if names else "it takes none"
    return ArgumentsError(f"{tool} has no argument {name[:100]!r}; {f'did you mean {near[0]!r}?' if near else takes}")
