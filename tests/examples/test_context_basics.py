"""The documented example "context basics": who asks, and in which session, without passing it on by hand.

All that is documented of it is here; its code is not part of the documents, so the functions' names are ours.
"""

from __future__ import annotations

import asyncio

import pytest

from examples.programs import context_basics
from workroot.request_context import RequestContext, get_session_id, get_user_id


async def test_a_context_is_set_inside_of_its_block_and_gone_after_it() -> None:
    assert await context_basics.basic_access() == [(None, None), ("ada", "session-123"), (None, None)]


async def test_an_inner_context_wins_and_the_outer_one_is_restored() -> None:
    assert await context_basics.nested_contexts() == [
        ("ada", "outer"),
        ("bob", "inner"),
        ("bob", "innermost"),
        ("ada", "outer"),
    ]


async def test_what_needs_a_user_or_a_session_fails_without_one() -> None:
    with pytest.raises(PermissionError):
        await context_basics.my_tool()
    async with RequestContext(user_id="ada"):
        with pytest.raises(RuntimeError):
            await context_basics.my_tool()
        async with RequestContext(session_id="session-123"):
            assert await context_basics.my_tool() == (("ada", "session-123"), ("ada", "session-123"))


async def test_requests_one_after_another_leave_nothing_behind() -> None:
    assert await context_basics.handle_request("ada", "s1") == ("ada", "s1")
    assert await context_basics.handle_request("bob", "s2") == ("bob", "s2")
    assert (get_user_id(), get_session_id()) == (None, None)


async def test_requests_at_the_same_time_do_not_see_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [("ada", "s1"), ("bob", "s2"), ("ada", "s3")]
    together, answer = asyncio.Barrier(len(requests)), context_basics.whoami

    async def whoami() -> context_basics.Seen:
        await together.wait()  # all requests are in their contexts now
        return await answer()

    monkeypatch.setattr(context_basics, "whoami", whoami)
    answers = await asyncio.gather(*(context_basics.handle_request(user, session) for user, session in requests))
    assert answers == requests


async def test_a_context_carries_notes_on_its_request() -> None:
    first = {"client": "an editor"}
    assert await context_basics.metadata_of_a_request() == [first, {**first, "trace": "t-1"}, {}]


async def test_an_error_passes_and_leaves_no_context_behind() -> None:
    with pytest.raises(LookupError):
        async with RequestContext(user_id="ada"):
            raise LookupError
    assert get_user_id() is None
