"""Errors that cross: the same class with the same attributes and text at the other end, found by its code.

A code that is not known here, as a newer daemon may have, becomes a `ControlError` that keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from workroot.errors import (
    ChangeRefusedError,
    ClosedSessionError,
    ConfigError,
    ControlError,
    DirectoryError,
    DryRunError,
    ExpiredSessionError,
    JoinRefusedError,
    MetadataError,
    MoveRefusedError,
    NotStartedError,
    ProjectNeededError,
    ProjectUnknownError,
    SessionEndedError,
    SessionError,
    SessionTakenError,
    SignsDisagreeError,
    StoreError,
    StoreUnavailableError,
    StrictModeError,
    TimeToLiveError,
    TooManySessionsError,
    UnknownSessionError,
    UserIdError,
    WorkrootError,
)
from workroot.wire_values.codec import BOOLEAN, INTEGER, TEXT, Codec, optional, texts_of, tuple_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workroot.core.allocations import JsonValue

__all__ = ["ATTRIBUTES", "error_of", "fields_of_error"]

_Attributes: TypeAlias = "Mapping[str, Codec[Any]]"  # which type an attribute has, only its class knows

_NONE: _Attributes = {}
_SESSION: _Attributes = {"session_id": TEXT}
_ENDED: _Attributes = {**_SESSION, "last_directory": TEXT}
_CANDIDATES = tuple_of(TEXT)

ATTRIBUTES: Mapping[type[WorkrootError], _Attributes] = {
    ChangeRefusedError: _NONE,
    ClosedSessionError: _ENDED,
    ConfigError: {"path": TEXT, "problem": TEXT, "line": optional(INTEGER), "field": optional(TEXT)},
    DirectoryError: {"directory": TEXT, "problem": TEXT},
    DryRunError: _NONE,
    ExpiredSessionError: _ENDED,
    JoinRefusedError: {"directory": TEXT},
    MetadataError: _NONE,
    MoveRefusedError: {"directory": TEXT, "candidates": _CANDIDATES},
    NotStartedError: _NONE,
    ProjectNeededError: {"candidates": _CANDIDATES},
    ProjectUnknownError: {"wanted": TEXT, "candidates": tuple_of(texts_of(3)), "is_ambiguous": BOOLEAN},
    SessionEndedError: {**_SESSION, "status": TEXT},
    SessionError: _SESSION,
    SessionTakenError: _SESSION,
    SignsDisagreeError: _NONE,
    StoreError: _NONE,
    StoreUnavailableError: _NONE,
    StrictModeError: {"directory": TEXT},
    TimeToLiveError: _NONE,
    TooManySessionsError: {"most": INTEGER},
    UnknownSessionError: _SESSION,
    UserIdError: _NONE,
}
"""The errors that cross as themselves, each with what it says beside its text."""

_CLASSES = {kind.code: kind for kind in ATTRIBUTES}


def fields_of_error(error: WorkrootError) -> dict[str, JsonValue]:
    """Return an error as JSON: its `code`, its `message`, and `attributes` where it has any."""
    said: dict[str, JsonValue] = {"code": error.code, "message": str(error)}
    kind = _CLASSES.get(error.code)
    if kind is not None and isinstance(error, kind) and (attributes := ATTRIBUTES[kind]):
        said["attributes"] = {name: codec.write(getattr(error, name)) for name, codec in attributes.items()}
    return said


def error_of(fields: Mapping[str, object]) -> WorkrootError:
    """Return the error that JSON stands for; one of which not all can be understood is a `ControlError`."""
    code, message, given = fields.get("code"), fields.get("message"), fields.get("attributes")
    code = code if isinstance(code, str) else None
    text = message if isinstance(message, str) else "no reason given"
    kind = _CLASSES.get(code) if code is not None else None
    if kind is None:
        return ControlError(text, code)
    given = given if isinstance(given, dict) else {}
    try:
        found = {name: codec.read(given.get(name), name) for name, codec in ATTRIBUTES[kind].items()}
    except (TypeError, ValueError):
        return ControlError(text, code)
    error = kind.__new__(kind)  # its constructor would make the text anew, from what is not all here
    error.args = (text,)
    vars(error).update(found)
    return error
