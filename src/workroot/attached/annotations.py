"""One annotation of a tool's parameter: whether it asks for a project or session, however that is written.

`CurrentProject | None`, an alias of it, or either inside of `Annotated[..., "text"]` mean the same; the SDK sees a
resolver only where nothing is around it, and takes anything else for an argument that its client fills.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Union, get_args, get_origin, get_type_hints, is_typeddict

from mcp.server.mcpserver.resolve import Resolve
from pydantic import BaseModel

from workroot.attached.current import OPTIONAL
from workroot.core.projects import Project
from workroot.core.sessions import SessionContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["in_sdk_words", "mentions_ours", "resolver_of"]

_OURS = (Project, SessionContext)


def resolver_of(hint: object) -> Callable[..., object] | None:
    """Return the function that the SDK fills a parameter with, or None if its client does."""
    if get_origin(hint) is not Annotated:
        return None
    return next((extra.fn for extra in get_args(hint)[1:] if isinstance(extra, Resolve)), None)


def in_sdk_words(hint: object) -> object | None:
    """Return what says the same as *hint* in a way that the SDK sees, or None if there is nothing to say otherwise."""
    options = list(_options(hint))
    some = [option for option in options if option is not NoneType]
    resolver = resolver_of(some[0]) if len(some) == 1 else None
    if resolver is None or resolver not in OPTIONAL:
        return None
    if len(options) == 1:
        return some[0] if some[0] is not hint else None
    return OPTIONAL[resolver]


def mentions_ours(hint: object, seen: frozenset[int] = frozenset()) -> bool:
    """Tell whether a project or session is anywhere in an annotation, fields of models included."""
    hint = _meant(hint)
    if id(hint) in seen:
        return False
    if hint in _OURS:
        return True
    inner: list[object] = [*get_args(hint)]
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        inner += [field.annotation for field in hint.model_fields.values()]
    elif dataclasses.is_dataclass(hint) or is_typeddict(hint):
        with suppress(Exception):  # an author's annotation may be any expression
            inner += get_type_hints(hint).values()
    return any(mentions_ours(each, seen | {id(hint)}) for each in inner)


def _options(hint: object) -> Iterator[object]:
    """Yield what an annotation allows, one by one."""
    hint = _meant(hint)
    if get_origin(hint) is Annotated and resolver_of(hint) is None:
        yield from _options(get_args(hint)[0])
    elif get_origin(hint) in (Union, UnionType):
        for option in get_args(hint):
            yield from _options(option)
    else:
        yield hint


def _meant(hint: object) -> object:
    """Return what an alias or a new name of a type stands for."""
    while (meant := getattr(hint, "__value__", None) or getattr(hint, "__supertype__", None)) is not None:
        hint = meant
    return hint
