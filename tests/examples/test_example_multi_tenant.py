"""The documented example of tenants: a manager for each, and the same user in two of them is two sessions.

All is as documented.
"""

from __future__ import annotations

import pytest

from examples.programs import tenants


@pytest.mark.row("C11")
async def test_the_same_user_in_two_tenants_has_two_sessions_that_never_meet() -> None:
    acme = await tenants.handle_tenant_user_login("acme-corp", "alice")
    globex = await tenants.handle_tenant_user_login("globex", "alice")
    assert acme != globex
    assert sorted(tenants.tenant_sessions) == ["acme-corp", "globex"]

    at_acme = await tenants.create_tenant_artifact("acme-corp", acme, "document456")
    assert at_acme == f"grid/tenant-acme-corp/{acme}/document456"
    at_globex = await tenants.create_tenant_artifact("globex", globex, "document456")
    assert at_globex == f"grid/tenant-globex/{globex}/document456"

    of_globex = tenants.get_tenant_session_manager("globex")
    assert await of_globex.validate_session(acme) is False
    assert await of_globex.get_session_info(acme) is None
    assert await of_globex.update_session_metadata(acme, {"planted": True}) is False
    assert await of_globex.delete_session(acme) is False
    info = await tenants.get_tenant_session_manager("acme-corp").get_session_info(acme)
    assert info is not None
    assert (info["sandbox_id"], info["user_id"]) == ("tenant-acme-corp", "alice")
    assert info["custom_metadata"]["tenant_id"] == "acme-corp"
    assert info["custom_metadata"]["permissions"] == ["acme-corp:read", "acme-corp:write"]
    assert "planted" not in info["custom_metadata"]


async def test_a_tenant_has_one_manager_and_a_second_one_reaches_the_same_sessions() -> None:
    session_id = await tenants.handle_tenant_user_login("acme-corp", "alice")
    first = tenants.get_tenant_session_manager("acme-corp")
    assert tenants.get_tenant_session_manager("acme-corp") is first

    tenants.tenant_sessions.clear()
    second = tenants.get_tenant_session_manager("acme-corp")
    assert second is not first
    assert await second.validate_session(session_id) is True


async def test_the_same_chosen_id_in_two_tenants_is_two_sessions() -> None:
    one, other = tenants.get_tenant_session_manager("one"), tenants.get_tenant_session_manager("other")
    assert await one.allocate_session("main", user_id="alice") == await other.allocate_session("main", user_id="bob")
    await one.delete_session("main")
    info = await other.get_session_info("main")
    assert info is not None
    assert info["user_id"] == "bob"
