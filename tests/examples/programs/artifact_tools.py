"""Tools of an MCP server and patterns that keep things for a session or for a user, as the context knows them."""

from __future__ import annotations

import json
from typing import Any

from mcp.server import MCPServer

import workroot
from examples.programs.artifact_store import ArtifactStore, Namespace, NamespaceType, StorageScope
from workroot import SessionManager
from workroot.request_context import RequestContext, get_session_id, get_user_id

SANDBOX = "sandbox-37125b4c"

server: MCPServer[Any] = MCPServer("documents")
sessions = workroot.get_session_context_manager()
attachment = workroot.attach(server, store=sessions, sandbox=SANDBOX)
session_manager = SessionManager(SANDBOX, sessions=sessions, owner=attachment.owner)
store = ArtifactStore(SANDBOX, session_manager)


@server.tool()
async def create_temp_document(content: str) -> dict[str, str]:
    """Keep a document for as long as the session lives."""
    made = await store.create_namespace(
        scope=StorageScope.SESSION,
        user_id=get_user_id(),
        session_id=get_session_id(),
    )
    await store.write_namespace(made.namespace_id, data=content.encode())
    return {"id": made.namespace_id, "path": made.grid_path}


@server.tool()
async def create_user_project(name: str) -> dict[str, str]:
    """Keep a project for the user, in whichever session."""
    made = await store.create_namespace(
        type=NamespaceType.WORKSPACE,
        name=name,
        scope=StorageScope.USER,
        user_id=get_user_id(),
    )
    return {"id": made.namespace_id, "path": made.grid_path}


def list_of_session() -> list[Namespace]:
    return store.list_namespaces(session_id=get_session_id())


def list_of_user() -> list[Namespace]:
    return store.list_namespaces(user_id=get_user_id())


async def temporary_conversation_data() -> Namespace:
    async with RequestContext(user_id="ada", session_id="conv-123"):
        return await store.create_namespace(
            scope=StorageScope.SESSION,
            user_id=get_user_id(),
            session_id=get_session_id(),
        )


async def user_preferences() -> Any:
    async with RequestContext(user_id="ada", session_id="conv-456"):
        kept = await store.create_namespace(
            name="preferences",
            scope=StorageScope.USER,
            user_id=get_user_id(),
        )
        await store.write_namespace(kept.namespace_id, data=json.dumps({"theme": "dark", "language": "en"}).encode())

        async with RequestContext(user_id="ada", session_id="conv-789"):
            found = await store.read_namespace(kept.namespace_id)
            return json.loads(found.decode())
