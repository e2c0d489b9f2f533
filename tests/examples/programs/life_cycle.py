"""The life of one session from its allocation to its end; documented as statements, here in one function."""

from __future__ import annotations

import time
from typing import Any

from workroot import SessionManager

session_mgr = SessionManager(sandbox_id="webapp")


async def live_through_it() -> list[Any]:
    """Return what each step answered."""
    session_id = await session_mgr.allocate_session(
        user_id="ada",
        ttl_hours=8,
        custom_metadata={"login_method": "oauth", "ip_address": "192.0.2.7", "permissions": ["read", "write"]},
    )
    answers: list[Any] = [session_id]

    answers.append(await session_mgr.validate_session(session_id))

    session_info: Any = await session_mgr.get_session_info(session_id)
    answers.append((session_info["user_id"], session_info["created_at"], session_info["custom_metadata"]))

    answers.append(
        await session_mgr.update_session_metadata(session_id, {"last_activity": time.time(), "files_uploaded": 5})
    )
    answers.append(await session_mgr.get_session_info(session_id))

    answers.append(await session_mgr.extend_session_ttl(session_id, additional_hours=4))
    answers.append(await session_mgr.get_session_info(session_id))

    answers.append(await session_mgr.delete_session(session_id))
    return answers
