"""Session ids that nobody can guess, in the forms that other systems expect, and whether an id has such a form.

The verdict on an id looks at its characters and its length alone: how random one single text is cannot be told from
the text, and a rule that tries refuses some of what the generator makes. So every id made here passes here.
"""

from __future__ import annotations

import math
import re
import secrets
import string
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypedDict

from workroot.errors import IdFormatError

__all__ = [
    "LEAST_BITS",
    "LONGEST_ID",
    "CustomFormat",
    "ProtocolType",
    "generate_secure_session_id",
    "validate_session_id_format",
]

LEAST_BITS: Final = 128
"""What a generated id holds at least, in random bits; a UUID has room for 122."""

LONGEST_ID: Final = 512
"""The most characters that an id has."""

_SHORTEST_ID = 16
_UUID_BITS = 122  # RFC 9562, section 5.4: 128, less four for the version and two for the variant
_ALPHANUMERIC = string.ascii_letters + string.digits
_URL_SAFE = _ALPHANUMERIC + "-_"
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))  # MCP 2025-11-25, basic/transports: what an Mcp-Session-Id may hold
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIMESTAMP = "[0-9a-f]{8,16}"


class ProtocolType(StrEnum):
    """What an id is for; each has a form of its own."""

    GENERIC = "generic"
    MCP = "mcp"
    HTTP = "http"
    WEBSOCKET = "websocket"
    JWT = "jwt"
    UUID = "uuid"
    API_KEY = "api_key"
    TEMP_TOKEN = "temp_token"  # noqa: S105  # the name of a form, no secret


class CustomFormat(TypedDict, total=False):
    """A form that is not in the list.

    Attributes:
        length: random characters, at least 16; more are used where the alphabet needs them for 128 bits.
        alphabet: what those are chosen from: at least two different characters, none of them twice.
        prefix: what each id begins with; nothing if left out.
        separator: what stands between prefix, time and random characters; `-` if left out.
    """

    length: int
    alphabet: str
    prefix: str
    separator: str


@dataclass(frozen=True, slots=True)
class _Form:
    """What ids of one kind look like.

    Attributes:
        length: the fewest random characters.
        relaxed: what the characters may be when only the protocol's own rule counts; None: as the alphabet.
        is_bare: an id without the prefix has this form too.
    """

    length: int
    alphabet: str
    prefix: str = ""
    separator: str = ""
    relaxed: str | None = None
    is_bare: bool = False


_FORMS: Final = {
    ProtocolType.GENERIC: _Form(44, _ALPHANUMERIC, "sess", "-", relaxed=_URL_SAFE, is_bare=True),
    ProtocolType.MCP: _Form(36, _URL_SAFE + ".", "mcp", "-", relaxed=_VISIBLE),
    ProtocolType.HTTP: _Form(32, _URL_SAFE, "http", "-"),
    ProtocolType.WEBSOCKET: _Form(32, _URL_SAFE, "ws", "-"),
    ProtocolType.JWT: _Form(30, _URL_SAFE),
    ProtocolType.API_KEY: _Form(40, "0123456789abcdef", "ak", "_", relaxed=_URL_SAFE),
    ProtocolType.TEMP_TOKEN: _Form(22, _ALPHANUMERIC, "tmp", "_", relaxed=_URL_SAFE),
}


def generate_secure_session_id(
    protocol: str = ProtocolType.GENERIC,
    custom_format: CustomFormat | None = None,
    include_timestamp: bool = False,
    entropy_bits: int | None = None,
    *,
    now: Callable[[], float] = time.time,
) -> str:
    """Return a new id of at least 128 random bits from the system's generator (a UUID: 122, all that it has room for).

    Random characters, beside prefix and separator: generic 44, MCP 36, HTTP and WebSocket 32, JWT 30, API key 40
    hexadecimal digits, temporary token 22. Each but a custom one begins with a letter or a digit.

    Args:
        protocol: one of `ProtocolType`; with *custom_format* any name.
        custom_format: the form to use instead of the protocol's.
        include_timestamp: put the time before the random characters, in seconds since the Unix epoch, hexadecimal.
        entropy_bits: random bits that it holds at least; None, or fewer than 128, has no effect.
        now: the clock.

    Raises:
        IdFormatError: the protocol is unknown, the form has no room for what was asked, or the id would be too long.
    """
    if entropy_bits is not None and not isinstance(entropy_bits, int):
        raise IdFormatError(f"random bits are a whole number, not {type(entropy_bits).__name__}")
    if custom_format is None and _known(protocol) is ProtocolType.UUID:
        if include_timestamp or (entropy_bits or 0) > _UUID_BITS:
            raise IdFormatError(
                f"a uuid has room for {_UUID_BITS} random bits and nothing else: choose another protocol"
            )
        return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
    form = _FORMS[_known(protocol)] if custom_format is None else _custom(custom_format)
    if include_timestamp and not form.separator:
        raise IdFormatError("an id without a separator has no place for a timestamp: choose another protocol")
    length = max(form.length, _needed(max(entropy_bits or 0, LEAST_BITS), form.alphabet))
    parts = [form.prefix] if form.prefix else []
    if include_timestamp:
        parts.append(f"{max(0, int(now())):08x}")
    before = "".join(part + form.separator for part in parts)
    if len(before) + length > LONGEST_ID:  # looked at first: making a thousand million characters takes minutes
        raise IdFormatError(f"the id would have {len(before) + length} characters; {LONGEST_ID} is the most")
    return before + _random(length, form.alphabet, leads=not parts and custom_format is None)


def validate_session_id_format(
    session_id: object,
    protocol: str = ProtocolType.GENERIC,
    min_entropy_bits: float = LEAST_BITS,
    strict_mode: bool = True,
    *,
    custom_format: CustomFormat | None = None,
) -> bool:
    """Tell whether *session_id* has the form of *protocol*: its characters, and enough of them.

    That an id could hold so many bits does not say that it does: `0` repeated forty times has the form of an API key.

    Args:
        session_id: what to look at; what is not text has no form.
        protocol: one of `ProtocolType`; with *custom_format* any name.
        min_entropy_bits: how many bits its random part must have room for, each character counted in full.
        strict_mode: the prefix and the alphabet of generated ids; else the prefix may be missing and what the protocol
            itself allows is enough (MCP: any visible ASCII).
        custom_format: the form to look for instead of the protocol's.

    Raises:
        IdFormatError: the protocol is unknown.
    """
    form = None
    if custom_format is not None:
        form = _custom(custom_format)
    elif (known := _known(protocol)) is not ProtocolType.UUID:
        form = _FORMS[known]
    if not isinstance(session_id, str) or not _SHORTEST_ID <= len(session_id) <= LONGEST_ID:
        return False
    if form is None:
        return min_entropy_bits <= LEAST_BITS and _UUID.fullmatch(session_id) is not None
    is_bare = form.is_bare or not strict_mode
    alphabet = form.alphabet if strict_mode and not form.is_bare else form.relaxed or form.alphabet
    if not min_entropy_bits <= LONGEST_ID * math.log2(len(alphabet)):
        return False
    prefix = re.escape(form.prefix + form.separator) if form.prefix else ""
    time_part = f"(?:{_TIMESTAMP}{re.escape(form.separator)})?" if form.separator else ""
    random_part = f"[{re.escape(alphabet)}]{{{max(1, _needed(max(0, min_entropy_bits), alphabet))},}}"
    how_often = "?+" if is_bare else ""  # taken if it is there: a prefix is never counted as random
    return re.fullmatch(f"(?:{prefix}){how_often}{time_part}{random_part}", session_id) is not None


def _known(protocol: str) -> ProtocolType:
    try:
        return ProtocolType(protocol)
    except ValueError:
        names = ", ".join(ProtocolType)
        raise IdFormatError(f"unknown protocol {protocol!r}: choose one of {names}, or give a custom_format") from None


def _custom(given: CustomFormat) -> _Form:
    if not isinstance(given, Mapping):
        raise IdFormatError(f"a custom format is a dictionary, not {type(given).__name__}")
    length, alphabet = given.get("length", 0), given.get("alphabet", "")
    prefix, separator = given.get("prefix", ""), given.get("separator", "-")
    if not isinstance(length, int) or not all(isinstance(each, str) for each in (alphabet, prefix, separator)):
        raise IdFormatError("of a custom format the length is a whole number, and all else is text")
    if length < _SHORTEST_ID:
        raise IdFormatError(f"a custom format needs a length of at least {_SHORTEST_ID}, not {length}")
    if len(alphabet) < 2 or len(set(alphabet)) != len(alphabet):
        raise IdFormatError("a custom format needs an alphabet of at least two characters, none of them twice")
    return _Form(length, alphabet, prefix, separator)


def _needed(bits: float, alphabet: str) -> int:
    """Return how many characters of *alphabet* have room for *bits*."""
    return math.ceil(bits / math.log2(len(alphabet)))


def _random(length: int, alphabet: str, *, leads: bool) -> str:
    """Return *length* characters; where they lead the id, the first is a letter or a digit, as a handle's must be."""
    first = secrets.choice(_ALPHANUMERIC if leads else alphabet)
    return first + "".join(secrets.choice(alphabet) for _ in range(length - 1))
