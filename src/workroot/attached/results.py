"""What an attached server's results get from us on their way out, in the form that they have on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_types.methods import is_input_required
from pydantic import BaseModel

from workroot.attached.channels import collected_links
from workroot.mcp_face.answers import RESOLUTION_META, resolution_meta
from workroot.mcp_face.evidence import ROOTS_KEY
from workroot.mcp_face.refusals import refusal

if TYPE_CHECKING:
    from mcp.server.context import HandlerResult

    from workroot.attached.calls import Call

__all__ = ["finished", "on_wire"]


def on_wire(result: HandlerResult) -> dict[str, Any]:
    """Return a result as the SDK sends it; a middleware of the server's author may give it in another form."""
    if isinstance(result, BaseModel):
        return result.model_dump(by_alias=True, mode="json", exclude_none=True)
    return dict(result or {})


def finished(result: HandlerResult, call: Call, *, asks_roots: bool) -> dict[str, Any]:
    """Return a tool's result with where it was made, and with the whole refusal if a parameter could not be filled.

    Args:
        result: of the tool.
        call: what is known of the call.
        asks_roots: the client was asked for its roots; a tool that asks it something itself asks for them again,
            since the call that brings the answer is decided anew.
    """
    wire = on_wire(result)
    if is_input_required(wire):
        if asks_roots:
            wire["inputRequests"] = {**(wire.get("inputRequests") or {}), ROOTS_KEY: {"method": "roots/list"}}
        return wire
    if links := collected_links():
        wire["content"] = [*(wire.get("content") or ()), *map(on_wire, links)]
    meta: dict[str, Any] = {}
    if call.is_refused and call.error is not None:
        told = refusal(call.error).model_dump(by_alias=True, mode="json", exclude_none=True)
        meta = told["_meta"]
        wire["content"] = told["content"]
    if call.resolution is not None:
        meta[RESOLUTION_META] = resolution_meta(call.resolution)
    if meta:
        wire["_meta"] = {**(wire.get("_meta") or {}), **meta}
    return wire
