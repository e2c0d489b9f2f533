"""What a caller hears of a call that was refused: the error as text and as `_meta`, and what its own signs say.

Every error names the call to make next, in `_meta` and at the end of its text: a model that hears only what is
wrong repeats the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mcp_types import CallToolResult, TextContent

from workroot.core.resolution import claimed_session
from workroot.errors import (
    ChangeRefusedError,
    ChannelUnavailableError,
    ClientRefusedError,
    ClosedSessionError,
    ConfigError,
    DaemonUnavailableError,
    DirectoryError,
    DryRunError,
    ExpiredSessionError,
    MetadataError,
    MoveRefusedError,
    ProjectNeededError,
    ProjectUnknownError,
    SessionEndedError,
    SessionError,
    SessionRequiredError,
    SessionTakenError,
    SignsDisagreeError,
    StoreError,
    StoreInUseError,
    StoreTooNewError,
    StrictModeError,
    TimeToLiveError,
    TooManySessionsError,
    UnknownSessionError,
    UserRequiredError,
    WorkrootError,
)
from workroot.escaping import escaped
from workroot.mcp_face.evidence import signs_of_call
from workroot.mcp_face.tools import ArgumentsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp.server.context import ServerRequestContext

__all__ = ["claimed_handle", "refusal"]


class _Next(NamedTuple):
    """The call to make after an error.

    Attributes:
        call: one sentence without its full stop; a format string of `error`.
        is_in_text: the error's own text says so already.
    """

    call: str
    is_in_text: bool = False


_OPEN_NEW = _Next(
    "call set_working_directory(directory={error.last_directory!r}) without session_id, then repeat this call with "
    "the session_id that it returns",
    is_in_text=True,
)
_NEXT: dict[type[WorkrootError], _Next] = {
    ArgumentsError: _Next("repeat the call with the arguments that the tool's input schema names"),
    DirectoryError: _Next(
        "call set_working_directory(directory=ABSOLUTE PATH) with an existing directory, or get_working_directory "
        "without a directory to see where you are"
    ),
    ConfigError: _Next("ask the user to mend the config, or call set_working_directory(directory=ABSOLUTE PATH)"),
    ProjectUnknownError: _Next(
        "call list_projects to see all, then set_working_directory(project=ID OR ROOT)", is_in_text=True
    ),
    ProjectNeededError: _Next("call set_working_directory(directory=ABSOLUTE PATH)", is_in_text=True),
    DryRunError: _Next("ask the user to turn dry_run off, or call get_working_directory to see where you are"),
    StrictModeError: _Next(
        "call set_working_directory(directory={error.directory!r}) if that is meant, then repeat this call",
        is_in_text=True,
    ),
    MoveRefusedError: _Next(
        "call get_working_directory to see where you are, or set_working_directory with a directory within reach"
    ),
    SessionError: _Next("repeat the call with the session_id that set_working_directory returned", is_in_text=True),
    UnknownSessionError: _Next(
        "call set_working_directory(directory=ABSOLUTE PATH) without session_id, and pass on the session_id that it "
        "returns",
        is_in_text=True,
    ),
    ClosedSessionError: _OPEN_NEW,
    ExpiredSessionError: _OPEN_NEW,
    SignsDisagreeError: _Next("repeat the call with one of the two signs only, or with the argument session_id"),
    DaemonUnavailableError: _Next("repeat the call; if it fails again, ask the user to look at `workroot status`"),
    StoreError: _Next("repeat the call; if it fails again, ask the user to mend what the error says"),
    StoreInUseError: _Next("ask the user to do what the error says; until then this call cannot succeed"),
    StoreTooNewError: _Next("ask the user to do what the error says; until then this call cannot succeed"),
    UserRequiredError: _Next("ask the user to sign in to this server; until then this call cannot succeed"),
    SessionRequiredError: _Next(
        "call set_working_directory(directory=ABSOLUTE PATH), then repeat this call with the session_id that it returns"
    ),
    ChannelUnavailableError: _Next("ask the user yourself, or do without this tool"),
    ClientRefusedError: _Next("ask the user yourself, or do without this tool"),
    SessionTakenError: _Next("repeat the call with another session id, or without one", is_in_text=True),
    SessionEndedError: _Next("go on with another session; this one does not come back"),
    MetadataError: _Next("repeat the call with values that can be kept"),
    TimeToLiveError: _Next("repeat the call with another time to live"),
    TooManySessionsError: _Next("repeat the call later; until sessions have ended it cannot succeed"),
    ChangeRefusedError: _Next("call get_working_directory to see where you are; this call cannot succeed"),
    WorkrootError: _Next("call get_working_directory to see where you are"),
}
"""By class; of a class that is not here its nearest base counts."""

_PIN_GONE = _Next("call set_working_directory(directory=ABSOLUTE PATH)")
"""After an error of the session's own directory: to ask where it is would fail again."""


def refusal(error: WorkrootError, explained: Sequence[str] = ()) -> CallToolResult:
    """Return *error* as a tool's result, so that the model hears of it.

    Args:
        explained: further lines about where the caller works.
    """
    message = escaped(str(error))  # it may name a path, and a path may hold a newline
    following = _PIN_GONE if explained else next(_NEXT[each] for each in type(error).__mro__ if each in _NEXT)
    call = escaped(following.call.format(error=error))
    lines = [message, *(escaped(line) for line in explained)]
    if not following.is_in_text:
        lines.append(f"Next: {call}.")
    details: dict[str, Any] = {"code": error.code, "message": message, "next": call, "candidates": _candidates(error)}
    if isinstance(error, ClosedSessionError | ExpiredSessionError):
        details["last_directory"] = error.last_directory
    text = "\n".join(lines)
    return CallToolResult(content=[TextContent(text=text)], is_error=True, _meta={"workroot/error": details})


def _candidates(error: WorkrootError) -> list[dict[str, str]]:
    """Return the directories to choose from, each with its project's name and id where the error knows them."""
    if isinstance(error, ProjectUnknownError):
        return [{"directory": root, "name": name, "id": project_id} for name, project_id, root in error.candidates]
    if isinstance(error, ProjectNeededError | MoveRefusedError):
        return [{"directory": directory} for directory in error.candidates]
    return []


def claimed_handle(ctx: ServerRequestContext[Any, Any], arguments: Mapping[str, Any] | None) -> str | None:
    """Return the session's handle that a refused call passed, or None if it passed none, or two."""
    argument = (arguments or {}).get("session_id")
    try:
        claim = claimed_session(signs_of_call(ctx, session_id=argument if isinstance(argument, str) else None))
    except WorkrootError:
        return None
    return claim.name if claim.by == "handle" else None
