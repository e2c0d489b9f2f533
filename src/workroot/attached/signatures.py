"""What a tool's function asks for: whether where its caller works, and in a form that the SDK can read.

The SDK takes a resolver only at the top of an annotation. `CurrentProject | None` is a union around one, so the
function is given to it under a signature that says the same in its words.
"""

from __future__ import annotations

import functools
import inspect
import typing
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from mcp.server.mcpserver.resolve import Resolve

from workroot.attached.current import OPTIONAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SIGN_ARGUMENTS", "Needs", "adapted"]

SIGN_ARGUMENTS = ("session_id", "directory")
"""The arguments by which a caller says who it is and where it works."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a tool needs to be told beside its arguments.

    Attributes:
        is_resolved: it asks where its caller works, or some resolver of it does.
        added: of `SIGN_ARGUMENTS` those that it gets for that, since it has none of that name itself.
    """

    is_resolved: bool = False
    added: tuple[str, ...] = ()


def adapted(function: Callable[..., Any]) -> tuple[Callable[..., Any], Needs]:
    """Return a tool's function as the SDK can read it, and what it needs."""
    hints = _hints(function)
    own = inspect.signature(function).parameters
    if not any(_asks(hint, ()) for name, hint in hints.items() if name in own):
        return function, Needs()
    needs = Needs(is_resolved=True, added=tuple(name for name in SIGN_ARGUMENTS if name not in own))
    replaced = {name: new for name, hint in hints.items() if name in own and (new := _optional(hint)) is not None}
    return (_under_hints(function, {**hints, **replaced}) if replaced else function), needs


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations, evaluated; none where they cannot be: the SDK refuses such a function by name."""
    target = function if inspect.isroutine(function) else getattr(type(function), "__call__", function)  # noqa: B004 -- its annotations are wanted, not whether it can be called
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError):
        return {}


def _asks(hint: object, seen: tuple[object, ...]) -> bool:
    """Tell whether one of our resolvers is in an annotation, or behind the resolvers in it."""
    for resolver in _resolvers(hint):
        if resolver in OPTIONAL:
            return True
        if resolver not in seen and any(_asks(each, (*seen, resolver)) for each in _hints(resolver).values()):
            return True
    return False


def _resolvers(hint: object) -> Iterator[Callable[..., Any]]:
    if get_origin(hint) is Annotated:
        yield from (extra.fn for extra in get_args(hint)[1:] if isinstance(extra, Resolve))
    elif get_origin(hint) in (Union, UnionType):
        for option in get_args(hint):
            yield from _resolvers(option)


def _optional(hint: object) -> object | None:
    """Return what stands for `CurrentProject | None`, or None if *hint* is nothing of that kind."""
    if get_origin(hint) not in (Union, UnionType):
        return None
    options = [option for option in get_args(hint) if option is not NoneType]
    ours = [resolver for option in options for resolver in _resolvers(option)]
    return OPTIONAL.get(ours[0]) if len(options) == len(ours) == 1 and len(get_args(hint)) == 2 else None


def _under_hints(function: Callable[..., Any], hints: dict[str, Any]) -> Callable[..., Any]:
    """Return a function that does the same and has these annotations."""
    call = getattr(function, "__call__", None)  # noqa: B004 -- it is looked into, as the SDK does
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):

        @functools.wraps(function)
        async def same(*arguments: Any, **named: Any) -> Any:
            return await function(*arguments, **named)

    else:

        @functools.wraps(function)
        def same(*arguments: Any, **named: Any) -> Any:
            return function(*arguments, **named)

    signature = inspect.signature(function)
    parameters = [
        each.replace(annotation=hints.get(each.name, each.annotation)) for each in signature.parameters.values()
    ]
    result = hints.get("return", signature.return_annotation)
    del vars(same)["__wrapped__"]  # `wraps` sets it, and the SDK would read the function under it
    vars(same)["__signature__"] = signature.replace(parameters=parameters, return_annotation=result)
    same.__annotations__ = hints
    return same
