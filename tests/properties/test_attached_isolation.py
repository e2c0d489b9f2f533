"""Whatever several clients of one attached server do at once: each is answered for where it works itself.

Clients of both eras call at the same time; some pass a session on, some have their connection's default session, some
say by `_meta` where they work. Each knows what it did last, and no call of another changes that.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, cast

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import Client
from mcp.server import MCPServer
from mcp.server.mcpserver.resolve import Resolve
from mcp_types import CallToolResult, RequestParamsMeta, TextContent

from workroot import CurrentProject, attach
from workroot.request_context import get_session_id

_DEADLINE = 20.0
_PLACES = 4
_PAUSE = 20  # steps of the event loop
_KINDS = ("default", "handle", "handle in the modern era", "meta", "meta in the modern era")

Steps = list[tuple[str, int]]


class Caller:
    """One client, what it did last, and what it was told wrongly."""

    def __init__(self, client: Client, kind: str, places: list[Path], wrong: list[str]) -> None:
        self._client, self._kind, self._places, self._wrong = client, kind, places, wrong
        self._at: Path | None = None
        self._session: str | None = None

    async def work(self, steps: Steps) -> None:
        for action, place in steps:
            if action == "move" or self._at is None:
                await self._move(self._places[place])
            elif action == "ask about":
                asked = {"directory": str(self._places[place]), **self._arguments()}
                self._check(await self._call(asked), self._places[place])
            else:
                self._check(await self._call(self._arguments()), self._at)

    async def _move(self, place: Path) -> None:
        self._at = place
        if not self._kind.startswith("meta"):
            given = {"directory": str(place), **self._arguments()}
            result = await self._client.call_tool("set_working_directory", given)
            assert result.structured_content is not None
            self._session = result.structured_content["session_id"]

    def _arguments(self) -> dict[str, Any]:
        passes = self._kind.startswith("handle") and self._session is not None
        return {"session_id": self._session} if passes else {}

    async def _call(self, arguments: dict[str, Any]) -> CallToolResult:
        names = {"workroot/directory": str(self._at)} if self._kind.startswith("meta") else {}
        return await self._client.call_tool("where", arguments, meta=cast("RequestParamsMeta", names))

    def _check(self, result: CallToolResult, place: Path) -> None:
        [content] = result.content
        assert isinstance(content, TextContent)
        session = None if self._kind.startswith("meta") else self._session
        if content.text != f"{place} {session}":
            self._wrong.append(f"{self._kind} at {place} in {session}: {content.text}")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    top = tmp_path_factory.mktemp("places")
    for number in range(_PLACES):
        (top / f"p{number}" / ".git" / "objects").mkdir(parents=True)
        (top / f"p{number}" / ".git" / "refs").mkdir()
        (top / f"p{number}" / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    return [top / f"p{number}" for number in range(_PLACES)]


async def pause() -> int:
    """Let the calls of others go on, before and after the project of this one is filled in."""
    for _ in range(_PAUSE):
        await anyio.lowlevel.checkpoint()
    return _PAUSE


_STEP = st.tuples(st.sampled_from(["move", "ask", "ask", "ask about"]), st.integers(0, _PLACES - 1))


@pytest.mark.row("S15", "B9")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts=st.lists(st.lists(_STEP, min_size=1, max_size=6), min_size=len(_KINDS), max_size=len(_KINDS)))
def test_no_client_is_ever_answered_for_another(scripts: list[Steps], places: list[Path]) -> None:
    async def run() -> list[str]:
        app: MCPServer[Any] = MCPServer("test", log_level="ERROR")
        wrong: list[str] = []

        async with attach(app):

            @app.tool()
            async def where(paused: Annotated[int, Resolve(pause)], project: CurrentProject) -> str:
                await pause()
                return f"{project.root} {get_session_id()}"

            async with AsyncExitStack() as stack:
                modes = ["2026-07-28" if kind.endswith("era") else "legacy" for kind in _KINDS]
                clients = [await stack.enter_async_context(Client(app, mode=mode)) for mode in modes]
                async with anyio.create_task_group() as tasks:
                    for client, kind, steps in zip(clients, _KINDS, scripts, strict=True):
                        tasks.start_soon(Caller(client, kind, places, wrong).work, steps)
        return wrong

    assert asyncio.run(asyncio.wait_for(run(), _DEADLINE)) == []
