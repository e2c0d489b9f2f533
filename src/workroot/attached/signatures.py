"""What a tool's function asks for: whether where its caller works, and in a form that the SDK can read.

The SDK takes a resolver only at the top of an annotation. `CurrentProject | None` is a union around one, so the
function is given to it under a signature that says the same in its words. What the SDK would take for an argument of
its client's, though a project or session is in it, is refused.
"""

from __future__ import annotations

import functools
import inspect
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from mcp.server.mcpserver.exceptions import InvalidSignature
from pydantic.fields import FieldInfo

from workroot.attached.annotations import in_sdk_words, mentions_ours, resolver_of
from workroot.attached.current import OPTIONAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SIGN_ARGUMENTS", "Needs", "adapted", "hints_of"]

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
    """Return a tool's function as the SDK can read it, and what it needs.

    Raises:
        InvalidSignature: a project or session would be one of the arguments that clients fill as they like.
    """
    hints = hints_of(function)
    own = inspect.signature(function).parameters
    replaced = {name: new for name, hint in hints.items() if name in own and (new := in_sdk_words(hint)) is not None}
    given = {**hints, **replaced}
    for name in own:
        if not _is_filled(hint := given.get(name)) and mentions_ours(hint):
            raise InvalidSignature(
                f"Parameter {name!r} of {getattr(function, '__name__', 'the tool')!r} would be filled by clients, with "
                "whatever project or session they make up: annotate it as `CurrentProject` or `CurrentSession` of "
                "workroot, alone or in a union with None"
            )
    if not any(_asks(hint, ()) for name, hint in given.items() if name in own):
        return function, Needs()
    names = {field for name, parameter in own.items() for field in _names_of(name, hints.get(name), parameter.default)}
    needs = Needs(is_resolved=True, added=tuple(name for name in SIGN_ARGUMENTS if name not in names))
    return (_under_hints(function, given) if replaced else function), needs


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations, evaluated; none where they cannot be: the SDK refuses such a function by name."""
    target = function if inspect.isroutine(function) else getattr(type(function), "__call__", function)  # noqa: B004 -- its annotations are wanted, not whether it can be called
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception:  # an author's annotation may be any expression
        return {}


def _asks(hint: object, seen: tuple[object, ...]) -> bool:
    """Tell whether one of our resolvers is in an annotation, or behind the resolver in it."""
    resolver = resolver_of(hint)
    if resolver is None or resolver in seen:
        return False
    return resolver in OPTIONAL or any(_asks(each, (*seen, resolver)) for each in hints_of(resolver).values())


def _is_filled(hint: object) -> bool:
    return resolver_of(hint) is not None


def _names_of(name: str, hint: object, default: object) -> Iterator[str]:
    """Yield the names by which a client may pass an argument: its own, and those that its field is given."""
    yield name
    for field in (*(get_args(hint)[1:] if get_origin(hint) is Annotated else ()), default):
        if isinstance(field, FieldInfo):
            yield from (alias for alias in (field.alias, field.validation_alias) if isinstance(alias, str))


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
