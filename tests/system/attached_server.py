"""A server of somebody else's with workroot attached: `python attached_server.py OPTIONS`, which are JSON.

`transport` is `stdio` or `http` (on a free port, which uvicorn tells on stderr), `store` a path, `daemon` or null, of
which `sandbox` is the daemon's client's; with `users`, tokens named like them let them in; with `stateless` each HTTP
request of the handshake era is served by itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import AnyHttpUrl, BaseModel

import workroot
from workroot import CurrentProject, CurrentSession
from workroot.request_context import get_current_context, get_session_id, get_user_id

lives: list[str] = []


class Users:
    """Lets in whoever bears a token that is named like a user."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    async def verify_token(self, token: str) -> AccessToken | None:
        user = token.removesuffix("-token")
        return AccessToken(token=token, client_id="editor", scopes=[], subject=user) if user in self._names else None


@asynccontextmanager
async def lifespan(_: MCPServer[list[str]]) -> AsyncIterator[list[str]]:
    lives.append("began")
    try:
        yield lives
    finally:
        lives.append("ended")


def make_server(options: dict[str, Any]) -> MCPServer[list[str]]:
    access: dict[str, Any] = {}
    if options.get("users"):
        url = AnyHttpUrl("http://127.0.0.1")
        access = {
            "token_verifier": Users(options["users"]),
            "auth": AuthSettings(issuer_url=url, resource_server_url=url, validate_token_resource=False),
        }
    app: MCPServer[list[str]] = MCPServer("test", lifespan=lifespan, **access)
    store = options.get("store")
    if store == "daemon":
        store = workroot.connect(sandbox=options.get("sandbox", "default"))
    workroot.attach(app, store=store)
    add_tools(app)
    return app


class Title(BaseModel):
    title: str


async def ask_title() -> Elicit[Title]:
    return Elicit("Which title?", Title)


async def root_of(project: CurrentProject) -> str:
    return str(project.root)


def add_tools(app: MCPServer[list[str]]) -> None:
    @app.tool()
    async def where(project: CurrentProject) -> str:
        return f"{project.name} {project.root}"

    @app.tool()
    def where_sync(project: CurrentProject) -> str:
        return f"{project.name} {project.root}"

    @app.tool()
    async def where_if_any(project: CurrentProject | None) -> str:
        return f"{project.name} {project.root}" if project is not None else "nowhere"

    @app.tool()
    def where_if_any_sync(note: str, project: CurrentProject | None = None) -> str:
        return f"{note} {project.name if project is not None else 'nowhere'}"

    @app.tool()
    async def who(session: CurrentSession) -> str:
        return f"{session.session_id} {session.working_directory}"

    @app.tool()
    async def who_if_any(session: CurrentSession | None) -> str:
        return session.session_id if session is not None else "nobody"

    @app.tool()
    async def root(root: Annotated[str, Resolve(root_of)]) -> str:
        return root

    @app.tool()
    async def titled(project: CurrentProject, title: Annotated[Title, Resolve(ask_title)]) -> str:
        return f"{title.title} in {project.name}"

    @app.tool()
    async def own_arguments(directory: str, session_id: str | None, project: CurrentProject | None) -> str:
        return f"{directory} {session_id} {project.name if project is not None else 'nowhere'}"

    @app.tool()
    async def plain(text: str, colour: str = "red") -> str:
        return f"{text} {colour}"

    @app.tool()
    async def in_force() -> str:
        return json.dumps({**get_current_context(), "metadata": {}})

    @app.tool()
    async def lives_so_far(ctx: Context[list[str], Any]) -> list[str]:
        return list(ctx.request_context.lifespan_context)

    @app.resource("test://context")
    def context_of_resource() -> str:
        return json.dumps({"session": get_session_id(), "user": get_user_id()})

    @app.prompt()
    def context_of_prompt() -> str:
        return json.dumps({"session": get_session_id(), "user": get_user_id()})


def main() -> None:
    options = json.loads(sys.argv[1])
    app = make_server(options)
    if options.get("transport", "stdio") == "stdio":
        app.run()
    else:
        app.run("streamable-http", port=0, stateless_http=bool(options.get("stateless")))


if __name__ == "__main__":
    main()
