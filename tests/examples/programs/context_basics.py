"""Who asks, and in which session, without passing it on by hand."""

from __future__ import annotations

from workroot.request_context import (
    RequestContext,
    get_metadata,
    get_session_id,
    get_user_id,
    require_session_id,
    require_user_id,
    update_metadata,
)

Seen = tuple[str | None, str | None]


async def my_tool() -> tuple[Seen, tuple[str, str]]:
    """Return what may be there, and what has to be there."""
    user = get_user_id()
    required_user = require_user_id()
    session = get_session_id()
    required_session = require_session_id()
    return (user, session), (required_user, required_session)


async def whoami() -> Seen:
    """May be called by anybody."""
    return get_user_id(), get_session_id()


async def basic_access() -> list[Seen]:
    seen = [await whoami()]
    async with RequestContext(user_id="ada", session_id="session-123"):
        seen.append(await whoami())
    seen.append(await whoami())
    return seen


async def nested_contexts() -> list[Seen]:
    seen = []
    async with RequestContext(user_id="ada", session_id="outer"):
        seen.append(await whoami())
        async with RequestContext(user_id="bob", session_id="inner"):
            seen.append(await whoami())
            async with RequestContext(session_id="innermost"):
                seen.append(await whoami())
        seen.append(await whoami())
    return seen


async def handle_request(user_id: str, session_id: str) -> Seen:
    """Serve a request as a server does: the context is there for as long as that takes."""
    async with RequestContext(user_id=user_id, session_id=session_id):
        return await whoami()


async def metadata_of_a_request() -> list[dict[str, object]]:
    seen = []
    async with RequestContext(user_id="ada", session_id="session-123", metadata={"client": "an editor"}):
        seen.append(get_metadata())
        update_metadata("trace", "t-1")
        seen.append(get_metadata())
    seen.append(get_metadata())
    return seen
