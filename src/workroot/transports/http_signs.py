"""What the head of an HTTP request, and the connection it came by, say of where its sender works.

Values are passed on as they were meant, also those that cannot be followed: whoever asks why is shown them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from workroot.core.signs import Hint, Source, path_of_root
from workroot.identity import os_owner
from workroot.transports.http_guard import OWNER_KEY
from workroot.transports.peer_process import PeerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Scope

__all__ = ["PEER_PROCESS_KEY", "header_of", "hints_of"]

PEER_PROCESS_KEY = "workroot.peer_process"
"""Where in the `state` of a request its connection's `PeerProcess` is."""

_MOST_DIRECTORIES = 16  # of one request; each is looked at, so that spellings of one directory do not disagree
_RELAYED = (b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip")
"""Headers that only somebody in between adds: the process at the other end is not who asks."""


async def hints_of(scope: Scope) -> tuple[Hint, ...]:
    """Return the directories that a request suggests, best first."""
    hints = [*_header_hints(scope), *_query_hints(scope)]
    if (process := _process_of(scope)) is not None and (hint := await process.hint()) is not None:
        hints.append(hint)
    return tuple(hints)


def header_of(scope: Scope, wanted: bytes) -> str | None:
    """Return a header of which the guard lets only one through."""
    for name, value in scope["headers"]:
        if name == wanted:
            return _text(value)
    return None


def _header_hints(scope: Scope) -> Iterator[Hint]:
    if given := header_of(scope, b"workroot-directory"):
        yield Hint(Source.HEADER, "Workroot-Directory", _path(given))


def _query_hints(scope: Scope) -> Iterator[Hint]:
    """Yield each directory that the URL names, once; none of too many, but that is shown."""
    fields = [field.partition(b"=") for field in scope["query_string"].split(b"&") if field]
    # `&` in a path that was put into the URL as it was: what is before it is another directory.
    torn = any(not equals for _, equals, _ in fields)
    problem = "is followed by an & and no parameter; write an & in a path as %26" if torn else None
    given = dict.fromkeys(
        _query_value(value) for name, _, value in fields if value and unquote_to_bytes(name) == b"directory"
    )
    if len(given) > _MOST_DIRECTORIES:
        yield Hint(Source.HEADER, "?directory=", "", problem="names too many directories")
        return
    for directory in given:
        yield Hint(Source.HEADER, "?directory=", _path(directory), problem=problem)


def _query_value(raw: bytes) -> str:
    """Return a value percent-decoded.

    `+` is a space where a form's rules were followed, which encode every `/` too, and itself where a path
    was put into the URL as it was (`?directory=${PWD}`).
    """
    return _text(unquote_to_bytes(raw if b"/" in raw else raw.replace(b"+", b" ")))


def _path(given: str) -> str:
    """Return the path that a `file:` URI names; what is none, and what names none here, as it is."""
    return (path_of_root(given) or given) if given.startswith("file:") else given


def _process_of(scope: Scope) -> PeerProcess | None:
    """Return the process at the other end if its directory may be the sender's.

    A token that acts for somebody else is not spoken for by a process of the operating-system user.
    """
    process = scope.get("state", {}).get(PEER_PROCESS_KEY)
    if not isinstance(process, PeerProcess) or scope["method"] != "POST":  # nothing else holds a call
        return None
    is_relayed = any(name in _RELAYED for name, _ in scope["headers"])
    return process if not is_relayed and scope[OWNER_KEY].principal == os_owner().principal else None


def _text(value: bytes) -> str:
    """Return text: UTF-8 as most programs send it, else Latin-1 as browsers' `fetch` does."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
