"""What a call says of its caller, read from the SDK's context of it, and where that one works: for every framework."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workroot.attached.facts import CallFacts
from workroot.attached.signatures import SIGN_ARGUMENTS
from workroot.core.answer import Outcome
from workroot.mcp_face.evidence import client_name, is_handshake, peer_of
from workroot.mcp_face.tools import ArgumentsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mcp.server.context import ServerRequestContext

    from workroot.attached.attachment import Attachment
    from workroot.attached.session_tools import SessionTools
    from workroot.core.answer import Resolution

__all__ = ["facts_of", "own_session", "resolution_of", "signs_given"]


def facts_of(
    seen: ServerRequestContext[Any, Any], *, session_id: str | None = None, directory: str | None = None
) -> CallFacts:
    """Return what is known of a call.

    Args:
        seen: its context; its request is the `Peer` that sent it.
        session_id: the tool argument.
        directory: the tool argument.
    """
    peer, meta = peer_of(seen), (seen.params or {}).get("_meta")
    return CallFacts(
        owner=peer.owner,
        is_handshake=is_handshake(seen),
        session_id=session_id,
        directory=directory,
        meta=meta if isinstance(meta, dict) else {},
        header_session=peer.header_session,
        hints=peer.hints,
        alias=peer.alias,
        client_name=client_name(seen),
    )


def signs_given(tool: str, given: Mapping[str, Any], added: Collection[str]) -> dict[str, str]:
    """Return the arguments that say who calls and where that one works; null counts as left out.

    A `directory` that the tool has itself is the tool's own affair. A `session_id` is a sign even then: who names a
    session must never be served as somebody else.

    Args:
        tool: its name.
        given: the arguments of the call.
        added: those of `SIGN_ARGUMENTS` that the tool has from us.

    Raises:
        ArgumentsError: one is no text.
    """
    names = [name for name in SIGN_ARGUMENTS if name in added or name == "session_id"]
    signs = {name: given[name] for name in names if given.get(name) is not None}
    for name, value in signs.items():
        if not isinstance(value, str):
            raise ArgumentsError(f"{tool}: {name} must be a string, not {type(value).__name__}")
    return signs


def own_session(given: Mapping[str, Any] | None) -> str | None:
    """Return the session that an argument of the tool's own names, of a tool that does not ask; None if it is no text.

    Who names a session is never served as somebody else, whatever the tool means by that.
    """
    session = (given or {}).get("session_id")
    return session if isinstance(session, str) else None


async def resolution_of(facts: CallFacts, attachment: Attachment, tools: SessionTools) -> Resolution:
    """Return where a call works; of a caller of whom nothing is known, where it worked of late as candidates.

    Raises:
        WorkrootError: as `Attachment.resolution`.
    """
    resolution = await attachment.resolution(facts)
    if resolution.outcome is Outcome.UNKNOWN and not resolution.alternatives:
        recent = await tools.recent(attachment.service, facts.owner)
        resolution = replace(resolution, alternatives=recent)
    return resolution
