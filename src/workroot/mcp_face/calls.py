"""One tool call, from its arguments to its result."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, InputRequiredResult, TextContent

from workroot.core.answer import Outcome
from workroot.core.explanation import shortened
from workroot.core.signs import Roots
from workroot.decisions import Decision
from workroot.errors import DirectoryError, WorkrootError
from workroot.escaping import escaped
from workroot.mcp_face.answer_size import count_that_fits, size_of
from workroot.mcp_face.answers import (
    RESOLUTION_META,
    ClosedAnswer,
    ProjectsAnswer,
    project_row,
    resolution_meta,
    working_directory_answer,
    working_directory_text,
)
from workroot.mcp_face.evidence import client_name, peer_of, roots_of, signs_of_call
from workroot.mcp_face.refusals import claimed_handle, refusal
from workroot.mcp_face.tools import TOOLS, ArgumentsError, checked_arguments

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mcp.server.context import ServerRequestContext
    from mcp_types import CallToolRequestParams
    from pydantic import BaseModel

    from workroot.core.answer import Resolution
    from workroot.core.ports import Clock
    from workroot.core.sessions import Owner
    from workroot.decisions import DecisionLog
    from workroot.session_context import SessionContextManager
    from workroot.trust import TrustStore

__all__ = ["ToolCalls"]

logger = logging.getLogger(__name__)

_RECENT = 5  # projects offered when the directory is unknown
_PAGE = 100  # projects in one answer of list_projects
_CURSOR_DIGITS = 9


class _Call(NamedTuple):
    ctx: ServerRequestContext[Any, Any]
    arguments: dict[str, str]
    roots: Roots


class _Answer(NamedTuple):
    structured: BaseModel
    text: str
    resolution: Resolution | None
    notes: Sequence[str] = ()


class ToolCalls:
    """Answers `tools/call`.

    Args:
        trust: says what of a project's config is withheld.
        show_recent: whether an unknown directory is answered with the owner's recent projects; may be set later.
    """

    def __init__(
        self,
        sessions: SessionContextManager,
        decisions: DecisionLog,
        trust: TrustStore,
        clock: Clock,
        *,
        show_recent: bool = True,
    ) -> None:
        self._sessions, self._decisions, self._trust, self._clock = sessions, decisions, trust, clock
        self.show_recent = show_recent
        answers: dict[str, Callable[[_Call], Awaitable[_Answer]]] = {
            "get_working_directory": self._get_working_directory,
            "set_working_directory": self._set_working_directory,
            "list_projects": self._list_projects,
            "close_session": self._close_session,
        }
        self._tools = {tool.name: (tool, answers[tool.name]) for tool in TOOLS}

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        """Answer one call; what the caller can mend is a tool error, so that the model hears of it."""
        if params.name not in self._tools:
            raise MCPError(INVALID_PARAMS, f"unknown tool {params.name[:100]!r}; there are: {', '.join(self._tools)}")
        tool, answer_to = self._tools[params.name]
        call = None
        try:
            arguments = checked_arguments(tool, params.arguments)
            roots = await self._roots(ctx, params)
            if isinstance(roots, InputRequiredResult):
                return roots
            call = _Call(ctx, arguments, roots)
            answer = await answer_to(call)
        except WorkrootError as error:
            logger.info("%s refused: %s", params.name, error.code)
            self._record(ctx, params.name, error=error, claimed=claimed_handle(ctx, params))
            return refusal(error, await self._without_pin(params.name, call, error))
        if answer.resolution is not None:
            self._record(ctx, params.name, answer.resolution)
        return CallToolResult(
            content=[TextContent(text=answer.text)],
            structured_content=answer.structured.model_dump(mode="json"),
            _meta={RESOLUTION_META: resolution_meta(answer.resolution, answer.notes)} if answer.resolution else None,
        )

    async def _get_working_directory(self, call: _Call) -> _Answer:
        resolution = await self._resolve(call)
        recent = []
        if resolution.outcome is Outcome.UNKNOWN and not resolution.alternatives and self.show_recent:
            recent = self._sessions.projects.known(peer_of(call.ctx).owner)[:_RECENT]
        notes = self._withheld_at(resolution)
        answer = working_directory_answer(resolution, before=resolution.previous, notes=notes, recent=recent)
        return _Answer(answer, working_directory_text(answer, resolution, detail=resolution.detail), resolution, notes)

    async def _set_working_directory(self, call: _Call) -> _Answer:
        owner = peer_of(call.ctx).owner
        directory, project = call.arguments.get("directory"), call.arguments.get("project")
        if (directory is None) == (project is None):
            raise ArgumentsError("set_working_directory takes either directory (an absolute path) or project")
        if project is not None or directory is None:
            directory = await self._root_of(owner, project := str(project))
            project = directory if project.startswith("/") else project
        signs = signs_of_call(call.ctx, session_id=call.arguments.get("session_id"), roots=call.roots)
        entered = await self._sessions.enter(owner, signs, directory, project=project)
        resolution = entered.resolution
        notes = self._withheld_at(resolution)
        if resolution.is_default_session and entered.is_made:
            notes.append(
                "this is now the default of your whole connection; agents that share it need their own session_id"
            )
        answer = working_directory_answer(resolution, before=entered.before, notes=notes)
        detail = "you set it" if entered.is_made else resolution.detail
        return _Answer(answer, working_directory_text(answer, resolution, detail=detail), resolution, notes)

    async def _root_of(self, owner: Owner, project: str) -> str:
        """Return the root of a project that is named by id, by unique name, or by a path in it."""
        if not project.startswith("/"):
            return self._sessions.projects.root_of(owner, project)
        place = await self._sessions.look(project)
        if place.project is None:
            return self._sessions.projects.root_of(owner, place.directory)  # says that there is none, and candidates
        return place.project.root

    def _withheld_at(self, resolution: Resolution) -> list[str]:
        """Return what is withheld of the project's config, and how to allow it, in at most one line."""
        judgement = self._trust.judge(resolution.place) if resolution.place is not None else None
        return [judgement.warning] if judgement is not None and judgement.warning is not None else []

    async def _list_projects(self, call: _Call) -> _Answer:
        found = self._sessions.projects.known(peer_of(call.ctx).owner, call.arguments.get("query"))
        start = _position(call.arguments.get("cursor"), len(found))
        page = [project_row(project) for project in found[start : start + _PAGE]]
        lines = [escaped(f"{row.name} ({row.id}) at {row.root}") for row in page]
        fitting = count_that_fits(size_of([row.model_dump(), line]) for row, line in zip(page, lines, strict=True))
        page, lines, end = page[:fitting], lines[:fitting], start + fitting
        answer = ProjectsAnswer(projects=page, next_cursor=str(end) if end < len(found) else None)
        if not lines:
            query = call.arguments.get("query")
            lines = [f"No known project matches {query[:100]!r}." if query else "No project is known yet."]
        return _Answer(answer, "\n".join(lines), await self._resolved_if_possible(call))

    async def _close_session(self, call: _Call) -> _Answer:
        ended = await self._sessions.close_session(call.arguments["session_id"], owner=peer_of(call.ctx).owner)
        answer = ClosedAnswer(session_id=ended.session_id, working_directory=ended.last_directory)
        text = f"Session {ended.session_id} is closed. It worked in {escaped(ended.last_directory)}."
        return _Answer(answer, text, await self._resolved_if_possible(call))

    async def _resolve(self, call: _Call) -> Resolution:
        signs = signs_of_call(
            call.ctx,
            session_id=call.arguments.get("session_id"),
            directory=call.arguments.get("directory"),
            roots=call.roots,
        )
        return await self._sessions.resolve(peer_of(call.ctx).owner, signs)

    async def _resolved_if_possible(self, call: _Call) -> Resolution | None:
        """Return where the caller works, for tools that do not depend on it."""
        try:
            signs = signs_of_call(call.ctx, roots=call.roots)
            return await self._sessions.resolve(peer_of(call.ctx).owner, signs, is_told=False)
        except WorkrootError:
            return None

    async def _roots(
        self, ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams
    ) -> Roots | InputRequiredResult:
        """Ask for the roots, unless `_meta` names where the caller works: every answer says where that is."""
        if not self._sessions.is_reach_bounded and await self._sessions.is_decided_by_meta(signs_of_call(ctx)):
            return Roots()
        return await roots_of(ctx, params.input_responses)

    async def _without_pin(self, tool: str, call: _Call | None, error: WorkrootError) -> tuple[str, ...]:
        """Return what the client's own signs say, if the call was refused because the session's directory is gone."""
        if call is None or not isinstance(error, DirectoryError):
            return ()
        if tool != "get_working_directory" or "directory" in call.arguments:
            return ()  # it was the argument that could not be used
        signs = signs_of_call(call.ctx, roots=call.roots)
        alone = replace(signs, meta_session=None, header_session=None, conversation=None, alias=None)
        try:
            resolution = await self._sessions.resolve(peer_of(call.ctx).owner, alone)
        except WorkrootError:
            return ()
        what_to_do, *rest = shortened(resolution)
        return (f"The session was set to work there; without it, your client's signs say: {what_to_do}", *rest)

    def _record(
        self,
        ctx: ServerRequestContext[Any, Any],
        tool: str,
        resolution: Resolution | None = None,
        *,
        error: WorkrootError | None = None,
        claimed: str | None = None,
    ) -> None:
        self._decisions.record(
            Decision(
                at=self._clock.wall(),
                owner=peer_of(ctx).owner,
                client=client_name(ctx),
                tool=tool,
                resolution=resolution,
                error=(error.code, str(error)) if error is not None else None,
                claimed=claimed,
            )
        )


def _position(cursor: str | None, length: int) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > _CURSOR_DIGITS or int(cursor) > length:
        raise ArgumentsError(
            f"list_projects: {cursor[:100]!r} is not a cursor of this list; leave it out to begin anew"
        )
    return int(cursor)
