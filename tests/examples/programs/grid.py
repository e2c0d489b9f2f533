"""Grid paths of a session, and of one user in two programs; documented as statements, here in two functions."""

from __future__ import annotations

from typing import Any

from workroot import SessionManager

session_mgr = SessionManager(sandbox_id="webapp")

app_a_mgr = SessionManager(sandbox_id="app-a")
app_b_mgr = SessionManager(sandbox_id="app-b")
shared_mgr = SessionManager(sandbox_id="shared-services")


async def paths_of_a_session(session_id: str) -> tuple[str, str, Any, str]:
    prefix = session_mgr.get_canonical_prefix(session_id)
    artifact_key = session_mgr.generate_artifact_key(session_id, "plan-1")
    parsed = session_mgr.parse_grid_key(artifact_key)
    pattern = session_mgr.get_session_prefix_pattern()
    return prefix, artifact_key, parsed, pattern


async def one_user_in_two_programs() -> tuple[str, str, str, str]:
    ada_in_a = await app_a_mgr.allocate_session(user_id="ada")
    ada_in_b = await app_b_mgr.allocate_session(user_id="ada")

    key_in_a = app_a_mgr.generate_artifact_key(ada_in_a, "report-1")
    key_in_b = app_b_mgr.generate_artifact_key(ada_in_b, "report-1")
    return ada_in_a, ada_in_b, key_in_a, key_in_b
