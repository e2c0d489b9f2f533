"""The parameters of a FastMCP tool that workroot fills: how they are written, and which tools have them.

FastMCP gives a parameter its value where the annotation is `Annotated[T, Depends(...)]`, and leaves it out of the
tool's schema. Within `CurrentProject | None` it does not see that, takes the parameter for one of the client's, and
asks pydantic what a client may pass: nothing but null, says the mark that stands there, and it shows in the schema,
whatever name a transformed tool gives the parameter. Those are filled before the tool runs.
"""

from __future__ import annotations

import inspect
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from fastmcp.dependencies import Dependency
from fastmcp.prompts import Prompt
from fastmcp.resources import ResourceTemplate
from fastmcp.tools import FunctionTool, Tool
from fastmcp.tools.tool_transform import TransformedTool
from pydantic_core import core_schema

from workroot.attached.annotations import mentions_ours
from workroot.errors import WorkrootError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

__all__ = ["Filled", "UnfilledParameterError", "asks_for_project", "check_parameters", "filled_parameters"]

_KEY = "x-workroot"
_MOST_DEPENDENCIES = 64  # deeper ones are not looked at: a cycle is FastMCP's to complain of


class UnfilledParameterError(WorkrootError):
    """A client could pass any project or session that it makes up; what the author wrote is not called."""

    code = "unfilled_parameter"

    def __init__(self, name: str, parameters: Collection[str], *, is_tool: bool) -> None:
        how = "alone or in a union with None" if is_tool else "and alone: in a union with None tools are filled only"
        super().__init__(
            f"{name} would let its clients make up {', '.join(parameters)}: its author has to annotate that as "
            f"`CurrentProject` or `CurrentSession` of workroot.attached.fastmcp, {how}"
        )


class Filled:
    """Marks the type of a parameter that workroot fills.

    Args:
        kind: what it is filled with.
    """

    def __init__(self, kind: type[object]) -> None:
        self.kind = kind

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Take what was made in this process; nothing that a client can send is an instance."""
        return core_schema.is_instance_schema(self.kind)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say that a client can pass nothing, and what the parameter is filled with."""
        return {"not": {}, _KEY: self.kind.__name__}


def filled_parameters(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of a tool's schema that are left to the client and not the client's, with their kind."""
    found = {}
    for name, declared in schema.get("properties", {}).items():
        for option in (declared, *declared.get("anyOf", ())):
            if _KEY in option:
                found[name] = option[_KEY]
    return found


def asks_for_project(tool: Tool) -> bool:
    """Tell whether a tool depends on where its caller works."""
    if filled_parameters(tool.parameters):
        return True
    while isinstance(tool, TransformedTool):
        tool = tool.parent_tool
    return isinstance(tool, FunctionTool) and _depends_on_project(tool.fn)


def check_parameters(component: Tool | Prompt | ResourceTemplate) -> None:
    """Refuse what has a project or session that its clients could make up.

    Those of `workroot` itself, which are for the official SDK's servers, mean nothing to FastMCP.

    Raises:
        UnfilledParameterError: names the parameters.
    """
    name = component.name
    while isinstance(component, TransformedTool):
        component = component.parent_tool
    if not callable(function := getattr(component, "fn", None)) or not (mentioning := _mentioning(function)):
        return
    if isinstance(component, Prompt):
        passed = {argument.name for argument in component.arguments or ()}
    elif isinstance(component, ResourceTemplate):
        passed = set(component.parameters.get("properties", {}))
    else:
        passed = component.parameters.get("properties", {}).keys() - filled_parameters(component.parameters)
    if open_ones := sorted(mentioning & passed):
        raise UnfilledParameterError(name, open_ones, is_tool=isinstance(component, Tool))


@lru_cache(maxsize=1024)
def _mentioning(function: Callable[..., object]) -> frozenset[str]:
    """Return the parameters of a function that have a project or session in their annotation."""
    return frozenset(name for name, hint in _hints(function).items() if mentions_ours(hint))


@lru_cache(maxsize=1024)
def _depends_on_project(function: Callable[..., object]) -> bool:
    """Tell whether a function or one of its dependencies, however deep, has a parameter that is filled."""
    left, seen = [function], 0
    while left and seen < _MOST_DEPENDENCIES:
        for part in _annotations(left.pop()):
            if isinstance(part, Filled):
                return True
            if isinstance(part, Dependency) and callable(factory := getattr(part, "factory", None)):
                left.append(factory)
        seen += 1
    return False


def _annotations(function: Callable[..., object]) -> Iterator[object]:
    """Yield what is said of a function's parameters beside their types: metadata, and defaults."""
    for hint in _hints(function).values():
        if get_origin(hint) is Annotated:
            yield from get_args(hint)[1:]
    function = inspect.unwrap(_innermost(function))  # a decorator has no defaults of its own, and is called with these
    yield from getattr(function, "__defaults__", None) or ()
    yield from (getattr(function, "__kwdefaults__", None) or {}).values()


def _hints(function: Callable[..., object]) -> dict[str, Any]:
    try:
        return get_type_hints(_innermost(function), include_extras=True)
    except Exception:  # an author's annotation may be any expression; FastMCP finds no dependency then, either
        return {}


def _innermost(function: Callable[..., object]) -> Callable[..., object]:
    while isinstance(function, partial):
        function = function.func
    return function
