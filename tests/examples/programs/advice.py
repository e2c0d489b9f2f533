"""The documented advice on times to live, metadata, many paths, one manager for a program, and errors.

Documented as statements about names that are made elsewhere; here in functions.
"""

from __future__ import annotations

import logging
import time

from examples.programs.surroundings import HTTPException, perform_operation
from workroot import SessionManager
from workroot.allocating.session_info import SessionInfo
from workroot.providers import ProviderFactory, factory_for_env

logger = logging.getLogger(__name__)

mgr = SessionManager(sandbox_id="my-app")

production_mgr = SessionManager(sandbox_id="webapp-prod")
staging_mgr = SessionManager(sandbox_id="webapp-staging")


async def many_paths_and_one_update() -> tuple[str, list[str]]:
    session_id = await mgr.allocate_session(user_id="ada")

    paths = [mgr.generate_artifact_key(session_id, f"artifact_{i}") for i in range(1000)]

    await mgr.update_session_metadata(
        session_id, {"file_count": 100, "total_bytes": 1024000, "last_activity": time.time()}
    )
    return session_id, paths


async def times_to_live() -> dict[float, str]:
    """Return a session for each time to live, in hours."""
    short_lived = await mgr.allocate_session(ttl_hours=1)
    medium_lived = await mgr.allocate_session(ttl_hours=8)
    long_lived = await mgr.allocate_session(ttl_hours=24)
    auth_session = await mgr.allocate_session(user_id="ada", ttl_hours=8)
    temp_code = await mgr.allocate_session(user_id="reset", ttl_hours=0.25)
    assert medium_lived != auth_session
    return {1: short_lived, 8: medium_lived, 24: long_lived, 0.25: temp_code}


def high_level_or_low_level(need_session_management: bool) -> SessionManager | ProviderFactory:
    if need_session_management:
        return SessionManager(sandbox_id="app")
    return factory_for_env()


async def login_with_security_metadata() -> str:
    return await mgr.allocate_session(
        user_id="ada",
        custom_metadata={
            "ip_address": "192.0.2.7",
            "user_agent": "a browser",
            "login_method": "oauth",
            "security_level": "high",
        },
    )


class Application:
    """Has one manager for as long as it runs."""

    def __init__(self) -> None:
        self.session_mgr = SessionManager(sandbox_id="myapp")

    async def handle_request(self, user_id: str) -> str:
        return await self.session_mgr.allocate_session(user_id=user_id)


async def robust_session_operation() -> SessionInfo | None:
    try:
        session_id = await mgr.allocate_session(user_id="ada")
        return await mgr.get_session_info(session_id)
    except Exception as e:
        logger.error("no session: %s", e)
        return None


async def protected_operation(session_id: str) -> str:
    if not await mgr.validate_session(session_id):
        raise HTTPException(401, "no session of ours, or not any more")

    return await perform_operation()
