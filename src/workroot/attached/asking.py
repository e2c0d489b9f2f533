"""What a tool can ask of the client that called it: its roots, its model, its user.

It is asked by the way of the request that is served in this task (or the one that started this task or thread), so
no other client sees the question or can answer it. Where nobody can answer, asking is refused with the reason: MCP
2026-07-28 has no requests to clients, there a tool asks through its parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args

from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    REQUEST_TIMEOUT,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    ListRootsRequest,
    ListRootsResult,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import BaseModel, ValidationError

from workroot.attached.current_request import current_request
from workroot.errors import ChannelUnavailableError, ClientRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp.server.context import ServerRequestContext
    from mcp_types import ServerRequest

__all__ = ["available_channels", "create_elicitation", "create_message", "list_roots"]

_ANSWER_SECONDS = 120.0
_INSTEAD: Final = {"roots": "ListRoots", "sampling": "Sample", "elicitation": "Elicit"}

_Channel = Literal["roots", "sampling", "elicitation"]
_Answer = TypeVar("_Answer", bound=BaseModel)


def available_channels(ctx: ServerRequestContext[Any, Any]) -> dict[_Channel, bool]:
    """Return for each thing that a client can be asked for whether this one can, within this request."""
    channels: tuple[_Channel, ...] = get_args(_Channel)
    return {channel: _why_not(ctx, channel) is None for channel in channels}


async def list_roots(*, timeout_seconds: float = _ANSWER_SECONDS) -> list[dict[str, object]]:
    """Return the client's roots, each with `uri` and, if it has one, `name`.

    Raises:
        ChannelUnavailableError: the client cannot be asked, and why.
        ClientRefusedError: it was asked, and does not say.
    """
    result = await _asked("roots", ListRootsRequest(), ListRootsResult, timeout_seconds)
    return [root.model_dump(by_alias=True, mode="json", exclude_none=True) for root in result.roots]


async def create_message(
    messages: Sequence[Mapping[str, object] | BaseModel],
    max_tokens: int = 1000,
    system_prompt: str | None = None,
    temperature: float | None = None,
    model_preferences: Mapping[str, object] | BaseModel | None = None,
    *,
    stop_sequences: Sequence[str] | None = None,
    metadata: Mapping[str, object] | None = None,
    include_context: Literal["none", "thisServer", "allServers"] | None = None,
    timeout_seconds: float = _ANSWER_SECONDS,
) -> dict[str, object]:
    """Let the client's model answer, and return `role`, `content`, `model` and, if it says why it ended, `stopReason`.

    Args:
        messages: each with `role` and `content`, in the form that MCP gives them.
        max_tokens: how long the answer may be.
        system_prompt: what the model is told beforehand.
        temperature: as the model understands it.
        model_preferences: in the form that MCP gives them.
        stop_sequences: what ends the answer.
        metadata: for the provider of the model.
        include_context: from which servers the client may add something.
        timeout_seconds: how long to wait.

    Raises:
        ChannelUnavailableError: the client cannot be asked, and why.
        ClientRefusedError: it was asked, and it or its user said no.
        ValueError: *messages* or *model_preferences* are not in MCP's form; nothing was sent.
    """
    given = {
        "messages": list(messages),
        "maxTokens": max_tokens,
        "systemPrompt": system_prompt,
        "temperature": temperature,
        "modelPreferences": model_preferences,
        "stopSequences": stop_sequences,
        "metadata": metadata,
        "includeContext": include_context,
    }
    request = CreateMessageRequest(params=CreateMessageRequestParams.model_validate(given))
    result = await _asked("sampling", request, CreateMessageResult, timeout_seconds)
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


async def create_elicitation(
    message: str,
    schema: Mapping[str, Any],
    title: str | None = None,
    description: str | None = None,
    *,
    timeout_seconds: float = _ANSWER_SECONDS,
) -> dict[str, object]:
    """Ask the client's user, and return `action` (`accept`, `decline` or `cancel`) and, if accepted, `content`.

    Args:
        message: the question.
        schema: JSON Schema of the answer: an object of plain fields.
        title: shown above the question; MCP has no place of its own for it.
        description: shown below the question; likewise.
        timeout_seconds: how long to wait.

    Raises:
        ChannelUnavailableError: the client cannot be asked, and why.
        ClientRefusedError: it was asked, and cannot ask its user.
    """
    text = "\n\n".join(part for part in (title, message, description) if part)
    request = ElicitRequest(params=ElicitRequestFormParams(message=text, requested_schema=dict(schema)))
    result = await _asked("elicitation", request, ElicitResult, timeout_seconds)
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


def _why_not(ctx: ServerRequestContext[Any, Any], channel: _Channel) -> str | None:
    """Return why the client cannot be asked within this request, or None if it can."""
    if ctx.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS:
        return (
            f"MCP {ctx.protocol_version} has no requests to clients; in an MCPServer give the tool a parameter of the "
            f"type Annotated[..., Resolve(ask)], where ask returns mcp.server.mcpserver.{_INSTEAD[channel]}(...); with "
            "FastMCP let the tool return an InputRequiredResult of mcp_types"
        )
    declared = ctx.session.client_capabilities
    found = getattr(declared, channel, None)
    if found is None or (channel == "elicitation" and found.form is None and found.url is not None):
        return "the client did not declare that it can be asked for it; do without, or take an argument instead"
    if not ctx.session.can_send_request:
        return "nothing can be asked on this connection; serve with sessions, and answer with event streams"
    return None


async def _asked(channel: _Channel, request: ServerRequest, answer: type[_Answer], timeout_seconds: float) -> _Answer:
    if (ctx := current_request.get()) is None:
        raise ChannelUnavailableError(channel, "no request of a client is being served here; ask within a tool")
    if (reason := _why_not(ctx, channel)) is not None:
        raise ChannelUnavailableError(channel, reason)
    try:
        return await ctx.session.send_request(
            request,
            answer,
            request_read_timeout_seconds=timeout_seconds,
            metadata=ServerMessageMetadata(related_request_id=ctx.request_id),
        )
    except NoBackChannelError as error:
        raise ChannelUnavailableError(channel, "the connection ended") from error
    except MCPError as error:
        why = f"no answer within {timeout_seconds:g} s" if error.code == REQUEST_TIMEOUT else error.message
        raise ClientRefusedError(channel, why) from error
    except ValidationError as error:
        raise ClientRefusedError(channel, "the answer is not in MCP's form") from error
