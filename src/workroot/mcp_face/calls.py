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
from workroot.mcp_face.evidence import client_name, declares_roots, peer_of, roots_if_needed, signs_of_call
from workroot.mcp_face.paging import CursorError, page_of
from workroot.mcp_face.refusals import claimed_handle, refusal
from workroot.mcp_face.tools import TOOLS, ArgumentsError, checked_arguments

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from mcp.server.context import ServerRequestContext
    from mcp_types import CallToolRequestParams, InputResponses
    from pydantic import BaseModel

    from workroot.core.answer import Resolution
    from workroot.core.ports import Clock
    from workroot.core.projects import KnownProject
    from workroot.core.sessions import Owner
    from workroot.decisions import DecisionLog
    from workroot.mcp_face.paging import Page
    from workroot.session_service import SessionService
    from workroot.trust import TrustStore

__all__ = ["ToolAnswer", "ToolCalls"]

logger = logging.getLogger(__name__)

_RECENT = 5  # projects offered when the directory is unknown
_PAGE = 100  # projects in one answer of list_projects


class _Call(NamedTuple):
    ctx: ServerRequestContext[Any, Any]
    arguments: dict[str, str]
    roots: Roots


class ToolAnswer(NamedTuple):
    """What a tool answers that did what it was called for.

    Attributes:
        structured: the answer.
        text: the same, for a model.
        resolution: where the caller works; None if that cannot be told.
        notes: warnings beside those of the resolution.
    """

    structured: BaseModel
    text: str
    resolution: Resolution | None
    notes: Sequence[str] = ()

    def meta(self) -> dict[str, Any] | None:
        """Return what the result says in `_meta` of where it was made."""
        return resolution_meta(self.resolution, self.notes) if self.resolution is not None else None


class ToolCalls:
    """Answers `tools/call`.

    Args:
        trust: says what of a project's config is withheld.
        show_recent: whether an unknown directory is answered with the owner's recent projects; may be set later.
        remark: gives what every answer has to say of the store now, or None.
    """

    def __init__(
        self,
        sessions: SessionService,
        decisions: DecisionLog,
        trust: TrustStore,
        clock: Clock,
        *,
        show_recent: bool = True,
        remark: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._sessions, self._decisions, self._trust, self._clock = sessions, decisions, trust, clock
        self.show_recent, self._remark = show_recent, remark
        answers: dict[str, Callable[[_Call], Awaitable[ToolAnswer]]] = {
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
        answer = await self.answer(ctx, params.name, params.arguments, params.input_responses)
        if not isinstance(answer, ToolAnswer):
            return answer
        meta = answer.meta()
        return CallToolResult(
            content=[TextContent(text=answer.text)],
            structured_content=answer.structured.model_dump(mode="json"),
            _meta={RESOLUTION_META: meta} if meta is not None else None,
        )

    async def answer(
        self,
        ctx: ServerRequestContext[Any, Any],
        name: str,
        given: Mapping[str, Any] | None,
        responses: InputResponses | None = None,
    ) -> ToolAnswer | CallToolResult | InputRequiredResult:
        """Return the answer to one call, the refusal of it, or what its client has to be asked first.

        Args:
            name: of the tool.
            given: its arguments.
            responses: what a repeated call of the modern era brought.

        Raises:
            MCPError: there is no such tool.
        """
        if name not in self._tools:
            raise MCPError(INVALID_PARAMS, f"unknown tool {name[:100]!r}; there are: {', '.join(self._tools)}")
        tool, answer_to = self._tools[name]
        call = None
        try:
            arguments = checked_arguments(tool, given)
            roots = await self._roots(ctx, responses)
            if isinstance(roots, InputRequiredResult):
                return roots
            call = _Call(ctx, arguments, roots)
            answer = await answer_to(call)
        except WorkrootError as error:
            logger.info("%s refused: %s", name, error.code)
            self._record(ctx, name, error=error, claimed=claimed_handle(ctx, given))
            return refusal(error, await self._without_pin(name, call, error))
        if answer.resolution is not None:
            self._record(ctx, name, answer.resolution)
        return answer

    async def _get_working_directory(self, call: _Call) -> ToolAnswer:
        resolution = await self._resolve(call)
        recent = []
        if resolution.outcome is Outcome.UNKNOWN and not resolution.alternatives and self.show_recent:
            recent = list(await self._sessions.known_projects(peer_of(call.ctx).owner))[:_RECENT]
        notes = self._notes_at(resolution)
        answer = working_directory_answer(resolution, before=resolution.previous, notes=notes, recent=recent)
        return ToolAnswer(
            answer, working_directory_text(answer, resolution, detail=resolution.detail), resolution, notes
        )

    async def _set_working_directory(self, call: _Call) -> ToolAnswer:
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
        notes = self._notes_at(resolution)
        if resolution.is_default_session and entered.is_made:
            notes.append(
                "this is now the default of your whole connection; agents that share it need their own session_id"
            )
        answer = working_directory_answer(resolution, before=entered.before, notes=notes)
        detail = "you set it" if entered.is_made else resolution.detail
        return ToolAnswer(answer, working_directory_text(answer, resolution, detail=detail), resolution, notes)

    async def _root_of(self, owner: Owner, project: str) -> str:
        """Return the root of a project that is named by id, by unique name, or by a path in it."""
        if not project.startswith("/"):
            return await self._sessions.root_of_project(owner, project)
        place = await self._sessions.look(project)
        if place.project is None:
            return await self._sessions.root_of_project(owner, place.directory)  # says that there is none
        return place.project.root

    def _notes_at(self, resolution: Resolution) -> list[str]:
        """Return what is withheld of the project's config, and how to allow it, and that the store is not well."""
        judgement = self._trust.judge(resolution.place) if resolution.place is not None else None
        notes = (judgement.warning if judgement is not None else None, self._remark())
        return [note for note in notes if note is not None]

    async def _answer_anywhere(self, call: _Call, answer: BaseModel, text: str) -> ToolAnswer:
        """Return the answer of a tool that does not depend on where its caller works."""
        notes = [] if (remark := self._remark()) is None else [remark]
        text = "\n".join((text, *(escaped(f"Note: {note}") for note in notes)))
        return ToolAnswer(answer, text, await self._resolved_if_possible(call), notes)

    async def _list_projects(self, call: _Call) -> ToolAnswer:
        found = await self._sessions.known_projects(peer_of(call.ctx).owner, call.arguments.get("query"))
        listed = _page(found, query=call.arguments.get("query"), cursor=call.arguments.get("cursor"))
        page = [project_row(project) for project in listed.rows]
        lines = [escaped(f"{row.name} ({row.id}) at {row.root}") for row in page]
        fitting = count_that_fits(size_of([row.model_dump(), line]) for row, line in zip(page, lines, strict=True))
        page, lines = page[:fitting], lines[:fitting]
        answer = ProjectsAnswer(projects=page, next_cursor=listed.cursor_after(fitting))
        if not lines:
            query = call.arguments.get("query")
            lines = [f"No known project matches {query[:100]!r}." if query else "No project is known yet."]
        return await self._answer_anywhere(call, answer, "\n".join(lines))

    async def _close_session(self, call: _Call) -> ToolAnswer:
        ended = await self._sessions.close_session(call.arguments["session_id"], owner=peer_of(call.ctx).owner)
        answer = ClosedAnswer(session_id=ended.session_id, working_directory=ended.last_directory)
        text = f"Session {ended.session_id} is closed. It worked in {escaped(ended.last_directory)}."
        return await self._answer_anywhere(call, answer, text)

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
        self, ctx: ServerRequestContext[Any, Any], responses: InputResponses | None
    ) -> Roots | InputRequiredResult:
        """Ask for the roots, unless `_meta` names where the caller works: every answer says where that is."""
        if not declares_roots(ctx):
            return Roots()
        return await roots_if_needed(ctx, self._sessions, signs_of_call(ctx), responses)

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


def _page(found: Sequence[KnownProject], *, query: str | None, cursor: str | None) -> Page[KnownProject]:
    try:
        return page_of(
            found,
            used_at=lambda project: project.seen_at,
            name=lambda project: project.root,
            cursor=cursor,
            most=_PAGE,
            scope=f"list_projects {query or ''}",
        )
    except CursorError:
        raise ArgumentsError(
            f"list_projects: {str(cursor)[:100]!r} is not a cursor of this list; leave it out to begin anew"
        ) from None
