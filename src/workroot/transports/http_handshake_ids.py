"""`Mcp-Session-Id`: an id that itself proves that we issued it, and holds what must be known of its client.

So a session costs nothing until it is used, and goes on when the daemon that issued it is gone. Nobody can make or
change one without the daemon's key; that its bearer may use it is decided elsewhere, by token and owner.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcp_types import (
    ClientCapabilities,
    ElicitationCapability,
    Implementation,
    InitializeRequestParams,
    RootsCapability,
    SamplingCapability,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION

from workroot.core.sessions import Alias

if TYPE_CHECKING:
    from collections.abc import Callable

    from workroot.core.sessions import Owner
    from workroot.daemon_key import DaemonKey

__all__ = ["ClientFacts", "IssuedId", "SessionIds"]

_PREFIX = "wrh_"
_FORMAT = 2
_HEAD = struct.Struct(">B16s4sQ12sB")  # format, random part, issuer, time of issue in ms, owner, capabilities
_MAC_BYTES = 16
_MOST_NAME_BYTES = 64
_MOST_VERSION_BYTES = 24
_LONGEST = 256
_MOST_KNOWN = 1024
_ROOTS, _ROOTS_CHANGED, _SAMPLING, _ELICITATION = 1, 2, 4, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFacts:
    """What `initialize` settled, as far as it matters afterwards.

    Attributes:
        protocol_version: as agreed.
        name: `clientInfo.name`, cut to 64 bytes.
        version: `clientInfo.version`, cut to 24 bytes.
    """

    protocol_version: str
    name: str
    version: str
    roots: bool = False
    roots_changed: bool = False
    sampling: bool = False
    elicitation: bool = False

    @classmethod
    def of(cls, params: InitializeRequestParams) -> ClientFacts:
        """Return what the parameters of `initialize` settle; the version is agreed on as the SDK does it."""
        wanted, can = params.protocol_version, params.capabilities
        return cls(
            protocol_version=wanted if wanted in HANDSHAKE_PROTOCOL_VERSIONS else LATEST_HANDSHAKE_VERSION,
            name=_cut(params.client_info.name, _MOST_NAME_BYTES),
            version=_cut(params.client_info.version, _MOST_VERSION_BYTES),
            roots=can.roots is not None,
            roots_changed=can.roots is not None and bool(can.roots.list_changed),
            sampling=can.sampling is not None,
            elicitation=can.elicitation is not None,
        )

    def params(self) -> InitializeRequestParams:
        """Return this as the parameters of `initialize`."""
        return InitializeRequestParams(
            protocol_version=self.protocol_version,
            capabilities=ClientCapabilities(
                roots=RootsCapability(list_changed=self.roots_changed) if self.roots else None,
                sampling=SamplingCapability() if self.sampling else None,
                elicitation=ElicitationCapability() if self.elicitation else None,
            ),
            client_info=Implementation(name=self.name, version=self.version),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedId:
    """An `Mcp-Session-Id` of ours.

    Attributes:
        text: as the client sends it.
        alias: its random part; what the conversation is known by everywhere else.
        issued_at: in seconds, on the clock of `SessionIds`.
        is_from_now: this very daemon issued it, not an earlier one.
    """

    text: str
    alias: Alias
    issued_at: float
    is_from_now: bool
    facts: ClientFacts


class SessionIds:
    """Issues ids, and knows its own.

    Args:
        key: signs them.
        now: the time in seconds, on a clock that outlives the daemon; no ids are older than that.
    """

    def __init__(self, key: DaemonKey, now: Callable[[], float]) -> None:
        self._key, self._now = key.derive("mcp-session-id"), now
        self._issuer = secrets.token_bytes(4)
        self._known: OrderedDict[tuple[Owner, str], IssuedId] = OrderedDict()  # read before; the longest unused first

    def issue(self, owner: Owner, facts: ClientFacts) -> IssuedId:
        """Return a new id for a client of *owner*."""
        random, issued_ms = secrets.token_bytes(16), int(self._now() * 1000)
        flags = _ROOTS * facts.roots | _ROOTS_CHANGED * facts.roots_changed
        flags |= _SAMPLING * facts.sampling | _ELICITATION * facts.elicitation
        content = _HEAD.pack(_FORMAT, random, self._issuer, issued_ms, _digest(owner), flags)
        for text in (facts.protocol_version, facts.name, facts.version):
            content += struct.pack("B", len(text.encode())) + text.encode()
        text = f"{_PREFIX}{_encoded(content + self._mac(content))}"
        return IssuedId(text=text, alias=_alias(random), issued_at=issued_ms / 1000, is_from_now=True, facts=facts)

    def read(self, owner: Owner, text: str) -> IssuedId | None:
        """Return what an id says, or None if we never issued it to *owner*."""
        if (known := self._known.get((owner, text))) is not None:
            self._known.move_to_end((owner, text))
            return known
        issued = self._read(owner, text)
        if issued is not None:
            self._known[owner, text] = issued
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return issued

    def _read(self, owner: Owner, text: str) -> IssuedId | None:
        raw = _decoded(text.removeprefix(_PREFIX)) if text.startswith(_PREFIX) and len(text) <= _LONGEST else b""
        content, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        # From here on what is in it was put there by us.
        if not hmac.compare_digest(mac, self._mac(content)) or content[:1] != bytes([_FORMAT]):
            return None
        _, random, issuer, issued_ms, digest, flags = _HEAD.unpack_from(content)
        if not hmac.compare_digest(digest, _digest(owner)):
            return None
        version, name, client_version = _texts(content[_HEAD.size :])
        facts = ClientFacts(
            protocol_version=version,
            name=name,
            version=client_version,
            roots=bool(flags & _ROOTS),
            roots_changed=bool(flags & _ROOTS_CHANGED),
            sampling=bool(flags & _SAMPLING),
            elicitation=bool(flags & _ELICITATION),
        )
        return IssuedId(
            text=text,
            alias=_alias(random),
            issued_at=issued_ms / 1000,
            is_from_now=issuer == self._issuer,
            facts=facts,
        )

    def _mac(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, hashlib.sha256)[:_MAC_BYTES]


def _alias(random: bytes) -> Alias:
    return Alias(_encoded(random))


def _digest(owner: Owner) -> bytes:
    return hashlib.sha256("\0".join(owner).encode()).digest()[:12]


def _cut(text: str, most_bytes: int) -> str:
    """Return the beginning of *text*; half of a surrogate pair, which JSON may hold, is left out."""
    return text.encode(errors="ignore")[:most_bytes].decode(errors="ignore")


def _texts(packed: bytes) -> list[str]:
    texts = []
    while packed:
        texts.append(packed[1 : 1 + packed[0]].decode())
        packed = packed[1 + packed[0] :]
    return texts


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _decoded(text: str) -> bytes:
    """Return what *text* encodes; nothing if it is not how we would have written that."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if _encoded(raw) == text else b""
