"""The clients that are known, before a real daemon: what each sends in each situation is answered as its file says.

Connectors are real processes, started in the case's directory with the case's environment. Over HTTP the process
at the other end is this one, so it moves to where the client's would be.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Implementation, ListRootsResult, Root
from pydantic import FileUrl
from real_daemon import (
    DEADLINE_SECONDS,
    HANDSHAKE_VERSION,
    LEGACY,
    MODERN,
    MODERN_META,
    WORKROOT,
    Home,
    RawClient,
)

from workroot.client_profiles import ClientCase, client_profiles
from workroot.identity import TokenFile

ERA = {"handshake": LEGACY, "modern": MODERN}
UNKNOWN_NAME = "(not known)"

CASES = {
    door: [
        pytest.param(profile.client_name(case) or UNKNOWN_NAME, case, ERA[era], id=f"{name}: {case.title} ({era})")
        for name, profile in client_profiles().items()
        for case in profile.cases
        for era in case.eras
        if case.door == door
    ]
    for door in ("connector", "http")
}


@pytest.fixture(scope="module")
def directories(shared: Home) -> Mapping[str, str]:
    """What the cases' placeholders stand for, below the daemon's own home."""
    made = {"HERE": shared.repository("hier, é #1"), "ELSEWHERE": shared.repository("100% else")}
    (made["HERE"] / "src").mkdir()
    home = Path(shared.environment["HOME"])
    (home / ".mcporter").mkdir()
    return {**{name: str(path) for name, path in made.items()}, "HOME": str(home), "APP": "/usr/lib"}


@pytest.fixture(scope="module")
def bearer(shared: Home) -> str:
    return TokenFile(shared.state / "tokens.json").create("clients")


@pytest.fixture
def anywhere() -> Iterator[None]:
    """Come back to where the tests run."""
    before = Path.cwd()
    try:
        yield
    finally:
        os.chdir(before)


@pytest.mark.parametrize(("name", "case", "era"), CASES["connector"])
async def test_through_a_connector(
    shared: Home, directories: Mapping[str, str], name: str, case: ClientCase, era: str
) -> None:
    placed = case.placed(directories)

    async with open_connector(shared, placed) as client:
        speaker = await Speaker.begin(client, era, name, placed.roots)
        result = await speaker.call("get_working_directory", placed.meta)

    check(result, placed)


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize(("name", "case", "era"), CASES["http"])
async def test_over_http(
    shared: Home, directories: Mapping[str, str], bearer: str, name: str, case: ClientCase, era: str
) -> None:
    placed = case.placed(directories)
    os.chdir(placed.process or "/")  # "/" is the directory of nobody's project

    async with open_http_client(shared, bearer, placed, name, era) as client:
        called = await client.call_tool("get_working_directory", {}, meta=placed.meta or None)  # type: ignore[arg-type] # any keys

    assert not called.is_error, called
    check({"structuredContent": called.structured_content, "_meta": called.meta}, placed)


@pytest.mark.parametrize("profile", [name for name, each in client_profiles().items() if each.wants_capabilities])
async def test_a_client_finds_the_capabilities_that_it_wants(shared: Home, profile: str) -> None:
    async with shared.open_raw_socket() as client:
        answer = await client.initialize()

    wanted = client_profiles()[profile].wants_capabilities
    assert set(wanted) <= set(answer["result"]["capabilities"]["experimental"])


@pytest.mark.parametrize("era", [LEGACY, MODERN])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("codex-mcp-client", "threadId"),
        ("codex-mcp-client", "sessionId"),
        ("Visual Studio Code", "vscode.conversationId"),
        ("goose", "agent-session-id"),
    ],
)
@pytest.mark.row("B9")
async def test_what_one_conversation_of_a_client_sets_is_not_anothers(
    shared: Home, directories: Mapping[str, str], name: str, key: str, era: str
) -> None:
    here, elsewhere = directories["HERE"], directories["ELSEWHERE"]
    first, second = ({key: f"{key} {number} {era}"} for number in (1, 2))

    async with shared.open_raw_connector(Path(here)) as client:
        speaker = await Speaker.begin(client, era, name)
        await speaker.call("set_working_directory", first, directory=elsewhere)

        assert await speaker.where(first) == elsewhere
        assert await speaker.where(second) == here
        assert await speaker.where({}) == here

    async with shared.open_raw_connector(Path(here)) as client:
        again = await Speaker.begin(client, era, name)
        assert await again.where(first) == elsewhere, "the same conversation by another connection"


async def test_a_connection_that_serves_several_windows_has_no_default(
    shared: Home, directories: Mapping[str, str]
) -> None:
    async with shared.open_raw_connector(Path(directories["HERE"])) as client:
        speaker = await Speaker.begin(client, LEGACY, "cursor-vscode")
        result = await speaker.call("set_working_directory", {}, directory=directories["ELSEWHERE"])

        assert await speaker.where({}) is None
        session = result["structuredContent"]["session_id"]
        assert await speaker.where({}, session_id=session) == directories["ELSEWHERE"]


def check(result: Mapping[str, Any], case: ClientCase) -> None:
    """Compare an answer with the one that the case asks for."""
    content, resolution = result["structuredContent"], result["_meta"]["workroot/resolution"]
    expected = case.answer
    told = tuple(warning for warning in content["warnings"] if not warning.startswith("passed over: "))
    assert (content["working_directory"], content["source"]) == (expected.directory, expected.source), result
    detail = resolution["detail"]
    if expected.detail is None:  # then the answer is that nothing is known, and says why
        assert told == (detail, *expected.warnings)
    else:
        assert (detail.partition(" ")[0] if expected.source == "process" else detail) == expected.detail
        assert told == expected.warnings


@asynccontextmanager
async def open_connector(home: Home, case: ClientCase) -> AsyncIterator[RawClient]:
    """Start a connector as the client of *case* does."""
    option = ["--directory", case.option] if case.option is not None else []
    process = await anyio.open_process(
        [WORKROOT, "connect", "--no-spawn", *option],
        cwd=case.own_directory,
        env={**home.environment, **case.environment},
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield RawClient(process.stdin, process.stdout)
    finally:
        with anyio.CancelScope(shield=True):
            await process.stdin.aclose()
            with anyio.move_on_after(DEADLINE_SECONDS):
                await process.wait()
            if process.returncode is None:
                process.kill()
            await process.aclose()


@dataclass
class Speaker:
    """A client that speaks to a connector by hand, and answers the question for its roots."""

    client: RawClient
    era: str
    info: Mapping[str, str]
    roots: Sequence[str] | None
    calls: int = 0

    @classmethod
    async def begin(cls, client: RawClient, era: str, name: str, roots: Sequence[str] | None = None) -> Speaker:
        """Do what comes before the first call in either era."""
        speaker = cls(client, era, {"name": name, "version": "1"}, roots)
        if era == LEGACY:
            hello = {"protocolVersion": HANDSHAKE_VERSION, "capabilities": speaker.capabilities}
            await client.send(id=0, method="initialize", params={**hello, "clientInfo": speaker.info})
            assert (await client.receive())["id"] == 0
            await client.send(method="notifications/initialized")
        return speaker

    @property
    def capabilities(self) -> dict[str, object]:
        return {"roots": {}} if self.roots is not None else {}

    async def call(self, tool: str, meta: Mapping[str, object], **arguments: object) -> dict[str, Any]:
        """Call a tool that has to succeed."""
        envelope: dict[str, Any] = {}
        if self.era == MODERN:
            prefix = "io.modelcontextprotocol"
            own = {f"{prefix}/clientCapabilities": self.capabilities, f"{prefix}/clientInfo": self.info}
            envelope = {**MODERN_META, **own}
        params = {"name": tool, "arguments": arguments, "_meta": {**meta, **envelope}}
        roots = {"roots": [{"uri": uri} for uri in self.roots or ()]}
        answer = await self._send(params)
        if answer.get("method") == "roots/list":
            await self.client.send(id=answer["id"], result=roots)
            answer = await self.client.receive()
        elif answer["result"].get("resultType") == "input_required":
            [key] = answer["result"]["inputRequests"]
            answer = await self._send({**params, "inputResponses": {key: roots}})
        result: dict[str, Any] = answer["result"]
        assert not result.get("isError"), result
        return result

    async def where(self, meta: Mapping[str, object], **arguments: object) -> str | None:
        """Return the working directory, as the server knows it."""
        content = (await self.call("get_working_directory", meta, **arguments))["structuredContent"]
        directory: str | None = content["working_directory"]
        return directory

    async def _send(self, params: Mapping[str, object]) -> dict[str, Any]:
        self.calls += 1
        await self.client.send(id=self.calls, method="tools/call", params=params)
        return await self.client.receive()


@asynccontextmanager
async def open_http_client(home: Home, bearer: str, case: ClientCase, name: str, era: str) -> AsyncIterator[Client]:
    """Connect over HTTP as the client of *case* does."""

    async def list_roots(context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl(uri)) for uri in case.roots or ()])

    headers = [(b"Authorization", f"Bearer {bearer}".encode())]
    headers += [(key.encode(), value.encode()) for key, value in case.headers.items()]
    url = httpx2.URL(home.ask("status")["http"]["url"]).copy_merge_params(dict(case.query))
    async with httpx2.AsyncClient(headers=headers) as http:
        transport = streamable_http_client(str(url), http_client=http)
        async with Client(
            transport,
            mode=era,
            client_info=Implementation(name=name, version="1"),
            list_roots_callback=list_roots if case.roots is not None else None,
            read_timeout_seconds=DEADLINE_SECONDS,
        ) as client:
            yield client
