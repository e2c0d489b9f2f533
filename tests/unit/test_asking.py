"""What a client can be asked for, by what it declares and how it is connected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from mcp.server.context import ServerRequestContext
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    ClientCapabilities,
    ElicitationCapability,
    FormElicitationCapability,
    ListRootsResult,
    RootsCapability,
    SamplingCapability,
    UrlElicitationCapability,
)

from workroot.attached.asking import available_channels, list_roots
from workroot.attached.current_request import current_request
from workroot.errors import ChannelUnavailableError

HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
ALL = ClientCapabilities(roots=RootsCapability(), sampling=SamplingCapability(), elicitation=ElicitationCapability())
NO_CLIENT = {"roots": False, "sampling": False, "elicitation": False}


@dataclass
class Session:
    """The part of the SDK's session that is looked at."""

    client_capabilities: ClientCapabilities | None
    can_send_request: bool = True


@dataclass
class Answering(Session):
    """A session whose client has no roots."""

    sent: list[object] = field(default_factory=list)

    async def send_request(self, request: object, answer: object, *, metadata: object, **_: object) -> ListRootsResult:
        self.sent.append(metadata)
        return ListRootsResult(roots=[])


@dataclass
class Request:
    """The part of the SDK's context that is looked at."""

    session: Session
    protocol_version: str
    request_id: int = 1


def available(
    capabilities: ClientCapabilities | None, *, version: str = HANDSHAKE, can_send: bool = True
) -> dict[str, bool]:
    request = cast("ServerRequestContext[Any, Any]", Request(Session(capabilities, can_send), version))
    return {str(channel): is_there for channel, is_there in available_channels(request).items()}


@pytest.mark.row("K5")
def test_a_client_can_be_asked_for_what_it_declares() -> None:
    assert available(ALL) == {"roots": True, "sampling": True, "elicitation": True}
    assert available(ClientCapabilities(sampling=SamplingCapability())) == NO_CLIENT | {"sampling": True}
    assert available(ClientCapabilities()) == NO_CLIENT
    assert available(None) == NO_CLIENT


@pytest.mark.row("K5")
def test_nobody_can_be_asked_in_the_modern_era_or_where_no_question_gets_through() -> None:
    assert available(ALL, version=MODERN) == NO_CLIENT
    assert available(ALL, can_send=False) == NO_CLIENT


@pytest.mark.row("B26")
async def test_a_question_goes_the_way_of_the_call_that_asks() -> None:
    """Over HTTP it would go on another stream of the client's else, or on none."""
    session = Answering(ALL)
    request = cast("ServerRequestContext[Any, Any]", Request(session, HANDSHAKE, request_id=7))
    token = current_request.set(request)
    try:
        roots = await list_roots()
    finally:
        current_request.reset(token)

    assert roots == []
    assert session.sent == [ServerMessageMetadata(related_request_id=7)]


async def test_the_refusal_of_the_modern_era_names_the_way_of_each_framework() -> None:
    request = cast("ServerRequestContext[Any, Any]", Request(Session(ALL), MODERN))
    token = current_request.set(request)
    try:
        with pytest.raises(ChannelUnavailableError, match=r"MCPServer .*ListRoots.* FastMCP .*InputRequiredResult"):
            await list_roots()
    finally:
        current_request.reset(token)


def test_a_client_that_only_opens_addresses_cannot_show_a_form() -> None:
    url, form = UrlElicitationCapability(), FormElicitationCapability()
    for modes, is_there in (
        (ElicitationCapability(url=url), False),
        (ElicitationCapability(form=form, url=url), True),
        (ElicitationCapability(form=form), True),
        (ElicitationCapability(), True),
    ):
        assert available(ClientCapabilities(elicitation=modes))["elicitation"] is is_there
