"""What the head of an HTTP request says of its target and its body, and what of that nobody here could answer.

Plain functions of what was sent: who sends it and from where is `http_guard`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.transports.http_bodies import MAX_BODY_BYTES, TOO_LARGE
from workroot.transports.http_refusal import Refusal

if TYPE_CHECKING:
    from starlette.types import Scope

__all__ = ["MCP_PATH", "check_once", "check_target"]

MCP_PATH = "/mcp"
"""The one path that speaks MCP."""

_MOST_DIGITS = 10  # of a Content-Length: no legal one has more, and very long numbers cost time to read
_METHODS = ("GET", "POST", "DELETE")
_PAGE_METHODS = ("GET", "HEAD")
_SINGLE_HEADERS = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"mcp-protocol-version",
        b"mcp-session-id",
        b"origin",
        b"sec-fetch-site",
        b"transfer-encoding",
        b"workroot-directory",
        b"workroot-session",
    }
)
"""Headers of which two mean that somebody reads the first and somebody else the last."""


def check_once(scope: Scope) -> Refusal | None:
    """Refuse a head in which somebody reads the first and somebody else the last."""
    seen = set()
    for name, _ in scope["headers"]:
        if name in seen and name in _SINGLE_HEADERS:
            return Refusal(status=400, message=f"the header {name.decode()} must be sent once")
        seen.add(name)
    return None


def check_target(scope: Scope, headers: dict[bytes, bytes], *, is_page: bool) -> Refusal | None:
    """Refuse what nobody here could answer."""
    if not is_page and scope.get("raw_path") != MCP_PATH.encode():
        return Refusal(status=404, message=f"there is nothing here; the path of this MCP server is {MCP_PATH}")
    method, methods = scope["method"], _PAGE_METHODS if is_page else _METHODS
    if method not in methods:
        allow = ", ".join(methods)
        return Refusal(status=405, message=f"use one of {allow}", headers=((b"allow", allow.encode()),))
    if not is_page:
        return _check_body(method, headers)
    if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
        return Refusal(status=400, message="a request for this page has no body")
    return None


def _check_body(method: str, headers: dict[bytes, bytes]) -> Refusal | None:
    """Refuse a body by what the head says of it."""
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if method == "POST" and media_type != b"application/json":
        return Refusal(status=415, message="a body must be JSON: send 'Content-Type: application/json'")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        return Refusal(status=415, message="a body must not be compressed: send no Content-Encoding")
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        return Refusal(status=400, message="a body can be sent in chunks, and in no other Transfer-Encoding")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > _MOST_DIGITS or int(length) > MAX_BODY_BYTES:
        return TOO_LARGE
    return None
