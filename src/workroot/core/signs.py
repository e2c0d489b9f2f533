"""Signs: the pieces of evidence that a call carries about who calls and where that one works.

Transports gather them; nothing here decides. A sign is kept as it was given, with its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workroot.core.sessions import Alias

__all__ = [
    "META_DIRECTORY",
    "META_SESSION",
    "Authority",
    "ClientTraits",
    "ConnectorFacts",
    "Hint",
    "Roots",
    "RootsAnswer",
    "Signs",
    "Source",
    "connector_hints",
    "path_of_root",
]

META_SESSION = "workroot/session"
"""Key of a call's `_meta` that names the session."""

META_DIRECTORY = "workroot/directory"
"""Key of a call's `_meta` that names the directory."""


class Source(StrEnum):
    """Which kind of sign decided; in the answer of every call."""

    ARGUMENT = "argument"
    PIN = "pin"
    META = "meta"
    ROOTS = "roots"
    CONNECTOR = "connector"
    TURN_METADATA = "turn_metadata"
    HEADER = "header"
    PROCESS = "process"
    REGISTRY = "registry"
    """No sign of the call: a project that is known, offered as a candidate."""
    UNKNOWN = "unknown"


class Authority(StrEnum):
    """Whose word a sign is."""

    CLIENT = "client"
    MODEL = "model"
    USER = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTraits:
    """What is known of a client beyond what its messages say; the facts are in `workroot/clients/`.

    Attributes:
        first_root_is_working_directory: further roots are additions to it, not rivals.
        shares_process: one process of it serves several windows: what its connector saw tells of one of them, and
            a connection is nobody's conversation.
        conversation_keys: entries of `_meta` that name the conversation, best first.
    """

    first_root_is_working_directory: bool = False
    shares_process: bool = False
    conversation_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hint:
    """A directory that something suggests.

    Attributes:
        source: the kind of sign.
        detail: which one of that kind, in words a user can look for: `CLAUDE_PROJECT_DIR`.
        directory: the path as given.
        authority: whose word it is.
        problem: why it cannot be followed, where that shows without looking at the directory.
    """

    source: Source
    detail: str
    directory: str
    authority: Authority = Authority.CLIENT
    problem: str | None = None


class RootsAnswer(StrEnum):
    """How the question for roots ended."""

    NOT_ASKED = "not_asked"
    """The client declares no roots, or a better sign decided already."""
    GIVEN = "given"
    """An answer came; it may be empty."""
    SILENT = "silent"
    """A client that answered before did not answer in time: where it works is unknown."""


@dataclass(frozen=True, slots=True)
class Roots:
    """The client's roots, as URIs in its order.

    Attributes:
        left_out: how many more it named than are looked at.
    """

    answer: RootsAnswer = RootsAnswer.NOT_ASKED
    uris: tuple[str, ...] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorFacts:
    """What a connector saw where the client started it.

    Attributes:
        option: its `--directory`, or None.
        own_directory: its working directory, or None if that was gone.
        environment: the variables of the allow-list that were set.
    """

    option: str | None = None
    own_directory: str | None = None
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """All that one call says about who calls and where that one works.

    Attributes:
        session_id: the tool argument.
        directory: the tool argument.
        meta_session: `_meta["workroot/session"]`.
        header_session: the header `Workroot-Session`; of equal authority.
        alias: the connection's own name. None in the modern era, where a connection stands for nobody.
        conversation: the client's own id of this conversation, from `_meta`; None if it sends none.
        hints: suggestions for the directory except roots; of one kind, best first.
        roots: the client's roots.
        traits: what is known of the client beside.
    """

    session_id: str | None = None
    directory: str | None = None
    meta_session: str | None = None
    header_session: str | None = None
    conversation: Alias | None = None
    alias: Alias | None = None
    hints: tuple[Hint, ...] = ()
    roots: Roots = Roots()
    traits: ClientTraits = ClientTraits()


def connector_hints(facts: ConnectorFacts) -> tuple[Hint, ...]:
    """Return what a connector's facts suggest, best first."""
    environment = facts.environment
    folders = [folder for folder in environment.get("WORKSPACE_FOLDER_PATHS", "").split(":") if folder]
    suggestions = (
        ("--directory", facts.option, Authority.USER),
        ("CLAUDE_PROJECT_DIR", environment.get("CLAUDE_PROJECT_DIR"), Authority.CLIENT),
        ("working directory", facts.own_directory, Authority.CLIENT),
        ("WORKSPACE_FOLDER_PATHS", ":".join(folders), Authority.CLIENT),
        ("PWD", environment.get("PWD"), Authority.CLIENT),
    )
    problems = {"WORKSPACE_FOLDER_PATHS": "names several folders"} if len(folders) > 1 else {}
    return tuple(
        Hint(Source.CONNECTOR, detail, directory, authority, problems.get(detail))
        for detail, directory, authority in suggestions
        if directory
    )


def path_of_root(uri: str) -> str | None:
    """Return the path that a root's `file:` URI names, percent-decoded, or None if it names none here.

    A host other than `localhost` is another machine's path. A query or fragment, which such a URI
    cannot have, is part of a path that was not encoded. Source: RFC 8089; MCP client/roots.
    """
    if any(letter < " " for letter in uri):
        return None  # urlsplit leaves some of these out, and the path would be another one
    try:
        parts = urlsplit(uri)
        path = unquote_to_bytes(parts.path).decode()
    except ValueError:  # neither a URI, nor a path in UTF-8
        return None
    if parts.scheme != "file" or parts.netloc.lower() not in ("", "localhost") or parts.query or parts.fragment:
        return None
    return path
