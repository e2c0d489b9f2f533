"""A web application: log in, upload in a session, 401 without one."""

from __future__ import annotations

import time
import uuid
from typing import Any

from examples.programs.surroundings import HTTPException, get_user_permissions, request, store_file
from workroot import SessionManager

web_mgr = SessionManager(
    sandbox_id="webapp-prod",
    default_ttl_hours=8,
)


async def handle_login(username: str, password: str) -> str:
    return await web_mgr.allocate_session(
        user_id=username,
        custom_metadata={
            "login_method": "password",
            "ip_address": request.client.host,
            "user_agent": request.headers.get("user-agent"),
            "permissions": await get_user_permissions(username),
            "login_timestamp": time.time(),
        },
    )


async def handle_file_upload(session_id: str, file_data: bytes) -> dict[str, str]:
    if not await web_mgr.validate_session(session_id):
        raise HTTPException(401, "no session of ours")

    new_id = str(uuid.uuid4())
    place = web_mgr.generate_artifact_key(session_id, new_id)

    await store_file(place, file_data)

    known: Any = await web_mgr.get_session_info(session_id)
    uploads = known["custom_metadata"].get("uploads", 0) + 1
    await web_mgr.update_session_metadata(session_id, {"uploads": uploads, "last_upload": time.time()})

    return {"file_id": new_id, "path": place}
