"""Grid paths: one name in a store for each artifact of each session, user and sandbox.

    grid/{sandbox}/{session}/{artifact}[/{subpath}]
    grid/{sandbox}/user-{user}/{artifact}[/{subpath}]
    grid/{sandbox}/shared/{artifact}[/{subpath}]

Two things never have the same path, whatever they are called: an id that could be taken for something else (`..`,
`a/b`, a session called `shared` or `user-ada`) has percent signs in its path; an ordinary one stands as it is.
Reading takes any text and never fails; what earlier systems wrote is read too:

- `sessions/{session}/...` and `users/{user}/...` in the place of the second part, beside `shared/...`;
- `session-{id}`, where `session-` is part of the session's id, as it was in the systems that wrote such paths;
- ids with spaces or letters beyond ASCII as they are, since those systems escaped nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self, TypedDict
from urllib.parse import quote, unquote_to_bytes

from workroot.errors import GridPathError

__all__ = [
    "GridKey",
    "GridPath",
    "Scope",
    "generate_artifact_key",
    "get_canonical_prefix",
    "get_session_prefix_pattern",
    "parse_grid_key",
]

_GRID: Final = "grid"
_SHARED: Final = "shared"
_SESSIONS: Final = "sessions"
_USERS: Final = "users"
_USER_PREFIX: Final = "user-"
_AS_IT_IS: Final = "-._~@"  # beside letters and digits: RFC 3986, section 2.3, and what user ids often have
_SMALLEST = 4  # grid, sandbox, whose, artifact


class Scope(StrEnum):
    """Whose an artifact is."""

    SESSION = "session"
    USER = "user"
    SANDBOX = "sandbox"


class GridKey(TypedDict):
    """The parts of a session's path, as `parse_grid_key` returns them."""

    sandbox_id: str
    session_id: str
    artifact_id: str
    subpath: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPath:
    """What a grid path names. Equal paths name the same thing, and only they.

    Attributes:
        sandbox_id: the tenant.
        session_id: whose it is, if a session's; None otherwise.
        user_id: whose it is, if a user's; None otherwise. With neither it is the whole sandbox's.
        artifact_id: which one; any text, a slash in it is not a separator.
        subpath: what within it, parts separated by `/`; None for all of it.

    Raises:
        GridPathError: a part is empty, or there are both a session and a user.
    """

    sandbox_id: str
    session_id: str | None = None
    user_id: str | None = None
    artifact_id: str
    subpath: str | None = None

    def __post_init__(self) -> None:
        if self.session_id is not None and self.user_id is not None:
            raise GridPathError("a grid path is a session's, a user's or the sandbox's: give one id at most")
        _check("sandbox_id", self.sandbox_id)
        _check("artifact_id", self.artifact_id)
        if self.session_id is not None:
            _check("session_id", self.session_id)
        if self.user_id is not None:
            _check("user_id", self.user_id)
        if self.subpath is not None and "" in self.subpath.split("/"):
            raise GridPathError(f"a subpath has no empty part, as {self.subpath!r} has: leave out the extra slash")

    @classmethod
    def parse(cls, key: str, *, session_prefix: str = "") -> Self | None:
        """Return what *key* names, or None if it is not a path of an artifact.

        Args:
            key: any text.
            session_prefix: what its writer put before each session id, to be taken away where it is there.
        """
        grid, *parts = key.split("/")
        if grid != _GRID or len(parts) < _SMALLEST - 1:
            return None
        sandbox, whose, *rest = parts
        session = user = None
        if whose in (_SESSIONS, _USERS):
            name = _read(rest.pop(0))
            session, user = (name, None) if whose == _SESSIONS else (None, name)
        elif whose.startswith(_USER_PREFIX):
            user = name = _read(whose.removeprefix(_USER_PREFIX))
        elif whose == _SHARED:
            name = whose
        else:
            session = name = _read(whose, is_session=True)
        read = [_read(part) for part in (sandbox, *rest)]
        found = [part for part in read if part]
        if not name or not rest or len(found) < len(read):
            return None
        sandbox, artifact, *subpath = found
        if any("/" in part for part in subpath):  # escaped within one part, it would become a separator of two
            return None
        if session is not None:
            session = session.removeprefix(session_prefix) or session
        return cls(
            sandbox_id=sandbox,
            session_id=session,
            user_id=user,
            artifact_id=artifact,
            subpath="/".join(subpath) if subpath else None,
        )

    @property
    def scope(self) -> Scope:
        """Whose it is."""
        if self.session_id is not None:
            return Scope.SESSION
        return Scope.SANDBOX if self.user_id is None else Scope.USER

    @property
    def key(self) -> str:
        """The path as text; `parse` makes the same of it again."""
        parts = [_written(self.artifact_id), *map(_written, self.subpath.split("/") if self.subpath else ())]
        return f"{self.prefix}{'/'.join(parts)}"

    @property
    def prefix(self) -> str:
        """What the paths of all artifacts of the same session, user or sandbox begin with, and no others."""
        if self.session_id is not None:
            whose = _written_session(self.session_id)
        else:
            whose = _SHARED if self.user_id is None else _USER_PREFIX + _written(self.user_id)
        return f"{get_session_prefix_pattern(sandbox=self.sandbox_id)}{whose}/"

    def __str__(self) -> str:
        return self.key


def get_canonical_prefix(session_id: str, *, sandbox: str) -> str:
    """Return `grid/{sandbox}/{session}/`: what the keys of this session's artifacts begin with, and no others.

    Raises:
        GridPathError: the session or the sandbox has no name.
    """
    _check("session_id", session_id)
    return GridPath(sandbox_id=sandbox, session_id=session_id, artifact_id=_SHARED).prefix


def generate_artifact_key(session_id: str, artifact_id: str, subpath: str | None = None, *, sandbox: str) -> str:
    """Return `grid/{sandbox}/{session}/{artifact}[/{subpath}]`.

    Raises:
        GridPathError: a part is empty.
    """
    _check("session_id", session_id)
    return GridPath(sandbox_id=sandbox, session_id=session_id, artifact_id=artifact_id, subpath=subpath).key


def parse_grid_key(key: str) -> GridKey | None:
    """Return the parts of a session's key, or None if *key* is none; `GridPath.parse` reads those of users too."""
    path = GridPath.parse(key)
    if path is None or path.session_id is None:
        return None
    return {
        "sandbox_id": path.sandbox_id,
        "session_id": path.session_id,
        "artifact_id": path.artifact_id,
        "subpath": path.subpath,
    }


def get_session_prefix_pattern(*, sandbox: str) -> str:
    """Return `grid/{sandbox}/`: what all keys of a sandbox begin with, and no others.

    Raises:
        GridPathError: the sandbox has no name.
    """
    _check("sandbox_id", sandbox)
    return f"{_GRID}/{_written(sandbox)}/"


def _check(name: str, found: object) -> None:
    """Refuse what is no id; None too, for without a session a path would be the whole sandbox's."""
    if not isinstance(found, str) or not found:
        raise GridPathError(f"a grid path needs a {name} that is text of at least one character, not {found!r:.80}")


def _written(text: str) -> str:
    if text in (".", ".."):
        return text.replace(".", "%2E")
    return quote(text, safe=_AS_IT_IS, errors="surrogatepass")


def _written_session(session_id: str) -> str:
    written = _written(session_id)
    if session_id in (_SESSIONS, _USERS, _SHARED) or session_id.startswith(_USER_PREFIX):
        return f"%{ord(session_id[0]):02X}{written[1:]}"
    return written


def _read(part: str, *, is_session: bool = False) -> str | None:
    """Return the name that *part* stands for; None if nobody would have written it so."""
    if "%" not in part:
        return part if part.isprintable() and part not in ("", ".", "..") else None
    if not part.isascii():
        return None
    try:
        name = unquote_to_bytes(part).decode(errors="surrogatepass")
    except UnicodeDecodeError:
        return None
    # Whoever escapes, escapes in one way: another spelling would be a second path to the same thing.
    return name if part == (_written_session(name) if is_session else _written(name)) else None
