"""A manager, the shortest program: runs when it is executed, as documented."""

from __future__ import annotations

import asyncio

from workroot import SessionManager


async def session_management() -> None:
    session_mgr = SessionManager(sandbox_id="my-app", default_ttl_hours=24)

    session_id = await session_mgr.allocate_session(
        user_id="ada",
        custom_metadata={"role": "owner", "team": "compilers", "permissions": ["read", "write", "admin"]},
    )

    artifact_key = session_mgr.generate_artifact_key(session_id, "plan-1")
    print(f"session: {session_id}")
    print(f"key: {artifact_key}")

    is_valid = await session_mgr.validate_session(session_id)
    print(f"valid: {is_valid}")
    is_changed = await session_mgr.update_session_metadata(session_id, {"last_activity": "2026-01-01T12:00:00Z"})
    print(f"changed: {is_changed}")


asyncio.run(session_management())
