"""What a server asks of sessions, whoever keeps them: this process, or the daemon behind `workroot.connect()`.

`SessionContextManager` and the client of the daemon both keep these promises, and one suite holds both to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workroot.core.allocations import AllocatedSession, Allocation, JsonValue
    from workroot.core.answer import Resolution
    from workroot.core.projects import Directory, KnownProject, Place
    from workroot.core.sessions import EndedSession, Owner, SessionContext
    from workroot.core.signs import Signs
    from workroot.mover import Entered

__all__ = ["AllocationService", "SessionService"]


class AllocationService(Protocol):
    """Sessions that are allocated for a time, with small values of their own.

    Every call names on whose behalf it comes. Of somebody else's session nobody learns that there is one: it reads as
    unknown. *user_id* is the acting user; None is the owner's own program, which serves all its users.

    All raise `StoreUnavailableError` where something has to be kept and cannot be: nothing changed then.
    """

    async def allocate(
        self,
        owner: Owner,
        *,
        session_id: str | None,
        user_id: str | None,
        seconds: float,
        values: Mapping[str, object],
    ) -> Allocation:
        """Make a session, or return the one of that id if it is the caller's already.

        Args:
            owner: on whose behalf.
            session_id: the id it is to have; None mints one that nobody can guess.
            user_id: whose it is; None if that does not matter.
            seconds: its time to live.
            values: what it remembers.

        Raises:
            MetadataError: it cannot remember that.
            SessionError: the id cannot be one, is somebody else's (`SessionTakenError`) or is over
                (`SessionEndedError`).
            TimeToLiveError: it cannot live for so long.
            TooManySessionsError: there is room for no other.
            UserIdError: the user's id cannot be one.
        """

    async def validate(self, owner: Owner, session_id: str, *, user_id: str | None) -> bool:
        """Tell whether a session is active, and the caller's; that is a use of it."""

    async def find(self, owner: Owner, session_id: str, *, user_id: str | None) -> AllocatedSession | None:
        """Return a session in whatever state it is, as long as its end is remembered; that is no use of it."""

    async def expires_at(self, session: AllocatedSession) -> float:
        """Return when a session ends or ended, in seconds since the Unix epoch."""

    async def update(
        self, owner: Owner, session_id: str, values: Mapping[str, object], *, user_id: str | None, merge: bool
    ) -> AllocatedSession:
        """Let a session remember *values* beside what it does (those of the same name are replaced), or instead.

        Raises:
            MetadataError: it cannot remember that.
            SessionError: it is unknown, or over.
        """

    async def increment(
        self, owner: Owner, session_id: str, name: str, by: float, *, user_id: str | None
    ) -> int | float:
        """Add to a number, 0 where there is none, and return the sum.

        Raises:
            MetadataError: what is there is no number, or the sum cannot be remembered.
            SessionError: it is unknown, or over.
        """

    async def append(
        self, owner: Owner, session_id: str, name: str, value: JsonValue, *, user_id: str | None, most: int | None
    ) -> int:
        """Add to the end of a list, empty where there is none, and return its length.

        Args:
            owner: on whose behalf.
            session_id: whose list.
            name: of the list.
            value: what to add.
            user_id: the acting user.
            most: of so many the first give way; None keeps all.

        Raises:
            MetadataError: what is there is no list, or it cannot be remembered.
            SessionError: it is unknown, or over.
        """

    async def take(self, owner: Owner, session_id: str, name: str, *, user_id: str | None) -> JsonValue:
        """Forget a value and return it, None where there is none: of many who ask at once, one gets it.

        Raises:
            SessionError: it is unknown, or over.
        """

    async def compare_and_set(
        self, owner: Owner, session_id: str, name: str, expected: JsonValue, value: JsonValue, *, user_id: str | None
    ) -> bool:
        """Replace a value if it is *expected* (None: if there is none); False: it is not, and nothing changed.

        Raises:
            MetadataError: *value* cannot be remembered.
            SessionError: it is unknown, or over.
        """

    async def extend(self, owner: Owner, session_id: str, seconds: float, *, user_id: str | None) -> AllocatedSession:
        """Let a session live so much longer than it would have.

        Raises:
            SessionError: it is unknown, or over.
            TimeToLiveError: not above 0, or it would live for more than ten years from now.
        """

    async def end(self, owner: Owner, session_id: str, *, user_id: str | None, is_deleted: bool) -> bool:
        """End a session for good, as deleted or as invalid; False: there is no active one that is the caller's."""

    async def cleanup(self, owner: Owner) -> int:
        """End those of the sandbox whose time has run out, and return how many had not been ended yet."""

    async def stats(self, owner: Owner) -> Mapping[str, int]:
        """Return `active` sessions of the sandbox, and `hits`, `misses`, `expired` and `ended` since the start.

        `most` is how many there may be in all sandboxes.
        """


class SessionService(Protocol):
    """Sessions, where they work, and those that are allocated for a time."""

    @property
    def allocations(self) -> AllocationService:
        """Sessions that are allocated for a time."""

    @property
    def is_reach_bounded(self) -> bool:
        """Tell whether an argument may not reach everywhere, so that all that the client names counts."""

    async def start(self) -> None:
        """Begin. Idempotent."""

    async def stop(self) -> None:
        """End. Idempotent."""

    async def set_working_directory(self, session_id: str, directory: str, *, owner: Owner = ...) -> SessionContext:
        """Let a session work in *directory*; the first time, this opens it."""

    async def get_working_directory(self, session_id: str, *, owner: Owner = ...) -> str | None:
        """Return where a session works, or None if there is none of that id."""

    async def get_session_count(self) -> int:
        """Return how many sessions are held."""

    async def current_session(self, session_id: str, *, owner: Owner = ...) -> SessionContext:
        """Return a session in the project that owns its directory as of now."""

    async def is_decided_by_meta(self, signs: Signs) -> bool:
        """Tell whether a call's `_meta` names where it works."""

    async def resolve(self, owner: Owner, signs: Signs, *, is_told: bool = True) -> Resolution:
        """Return where a call works, decided anew from its signs."""

    async def enter(self, owner: Owner, signs: Signs, directory: str, *, project: str | None = None) -> Entered:
        """Let the call's session work in *directory*."""

    async def look(self, directory: str) -> Place:
        """Return which project owns *directory*, as of now."""

    async def known_projects(self, owner: Owner, query: str | None = None) -> Sequence[KnownProject]:
        """Return the projects that *owner* has worked in, latest first."""

    async def root_of_project(self, owner: Owner, project: str) -> Directory:
        """Return the root of a project that is known by this id, unique name or root."""

    async def close_session(self, session_id: str, *, owner: Owner = ...) -> EndedSession:
        """Forget a session for good."""
