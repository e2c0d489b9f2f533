"""An application that keeps its tenants apart: a manager for each."""

from __future__ import annotations

import time

from examples.programs.surroundings import get_tenant_user_permissions
from workroot import SessionManager

tenant_sessions: dict[str, SessionManager] = {}


def get_tenant_session_manager(tenant_id: str) -> SessionManager:
    """Return the manager of a tenant; the first time, make it."""
    if tenant_id not in tenant_sessions:
        tenant_sessions[tenant_id] = SessionManager(
            sandbox_id=f"tenant-{tenant_id}",
            default_ttl_hours=24,
        )
    return tenant_sessions[tenant_id]


async def handle_tenant_user_login(tenant_id: str, user_id: str) -> str:
    """Let a user in at one tenant."""
    of_tenant = get_tenant_session_manager(tenant_id)
    return await of_tenant.allocate_session(
        user_id=user_id,
        custom_metadata={
            "tenant_id": tenant_id,
            "login_time": time.time(),
            "permissions": await get_tenant_user_permissions(tenant_id, user_id),
        },
    )


async def create_tenant_artifact(tenant_id: str, session_id: str, artifact_id: str) -> str:
    """Return where a tenant's artifact is."""
    of_tenant = get_tenant_session_manager(tenant_id)
    return of_tenant.generate_artifact_key(session_id, artifact_id)
