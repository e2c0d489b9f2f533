"""An attached server whose calls stay under way until a test lets them go on: `python THIS OPTIONS`, which are JSON.

`users` may come in, with tokens named like them; `per_second` and `burst` limit their rate; with `events` it keeps
what it has sent; `max_sessions` and `session_idle_timeout` are the SDK's.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import anyio
from attached_server import Users
from mcp.server import MCPServer
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver.context import Context
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage
from pydantic import AnyHttpUrl

import workroot
from workroot.attached.rate_limit import RateLimit

LIMITS = ("max_sessions", "session_idle_timeout")
PARKED = os.path.join(os.path.dirname(os.environ["WORKROOT_HOME"]), "parked")
held = threading.Event()


class Events(EventStore):
    """Keeps everything."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        last = int(last_event_id)
        stream_id = self._events[last - 1][0]
        for number, (stream, message) in enumerate(self._events[last:], start=last + 1):
            if stream == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


def make_server(options: dict[str, Any]) -> MCPServer[Any]:
    access: dict[str, Any] = {}
    if options.get("users"):
        url = AnyHttpUrl("http://127.0.0.1")
        access = {
            "token_verifier": Users(options["users"]),
            "auth": AuthSettings(issuer_url=url, resource_server_url=url, validate_token_resource=False),
        }
    app: MCPServer[Any] = MCPServer("protocol", **access)
    rate = options.get("per_second")
    limit = RateLimit(per_second=rate, burst=options.get("burst")) if rate is not None else None
    workroot.attach(app, rate_limit=limit)

    @app.tool()
    async def park(name: str) -> str:
        there = anyio.Path(PARKED, name)
        await there.touch()
        try:
            # Whoever lets it go on is another process, which can make files only.
            while not await there.with_suffix(".go").exists():  # noqa: ASYNC110
                await anyio.sleep(0.002)
        finally:
            with anyio.CancelScope(shield=True):
                await there.unlink()
        return f"{name} went on"

    @app.tool()
    def hold(name: str) -> str:
        with open(os.path.join(PARKED, name), "w"):
            held.wait(30)
        return f"{name} went on"

    @app.tool()
    async def let_go() -> str:
        held.set()
        return "all go on"

    @app.tool()
    async def count(name: str, ctx: Context[Any, Any]) -> str:
        for number in range(5):
            await ctx.report_progress(number, 5, f"{name} {number}")
            await anyio.sleep(0.002)  # others come in between
        return name

    return app


def main() -> None:
    options = json.loads(sys.argv[1])
    app = make_server(options)
    if options.get("transport", "stdio") == "stdio":
        app.run()
    else:
        limits = {name: options[name] for name in LIMITS if name in options}
        app.run("streamable-http", port=0, event_store=Events() if options.get("events") else None, **limits)


if __name__ == "__main__":
    main()
