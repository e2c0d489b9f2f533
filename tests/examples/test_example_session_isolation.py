"""The documented example "session isolation": one user, several conversations, nothing shared between them.

Adapted: there is no storage of artifacts yet. What a conversation keeps is listed in its session, under the grid paths
that the example shows, and small documents are kept by a provider under those paths.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from workroot.errors import SessionEndedError, UnknownSessionError
from workroot.providers import get_session
from workroot.request_context import RequestContext, get_session_id, get_user_id, require_session_id
from workroot.session_manager import SessionManager


class Documents:
    """Documents of the conversation that asks."""

    def __init__(self, sessions: SessionManager) -> None:
        self._sessions = sessions

    async def create(self, name: str, content: str) -> str:
        session_id = require_session_id()
        path = self._sessions.generate_artifact_key(session_id, name)
        await self._sessions.append(session_id, "documents", path)
        async with get_session() as values:
            await values.setex(path, 3600, content)
        return path

    async def list(self) -> list[str]:
        info = await self._sessions.get_session_info(require_session_id())
        metadata: dict[str, Any] = info["custom_metadata"] if info is not None else {}
        return list(metadata.get("documents", []))

    async def read(self, path: str) -> str | None:
        return await read(path) if path in await self.list() else None


async def read(path: str) -> str | None:
    async with get_session() as values:
        return await values.get(path)


@pytest.fixture
def sessions() -> SessionManager:
    return SessionManager(sandbox_id="sandbox-0cb4280c")


async def test_a_user_has_other_documents_in_each_session(sessions: SessionManager) -> None:
    documents = Documents(sessions)
    first = await sessions.allocate_session(session_id="session-001", user_id="alice", ttl_hours=24)
    second = await sessions.allocate_session(session_id="session-002", user_id="alice", ttl_hours=24)

    async with RequestContext(user_id="alice", session_id=first):
        path = await documents.create("notes", "Alice's notes of the first conversation")
        assert path == "grid/sandbox-0cb4280c/session-001/notes"
        assert await documents.list() == [path]
    async with RequestContext(user_id="alice", session_id=second):
        assert await documents.list() == []
        other = await documents.create("notes", "Alice's notes of the second conversation")
        assert await documents.list() == [other]
        assert await documents.read(path) is None
        assert await documents.read(other) == "Alice's notes of the second conversation"
    async with RequestContext(user_id="alice", session_id=first):
        assert await documents.read(path) == "Alice's notes of the first conversation"


async def test_conversations_at_the_same_time_stay_apart(sessions: SessionManager) -> None:
    documents = Documents(sessions)
    together = asyncio.Barrier(10)

    async def converse(number: int) -> tuple[str | None, str | None, list[str]]:
        session_id = await sessions.allocate_session(user_id=f"user-{number % 3}")
        async with RequestContext(user_id=f"user-{number % 3}", session_id=session_id):
            await together.wait()
            await documents.create("draft", f"draft {number}")
            return get_user_id(), get_session_id(), [await read(path) or "" for path in await documents.list()]

    answers = await asyncio.gather(*(converse(number) for number in range(10)))
    assert [(user, found) for user, _, found in answers] == [(f"user-{n % 3}", [f"draft {n}"]) for n in range(10)]
    assert len({session_id for _, session_id, _ in answers}) == 10


async def test_a_session_of_another_user_is_unknown(sessions: SessionManager) -> None:
    documents = Documents(sessions)
    session_id = await sessions.allocate_session(user_id="alice")
    async with RequestContext(user_id="bob", session_id=session_id):
        assert await sessions.validate_session(session_id) is False
        with pytest.raises(UnknownSessionError):
            await documents.create("planted", "x")


async def test_a_session_that_has_ended_keeps_nothing(sessions: SessionManager) -> None:
    documents = Documents(sessions)
    session_id = await sessions.allocate_session(user_id="alice")
    async with RequestContext(user_id="alice", session_id=session_id):
        await documents.create("notes", "x")
        assert await sessions.extend_session_ttl(session_id, additional_hours=12) is True
        assert await sessions.delete_session(session_id) is True
        assert await documents.list() == []
        with pytest.raises(SessionEndedError):
            await documents.create("more", "x")
        assert await sessions.validate_session(session_id) is False
