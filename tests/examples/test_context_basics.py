"""The documented example "context basics": who asks, and in which session, without passing it on by hand."""

from __future__ import annotations

import asyncio

import pytest

from workroot.request_context import (
    RequestContext,
    get_metadata,
    get_session_id,
    get_user_id,
    require_session_id,
    require_user_id,
)


async def whoami() -> dict[str, str | None]:
    """A tool that may be called by anybody."""
    return {"user": get_user_id(), "session": get_session_id()}


async def my_notes() -> str:
    """A tool for those who are signed in."""
    return f"notes of {require_user_id()} in {require_session_id()}"


async def test_a_context_is_set_inside_of_its_block_and_gone_after_it() -> None:
    assert await whoami() == {"user": None, "session": None}
    async with RequestContext(user_id="alice", session_id="session-123"):
        assert await whoami() == {"user": "alice", "session": "session-123"}
    assert await whoami() == {"user": None, "session": None}


async def test_an_inner_context_wins_and_the_outer_one_is_restored() -> None:
    async with RequestContext(user_id="alice", session_id="outer"):
        async with RequestContext(session_id="inner"):
            assert await whoami() == {"user": "alice", "session": "inner"}
            async with RequestContext(user_id="bob"):
                assert await whoami() == {"user": "bob", "session": "inner"}
        assert await whoami() == {"user": "alice", "session": "outer"}


async def test_what_needs_a_user_or_a_session_fails_without_one() -> None:
    with pytest.raises(PermissionError):
        await my_notes()
    async with RequestContext(user_id="alice"):
        with pytest.raises(RuntimeError):
            await my_notes()
        async with RequestContext(session_id="session-123"):
            assert await my_notes() == "notes of alice in session-123"


async def handle_request(user: str, session: str, together: asyncio.Barrier) -> dict[str, str | None]:
    async with RequestContext(user_id=user, session_id=session):
        await together.wait()  # all requests are in their contexts now
        return await whoami()


async def test_requests_at_the_same_time_do_not_see_each_other() -> None:
    requests = [("alice", "s1"), ("bob", "s2"), ("alice", "s3")]
    together = asyncio.Barrier(len(requests))
    answers = await asyncio.gather(*(handle_request(user, session, together) for user, session in requests))
    assert answers == [{"user": user, "session": session} for user, session in requests]


async def test_a_context_carries_notes_on_its_request() -> None:
    async with RequestContext(user_id="alice", metadata={"client": "editor", "trace": "t-1"}):
        assert get_metadata() == {"client": "editor", "trace": "t-1"}
    assert get_metadata() == {}


async def test_an_error_passes_and_leaves_no_context_behind() -> None:
    with pytest.raises(LookupError):
        async with RequestContext(user_id="alice"):
            raise LookupError
    assert get_user_id() is None
