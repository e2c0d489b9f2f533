"""The key that proves what the daemon said earlier: made once per user, kept beside the tokens, never shown.

It signs `Mcp-Session-Id`; no question to a client carries anything else that would need it. If the file is removed,
the next start makes a new one, and every id that was signed with the old key is unknown from then on.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from workroot.errors import DaemonKeyError
from workroot.private_file import PrivateFile

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DaemonKey", "load_daemon_key"]

_KEY_BYTES = 32
_MAX_FILE_BYTES = 256


class DaemonKey:
    """A secret of the daemon's; uses take keys derived from it, so that none can stand for another."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def random(cls) -> DaemonKey:
        """Return a key that ends with the process."""
        return cls(secrets.token_bytes(_KEY_BYTES))

    def derive(self, purpose: str) -> bytes:
        """Return the 32 bytes of key for one use."""
        return hmac.digest(self._secret, purpose.encode(), hashlib.sha256)


def load_daemon_key(path: Path) -> DaemonKey:
    """Return the key at *path*, which is made if there is none; two daemons that start at once get the same.

    Raises:
        DaemonKeyError: the file cannot be used; it was left as it is.
    """
    file: PrivateFile[bytes] = PrivateFile(
        path, parse=_parse, empty=b"", error=DaemonKeyError, max_bytes=_MAX_FILE_BYTES
    )
    if not (secret := file.load()):
        with file.changing() as replace:
            if not (secret := file.load()):
                secret = secrets.token_bytes(_KEY_BYTES)
                replace(f"{secret.hex()}\n".encode())
    return DaemonKey(secret)


def _parse(content: bytes) -> bytes:
    try:
        secret = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        secret = b""
    if len(secret) < _KEY_BYTES:
        raise DaemonKeyError(
            f"the daemon's key must be {_KEY_BYTES} bytes or more, written as hex digits; remove the file "
            f"`daemon.key`, and a new one is made: clients of protocol 2025-11-25 or older then begin anew"
        )
    return secret
