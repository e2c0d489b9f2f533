"""What a client hears when the author's own kind of rate limit refuses a request with an error of workroot's."""

from __future__ import annotations

import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp.shared.exceptions import MCPError

from workroot import attach
from workroot.errors import WorkrootError


class TooManyNotesError(WorkrootError):
    code = "too_many_notes"


class Switched:
    """Refuses everybody once it is on."""

    is_on = False

    def check(self, principal: str) -> None:
        if self.is_on:
            raise TooManyNotesError("that is too many notes for today")


def note() -> str:
    raise AssertionError("it must not be called")


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_an_error_of_ours_from_a_rate_limit_is_told_as_it_is(mode: str) -> None:
    app, limit = MCPServer("notes"), Switched()
    attach(app, rate_limit=limit)
    app.add_tool(note)

    async with Client(app, mode=mode) as client:
        limit.is_on = True
        [content] = (called := await client.call_tool("note")).content
        with pytest.raises(MCPError, match="that is too many notes for today") as listed:
            await client.list_resources()

    assert called.is_error
    assert str(getattr(content, "text", "")).startswith("that is too many notes for today")
    assert (called.meta or {})["workroot/error"]["code"] == "too_many_notes"
    assert listed.value.error.data == {"code": "too_many_notes"}
