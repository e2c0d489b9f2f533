"""The `RequestContext` of an attached server's request: who asked, as far as that is known for certain."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from workroot.attached.asking import available_channels
from workroot.attached.channels import collecting_links
from workroot.core.resolution import claimed_session
from workroot.core.signs import Signs
from workroot.errors import UnknownSessionError, WorkrootError
from workroot.request_context import CLEAR, RequestContext, set_available_channels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.server.context import ServerRequestContext

    from workroot.attached.facts import CallFacts
    from workroot.core.sessions import Owner
    from workroot.session_service import SessionService

__all__ = ["request_scope", "session_in_force"]


@asynccontextmanager
async def request_scope(
    ctx: ServerRequestContext[Any, Any], *, session_id: str | None = None, user_id: str | None = None
) -> AsyncIterator[RequestContext]:
    """Serve a request inside of its own context; nothing that was known around the server is known in there.

    Args:
        ctx: of the request.
        session_id: one that is open and the caller's, never what a header happens to say; None without one.
        user_id: the authenticated user; None where nobody is.
    """
    meta = (ctx.params or {}).get("_meta")
    progress = meta.get("progressToken") if isinstance(meta, dict) else None
    async with RequestContext(
        CLEAR if session_id is None else session_id,
        CLEAR if user_id is None else user_id,
        progress if isinstance(progress, str | int) else CLEAR,
        CLEAR,
    ) as entered:
        set_available_channels(**available_channels(ctx))
        with collecting_links():
            yield entered


async def session_in_force(
    service: SessionService, facts: CallFacts, user_id: str | None, *, program: Owner
) -> str | None:
    """Return the session that a request is in; None if it claims none, or one that is not open or not the caller's.

    Where the caller works is not looked at: that is for tools that ask.

    Args:
        service: the sessions.
        facts: what the request says of its caller.
        user_id: the authenticated user; None where nobody is.
        program: the server itself, which allocates sessions to its users.
    """
    try:
        signs = facts.signs()
        claim = claimed_session(signs)
        if claim.by == "none":
            return None
        if claim.by != "handle":
            claiming = Signs(conversation=signs.conversation, alias=signs.alias, traits=signs.traits)
            session = (await service.resolve(facts.owner, claiming, is_told=False)).session
            return session.session_id if session is not None else None
        handle = str(claim.name)
        try:
            return (await service.current_session(handle, owner=facts.owner)).session_id
        except UnknownSessionError:
            for owner in dict.fromkeys((facts.owner, program)):
                if await service.allocations.validate(owner, handle, user_id=user_id):
                    return handle
            return None
    except WorkrootError:  # what is wrong with it hears whoever needs it
        return None
