"""Principals: on whose behalf a call comes, and the tokens that say so over HTTP.

A token is shown once and kept as a digest only; it is in no log, error or answer. A file that cannot be
understood is an error that names it, never "no tokens".
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from workroot.core.sessions import DEFAULT_SANDBOX, Owner
from workroot.errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Token", "TokenFile", "os_owner"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOKEN_BYTES = 32
_MAX_FILE_BYTES = 1024 * 1024
_SETTLED_SECONDS = 2  # a younger file may change once more within its time stamps' grain

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


class _FileIdentity(NamedTuple):
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> _FileIdentity:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class TokenFile:
    """The tokens of one user, in one file: 0600, replaced as a whole, changed by one process at a time.

    Every method looks at the file first, so a token that another process made or revoked counts at once.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._read: tuple[_FileIdentity, tuple[Token, ...]] | None = None

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
        with self._changing() as directory:
            tokens = self._load()
            if any(kept.name == name for kept in tokens):
                raise TokenError(
                    f"there is a token named {name!r} already: revoke it first (`workroot token revoke {name}`), "
                    f"or choose another name"
                )
            made = Token(name=name, sha256=_digest(token), user=user, created_at=self._clock(), sandbox=sandbox)
            self._replace((*tokens, made), directory)
        return token

    def list(self) -> tuple[Token, ...]:
        """Return what is kept of every token, oldest first.

        Raises:
            TokenError: the file cannot be used.
        """
        return self._load()

    def revoke(self, name: str) -> None:
        """Forget a token: its bearer is refused from the next request on, and hears no further event of a stream.

        Raises:
            TokenError: there is none of that name, or the file is unusable; nothing was written.
        """
        with self._changing() as directory:
            tokens = self._load()
            remaining = tuple(kept for kept in tokens if kept.name != name)
            if len(remaining) == len(tokens):
                known = ", ".join(kept.name for kept in tokens) or "none"
                raise TokenError(f"there is no token named {name[:64]!r}; known: {known}")
            self._replace(remaining, directory)

    def owner_of(self, token: str) -> Owner | None:
        """Return on whose behalf the bearer of *token* calls, or None if it is nobody's.

        Takes the same time whether it is nearly right or all wrong.

        Raises:
            TokenError: the file cannot be used, so nobody can be let in.
        """
        digest, bearer = _digest(token), None
        for kept in self._load():
            if hmac.compare_digest(kept.sha256, digest):
                bearer = kept
        return bearer.owner if bearer is not None else None

    def _load(self) -> tuple[Token, ...]:
        try:
            if self._read is not None and _FileIdentity.of(os.stat(self._path)) == self._read[0]:
                return self._read[1]
            self._read = None
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                self._check_private(status)
                content = file.read(_MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise TokenError(f"{self._path} cannot be read: {error.strerror}") from error
        tokens = self._parse(content)
        if self._clock() - max(status.st_mtime, status.st_ctime) > _SETTLED_SECONDS:
            self._read = (_FileIdentity.of(status), tokens)
        return tokens

    def _check_private(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise TokenError(
                f"{self._path} must be a file that belongs to you and that nobody else can write to; "
                f"move it away, or correct its owner and mode (0600)"
            )

    def _parse(self, content: bytes) -> tuple[Token, ...]:
        try:
            if len(content) > _MAX_FILE_BYTES:
                raise TokenError(
                    f"{self._path} is larger than {_MAX_FILE_BYTES} bytes; move it away and make new tokens"
                )
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

    @contextmanager
    def _changing(self) -> Iterator[int]:
        """Keep other processes from changing the file; yields a descriptor of its directory."""
        directory = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield directory
        except OSError as error:
            raise TokenError(f"{self._path} cannot be written: {error.strerror}") from error
        finally:
            if directory is not None:
                os.close(directory)

    def _replace(self, tokens: Sequence[Token], directory: int) -> None:
        content = _written(tokens)
        temporary = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, self._path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        os.fsync(directory)
        self._read = None


def _written(tokens: Sequence[Token]) -> bytes:
    """Return the file's content; without a sandbox a token is written as workroot 0.1 wrote and reads it."""
    rows = [one.model_dump(exclude={"sandbox"} if one.sandbox is None else None) for one in tokens]
    return json.dumps({"version": 1, "tokens": rows}, indent=2).encode() + b"\n"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise TokenError(f"{name[:64]!r} cannot be the name of a {what}: 1 to 64 letters, digits, '.', '_' or '-'")
