"""What a session is: its handle, its owner, where it works, and how it ended."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, NewType

from workroot.core.projects import Directory, Place, ProjectId
from workroot.errors import SessionError

__all__ = [
    "DEFAULT_SANDBOX",
    "Alias",
    "EndedSession",
    "Ending",
    "Owner",
    "PinnedSign",
    "SessionContext",
    "SessionId",
    "SessionKey",
    "check_session_id",
    "mint_session_id",
]

SessionId = NewType("SessionId", str)
Alias = NewType("Alias", str)
"""A transport's own name for a conversation: a connector's instance, an `Mcp-Session-Id`. Never a key."""

DEFAULT_SANDBOX = "default"

_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HANDLE_BYTES = 18  # 144 bits; 128 is the least that may be guessed at


class Owner(NamedTuple):
    """On whose behalf a session exists; part of every key.

    Attributes:
        principal: the operating-system user (`uid:1000`) or a token's user (`user:ada`).
        sandbox: the tenant. Sessions of two sandboxes never meet.
    """

    principal: str
    sandbox: str = DEFAULT_SANDBOX


class SessionKey(NamedTuple):
    """What a session is kept under: the same id in two sandboxes is two sessions."""

    sandbox: str
    session_id: SessionId


class PinnedSign(NamedTuple):
    """What a sign of the client's named when a pin was set.

    Attributes:
        sign: `source: which one`.
        directory: where it led, symlinks resolved.
        agreed: the pin meant the same.
    """

    sign: str
    directory: str
    agreed: bool = False


class Ending(StrEnum):
    """How a session came to its end."""

    CLOSED = "closed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionContext:
    """One conversation's place of work, as readers see it. Frozen: a change is a new one.

    Attributes:
        session_id: the handle that callers pass.
        owner: on whose behalf; a stranger never sees it.
        working_directory: absolute, symlinks resolved.
        given_directory: the same as the client spelled it.
        config_path: the project config in force, or None.
        project_id: None where no project owns the directory.
        project_root: the directory that owns it; of a worktree, the worktree.
        project_name: as the project names itself, None where there is none.
        signs: what the client's signs named when the directory was set.
        set_at: when the directory was set, in seconds since the Unix epoch.
        last_used: last activity, in seconds since the Unix epoch.
        revision: +1 at every change; of two copies, the higher is the newer.
    """

    session_id: SessionId
    owner: Owner
    working_directory: Directory
    given_directory: str
    config_path: str | None = None
    project_id: ProjectId | None = None
    project_root: Directory | None = None
    project_name: str | None = None
    signs: tuple[PinnedSign, ...] = ()
    set_at: float
    last_used: float
    revision: int = 1

    @classmethod
    def working_in(
        cls,
        place: Place,
        owner: Owner,
        session_id: SessionId,
        *,
        now: float,
        signs: tuple[PinnedSign, ...] = (),
        revision: int = 1,
    ) -> SessionContext:
        """Return the session of somebody who works in *place* from now on.

        Texts that are equal are one object: they are most of what a session takes.
        """
        directory, project = place.directory, place.project
        root = project.root if project else None
        return cls(
            session_id=session_id,
            owner=owner,
            working_directory=directory,
            given_directory=directory if place.given == directory else place.given,
            config_path=place.config_path,
            project_id=project.project_id if project else None,
            project_root=directory if root == directory else root,
            project_name=project.name if project else None,
            signs=signs,
            set_at=now,
            last_used=now,
            revision=revision,
        )

    @property
    def key(self) -> SessionKey:
        """What this session is kept under."""
        return SessionKey(self.owner.sandbox, self.session_id)

    def is_as(self, place: Place) -> bool:
        """Tell whether the session is kept as somebody who works in *place* is."""
        project = place.project
        return (self.working_directory, self.config_path, self.project_id, self.project_root, self.project_name) == (
            place.directory,
            place.config_path,
            project.project_id if project else None,
            project.root if project else None,
            project.name if project else None,
        )

    def is_in_project_of(self, other: SessionContext) -> bool:
        """Tell whether both are in the same worktree of the same project, or both in none."""
        return (self.project_id, self.project_root) == (other.project_id, other.project_root)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedSession:
    """What remains of a session that ended, so that it does not come back to life.

    Attributes:
        ended_at: in seconds since the Unix epoch.
        seen: the same on the idle clock, which decides for how long this is remembered.
    """

    session_id: SessionId
    owner: Owner
    last_directory: Directory
    ending: Ending
    ended_at: float
    seen: float = 0.0

    @property
    def key(self) -> SessionKey:
        """What the session was kept under."""
        return SessionKey(self.owner.sandbox, self.session_id)


def mint_session_id() -> SessionId:
    """Return a new handle that nobody can guess (144 random bits)."""
    return SessionId(f"wr_{secrets.token_urlsafe(_HANDLE_BYTES)}")


def check_session_id(session_id: str) -> SessionId:
    """Return *session_id* if it can be one: 1 to 128 letters, digits, `.`, `_` or `-`, a letter or digit first.

    Raises:
        SessionError: it cannot be one.
    """
    if not _SESSION_ID.fullmatch(session_id):
        raise SessionError(
            session_id[:200],
            f"{session_id[:200]!r} cannot be a session id: 1 to 128 letters, digits, '.', '_' or '-', "
            f"beginning with a letter or digit; pass the session_id that set_working_directory returned",
        )
    return SessionId(session_id)
