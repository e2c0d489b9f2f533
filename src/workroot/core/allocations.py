"""What an allocated session is: an id with an owner, a time to live and small values, and how it came to its end.

Where `workroot.core.sessions` says who works where, this says who is there at all, and until when. Both speak of the
same ids: an id that is allocated may work in a directory too, and its end ends both.

Nothing here waits or reads a clock: callers pass in when.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from workroot.core.sessions import Owner, SessionId, SessionKey
from workroot.errors import MetadataError, TimeToLiveError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LONGEST_SECONDS",
    "MAX_METADATA_BYTES",
    "AllocatedSession",
    "Allocation",
    "JsonValue",
    "SessionStatus",
    "as_text",
    "checked_seconds",
]

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"

MAX_METADATA_BYTES = 64 * 1024
"""What one session may remember, as JSON in UTF-8: small values, not files."""

_TEXT_KEYS = "metadata must be a dictionary with text as keys"

LONGEST_SECONDS = 10 * 365 * 24 * 3600.0
"""Of a time to live: ten years from now."""

_AS_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))  # `json.dumps` makes one a call
_DEEPEST = 64  # arrays and objects in each other: deeper ones are read with more stack than whoever reads may have


class SessionStatus(StrEnum):
    """Where an allocated session is in its life; the last three are final."""

    ACTIVE = "active"
    EXPIRED = "expired"  # its time to live ran out
    INVALIDATED = "invalidated"  # it was declared void: a user who logged out, a token that leaked
    TERMINATED = "terminated"  # it was deleted

    @property
    def is_final(self) -> bool:
        """Tell whether nothing comes after it."""
        return self is not SessionStatus.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatedSession:
    """An id that somebody was given for a time. Frozen: a change is a new one.

    Attributes:
        session_id: the id; unique within the sandbox.
        owner: on whose behalf; its sandbox is part of the key.
        user_id: whose session it is among those whom the owner serves, or None if that was not said.
        created_at: in seconds since the Unix epoch.
        deadline: when its time to live runs out, on the idle clock (`workroot.idle_clock`), in seconds.
        last_accessed: in seconds since the Unix epoch.
        metadata: what it remembers, as the text of a JSON object; of an ended one, the empty object.
        status: where it is in its life.
        ended_at: when that ended, in seconds since the Unix epoch; None while it is active.
        seen: the same on the idle clock, which decides for how long the end is remembered; 0 while it is active.
        revision: +1 at every change; of two copies, the higher is the newer.
    """

    session_id: SessionId
    owner: Owner
    user_id: str | None
    created_at: float
    deadline: float
    last_accessed: float
    metadata: str = "{}"
    status: SessionStatus = SessionStatus.ACTIVE
    ended_at: float | None = None
    seen: float = 0.0
    revision: int = 1

    @property
    def key(self) -> SessionKey:
        """What it is kept under."""
        return SessionKey(self.owner.sandbox, self.session_id)

    def values(self) -> dict[str, JsonValue]:
        """Return what it remembers: a copy, each time."""
        if self.metadata == "{}":  # as of most: that spares an eighth of what asking for all of it costs
            return {}
        found: dict[str, JsonValue] = json.loads(self.metadata)
        return found


@dataclass(frozen=True, slots=True)
class Allocation:
    """What came of asking for a session.

    Attributes:
        session: as it is kept now.
        is_new: it was made; False: it was the caller's already, and nothing but its last use changed.
    """

    session: AllocatedSession
    is_new: bool


def checked_seconds(seconds: float) -> float:
    """Return *seconds* if a session can live for so long.

    Raises:
        TimeToLiveError: it is not a number above 0, or more than ten years.
    """
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not 0 < seconds <= LONGEST_SECONDS:  # what is not finite fails too
        raise TimeToLiveError(seconds)
    return float(seconds)


def as_text(values: Mapping[str, object]) -> str:
    """Return *values* as the text of a JSON object, the form in which they are kept.

    Raises:
        MetadataError: a key is not text, at whatever depth, a value is not JSON, or all of it is too long, or too deep.
    """
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise MetadataError(_TEXT_KEYS)
    try:
        text = _AS_JSON.encode(values)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise MetadataError(f"metadata must be JSON: {error}") from None
    if size > MAX_METADATA_BYTES:
        raise MetadataError(f"metadata takes {size} bytes; a session remembers at most {MAX_METADATA_BYTES}")
    if text.count("{") > 1 and not _has_text_keys(values):
        raise MetadataError(_TEXT_KEYS)
    if text.count("[") + text.count("{") > _DEEPEST and _depth(text) > _DEEPEST:
        raise MetadataError(f"metadata nests more than {_DEEPEST} lists and dictionaries")
    return text


def _has_text_keys(values: object) -> bool:
    """Tell whether all keys in it are text: JSON has no others, and of two that read the same there one was lost."""
    left = [values]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                return False
            left.extend(value.values())
        elif isinstance(value, list | tuple):
            left.extend(value)
    return True


def _depth(text: str) -> int:
    """Return how many arrays and objects of a JSON text are in each other."""
    deepest = depth = 0
    is_text = is_escaped = False
    for letter in text:
        if is_text:
            if is_escaped:
                is_escaped = False
            elif letter == "\\":
                is_escaped = True
            elif letter == '"':
                is_text = False
        elif letter == '"':
            is_text = True
        elif letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth -= 1
    return deepest
