"""The resources: the owner's projects and sessions as JSON, always fresh, and never more than one answer may hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from workroot.errors import DirectoryError, SessionError
from workroot.escaping import escaped, shown
from workroot.mcp_face.answer_size import count_that_fits, size_of
from workroot.mcp_face.answers import project_row
from workroot.mcp_face.evidence import peer_of
from workroot.mcp_face.paging import CursorError, page_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcp.server.context import ServerRequestContext

    from workroot.core.projects import KnownProject
    from workroot.core.sessions import Owner, SessionContext
    from workroot.session_context import SessionContextManager
    from workroot.trust import TrustStore

__all__ = ["PROJECTS_URI", "Resources", "only_page", "project_uri", "session_uri"]

PROJECTS_URI = "workroot://projects"
_SESSIONS_PREFIX = "workroot://sessions/"
_JSON = "application/json"
_MOST_ROWS = 5_000  # of one answer; no more can fit
_PAGE = 100  # projects in one answer of resources/list
_LONGEST_PLACE = 300  # characters of a path in a description; so 100 projects fit into any answer


def project_uri(project_id: str) -> str:
    """Return the URI of one project."""
    return f"{PROJECTS_URI}/{project_id}"


def session_uri(session_id: str) -> str:
    """Return the URI of one session."""
    return f"{_SESSIONS_PREFIX}{session_id}"


_PROJECTS = Resource(
    uri=PROJECTS_URI,
    name="projects",
    title="Known projects",
    description="The projects that this user has worked in, latest first.",
    mime_type=_JSON,
)
_PROJECT = ResourceTemplate(
    uri_template=project_uri("{id}"),
    name="project",
    title="A project",
    description="One project: its name, its root and its worktrees.",
    mime_type=_JSON,
)
_SESSION = ResourceTemplate(
    uri_template=session_uri("{session_id}"),
    name="session",
    title="A session",
    description="Where one session works. Only its owner can read it.",
    mime_type=_JSON,
)


class Resources:
    """Answers `resources/list`, `resources/templates/list` and `resources/read`."""

    def __init__(self, sessions: SessionContextManager, trust: TrustStore) -> None:
        self._sessions, self._trust = sessions, trust

    async def list(
        self, ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        """Return the list of projects, and each project, latest first and page by page.

        Raises:
            MCPError: the cursor is none of this list's (MCP 2026-07-28, server/utilities/pagination: -32602).
        """
        cursor = params.cursor if params is not None else None
        known = _latest_of_each(self._sessions.projects.known(peer_of(ctx).owner))
        try:
            page = page_of(
                known,
                used_at=lambda project: project.seen_at,
                name=lambda project: project.project_id,
                cursor=cursor,
                most=_PAGE,
                scope="resources/list",
            )
        except CursorError:
            raise _no_cursor("resources/list", str(cursor)) from None
        listed = [_project_resource(project) for project in page.rows]
        return ListResourcesResult(
            resources=[_PROJECTS, *listed] if cursor is None else listed, next_cursor=page.cursor_after(len(listed))
        )

    async def list_templates(
        self, ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        """Return the resources that are addressed by an id; they are two, so there is one page.

        Raises:
            MCPError: there is no second one.
        """
        only_page("resources/templates/list", params)
        return ListResourceTemplatesResult(resource_templates=[_PROJECT, _SESSION])

    async def read(self, ctx: ServerRequestContext[Any, Any], params: ReadResourceRequestParams) -> ReadResourceResult:
        """Return what is at a URI now.

        Raises:
            MCPError: there is nothing for this caller (MCP 2026-07-28, server/resources: -32602).
        """
        owner, uri = peer_of(ctx).owner, str(params.uri)
        try:
            content = await self._content(owner, uri)
        except SessionError as error:
            raise MCPError(INVALID_PARAMS, str(error), {"uri": uri}) from None
        if content is None:
            raise MCPError(
                INVALID_PARAMS, f"no resource at {escaped(uri[:300])}; resources/list shows what there is", {"uri": uri}
            )
        text = json.dumps(content, ensure_ascii=False)
        return ReadResourceResult(
            contents=[TextResourceContents(uri=params.uri, mime_type=_JSON, text=text)], ttl_ms=0, cache_scope="private"
        )

    async def _content(self, owner: Owner, uri: str) -> dict[str, object] | None:
        if uri == PROJECTS_URI:
            return _projects(self._sessions.projects.known(owner))
        if uri.startswith(_SESSIONS_PREFIX):
            return _session(await self._sessions.current_session(uri.removeprefix(_SESSIONS_PREFIX), owner=owner))
        if not uri.startswith(f"{PROJECTS_URI}/"):
            return None
        wanted = uri.removeprefix(f"{PROJECTS_URI}/")
        roots = [each for each in self._sessions.projects.known(owner) if each.project_id == wanted]
        return await self._project(roots) if roots else None

    async def _project(self, roots: Sequence[KnownProject]) -> dict[str, object]:
        rows: list[dict[str, object]] = []
        sizes: list[int] = []
        for each in roots:
            row = project_row(each)
            said = {"root": row.root, "worktree_of": row.worktree_of, **await self._said_at(row.root)}
            sizes.append(size_of(said, is_text=True))
            if count_that_fits(sizes) <= len(rows):
                break
            rows.append(said)
        first = project_row(roots[0])
        found: dict[str, object] = {"id": first.id, "name": first.name, "roots": rows, "total_roots": len(roots)}
        if len(rows) < len(roots):
            found["note"] = _rest_note(len(roots) - len(rows))
        return found

    async def _said_at(self, root: str) -> dict[str, object]:
        """Return what the config at a root says now: without what its user has not allowed, but naming that."""
        try:
            place = await self._sessions.look(root)
        except DirectoryError as error:
            return {"problem": error.problem}
        said: dict[str, object] = {"config_path": place.config_path, "warnings": list(place.warnings)}
        if place.config_error is not None:
            said["problem"] = str(place.config_error)
        if (judgement := self._trust.judge(place)) is None:
            return said
        config = judgement.config
        said["description"] = shown(config.description) if config.description is not None else None
        if judgement.warning is not None:
            said["withheld"] = judgement.warning
        return said | {
            "instructions": config.instructions,
            "commands": dict(config.commands),
            "servers": [server.name for server in config.servers],
        }


def only_page(method: str, params: PaginatedRequestParams | None) -> None:
    """Check that no second page is asked for of a list that has one.

    Raises:
        MCPError: it is (MCP 2026-07-28, server/utilities/pagination: -32602).
    """
    if params is not None and params.cursor is not None:
        raise _no_cursor(method, params.cursor)


def _no_cursor(method: str, cursor: str) -> MCPError:
    text = f"{method}: {escaped(cursor[:100])!r} is not a cursor of this list; leave it out to begin anew"
    return MCPError(INVALID_PARAMS, text)


def _latest_of_each(known: Iterable[KnownProject]) -> list[KnownProject]:
    """Return each project once: where somebody was last, of all its worktrees."""
    latest: dict[str, KnownProject] = {}
    for project in known:
        latest.setdefault(project.project_id, project)
    return list(latest.values())


def _project_resource(project: KnownProject) -> Resource:
    return Resource(
        uri=project_uri(project.project_id),
        name=shown(project.name),
        description=f"A project that this user has worked in, last in {escaped(project.root)[:_LONGEST_PLACE]}.",
        mime_type=_JSON,
    )


def _projects(known: Sequence[KnownProject]) -> dict[str, object]:
    rows = [project_row(each).model_dump() for each in known[:_MOST_ROWS]]
    shown_rows = rows[: count_that_fits(size_of(row, is_text=True) for row in rows)]
    found: dict[str, object] = {"projects": shown_rows, "total": len(known)}
    if len(shown_rows) < len(known):
        found["note"] = _rest_note(len(known) - len(shown_rows))
    return found


def _rest_note(count: int) -> str:
    return f"{count} more do not fit; list_projects shows all of them, page by page"


def _session(session: SessionContext) -> dict[str, object]:
    return {
        "session_id": session.session_id,
        "working_directory": session.working_directory,
        "config_path": session.config_path,
        "project_id": session.project_id,
        "project_root": session.project_root,
        "project_name": shown(session.project_name) if session.project_name is not None else None,
        "set_at": session.set_at,
        "last_used": session.last_used,
        "revision": session.revision,
    }
