"""The documented example "user persistence": what belongs to a user is there in all the user's sessions, and only so.

Adapted: there is no storage of artifacts yet, which would keep it for good. Here a provider keeps it, for a year, under
the user's grid path that the example shows.
"""

from __future__ import annotations

import json

import pytest

from workroot.grid_paths import GridPath
from workroot.providers import get_session
from workroot.request_context import RequestContext, get_session_id, require_user_id
from workroot.session_manager import SessionManager

SANDBOX = "sandbox-37125b4c"
YEAR = 365 * 24 * 3600


def path_of(name: str) -> str:
    return GridPath(sandbox_id=SANDBOX, user_id=require_user_id(), artifact_id=name).key


async def save(name: str, content: str) -> str:
    async with get_session() as values:
        await values.setex(path := path_of(name), YEAR, content)
    return path


async def load(name: str) -> str | None:
    async with get_session() as values:
        return await values.get(path_of(name))


@pytest.fixture
def sessions() -> SessionManager:
    return SessionManager(sandbox_id=SANDBOX)


async def test_a_users_document_is_there_in_all_the_users_sessions(sessions: SessionManager) -> None:
    first, second, third = [await sessions.allocate_session(f"alice-sess-{n}", user_id="alice") for n in (1, 2, 3)]

    async with RequestContext(user_id="alice", session_id=first):
        path = await save("document", "Alice's persistent data v1")
        assert path == "grid/sandbox-37125b4c/user-alice/document"
    async with RequestContext(user_id="alice", session_id=second):
        assert get_session_id() == "alice-sess-2"
        assert await load("document") == "Alice's persistent data v1"
    async with RequestContext(user_id="alice", session_id=third):
        await save("document", "Alice's persistent data v2")
    async with RequestContext(user_id="alice", session_id=first):
        assert await load("document") == "Alice's persistent data v2"


async def test_it_outlives_the_session_that_made_it(sessions: SessionManager) -> None:
    first = await sessions.allocate_session(user_id="alice")
    async with RequestContext(user_id="alice", session_id=first):
        await save("project", "plan")
        await sessions.delete_session(first)
    second = await sessions.allocate_session(user_id="alice")
    async with RequestContext(user_id="alice", session_id=second):
        assert await load("project") == "plan"


async def test_users_do_not_see_what_others_keep(sessions: SessionManager) -> None:
    for user in ("alice", "bob", "user-alice", "alice/document", "shared"):
        async with RequestContext(user_id=user, session_id=await sessions.allocate_session(user_id=user)):
            assert await load("document") is None
            await save("document", f"of {user}")
            assert await load("document") == f"of {user}"
    async with RequestContext(user_id="alice"):
        assert await load("document") == "of alice"


async def test_preferences_are_saved_in_one_session_and_loaded_in_another() -> None:
    async with RequestContext(user_id="alice", session_id="conv-456"):
        await save("preferences", json.dumps({"theme": "dark", "language": "en"}))
        async with RequestContext(user_id="alice", session_id="conv-789"):
            assert json.loads(await load("preferences") or "{}") == {"theme": "dark", "language": "en"}


async def test_without_a_user_there_is_no_place_for_it() -> None:
    async with RequestContext(session_id="conv-456"):
        with pytest.raises(PermissionError):
            await save("document", "x")
