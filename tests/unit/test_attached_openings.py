"""Whose sessions an attached server uses, and for how long."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp_types import RequestParamsMeta

from workroot import attach
from workroot.attached.attachment import Attachment
from workroot.attached.stores import service_opener
from workroot.clock import SystemClock
from workroot.core.identities import Identities
from workroot.errors import NotStartedError, TooManySessionsError
from workroot.project_finder import ProjectFinder
from workroot.request_context import get_session_id
from workroot.session_context import SessionContextManager
from workroot.session_manager import SessionManager
from workroot.storage.memory import MemoryStore

_NAMESPACE = "00000000-0000-0000-0000-000000000001"


class Noting(SessionContextManager):
    """A manager that notes its life."""

    def __init__(self) -> None:
        identities = Identities()
        super().__init__(MemoryStore(), ProjectFinder(_NAMESPACE, identities=identities), identities=identities)
        self.notes: list[str] = []

    async def start(self) -> None:
        self.notes.append("start")
        await super().start()

    async def stop(self) -> None:
        self.notes.append("stop")
        await super().stop()


async def test_sessions_that_two_servers_share_end_with_the_last_of_them() -> None:
    shared = Noting()
    first, second = Attachment(shared), Attachment(shared)

    assert await first.ready() is await second.ready() is shared
    await first.aclose()
    assert shared.notes == ["start", "start"]  # which is idempotent
    await second.aclose()

    assert shared.notes == ["start", "start", "stop"]


@pytest.mark.row("B4")
async def test_sessions_that_ran_before_the_servers_go_on_after_them() -> None:
    shared = Noting()

    async with shared:
        first, second = Attachment(shared), Attachment(shared)
        await first.ready()
        await second.ready()
        await second.aclose()
        await first.aclose()
        assert shared.is_started
        assert "stop" not in shared.notes

    assert not shared.is_started


async def test_of_sessions_that_cannot_tell_whether_they_run_the_server_ends_none() -> None:
    class Silent(Noting):
        is_started = property()

    shared = Silent()
    async with Attachment(shared):
        pass

    assert shared.notes == ["start"]
    await shared.stop()


async def test_sessions_of_two_sandboxes_never_meet(tmp_path: Path) -> None:
    shared = Noting()
    apps: list[MCPServer[Any]] = [MCPServer("one"), MCPServer("two")]

    async with attach(apps[0], store=shared, sandbox="one"), attach(apps[1], store=shared, sandbox="two"):
        async with Client(apps[0], mode="2026-07-28") as client:
            opened = await client.call_tool("set_working_directory", {"directory": str(tmp_path)})
        assert opened.structured_content is not None
        session = {"session_id": opened.structured_content["session_id"]}
        async with Client(apps[0], mode="2026-07-28") as client:
            there = await client.call_tool("get_working_directory", session)
        async with Client(apps[1], mode="2026-07-28") as client:
            elsewhere = await client.call_tool("get_working_directory", session)

    assert not there.is_error
    assert (elsewhere.meta or {})["workroot/error"]["code"] == "unknown_session"


async def test_nothing_is_open_before_the_first_message() -> None:
    with pytest.raises(NotStartedError):
        _ = Attachment().service


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_what_was_answered_is_there_after_an_event_loop_that_just_ended(kind: str, tmp_path: Path) -> None:
    opener = service_opener(None if kind == "memory" else tmp_path / "sessions.db", SystemClock())

    async def work() -> str | None:
        async with opener() as service:
            await service.set_working_directory("mine", str(tmp_path))
            return await service.get_working_directory("mine")

    async def look() -> str | None:
        async with opener() as service:
            return await service.get_working_directory("mine")

    assert asyncio.run(work()) == asyncio.run(look()) == str(tmp_path)


def test_a_server_whose_event_loop_just_ends_has_lost_nothing(tmp_path: Path) -> None:
    def served() -> MCPServer[Any]:
        app: MCPServer[Any] = MCPServer("test")
        attach(app, store=tmp_path / "sessions.db")
        return app

    async def opened() -> str:
        async with Client(served(), mode="2026-07-28") as client:
            answer = await client.call_tool("set_working_directory", {"directory": str(tmp_path)})
        assert answer.structured_content is not None
        session: str = answer.structured_content["session_id"]
        return session

    async def found(session: str) -> bool:
        async with Client(served(), mode="2026-07-28") as client:
            return not (await client.call_tool("get_working_directory", {"session_id": session})).is_error

    assert asyncio.run(found(asyncio.run(opened())))


async def test_the_file_is_the_one_meant_when_the_server_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    attachment = Attachment("sessions.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    async with attachment:
        assert (tmp_path / "sessions.db").exists()


async def test_a_session_that_the_program_allocated_is_in_force_for_the_call_that_names_it() -> None:
    shared = Noting()
    app: MCPServer[Any] = MCPServer("test")

    async with attach(app, store=shared) as attachment:

        @app.tool()
        async def in_force() -> str:
            return str(get_session_id())

        made = await shared.allocations.allocate(
            attachment.owner, session_id="order-1", user_id=None, seconds=60, values={}
        )
        async with Client(app, mode="2026-07-28") as client:
            named = {"workroot/session": made.session.session_id}
            during = await client.call_tool("in_force", meta=cast("RequestParamsMeta", named))
            await shared.allocations.end(attachment.owner, "order-1", user_id=None, is_deleted=True)
            after = await client.call_tool("in_force", meta=cast("RequestParamsMeta", named))

    assert during.structured_content == {"result": "order-1"}
    assert after.structured_content == {"result": "None"}


async def test_the_users_bounds_hold_for_a_server_of_another_author(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKROOT_MAX_ALLOCATED_SESSIONS", "1")

    async with service_opener(None, SystemClock())() as service:
        manager = SessionManager("shop", sessions=service)
        await manager.allocate_session()
        with pytest.raises(TooManySessionsError):
            await manager.allocate_session()
