"""The documented examples of tenants: a manager for each, and the same user in two of them is two sessions."""

from __future__ import annotations

import time
from typing import Any

import pytest

from workroot.session_manager import SessionManager

tenant_sessions: dict[str, SessionManager] = {}


@pytest.fixture(autouse=True)
def _no_tenants() -> None:
    tenant_sessions.clear()


def get_tenant_session_manager(tenant_id: str) -> SessionManager:
    if tenant_id not in tenant_sessions:
        tenant_sessions[tenant_id] = SessionManager(sandbox_id=f"tenant-{tenant_id}", default_ttl_hours=24)
    return tenant_sessions[tenant_id]


async def handle_tenant_user_login(tenant_id: str, user_id: str) -> str:
    manager = get_tenant_session_manager(tenant_id)
    return await manager.allocate_session(
        user_id=user_id,
        custom_metadata={"tenant_id": tenant_id, "login_time": time.time(), "permissions": ["read", "write"]},
    )


async def create_tenant_artifact(tenant_id: str, session_id: str, artifact_id: str) -> str:
    return get_tenant_session_manager(tenant_id).generate_artifact_key(session_id, artifact_id)


async def test_the_same_user_in_two_tenants_has_two_sessions_that_never_meet() -> None:
    acme = await handle_tenant_user_login("acme-corp", "alice")
    globex = await handle_tenant_user_login("globex", "alice")
    assert acme != globex

    assert await create_tenant_artifact("acme-corp", acme, "document456") == f"grid/tenant-acme-corp/{acme}/document456"
    assert await create_tenant_artifact("globex", globex, "document456") == f"grid/tenant-globex/{globex}/document456"

    at_globex = get_tenant_session_manager("globex")
    assert await at_globex.validate_session(acme) is False
    assert await at_globex.get_session_info(acme) is None
    assert await at_globex.delete_session(acme) is False
    info = await get_tenant_session_manager("acme-corp").get_session_info(acme)
    assert info is not None
    metadata: dict[str, Any] = info["custom_metadata"]
    assert (info["sandbox_id"], info["user_id"], metadata["tenant_id"]) == ("tenant-acme-corp", "alice", "acme-corp")


async def test_the_same_chosen_id_in_two_tenants_is_two_sessions() -> None:
    one, other = get_tenant_session_manager("one"), get_tenant_session_manager("other")
    assert await one.allocate_session("main", user_id="alice") == await other.allocate_session("main", user_id="bob")
    await one.delete_session("main")
    info = await other.get_session_info("main")
    assert info is not None
    assert info["user_id"] == "bob"


async def test_a_managers_sandbox_does_not_become_the_next_ones() -> None:
    assert SessionManager(sandbox_id="shared-services").sandbox_id == "shared-services"
    assert SessionManager().sandbox_id != "shared-services"


async def test_the_grid_operations_of_a_manager_are_as_documented() -> None:
    manager = SessionManager(sandbox_id="webapp")
    session_id = await manager.allocate_session(user_id="alice")

    assert manager.get_canonical_prefix(session_id) == f"grid/webapp/{session_id}/"
    key = manager.generate_artifact_key(session_id, "document123")
    assert key == f"grid/webapp/{session_id}/document123"
    parsed = manager.parse_grid_key(key)
    assert parsed is not None
    assert (parsed["sandbox_id"], parsed["session_id"], parsed["artifact_id"]) == ("webapp", session_id, "document123")
    assert manager.get_session_prefix_pattern() == "grid/webapp/"
