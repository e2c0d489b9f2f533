"""The first line of each side of a socket connection: what a client says of itself, and what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from workroot import __version__
from workroot.core.sessions import Alias
from workroot.core.signs import ConnectorFacts, connector_hints
from workroot.peer import Conversation, Peer, Resumption, RootsMemory
from workroot.rendezvous import ENVIRONMENT_SIGNS, hello_line, installation

if TYPE_CHECKING:
    from workroot.core.sessions import Owner

__all__ = ["Hello", "greeting", "peer_of_hello"]

_LONGEST_ALIAS = 200


class Hello(BaseModel):
    """What a client says of itself in its first line.

    Attributes:
        stays: of role `control`, that it is a program that keeps its sessions here, and so counts as a client.
    """

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    role: Literal["mcp", "control"]
    version: str = "unknown"
    alias: str | None = Field(default=None, max_length=_LONGEST_ALIAS, pattern="^[ -~]*$")
    directory: str | None = None
    option: str | None = None
    environment: dict[str, str] = {}
    default_session: bool = True
    reconnected: bool = False
    stays: bool = False
    listens: list[str | int] = []


def greeting(**fields: object) -> bytes:
    """Return the daemon's first line; with the field `error`, it is the last one too."""
    return hello_line(version=__version__, installation=installation(), **fields)


def peer_of_hello(hello: Hello, owner: Owner) -> Peer:
    """Return who is at the other end, as far as the first line says."""
    facts = ConnectorFacts(
        option=hello.option,
        own_directory=hello.directory,
        environment={name: value for name, value in hello.environment.items() if name in ENVIRONMENT_SIGNS},
    )
    return Peer(
        owner=owner,
        alias=Alias(hello.alias) if hello.alias and hello.default_session else None,
        hints=connector_hints(facts),
        resumption=Resumption(listens=frozenset(hello.listens)) if hello.listens else None,
        conversation=Conversation(roots=RootsMemory(resumed=hello.reconnected)),
    )
