"""What the documented examples use and never define: a request, permissions, files, errors, slow work."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.exceptions import HTTPException

__all__ = [
    "HTTPException",
    "computed",
    "files",
    "get_tenant_user_permissions",
    "get_user_permissions",
    "perform_operation",
    "request",
    "some_expensive_operation",
    "store_file",
]


@dataclass(frozen=True)
class Client:
    host: str = "192.0.2.7"


@dataclass(frozen=True)
class Request:
    client: Client = field(default_factory=Client)
    headers: dict[str, str] = field(default_factory=lambda: {"user-agent": "a browser"})


request = Request()

files: dict[str, bytes] = {}
"""What `store_file` was given."""

computed: list[dict[str, int]] = []
"""What `some_expensive_operation` was asked for."""


async def store_file(path: str, data: bytes) -> None:
    files[path] = data


async def get_user_permissions(username: str) -> list[str]:
    return ["read", "write"] if username == "alice" else ["read"]


async def get_tenant_user_permissions(tenant_id: str, user_id: str) -> list[str]:
    return [f"{tenant_id}:{permission}" for permission in await get_user_permissions(user_id)]


async def some_expensive_operation(params: dict[str, int]) -> dict[str, int]:
    computed.append(params)
    return {"sum": sum(params.values())}


async def perform_operation() -> str:
    return "performed"
