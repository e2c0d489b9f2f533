"""A stand-in for the storage of artifacts, which workroot does not have yet: what the documented examples ask of it.

It is not part of workroot. It looks at sessions and makes paths as workroot does; the rest is a dictionary.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import Enum

from workroot import SessionManager
from workroot.grid_paths import GridPath

__all__ = ["ArtifactStore", "Namespace", "NamespaceType", "StorageScope"]


class StorageScope(Enum):
    SESSION = "session"
    USER = "user"
    SANDBOX = "sandbox"


class NamespaceType(Enum):
    BLOB = "blob"
    WORKSPACE = "workspace"


@dataclass(frozen=True)
class Namespace:
    namespace_id: str
    type: NamespaceType
    name: str | None
    scope: StorageScope
    session_id: str | None
    user_id: str | None
    grid_path: str


class ArtifactStore:
    """Namespaces of sessions, of users and of the sandbox, each with one value."""

    def __init__(self, sandbox_id: str, sessions: SessionManager) -> None:
        self.sandbox_id = sandbox_id
        self._sessions = sessions
        self._namespaces: dict[str, Namespace] = {}
        self._data: dict[str, bytes] = {}

    async def create_namespace(
        self,
        type: NamespaceType = NamespaceType.BLOB,
        name: str | None = None,
        scope: StorageScope = StorageScope.SESSION,
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> Namespace:
        if scope is StorageScope.SESSION and not (session_id and await self._sessions.validate_session(session_id)):
            raise ValueError("a namespace of a session needs one that is active")
        if scope is StorageScope.USER and user_id is None:
            raise ValueError("a namespace of a user needs one")
        namespace_id = f"ns-{secrets.token_hex(6)}"
        path = GridPath(
            sandbox_id=self.sandbox_id,
            session_id=session_id if scope is StorageScope.SESSION else None,
            user_id=user_id if scope is StorageScope.USER else None,
            artifact_id=namespace_id,
        )
        made = Namespace(namespace_id, type, name, scope, session_id, user_id, path.key)
        self._namespaces[namespace_id] = made
        return made

    async def write_namespace(self, namespace_id: str, data: bytes) -> None:
        self._data[self._namespaces[namespace_id].grid_path] = data

    async def read_namespace(self, namespace_id: str) -> bytes:
        return self._data[self._namespaces[namespace_id].grid_path]

    def namespace(self, namespace_id: str) -> Namespace:
        return self._namespaces[namespace_id]

    def list_namespaces(self, session_id: str | None = None, user_id: str | None = None) -> list[Namespace]:
        """Return what the session has, and what the user has."""
        return [
            each
            for each in self._namespaces.values()
            if (each.scope is StorageScope.SESSION and session_id is not None and each.session_id == session_id)
            or (each.scope is StorageScope.USER and user_id is not None and each.user_id == user_id)
        ]

    async def store(self, data: bytes, mime: str, summary: str, filename: str, session_id: str) -> str:
        """Keep a file of a session, and return its id."""
        made = await self.create_namespace(name=filename, session_id=session_id)
        await self.write_namespace(made.namespace_id, data)
        return made.namespace_id

    async def list_by_session(self, session_id: str) -> list[Namespace]:
        return self.list_namespaces(session_id=session_id)
