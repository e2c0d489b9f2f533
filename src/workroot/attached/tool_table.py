"""The tools of an attached server: what each takes, what it needs to be told, and which are ours.

The SDK has a public way to add a tool and to list tools, but none to hear that one is added, nor what its function
looks like. So the instance's own `add_tool` and `remove_tool` are wrapped: `@app.tool()` calls them, too.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

from mcp_types import CallToolResult, InputRequiredResult
from pydantic import Field

from workroot.attached.calls import current_call
from workroot.attached.signatures import Needs, adapted
from workroot.errors import WorkrootError
from workroot.mcp_face.tools import TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from mcp.server.mcpserver import MCPServer
    from mcp_types import Tool

__all__ = ["ANSWERING_TOOL", "SIGN_SCHEMAS", "ToolNameError", "ToolTable"]

ANSWERING_TOOL = TOOLS[0].name
"""The tool of ours through which the SDK sends answers that we give in a tool's place."""

_NAMES = frozenset(tool.name for tool in TOOLS)
_NOTHING = Needs()


class ToolNameError(WorkrootError):
    """A server's tool has the name of one that `workroot.attach` adds; nothing was changed."""

    code = "tool_name_taken"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"workroot.attach adds the tools {', '.join(tool.name for tool in TOOLS)}, and this server has its own "
            f"{', '.join(names)}: rename those, and attach a server once only"
        )


class ToolTable:
    """Follows which tools a server has.

    Args:
        server: whose; its `add_tool` and `remove_tool` are wrapped, and our tools are added.

    Raises:
        ToolNameError: it has a tool of one of our names already.
    """

    def __init__(self, server: MCPServer[Any]) -> None:
        self._server = server
        self._earlier = {tool.name for tool in _without_waiting(server.list_tools())}
        if taken := sorted(_NAMES & self._earlier):
            raise ToolNameError(taken)
        self._needs: dict[str, Needs] = {}
        self._taken: dict[str, frozenset[str] | None] = {}  # empty: look anew
        for tool in TOOLS:
            server.add_tool(
                _stand_in(tool), tool.name, tool.title, tool.description, tool.annotations, structured_output=False
            )
        self._add, self._remove = server.add_tool, server.remove_tool
        vars(server).update(add_tool=self._add_tool, remove_tool=self._remove_tool)

    def needs_of(self, name: str) -> Needs:
        """Return what a tool needs to be told; nothing if it was added before we could look at it."""
        return self._needs.get(name, _NOTHING)

    async def arguments_of(self, name: str) -> frozenset[str] | None:
        """Return the arguments that a tool takes; None if it takes any, or there is no such tool."""
        if not self._taken:
            listed = await self._server.list_tools()
            self._taken = {tool.name: self._arguments(tool) for tool in listed}
        return self._taken.get(name)

    def listed(self, tool: Mapping[str, Any]) -> dict[str, Any]:
        """Return a tool as clients are to see it: with the arguments that it gets from us, and closed for others."""
        schema: dict[str, Any] = dict(tool.get("inputSchema") or {"type": "object"})
        if added := self.needs_of(str(tool.get("name"))).added:
            signs = {name: dict(SIGN_SCHEMAS[name]) for name in added}
            schema["properties"] = {**schema.get("properties", {}), **signs}
        schema.setdefault("additionalProperties", False)
        return {**tool, "inputSchema": schema}

    def _arguments(self, tool: Tool) -> frozenset[str] | None:
        schema = tool.input_schema
        if schema.get("additionalProperties", False) is not False or "patternProperties" in schema:
            return None  # its author lets it take others
        return frozenset((*schema.get("properties", {}), *self.needs_of(tool.name).added))

    def _add_tool(self, fn: Callable[..., Any], name: str | None = None, *rest: Any, **options: Any) -> None:
        known = name or str(getattr(fn, "__name__", ""))
        if known in _NAMES:
            raise ToolNameError([known])
        function, needs = adapted(fn)
        self._add(function, name, *rest, **options)
        if known not in self._earlier:  # of two of one name the SDK keeps the first
            self._needs.setdefault(known, needs)
        self._taken = {}

    def _remove_tool(self, name: str) -> None:
        if name in _NAMES:
            raise ToolNameError([name])
        self._remove(name)
        self._needs.pop(name, None)
        self._earlier.discard(name)
        self._taken = {}


SIGN_SCHEMAS: Mapping[str, Mapping[str, str]] = {
    "session_id": {
        "type": "string",
        "description": "The session_id that set_working_directory returned to you. Leave it out if you have none.",
    },
    "directory": {
        "type": "string",
        "description": "Absolute path to work in for this call, instead of where you work. Usually unnecessary.",
    },
}
"""How the arguments of `SIGN_ARGUMENTS` are described to clients."""


def _stand_in(tool: Tool) -> Callable[..., Any]:
    """Return what the SDK calls for a tool of ours: it gives the answer that the middleware has ready."""

    async def answer(**_: object) -> CallToolResult | InputRequiredResult:
        call = current_call.get()
        if call is None or call.answer is None:
            raise RuntimeError(f"{tool.name} can be called by clients only")
        return await call.answer()

    properties: Mapping[str, Mapping[str, str]] = tool.input_schema["properties"]
    required = tool.input_schema.get("required", ())
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if name in required else None,
            annotation=Annotated[str if name in required else str | None, Field(description=each["description"])],
        )
        for name, each in properties.items()
    ]
    result = CallToolResult | InputRequiredResult
    vars(answer)["__signature__"] = inspect.Signature(parameters, return_annotation=result)
    answer.__annotations__ = {**{each.name: each.annotation for each in parameters}, "return": result}
    return answer


def _without_waiting(asked: Coroutine[Any, Any, list[Tool]]) -> list[Tool]:
    """Return what a coroutine returns that waits for nothing, outside of any event loop."""
    try:
        asked.send(None)
    except StopIteration as done:
        tools: list[Tool] = done.value
        return tools
    asked.close()
    return []  # a server with a list of its own kind: names are compared when tools are added
