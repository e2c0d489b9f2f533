"""What one call does to the small values of a session: plain functions of what it remembers.

Numbers stay exact: integers are added as integers, and a sum that cannot be told as JSON is refused.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from workroot.core.allocations import as_text
from workroot.errors import MetadataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workroot.core.allocations import JsonValue

__all__ = ["added", "appended", "checked_name", "checked_text", "is_same", "updated"]


def checked_text(values: Mapping[str, object]) -> str:
    """Return *values* as they are kept; as `as_text`, and faster where there are none.

    Raises:
        MetadataError: as `as_text`.
    """
    return "{}" if values == {} else as_text(values)


def checked_name(name: str) -> str:
    """Return the name of a value, if it can be one.

    Raises:
        MetadataError: it is not text.
    """
    if not isinstance(name, str):
        raise MetadataError(f"the name of a value is text, not {type(name).__name__}")
    return name


def updated(before: str, values: Mapping[str, object], *, is_merged: bool) -> str:
    """Return the text of what a session remembers when it is given *values*.

    Args:
        before: what it remembers, as text.
        values: what it is given.
        is_merged: beside what it remembers; False: instead.

    Raises:
        MetadataError: it cannot remember that.
    """
    if not isinstance(values, dict):
        raise MetadataError("metadata must be a dictionary with text as keys")
    return checked_text({**json.loads(before), **values} if is_merged else values)


def added(values: Mapping[str, JsonValue], name: str, by: float) -> int | float:
    """Return the sum of a number, 0 where there is none, and *by*.

    Raises:
        MetadataError: either is no number, or the sum is none.
    """
    number = values.get(name, 0)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise MetadataError(f"{name!r} is no number, so nothing can be added to it")
    if isinstance(by, bool) or not isinstance(by, int | float):
        raise MetadataError(f"{by!r} is no number, so it cannot be added")
    try:
        total = number + by
    except OverflowError:
        total = math.inf
    if not math.isfinite(total) if isinstance(total, float) else False:
        raise MetadataError(f"{name!r} would be no number that can be kept")
    return total


def appended(values: Mapping[str, JsonValue], name: str, value: JsonValue, *, most: int | None) -> list[JsonValue]:
    """Return a list, empty where there is none, with *value* at its end.

    Args:
        values: what is remembered.
        name: of the list.
        value: what to add.
        most: of so many the first give way; None keeps all.

    Raises:
        MetadataError: what is there is no list, or *most* is no number above 0.
    """
    items = values.get(name, [])
    if not isinstance(items, list):
        raise MetadataError(f"{name!r} is no list, so nothing can be added to it")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise MetadataError("of a list at least one is kept: the most is a whole number above 0")
    longer = [*items, value]
    return longer if most is None else longer[-most:]


def is_same(one: JsonValue, other: JsonValue) -> bool:
    """Tell whether two values are the same as JSON: `1`, `1.0` and `true` are three.

    Raises:
        MetadataError: one of them is not JSON.
    """
    try:
        return _canonical(one) == _canonical(other)
    except (TypeError, ValueError, RecursionError) as error:
        raise MetadataError(f"metadata must be JSON: {error}") from None


def _canonical(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)
