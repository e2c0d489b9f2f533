"""`CurrentProject` and `CurrentSession`: what a tool of an attached server writes to know where its caller works.

    @app.tool()
    async def add(text: str, project: CurrentProject) -> str: ...

The SDK fills such a parameter by its own dependency mechanism, in both eras; it is none of the tool's arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Resolve

from workroot.attached.calls import current_call
from workroot.core.answer import Outcome, Resolution
from workroot.core.projects import Project
from workroot.core.sessions import SessionContext
from workroot.errors import ConfigError, SessionError, WorkrootError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["OPTIONAL", "CurrentProject", "CurrentSession", "RefusedError", "SessionNeededError"]


class RefusedError(ToolError):
    """What the SDK makes a tool's error of; the middleware puts the whole refusal in its place.

    Attributes:
        error: what the client is told.
    """

    def __init__(self, error: WorkrootError) -> None:
        self.error = error
        super().__init__(str(error))


class SessionNeededError(SessionError):
    """A tool needs its caller's session, and the caller has none; nothing was done."""

    code = "session_needed"

    def __init__(self) -> None:
        super().__init__(
            "",
            "this needs a session, and you have none: call set_working_directory(directory=ABSOLUTE PATH), then "
            "repeat this call with the session_id that it returns",
        )


async def resolved_project() -> Project:
    """Return the project that the caller works in, for the SDK to pass on."""
    resolution = _resolution()
    if resolution.outcome is Outcome.DECIDED and (place := resolution.place) is not None and place.project is None:
        broken = place.config_error
        if broken is not None:  # a project is there; to set another directory is no cure
            raise _refused(ConfigError(broken.path, broken.problem, line=broken.line, field=broken.field))
    try:
        return resolution.required_project()
    except WorkrootError as error:
        raise _refused(error) from error


async def resolved_project_if_any() -> Project | None:
    """Return the same, or None where it is certain that there is none, or nothing is known at all.

    Between several, after a move that nobody explained, and in a project whose config is broken there is one; a tool
    that took that for none would put things where nobody looks for them.
    """
    resolution = _resolution()
    place = resolution.place
    is_none = resolution.outcome is Outcome.UNKNOWN or (
        resolution.outcome is Outcome.DECIDED
        and place is not None
        and place.project is None
        and place.config_error is None
    )
    return None if is_none else await resolved_project()


async def resolved_session() -> SessionContext:
    """Return the session that the call is in, for the SDK to pass on."""
    if (session := _resolution().session) is None:
        raise _refused(SessionNeededError())
    return session


async def resolved_session_if_any() -> SessionContext | None:
    """Return the same, or None where the caller has none."""
    return _resolution().session


CurrentProject = Annotated[Project, Resolve(resolved_project)]
"""The project that the caller of a tool works in; the call fails with candidates if that is not known.

`CurrentProject | None` lets the tool work outside of projects too.
"""

CurrentSession = Annotated[SessionContext, Resolve(resolved_session)]
"""The session that the call of a tool is in; it fails if there is none, `CurrentSession | None` allows that."""

OPTIONAL: Mapping[Callable[..., object], object] = {
    resolved_project: Annotated[Project | None, Resolve(resolved_project_if_any)],
    resolved_session: Annotated[SessionContext | None, Resolve(resolved_session_if_any)],
    resolved_project_if_any: None,
    resolved_session_if_any: None,
}
"""Our resolvers, each with what stands for it in a union with None."""


def _resolution() -> Resolution:
    call = current_call.get()
    if call is not None and call.error is not None:
        raise _refused(call.error)
    if call is None or call.resolution is None:
        raise ToolError(
            "this tool asks for its caller's project or session, and is not attached: its author has to call "
            "workroot.attach(app) before the tool is added, and the tool has to be called by a client"
        )
    return call.resolution


def _refused(error: WorkrootError) -> RefusedError:
    if (call := current_call.get()) is not None:
        call.error, call.is_refused = error, True
    return RefusedError(error)
