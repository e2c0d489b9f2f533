"""What codecs are made of: text, numbers, choices, lists, and records with named fields.

`read` raises a `TypeError` or `ValueError` that begins with the path of what is wrong; nothing else, whatever JSON
there was.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workroot.core.allocations import JsonValue

__all__ = [
    "BOOLEAN",
    "INTEGER",
    "JSON",
    "NUMBER",
    "OBJECT",
    "REAL",
    "TEXT",
    "Codec",
    "choice",
    "enumeration",
    "known_as",
    "optional",
    "record",
    "table_of",
    "texts_of",
    "tuple_of",
]

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

_MOST_INTEGER = (1 << 63) - 1  # what a store can keep


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How values of one type cross.

    Attributes:
        write: returns a value as JSON.
        read: returns the value that JSON stands for, given where that was found.
    """

    write: Callable[[T], JsonValue]
    read: Callable[[object, str], T]


_AnyCodec: TypeAlias = "Codec[Any]"  # of one field of a record: which type that has, only the record knows


def known_as(codec: Codec[str], kind: Callable[[str], T]) -> Codec[T]:
    """Return the codec of a type that is text, such as a `NewType`."""
    return Codec(lambda value: codec.write(cast("str", value)), lambda raw, path: kind(codec.read(raw, path)))


def enumeration(kind: type[E]) -> Codec[E]:
    """Return the codec of an enumeration of texts."""
    members: dict[object, E] = {member.value: member for member in kind}

    def read(raw: object, path: str) -> E:
        if not isinstance(raw, str):
            raise _mismatch(path, "text", raw)
        if raw not in members:
            raise ValueError(f"{path}: {raw[:80]!r} is none of {', '.join(map(str, members))}")
        return members[raw]

    return Codec(lambda member: str(member.value), read)


def choice(*texts: str) -> Codec[str]:
    """Return the codec of a few texts."""

    def read(raw: object, path: str) -> str:
        if not isinstance(raw, str):
            raise _mismatch(path, "text", raw)
        if raw not in texts:
            raise ValueError(f"{path}: {raw[:80]!r} is none of {', '.join(texts)}")
        return raw

    return Codec(_same, read)


def optional(codec: Codec[T]) -> Codec[T | None]:
    """Return the codec of what may be None."""
    return Codec(
        lambda value: None if value is None else codec.write(value),
        lambda raw, path: None if raw is None else codec.read(raw, path),
    )


def tuple_of(codec: Codec[T]) -> Codec[tuple[T, ...]]:
    """Return the codec of a tuple, a list in JSON."""

    def read(raw: object, path: str) -> tuple[T, ...]:
        if not isinstance(raw, list):
            raise _mismatch(path, "a list", raw)
        return tuple(codec.read(each, f"{path}[{index}]") for index, each in enumerate(raw))

    return Codec(lambda values: [codec.write(each) for each in values], read)


def table_of(codec: Codec[T]) -> Codec[dict[str, T]]:
    """Return the codec of values by name."""

    def read(raw: object, path: str) -> dict[str, T]:
        return {name: codec.read(each, f"{path}.{name}") for name, each in _object(raw, path).items()}

    return Codec(lambda values: {name: codec.write(each) for name, each in values.items()}, read)


def texts_of(length: int) -> Codec[tuple[str, ...]]:
    """Return the codec of a tuple of so many texts."""
    texts = tuple_of(TEXT)

    def read(raw: object, path: str) -> tuple[str, ...]:
        found = texts.read(raw, path)
        if len(found) != length:
            raise ValueError(f"{path}: {length} texts are needed, not {len(found)}")
        return found

    return Codec(texts.write, read)


def record(kind: Callable[..., T], fields: Mapping[str, _AnyCodec]) -> Codec[T]:
    """Return the codec of a dataclass or named tuple.

    Args:
        kind: makes a value from its fields.
        fields: all of them; what has its default is not written.
    """
    defaults = _defaults(kind)

    def write(value: T) -> JsonValue:
        said: dict[str, JsonValue] = {}
        for name, codec in fields.items():
            each = getattr(value, name)
            if name not in defaults or each is not defaults[name]:
                said[name] = codec.write(each)
        return said

    def read(raw: object, path: str) -> T:
        if not isinstance(raw, dict):
            raise _mismatch(path, "an object", raw)
        found = {}
        for name, codec in fields.items():
            if name in raw:
                found[name] = codec.read(raw[name], f"{path}.{name}")
            elif name not in defaults:
                raise ValueError(f"{path}.{name} is missing")
        return kind(**found)

    return Codec(write, read)


def _defaults(kind: Callable[..., object]) -> dict[str, object]:
    if dataclasses.is_dataclass(kind):
        return {each.name: each.default for each in dataclasses.fields(kind) if each.default is not dataclasses.MISSING}
    return dict(getattr(kind, "_field_defaults", {}))


def _same(value: T) -> T:
    return value


def _mismatch(path: str, wanted: str, raw: object) -> TypeError:
    return TypeError(f"{path}: {wanted} is needed, not {'null' if raw is None else type(raw).__name__}")


def _text(raw: object, path: str) -> str:
    if not isinstance(raw, str):
        raise _mismatch(path, "text", raw)
    return raw


def _boolean(raw: object, path: str) -> bool:
    if not isinstance(raw, bool):
        raise _mismatch(path, "true or false", raw)
    return raw


def _number(raw: object, path: str) -> int | float:
    if not isinstance(raw, int | float) or isinstance(raw, bool):
        raise _mismatch(path, "a number", raw)
    if isinstance(raw, float) and not math.isfinite(raw):
        raise ValueError(f"{path}: {raw} is no number")
    return raw


def _integer(raw: object, path: str) -> int:
    number = _number(raw, path)
    if not isinstance(number, int):
        raise _mismatch(path, "a whole number", raw)
    if abs(number) > _MOST_INTEGER:
        raise ValueError(f"{path}: the number is too large")
    return number


def _real(raw: object, path: str) -> float:
    try:
        return float(_number(raw, path))
    except OverflowError:
        raise ValueError(f"{path}: the number is too large") from None


def _json(raw: object, path: str) -> JsonValue:
    if raw is not None and not isinstance(raw, str | int | float | list | dict):
        raise _mismatch(path, "JSON", raw)
    return cast("JsonValue", raw)


def _object(raw: object, path: str) -> dict[str, JsonValue]:
    if not isinstance(raw, dict):
        raise _mismatch(path, "an object", raw)
    return raw


TEXT: Codec[str] = Codec(_same, _text)
"""Any text, lone surrogates included: what a directory's name may be, the service judges."""

BOOLEAN: Codec[bool] = Codec(_same, _boolean)

INTEGER: Codec[int] = Codec(_same, _integer)
"""Of 63 bits and a sign."""

REAL: Codec[float] = Codec(_same, _real)
"""A finite number, always as a float."""

NUMBER: Codec[int | float] = Codec(_same, _number)
"""A finite number, whole if it was."""

JSON: Codec[JsonValue] = Codec(_same, _json)
"""What is JSON already."""

OBJECT: Codec[dict[str, JsonValue]] = Codec(_same, _object)
"""The same with names."""
