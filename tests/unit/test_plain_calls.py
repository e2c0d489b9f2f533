from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp.server.connection import Connection
from mcp.server.runner import ServerRunner
from mcp.shared.transport_context import TransportContext
from mcp_types import INTERNAL_ERROR
from starlette.requests import Request

from fakes import FakePlaces, ManualClock, place
from workroot.core.sessions import Owner
from workroot.core.signs import Hint, Source
from workroot.decisions import DecisionLog
from workroot.mcp_face import McpFace
from workroot.mcp_face.plain_calls import PlainCalls
from workroot.peer import PEER_KEY, Peer
from workroot.session_context import SessionContextManager
from workroot.storage.memory import MemoryStore
from workroot.transports.plain_call import PlainCall
from workroot.trust import TrustStore

MODERN, HANDSHAKE, OLD = "2026-07-28", "2025-11-25", "2024-11-05"
INFO = {"name": "ada", "version": "1"}
TRANSPORT = TransportContext(kind="streamable-http", can_send_request=False)


class World:
    """The MCP server, and a client of one version of the protocol."""

    def __init__(self, version: str, top: Path, *, is_plain: bool) -> None:
        places = FakePlaces({"/a": place("/a", project="a"), "/b": place("/b")})
        clock = ManualClock()
        sessions = SessionContextManager(MemoryStore(), places, clock=clock)
        self.version = version
        self.face = McpFace(sessions, DecisionLog(), TrustStore(top / "trust.json"), clock)
        if not is_plain:
            self.face.middleware[:] = [each for each in self.face.middleware if not isinstance(each, PlainCalls)]

    async def answer(self, params: dict[str, Any], *, capabilities: Any = None) -> tuple[dict[str, Any], int | None]:
        """Call with these parameters, and return the response and the code of the error that it is."""
        given = {} if capabilities is None else capabilities
        if self.version == MODERN:
            envelope = {"protocolVersion": MODERN, "clientCapabilities": given, "clientInfo": INFO}
            meta = {f"io.modelcontextprotocol/{name}": value for name, value in envelope.items()}
            params = {**params, "_meta": {**meta, **params.get("_meta", {})}}
        peer = Peer(owner=Owner("uid:1"), hints=(Hint(Source.HEADER, "Workroot-Directory", "/a"),))
        request = Request({"type": "http", "method": "POST", "headers": [], PEER_KEY: peer})
        call = PlainCall({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, request, TRANSPORT)
        runner = ServerRunner(self.face, Connection.from_envelope(self.version, INFO, given), None)
        return await call.answered_by(runner, unforeseen=INTERNAL_ERROR)


def call(tool: object, **arguments: object) -> dict[str, Any]:
    return {"name": tool, "arguments": arguments}


CALLS = {
    "an answer": call("get_working_directory"),
    "another directory": call("get_working_directory", directory="/b"),
    "no arguments": {"name": "get_working_directory"},
    "a list": call("list_projects"),
    "null": call("get_working_directory", session_id=None),
    "an unknown argument": call("get_working_directory", dir="/a"),
    "a directory that is none": call("get_working_directory", directory="/nowhere"),
    "an unknown handle": call("close_session", session_id="wr_unknown"),
    "progress is wanted": {**call("get_working_directory"), "_meta": {"progressToken": 7}},
    "an unknown tool": call("no_such_tool"),
    "a tool that is no text": call(7),
    "arguments that are none": {"name": "get_working_directory", "arguments": ["/a"]},
    "a token that is none": {**call("get_working_directory"), "_meta": {"progressToken": {}}},
    "nothing": {},
}


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE, "2025-06-18", OLD])
@pytest.mark.parametrize("params", CALLS.values(), ids=CALLS)
async def test_a_plain_call_is_answered_as_the_sdk_answers_it(
    params: dict[str, Any], version: str, tmp_path: Path
) -> None:
    plain, sdk = (World(version, tmp_path, is_plain=is_plain) for is_plain in (True, False))
    answered = await plain.answer(params)
    assert answered == await sdk.answer(params)


@pytest.mark.parametrize("capabilities", [{"roots": {}}, {"roots": 7}, {"sampling": 7}, 7])
async def test_what_a_client_says_it_can_is_judged_as_by_the_sdk(capabilities: object, tmp_path: Path) -> None:
    plain, sdk = (World(MODERN, tmp_path, is_plain=is_plain) for is_plain in (True, False))
    answered = await plain.answer(call("get_working_directory"), capabilities=capabilities)
    assert answered == await sdk.answer(call("get_working_directory"), capabilities=capabilities)


async def test_a_client_that_has_roots_is_asked_for_them_first(tmp_path: Path) -> None:
    world = World(MODERN, tmp_path, is_plain=True)
    answer, _ = await world.answer(call("get_working_directory"), capabilities={"roots": {}})
    assert answer["result"]["resultType"] == "input_required"
    repeated = {**call("get_working_directory"), "inputResponses": {"roots": {"roots": [{"uri": "file:///b"}]}}}
    answer, _ = await world.answer(repeated, capabilities={"roots": {}})
    assert answer["result"]["structuredContent"]["working_directory"] == "/b"
