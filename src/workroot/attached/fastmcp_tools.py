"""The tools of an attached FastMCP server: our own four, and the author's that ask where their caller works.

Of the author's, FastMCP gets copies: their schemas are closed, and those that ask take two arguments more, which are
used up before the author's function runs.
"""

from __future__ import annotations

import functools
import inspect
import logging
from typing import TYPE_CHECKING, Any, Self

import mcp_types
from fastmcp.exceptions import ToolError
from fastmcp.server.transforms import Transform
from fastmcp.tools import FunctionTool, InputRequiredToolResult, Tool, ToolResult
from fastmcp.tools.tool_transform import TransformedTool
from mcp_types import InputRequiredResult
from pydantic import PrivateAttr

from workroot.attached.call_facts import signs_given
from workroot.attached.fastmcp_parameters import asks_for_project, filled_parameters
from workroot.attached.fastmcp_requests import served_call
from workroot.attached.signatures import SIGN_ARGUMENTS
from workroot.attached.tool_table import SIGN_SCHEMAS
from workroot.errors import WorkrootError
from workroot.mcp_face.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from fastmcp.server.transforms import GetToolNext
    from fastmcp.utilities.versions import VersionSpec
    from mcp_types import CallToolResult

__all__ = ["AskingTool", "AttachedTools", "RefusedToolError", "SessionTool", "as_tool_result", "is_asking"]

_MOST_FUNCTIONS = 5000  # as many as FastMCP keeps of its own


class RefusedToolError(ToolError):
    """A tool's body raised an error of workroot's; the middleware puts the whole refusal in its place.

    Attributes:
        error: what the client is told.
    """

    def __init__(self, error: WorkrootError) -> None:
        self.error = error
        super().__init__(str(error), log_level=logging.INFO)


class SessionTool(Tool):
    """A tool of ours: listed and answered as the daemon does."""

    _listed: mcp_types.Tool = PrivateAttr()
    _answer: Callable[[], Awaitable[CallToolResult | InputRequiredResult]] = PrivateAttr()

    @classmethod
    def of(cls, tool: mcp_types.Tool, answer: Callable[[], Awaitable[CallToolResult | InputRequiredResult]]) -> Self:
        """Return *tool* as FastMCP takes it.

        Args:
            tool: as clients see it.
            answer: answers the call that is served in the task.
        """
        made = cls(
            name=tool.name,
            title=tool.title,
            description=tool.description,
            parameters=tool.input_schema,
            output_schema=tool.output_schema,
            annotations=tool.annotations,
        )
        made._listed, made._answer = tool, answer
        return made

    def to_mcp_tool(self, **overrides: Any) -> mcp_types.Tool:
        """Return it as clients see it, without what FastMCP adds."""
        return self._listed

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        """Answer a call; its arguments are looked at where the daemon looks at them."""
        return as_tool_result(await self._answer())


class AskingTool(Tool):
    """A tool of the author's that asks where its caller works."""

    _inner: Tool = PrivateAttr()
    _added: tuple[str, ...] = PrivateAttr()
    _filled: Mapping[str, Callable[[], Awaitable[object]]] = PrivateAttr()

    @classmethod
    def of(cls, tool: Tool, fillers: Mapping[str, Callable[[], Awaitable[object]]]) -> Self:
        """Return *tool* with the arguments by which its caller says where it works, and without what is filled.

        Args:
            tool: the author's.
            fillers: by kind, what gives a parameter that FastMCP does not fill its value.
        """
        filled = filled_parameters(tool.parameters)
        own = {name: each for name, each in tool.parameters.get("properties", {}).items() if name not in filled}
        added = tuple(name for name in SIGN_ARGUMENTS if name not in own)
        schema = {**tool.parameters, "properties": {**own, **{name: dict(SIGN_SCHEMAS[name]) for name in added}}}
        if required := [name for name in schema.pop("required", ()) if name not in filled]:
            schema["required"] = required
        schema.setdefault("additionalProperties", False)
        # Its fields were looked at when it was made; a name that FastMCP warns of, it would warn of at each list.
        made = cls.model_construct(**{name: getattr(tool, name) for name in Tool.model_fields} | {"parameters": schema})
        made._inner, made._added = tool, added
        made._filled = {name: fillers[kind] for name, kind in filled.items()}
        return made

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        """Find out where the caller works, and run the author's tool."""
        rest = {name: value for name, value in arguments.items() if name not in self._added}
        if (served := served_call.get()) is None:
            return await self._inner.run(rest)  # nobody to resolve for, as what it asks for will say
        try:
            given = signs_given(self.name, arguments, self._added)
        except WorkrootError as error:
            return as_tool_result(refusal(error))
        with served.begun(self.name) as run:
            await run.resolve(given)
            with run.resolved():
                for name, fill in self._filled.items():
                    rest[name] = await fill()
                return run.with_roots_asked(await self._inner.run(rest))

    def get_span_attributes(self) -> dict[str, Any]:
        """Return what the author's tool says of itself to a tracer."""
        return self._inner.get_span_attributes()


class AttachedTools(Transform):
    """Puts closed schemas in place of open ones, and our copies in place of tools that ask.

    Tools that can run in the background are left as they are: nobody calls there who could be asked.

    Args:
        fillers: as `AskingTool.of` takes it.
    """

    def __init__(self, fillers: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        self._fillers = fillers

    async def list_tools(self, tools: Sequence[Tool]) -> Sequence[Tool]:
        """Return the tools as they are listed."""
        return [self._attached(tool) for tool in tools]

    async def get_tool(self, name: str, call_next: GetToolNext, *, version: VersionSpec | None = None) -> Tool | None:
        """Return a tool as it is called."""
        tool = await call_next(name, version=version)
        return self._attached(tool) if tool is not None else None

    def _attached(self, tool: Tool) -> Tool:
        if not tool.task_config.supports_tasks():
            if isinstance(tool, FunctionTool):
                tool = tool.model_copy(update={"fn": _telling(tool.fn)})
            if asks_for_project(tool):
                return AskingTool.of(tool, self._fillers)
        if "additionalProperties" in tool.parameters or "patternProperties" in tool.parameters:
            return tool
        return tool.model_copy(update={"parameters": {**tool.parameters, "additionalProperties": False}})


@functools.lru_cache(maxsize=_MOST_FUNCTIONS)
def _telling(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does the same, and tells the client that called of workroot's errors."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def telling(*arguments: Any, **named: Any) -> Any:
            try:
                return await function(*arguments, **named)
            except WorkrootError as error:
                if served_call.get() is None:
                    raise  # code of this process calls the tool
                raise RefusedToolError(error) from error

    else:

        @functools.wraps(function)
        def telling(*arguments: Any, **named: Any) -> Any:
            try:
                result = function(*arguments, **named)
                return list(result) if inspect.isgenerator(result) else result  # as FastMCP does, and inside of this
            except WorkrootError as error:
                if served_call.get() is None:
                    raise  # code of this process calls the tool
                raise RefusedToolError(error) from error

    telling.__annotations__ = getattr(function, "__annotations__", {})  # not those above, where it has none
    return telling


def is_asking(tool: Tool) -> bool:
    """Tell whether a tool is an `AskingTool`, or was made of one."""
    while isinstance(tool, TransformedTool):
        tool = tool.parent_tool
    return isinstance(tool, AskingTool)


def as_tool_result(answer: CallToolResult | InputRequiredResult) -> ToolResult:
    """Return an answer of the protocol's as FastMCP takes it, to be sent as it is."""
    if isinstance(answer, InputRequiredResult):
        return InputRequiredToolResult(answer)
    return ToolResult.from_mcp_result(answer)
