"""Prompts and resources of an `MCPServer` get no project: the SDK fills parameters of tools alone.

It would take such a parameter for one of the client's, and fail in its words, or pass None where the author allows
none. So the instance's own `prompt` and `resource` are wrapped, and say it when the function is given to them.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from mcp.server.mcpserver.exceptions import InvalidSignature

from workroot.attached.annotations import mentions_ours
from workroot.attached.signatures import hints_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.mcpserver import MCPServer

__all__ = ["refuse_in_others"]

_Function = TypeVar("_Function", bound="Callable[..., Any]")


def refuse_in_others(server: MCPServer[Any]) -> None:
    """Let *server* refuse prompts and resources that ask for a project or session."""
    vars(server).update(prompt=_checking(server.prompt), resource=_checking(server.resource))


def _checking(make: Callable[..., Callable[[_Function], _Function]]) -> Callable[..., Callable[[_Function], _Function]]:
    @functools.wraps(make)
    def checking(*arguments: Any, **options: Any) -> Callable[[_Function], _Function]:
        add = make(*arguments, **options)

        @functools.wraps(add)
        def add_checked(function: _Function) -> _Function:
            _check(function)
            return add(function)

        return add_checked

    return checking


def _check(function: Callable[..., Any]) -> None:
    """Refuse a function that asks for a project or session.

    Raises:
        InvalidSignature: names the parameter.
    """
    hints = hints_of(function)
    for name in inspect.signature(function).parameters:
        if mentions_ours(hints.get(name)):
            raise InvalidSignature(
                f"Parameter {name!r} of {getattr(function, '__name__', 'the function')!r} asks for its caller's "
                "project or session, and the SDK gives those to tools alone: make it a tool"
            )
