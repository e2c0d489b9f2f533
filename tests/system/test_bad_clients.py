"""One client's hang-up, garbage or huge line ends that client's task, and no other client notices."""

from __future__ import annotations

import json
from contextlib import suppress

import anyio
import pytest
from real_daemon import DEADLINE_SECONDS, MODERN_META, Home, RawClient

TWO_MEBIBYTES = 2 * 1024 * 1024
GARBAGE = [
    pytest.param(b"\xff\xfe garbage\n", -32700, id="not UTF-8"),
    pytest.param(b"{not json}\n", -32700, id="not JSON"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":NaN}}\n', -32700, id="NaN"),
    pytest.param(b"[1,2,3]\n", -32600, id="not a message"),
    pytest.param(b'{"jsonrpc":"1.0","id":1,"method":"ping"}\n', -32600, id="another JSON-RPC"),
    pytest.param(b"[" * 100_000 + b"\n", -32700, id="deep"),
]


async def is_served(client: RawClient) -> bool:
    answer = await client.call("after", "get_working_directory", meta=MODERN_META)
    return "result" in answer


@pytest.mark.parametrize(("line", "code"), GARBAGE)
@pytest.mark.parametrize("door", ["socket", "connector"])
async def test_garbage_is_answered_and_the_conversation_goes_on(
    shared: Home, door: str, line: bytes, code: int
) -> None:
    opened = shared.open_raw_connector(shared.top) if door == "connector" else shared.open_raw_socket(environment={})
    async with opened as client, shared.open_raw_socket(environment={}) as neighbour:
        await client.send_bytes(line)
        refused = await client.receive()

        assert (refused["id"], refused["error"]["code"]) == (1 if b'"id":1' in line else None, code)
        assert await is_served(client)
        assert await is_served(neighbour)


async def test_a_line_of_two_mebibytes_ends_that_connection_alone(shared: Home) -> None:
    async with shared.open_raw_socket(environment={}) as client, shared.open_raw_socket(environment={}) as neighbour:
        with suppress(anyio.BrokenResourceError):  # the daemon need not read it to its end
            await client.send_bytes(b"x" * TWO_MEBIBYTES)

        with suppress(anyio.BrokenResourceError):
            assert "at most" in (await client.receive())["error"]["message"]
        await client.wait_end()
        assert await is_served(neighbour)


async def test_through_a_connector_a_line_of_two_mebibytes_is_answered_and_the_conversation_goes_on(
    shared: Home,
) -> None:
    async with shared.open_raw_connector(shared.top) as client:
        padding = "x" * TWO_MEBIBYTES
        line = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"padding": padding}}
        await client.send_bytes(json.dumps(line).encode() + b"\n")
        refused = await client.receive()

        assert (refused["id"], refused["error"]["code"]) == (7, -32600)
        assert await is_served(client)


async def test_a_client_that_hangs_up_in_the_middle_of_a_line_harms_nobody(shared: Home) -> None:
    async with shared.open_raw_socket(environment={}) as neighbour:
        for _ in range(20):
            async with shared.open_raw_socket(environment={}) as client:
                await client.send_call(1, "set_working_directory", meta=MODERN_META, directory=str(shared.top))
                await client.send_bytes(b'{"jsonrpc": "2.0", "id": 2, "meth')

        assert await is_served(neighbour)
    await shared.wait_until_async(lambda: shared.ask("status")["connections"] == 0, what="all have left")


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"{}\n", b'{"workroot":99,"role":"mcp"}\n', b"\n" * 10])
async def test_who_does_not_begin_with_a_hello_is_told_so_and_ends(shared: Home, first: bytes) -> None:
    async with (
        shared.open_raw_socket(environment={}) as neighbour,
        await anyio.connect_unix(shared.socket_path) as stranger,
    ):
        await stranger.send(first)
        if first.strip():
            with anyio.fail_after(DEADLINE_SECONDS):
                assert b'"error"' in await stranger.receive()
        await stranger.aclose()

        assert await is_served(neighbour)


async def test_a_client_that_reads_nothing_holds_up_nobody_else(shared: Home) -> None:
    async with shared.open_raw_socket(environment={}) as deaf, shared.open_raw_socket(environment={}) as neighbour:
        with anyio.move_on_after(1):  # long enough to fill both sides' buffers
            for number in range(5_000):
                await deaf.send(id=number, method="tools/list", params={"_meta": MODERN_META})

        assert await is_served(neighbour)
