"""What a project asks for is named and withheld in every answer, until its user allows that very content."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from real_daemon import ERAS, Home, answer_of

from workroot.project_finder import ProjectFinder
from workroot.trust import TrustStore, subject_of

CONFIG = """\
version = "1.0"
instructions = "Use tabs."

[project]
name = "Shop"

[commands]
check = "make check"

[servers.db]
command = "db-server"
"""


async def project_at(client: Client, answer: dict[str, Any]) -> dict[str, Any]:
    """Return what the project's resource says of its only root."""
    uri = f"workroot://projects/{answer['project_info']['id']}"
    [content] = (await client.read_resource(uri)).contents
    assert isinstance(content, types.TextResourceContents)
    [root] = json.loads(content.text)["roots"]
    assert isinstance(root, dict)
    return root


def allow(home: Home, shop: Path) -> None:
    """Say yes, as `workroot trust` does on a terminal."""
    subject = subject_of(ProjectFinder(str(uuid.uuid4())).find_now(str(shop)))
    assert subject is not None
    TrustStore(home.state / "trust.json").allow(subject)


@pytest.mark.parametrize("era", ERAS)
async def test_what_a_project_asks_for_is_withheld_until_that_very_content_is_allowed(shared: Home, era: str) -> None:
    shop = shared.with_config(f"asking-{era}", CONFIG)

    async with shared.open_client(era, shop) as client:
        before = await answer_of(client, "get_working_directory")
        withheld = await project_at(client, before)
        allow(shared, shop)
        allowed = await answer_of(client, "get_working_directory")
        shown = await project_at(client, allowed)
        (shop / ".workroot" / "config.toml").write_text(CONFIG.replace("tabs", "tab"))
        [again] = (await answer_of(client, "set_working_directory", directory=str(shop)))["warnings"][:1]

    [warning] = before["warnings"]
    assert "instructions" in warning
    assert "check" in warning
    assert "db" in warning
    assert f"`workroot trust {shop}`" in warning
    assert (withheld["instructions"], withheld["commands"], withheld["servers"]) == (None, {}, [])
    assert withheld["withheld"] == warning
    assert allowed["warnings"] == []
    assert (shown["instructions"], shown["commands"]) == ("Use tabs.", {"check": "make check"})
    assert shown["servers"] == ["db"]
    assert "withheld" in again


@pytest.mark.parametrize("era", ERAS)
async def test_a_project_can_neither_grant_nor_widen_anything(shared: Home, era: str) -> None:
    granting = 'trust = true\ntrusted_directories = ["/"]\nmodel_may_move = "anywhere"\n' + CONFIG
    shop = shared.with_config(f"granting-{era}", granting)

    async with shared.open_client(era, shop) as client:
        answer = await answer_of(client, "get_working_directory")

    assert any("withheld until the user allows it" in warning for warning in answer["warnings"])
    for field in ("trust", "trusted_directories", "model_may_move"):
        assert any(warning.startswith(field) and "no effect" in warning for warning in answer["warnings"]), field


@pytest.mark.parametrize("era", ERAS)
async def test_no_tool_grants(shared: Home, era: str) -> None:
    async with shared.open_client(era) as client:
        tools = (await client.list_tools()).tools

    assert [tool.name for tool in tools] == [
        "get_working_directory",
        "set_working_directory",
        "list_projects",
        "close_session",
    ]
