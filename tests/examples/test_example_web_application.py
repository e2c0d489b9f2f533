"""The documented examples of a web application: log in, upload, 401 without a valid session; the life of a session."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import pytest

from workroot.errors import TimeToLiveError
from workroot.session_manager import SessionManager


class HTTPError(Exception):
    """Stands for the exception of a web framework."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        super().__init__(detail)


stored: dict[str, bytes] = {}
"""Stands for the storage of files, which workroot does not have yet."""


async def handle_login(manager: SessionManager, username: str) -> str:
    return await manager.allocate_session(
        user_id=username,
        custom_metadata={
            "login_method": "password",
            "ip_address": "192.168.1.100",
            "permissions": ["read", "write"],
            "login_timestamp": time.time(),
        },
    )


async def handle_file_upload(manager: SessionManager, session_id: str, file_data: bytes) -> dict[str, str]:
    if not await manager.validate_session(session_id):
        raise HTTPError(401, "Invalid session")
    file_id = str(uuid.uuid4())
    path = manager.generate_artifact_key(session_id, file_id)
    stored[path] = file_data
    info = await manager.get_session_info(session_id)
    assert info is not None
    metadata: dict[str, Any] = info["custom_metadata"]
    await manager.update_session_metadata(
        session_id, {"uploads": metadata.get("uploads", 0) + 1, "last_upload": time.time()}
    )
    return {"file_id": file_id, "path": path}


@pytest.fixture
def manager() -> SessionManager:
    stored.clear()
    return SessionManager(sandbox_id="webapp-prod", default_ttl_hours=8)


async def test_an_upload_in_a_valid_session_is_stored_and_counted(manager: SessionManager) -> None:
    session_id = await handle_login(manager, "alice")
    answers = [await handle_file_upload(manager, session_id, b"data") for _ in range(2)]
    assert sorted(stored) == sorted(answer["path"] for answer in answers)
    info = await manager.get_session_info(session_id)
    assert info is not None
    assert info["custom_metadata"]["uploads"] == 2
    assert info["custom_metadata"]["login_method"] == "password", "what was there before is kept"


@pytest.mark.row("C13")
async def test_an_invalid_session_gets_401_and_stores_nothing(manager: SessionManager) -> None:
    session_id = await handle_login(manager, "alice")
    await manager.delete_session(session_id)
    for bad in (session_id, "sess-alice-1234567890-abcd1234", "", "../../etc", "x" * 5000):
        with pytest.raises(HTTPError, match="Invalid session") as caught:
            await handle_file_upload(manager, bad, b"data")
        assert caught.value.status == 401
    assert stored == {}


async def test_the_life_of_a_session_is_as_documented(manager: SessionManager) -> None:
    session_id = await manager.allocate_session(
        user_id="alice", ttl_hours=8, custom_metadata={"login_method": "oauth", "permissions": ["read", "write"]}
    )
    assert await manager.validate_session(session_id)
    info = await manager.get_session_info(session_id)
    assert info is not None
    assert (info["user_id"], info["status"]) == ("alice", "active")
    assert info["created_at"].endswith("Z")
    assert info["custom_metadata"] == {"login_method": "oauth", "permissions": ["read", "write"]}

    assert await manager.update_session_metadata(session_id, {"last_activity": time.time(), "files_uploaded": 5})
    assert await manager.extend_session_ttl(session_id, additional_hours=4)
    after = await manager.get_session_info(session_id)
    assert after is not None
    assert after["custom_metadata"]["files_uploaded"] == 5
    assert after["custom_metadata"]["login_method"] == "oauth"
    assert after["expires_at"] > info["expires_at"]

    assert await manager.delete_session(session_id)
    assert await manager.validate_session(session_id) is False
    assert await manager.get_session_info(session_id) is None


async def test_sessions_live_as_long_as_their_use_needs(manager: SessionManager) -> None:
    ids = [await manager.allocate_session(user_id=user, ttl_hours=hours) for user, hours in
           (("alice", 8), ("service", 1), ("reset", 0.25))]  # fmt: skip
    assert all([await manager.validate_session(each) for each in ids])
    with pytest.raises(TimeToLiveError):
        await manager.allocate_session(user_id="reset", ttl_hours=0)


def test_the_quick_start_runs_as_a_program_of_its_own() -> None:
    async def session_management() -> str:
        manager = SessionManager(sandbox_id="my-app", default_ttl_hours=24)
        session_id = await manager.allocate_session(
            user_id="alice",
            custom_metadata={
                "role": "admin", "department": "engineering", "permissions": ["read", "write", "admin"],
            },
        )  # fmt: skip
        artifact_key = manager.generate_artifact_key(session_id, "document123")
        assert artifact_key == f"grid/my-app/{session_id}/document123"
        assert await manager.validate_session(session_id)
        assert await manager.update_session_metadata(session_id, {"last_activity": "2024-01-01T12:00:00Z"})
        return session_id

    assert asyncio.run(session_management()) != asyncio.run(session_management())
