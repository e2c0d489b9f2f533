"""Principals: on whose behalf a call comes, and the tokens that say so over HTTP.

A token is shown once and kept as a digest only; it is in no log, error or answer. A file that cannot be
understood is an error that names it, never "no tokens".
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import time
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from workroot.core.sessions import DEFAULT_SANDBOX, Owner
from workroot.errors import TokenError
from workroot.private_file import PrivateFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Token", "TokenFile", "os_owner"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOKEN_BYTES = 32
_MAX_FILE_BYTES = 1024 * 1024

_Name = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9._-]{1,64}\z")]
_Digest = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]


def os_owner() -> Owner:
    """Return the operating-system user whom this process runs as."""
    return Owner(f"uid:{os.geteuid()}")


class Token(BaseModel):
    """What is kept of a token.

    Attributes:
        name: which client entry it was made for.
        sha256: digest of the token as hex digits; the token itself has 256 random bits, so this is enough.
        user: the user it acts for, or None for the operating-system user.
        created_at: in seconds since the Unix epoch.
        sandbox: the tenant whose sessions it may reach, or None for the one that everybody is in who names none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: _Name
    sha256: _Digest
    user: _Name | None
    created_at: float
    sandbox: _Name | None = None

    @property
    def owner(self) -> Owner:
        """On whose behalf its bearer calls."""
        principal = os_owner().principal if self.user is None else f"user:{self.user}"
        return Owner(principal, self.sandbox or DEFAULT_SANDBOX)


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1] = 1
    tokens: tuple[Token, ...] = ()


class TokenFile:
    """The tokens of one user, in one file that is nobody else's.

    Every method looks at the file first, so a token that another process made or revoked counts at once.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = path, clock
        self._file = PrivateFile[tuple[Token, ...]](
            path, parse=self._parse, empty=(), error=TokenError, max_bytes=_MAX_FILE_BYTES, clock=clock
        )

    def create(self, name: str, user: str | None = None, sandbox: str | None = None) -> str:
        """Make a token and return it: nobody can be shown it again.

        Args:
            name: which client entry it is for; 1 to 64 letters, digits, `.`, `_` or `-`.
            user: on whose behalf its bearer calls, spelled like a name; None for the operating-system user.
            sandbox: the tenant whose sessions it may reach, spelled like a name; None for the default one.

        Raises:
            TokenError: the name is taken or cannot be one, or the file is unusable; nothing was written.
        """
        _check_name(name, "token")
        if user is not None:
            _check_name(user, "user")
        if sandbox is not None:
            _check_name(sandbox, "sandbox")
        token = f"wrt_{secrets.token_urlsafe(_TOKEN_BYTES)}"
        with self._file.changing() as replace:
            tokens = self._file.load()
            if any(kept.name == name for kept in tokens):
                raise TokenError(
                    f"there is a token named {name!r} already: revoke it first (`workroot token revoke {name}`), "
                    f"or choose another name"
                )
            made = Token(name=name, sha256=_digest(token), user=user, created_at=self._clock(), sandbox=sandbox)
            replace(_written((*tokens, made)))
        return token

    def list(self) -> tuple[Token, ...]:
        """Return what is kept of every token, oldest first.

        Raises:
            TokenError: the file cannot be used.
        """
        return self._file.load()

    def revoke(self, name: str) -> None:
        """Forget a token: its bearer is refused from the next request on, and hears no further event of a stream.

        Raises:
            TokenError: there is none of that name, or the file is unusable; nothing was written.
        """
        with self._file.changing() as replace:
            tokens = self._file.load()
            remaining = tuple(kept for kept in tokens if kept.name != name)
            if len(remaining) == len(tokens):
                known = ", ".join(kept.name for kept in tokens) or "none"
                raise TokenError(f"there is no token named {name[:64]!r}; known: {known}")
            replace(_written(remaining))

    def owner_of(self, token: str) -> Owner | None:
        """Return on whose behalf the bearer of *token* calls, or None if it is nobody's.

        Takes the same time whether it is nearly right or all wrong.

        Raises:
            TokenError: the file cannot be used, so nobody can be let in.
        """
        digest, bearer = _digest(token), None
        for kept in self._file.load():
            if hmac.compare_digest(kept.sha256, digest):
                bearer = kept
        return bearer.owner if bearer is not None else None

    def _parse(self, content: bytes) -> tuple[Token, ...]:
        try:
            tokens = _Content.model_validate_json(content).tokens
        except ValidationError as error:
            fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
            field = ".".join(str(part) for part in fault["loc"]) or "the file"
            raise TokenError(
                f"{self._path} cannot be understood ({field}: {fault['msg']}); "
                f"correct it, or move it away and make new tokens"
            ) from None  # the library's error repeats the file's content
        if len({kept.name for kept in tokens}) != len(tokens):
            raise TokenError(f"{self._path} holds two tokens of one name; remove one of them")
        return tokens


def _written(tokens: Sequence[Token]) -> bytes:
    """Return the file's content; without a sandbox a token is written as workroot 0.1 wrote and reads it."""
    rows = [one.model_dump(exclude={"sandbox"} if one.sandbox is None else None) for one in tokens]
    return json.dumps({"version": 1, "tokens": rows}, indent=2).encode() + b"\n"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise TokenError(f"{name[:64]!r} cannot be the name of a {what}: 1 to 64 letters, digits, '.', '_' or '-'")
