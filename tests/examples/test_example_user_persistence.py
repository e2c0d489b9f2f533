"""The documented example "user persistence": what belongs to a user is there in all the user's sessions, and only so.

Not as documented: the storage of artifacts, which comes later (rows N): a stand-in takes its place, and the server is
the SDK's, attached: its decorator has parentheses. The tools are called as functions.
"""

from __future__ import annotations

import re

import pytest

from examples.programs import artifact_tools
from workroot.request_context import RequestContext, get_session_id, get_user_id


async def test_a_users_document_is_there_in_all_the_users_sessions() -> None:
    sessions, store = artifact_tools.session_manager, artifact_tools.store
    first, second, third = [await sessions.allocate_session(f"alice-sess-{n}", user_id="alice") for n in (1, 2, 3)]

    async with RequestContext(user_id="alice", session_id=first):
        made = await artifact_tools.create_user_project("plan")
        await store.write_namespace(made["id"], data=b"version 1")
        assert re.fullmatch(r"grid/sandbox-37125b4c/user-alice/ns-[0-9a-f]{12}", made["path"])
    async with RequestContext(user_id="alice", session_id=second):
        assert get_session_id() == "alice-sess-2"
        assert [each.name for each in artifact_tools.list_of_user()] == ["plan"]
        assert await store.read_namespace(made["id"]) == b"version 1"
    async with RequestContext(user_id="alice", session_id=third):
        await store.write_namespace(made["id"], data=b"version 2")
    async with RequestContext(user_id="alice", session_id=first):
        assert await store.read_namespace(made["id"]) == b"version 2"
        assert artifact_tools.list_of_session() == [], "it is the user's, not the session's"


async def test_it_outlives_the_session_that_made_it() -> None:
    sessions = artifact_tools.session_manager
    first = await sessions.allocate_session(user_id="alice")
    async with RequestContext(user_id="alice", session_id=first):
        made = await artifact_tools.create_user_project("plan")
        assert await sessions.delete_session(first) is True
    async with RequestContext(user_id="alice", session_id=await sessions.allocate_session(user_id="alice")):
        assert [each.namespace_id for each in artifact_tools.list_of_user()] == [made["id"]]


async def test_users_do_not_see_what_others_keep() -> None:
    paths = set()
    users = ("alice", "bob", "user-alice", "alice/plan", "shared")
    for user in users:
        async with RequestContext(user_id=user):
            assert artifact_tools.list_of_user() == []
            paths.add((await artifact_tools.create_user_project(f"of {user}"))["path"])
    assert len(paths) == len(users)
    for user in users:
        async with RequestContext(user_id=user):
            assert [each.name for each in artifact_tools.list_of_user()] == [f"of {user}"]


async def test_preferences_are_saved_in_one_session_and_loaded_in_another() -> None:
    assert await artifact_tools.user_preferences() == {"theme": "dark", "language": "en"}
    assert get_user_id() is None


async def test_without_a_user_there_is_no_place_for_it() -> None:
    async with RequestContext(session_id="conv-456"):
        with pytest.raises(ValueError, match="needs one"):
            await artifact_tools.create_user_project("plan")
