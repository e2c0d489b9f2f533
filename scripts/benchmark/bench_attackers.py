"""One greedy or broken client of a daemon, as a process of its own: what the neighbours of others may be like.

    bench_attackers.py KIND SECONDS SOCKET PORT TOKEN

Loopback only, bounded in time and in connections. Prints how many times it did what it does.
"""

from __future__ import annotations

import json
import os
import random
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

MODERN = "2026-07-28"
MANY_CONNECTIONS = 400  # open at a time, of one attacker
HUGE_BODY = b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * (1024 * 1024 - 64) + b'"}'

_random = random.Random(7)


class Target:
    """Where the daemon is reached."""

    def __init__(self, path: str, port: int, token: str) -> None:
        self.path, self.port, self.token = path, port, token

    def unix(self) -> socket.socket:
        """Connect to the socket of connectors."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(2)
        connection.connect(self.path)
        return connection

    def http(self) -> socket.socket:
        """Connect to the HTTP port."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=2)

    def head(self, length: int | None, *, method: str = "POST", token: str | None = None) -> bytes:
        """Return a request's head; with no *length*, one of a body in chunks."""
        size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        return (
            f"{method} /mcp HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Authorization: Bearer {token or self.token}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\n{size}\r\n\r\n"
        ).encode()


def flood_sessions(target: Target) -> None:
    """Open sessions of the handshake era, and never use them."""
    body = json.dumps(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "flood", "version": "1"},
            },
        }
    ).encode()
    with target.http() as connection:
        for _ in range(100):
            connection.sendall(target.head(len(body)) + body)
            if not connection.recv(65536):
                return


def flood_connections(target: Target) -> None:
    """Open as many connections of both kinds as there can be, and say nothing."""
    with ExitStack() as stack:
        for _ in range(MANY_CONNECTIONS):
            for connect in (target.unix, target.http):
                with suppress(OSError):
                    stack.enter_context(connect())
        time.sleep(0.2)  # to stay for a while is the attack; nothing is waited for


def send_huge_bodies(target: Target) -> None:
    """Send bodies at the limit, and beyond it in chunks."""
    with target.http() as connection:
        connection.sendall(target.head(len(HUGE_BODY)) + HUGE_BODY)
        connection.recv(65536)
    with target.http() as connection:
        connection.sendall(target.head(None))
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(64):
            connection.sendall(chunk)


def send_slow_bodies(target: Target) -> None:
    """Keep many requests open that arrive byte by byte."""
    with ExitStack() as stack:
        slow = []
        for _ in range(150):
            with suppress(OSError):
                connection = stack.enter_context(target.http())
                connection.sendall(target.head(1024 * 1024) + b'{"jsonrpc":"2.0"')
                slow.append(connection)
        for _ in range(20):
            for connection in slow:
                with suppress(OSError):
                    connection.sendall(b" " * 4096)
            time.sleep(0.05)  # slowness is the attack; nothing is waited for


def send_garbage(target: Target) -> None:
    """Send what is no protocol at all."""
    for connect in (target.unix, target.http):
        with connect() as connection:
            connection.sendall(_random.randbytes(20_000) + b"\n")
            connection.sendall(_random.randbytes(20_000))


def hello() -> bytes:
    """Return the first line of a connector."""
    fields = {"workroot": 1, "role": "mcp", "version": "1", "alias": os.urandom(16).hex(), "directory": "/"}
    return json.dumps(fields).encode() + b"\n"


def call(number: int) -> bytes:
    """Return one call of a connector's client, as a line."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "greedy", "version": "1"},
    }
    params = {"name": "list_projects", "arguments": {}, "_meta": meta}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode() + b"\n"


def keep_calls_in_flight(target: Target) -> None:
    """Have as many calls in flight as there may be, on several connections, and read every answer."""
    with ExitStack() as stack:
        connections = [stack.enter_context(target.unix()) for _ in range(4)]
        for connection in connections:
            connection.sendall(hello() + b"".join(call(number) for number in range(64)))
        number = 64
        for _ in range(200):
            readable, _, _ = select.select(connections, [], [], 0.5)
            for connection in readable:
                for _ in range(connection.recv(65536).count(b"\n")):
                    connection.sendall(call(number))
                    number += 1


def never_read(target: Target) -> None:
    """Ask over and over on the socket, and read no answer."""
    with target.unix() as connection:
        connection.sendall(hello())
        connection.setblocking(False)
        for number in range(20_000):
            line = call(number)
            while line:
                _, writable, _ = select.select([], [connection], [], 0.5)
                if not writable:
                    return  # it does not take more, as it should
                line = line[connection.send(line) :]


ATTACKS: dict[str, Callable[[Target], None]] = {
    "sessions": flood_sessions,
    "connections": flood_connections,
    "huge bodies": send_huge_bodies,
    "slow bodies": send_slow_bodies,
    "garbage": send_garbage,
    "calls in flight": keep_calls_in_flight,
    "never reads": never_read,
}


def main() -> None:
    """Attack until the time is over."""
    kind, seconds, path, port, token = sys.argv[1:]
    attack, target, count = ATTACKS[kind], Target(path, int(port), token), 0
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        with suppress(OSError):  # refused, cut off: that is what is expected
            attack(target)
        count += 1
    print(count)


if __name__ == "__main__":
    main()
