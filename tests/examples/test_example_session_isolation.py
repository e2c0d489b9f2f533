"""The documented example "session isolation": one user, several conversations, nothing shared between them.

Not as documented: the storage of artifacts, which comes later (rows N): a stand-in takes its place. A session is
allocated before it is used, and the server is the SDK's, attached: its decorator has parentheses.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, cast

import pytest
from mcp.client import Client
from mcp_types import RequestParamsMeta

from examples.programs import artifact_tools
from workroot.errors import SessionEndedError, UnknownSessionError
from workroot.request_context import RequestContext, get_session_id, get_user_id, require_session_id


async def test_a_user_has_other_documents_in_each_session() -> None:
    sessions, store = artifact_tools.session_manager, artifact_tools.store
    first = await sessions.allocate_session(session_id="session-001", user_id="alice", ttl_hours=24)
    second = await sessions.allocate_session(session_id="session-002", user_id="alice", ttl_hours=24)

    async with RequestContext(user_id="alice", session_id=first):
        one = await artifact_tools.create_temp_document("first conversation")
        assert re.fullmatch(r"grid/sandbox-37125b4c/session-001/ns-[0-9a-f]{12}", one["path"])
        assert [each.namespace_id for each in artifact_tools.list_of_session()] == [one["id"]]
    async with RequestContext(user_id="alice", session_id=second):
        assert artifact_tools.list_of_session() == []
        other = await artifact_tools.create_temp_document("second conversation")
        assert [each.namespace_id for each in artifact_tools.list_of_session()] == [other["id"]]
        assert await store.read_namespace(other["id"]) == b"second conversation"
    async with RequestContext(user_id="alice", session_id=first):
        assert [each.namespace_id for each in artifact_tools.list_of_session()] == [one["id"]]
        assert artifact_tools.list_of_user() == []


async def test_a_client_that_names_its_session_gets_a_document_of_that_session() -> None:
    ids = [await artifact_tools.session_manager.allocate_session(f"session-00{n}", user_id=None) for n in (1, 2)]
    made: list[dict[str, Any]] = []
    async with artifact_tools.attachment, Client(artifact_tools.server) as client:
        for session_id in ids:
            named = cast("RequestParamsMeta", {"workroot/session": session_id})
            answer = await client.call_tool("create_temp_document", {"content": session_id}, meta=named)
            assert answer.structured_content is not None, answer
            made.append(answer.structured_content)
        of_none = await client.call_tool("create_temp_document", {"content": "of no session"})

    assert of_none.is_error
    for session_id, answered in zip(ids, made, strict=True):
        assert answered["path"] == f"grid/sandbox-37125b4c/{session_id}/{answered['id']}"
        [kept] = artifact_tools.store.list_namespaces(session_id=session_id)
        assert kept.namespace_id == answered["id"]
        assert await artifact_tools.store.read_namespace(kept.namespace_id) == session_id.encode()


async def test_data_of_a_conversation_is_kept_under_the_paths_of_its_session() -> None:
    await artifact_tools.session_manager.allocate_session("conv-123", user_id="ada")
    made = await artifact_tools.temporary_conversation_data()
    assert made.grid_path.startswith(artifact_tools.session_manager.get_canonical_prefix("conv-123"))


async def test_conversations_at_the_same_time_stay_apart() -> None:
    sessions, store = artifact_tools.session_manager, artifact_tools.store
    together = asyncio.Barrier(10)

    async def converse(number: int) -> tuple[str | None, str | None, list[bytes]]:
        session_id = await sessions.allocate_session(user_id=f"user-{number % 3}")
        async with RequestContext(user_id=f"user-{number % 3}", session_id=session_id):
            await together.wait()
            await artifact_tools.create_temp_document(f"draft {number}")
            await together.wait()
            found = [await store.read_namespace(each.namespace_id) for each in artifact_tools.list_of_session()]
            return get_user_id(), get_session_id(), found

    answers = await asyncio.gather(*(converse(number) for number in range(10)))
    assert [(user, found) for user, _, found in answers] == [(f"user-{n % 3}", [b"draft %d" % n]) for n in range(10)]
    assert len({session_id for _, session_id, _ in answers}) == 10


async def test_conversations_at_the_same_time_each_remember_their_own_workspace() -> None:
    sessions = artifact_tools.session_manager
    together = asyncio.Barrier(10)

    async def converse(number: int) -> object:
        async with RequestContext(user_id="alice", session_id=await sessions.allocate_session(user_id="alice")):
            await together.wait()
            await sessions.append(require_session_id(), "files", f"draft {number}")
            info = await sessions.get_session_info(require_session_id())
            return info["custom_metadata"]["files"] if info is not None else None

    assert await asyncio.gather(*(converse(n) for n in range(10))) == [[f"draft {n}"] for n in range(10)]


async def test_a_session_of_another_user_is_unknown() -> None:
    sessions = artifact_tools.session_manager
    session_id = await sessions.allocate_session(user_id="alice")
    async with RequestContext(user_id="bob", session_id=session_id):
        assert await sessions.validate_session(session_id) is False
        with pytest.raises(ValueError, match="one that is active"):
            await artifact_tools.create_temp_document("planted")
        with pytest.raises(UnknownSessionError):
            await sessions.append(session_id, "files", "planted")


async def test_a_session_that_has_ended_takes_nothing_more() -> None:
    sessions = artifact_tools.session_manager
    session_id = await sessions.allocate_session(user_id="alice")
    async with RequestContext(user_id="alice", session_id=session_id):
        await artifact_tools.create_temp_document("x")
        assert await sessions.extend_session_ttl(session_id, additional_hours=12) is True
        assert await sessions.delete_session(session_id) is True
        with pytest.raises(ValueError, match="one that is active"):
            await artifact_tools.create_temp_document("more")
        with pytest.raises(SessionEndedError):
            await sessions.append(session_id, "files", "more")
        assert await sessions.validate_session(session_id) is False
