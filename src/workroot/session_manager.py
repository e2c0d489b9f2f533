"""`SessionManager`: sessions that a server allocates to its users for a time, with small values of their own.

The names and arguments are those that programs know from an earlier session library; what they promise is this
package's: an id belongs to its sandbox and user, an end is final, changes of values lose nothing, times to live are
exact, and a store in trouble is an error, never "no such session".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.allocating import LedgerAllocations
from workroot.allocating.hours import seconds_of
from workroot.allocating.reached import ReachedSessions, acting_user, is_text
from workroot.allocating.remembered_values import RememberedValues
from workroot.allocating.sandboxes import chosen_sandbox
from workroot.allocating.session_info import info_of, metadata_of
from workroot.core.sessions import Owner
from workroot.default_manager import get_session_context_manager
from workroot.session_reader import LOCAL_OWNER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workroot.allocating.session_info import SessionInfo, SessionMetadata
    from workroot.core.allocations import AllocatedSession, Allocation
    from workroot.session_service import AllocationService, SessionService

__all__ = ["SessionManager"]


class SessionManager(RememberedValues):
    """The sessions of one sandbox.

    Every call takes the acting user: *user_id*, else the user of the request that is served
    (`workroot.request_context`), else nobody: the program itself, which serves all its users. Somebody else's session
    reads as unknown.

    Times to live count while the machine is awake: a computer that sleeps over night ends no session meanwhile, and
    `expires_at` moves on by as much. They go on over restarts of whoever keeps the sessions.

    Two bounds are of all sandboxes together: `max_allocated_sessions` that are active, above which none is allocated,
    and `max_ended_sessions` of which it is remembered how they ended, above which the oldest are forgotten. So a tenant
    who allocates without end locks the others out, and lets ends of theirs be forgotten, whose ids can be chosen again
    then: limit how often each may (an id that is left out is never given twice).

    Args:
        sandbox_id: the tenant; else the variable `CHUK_SANDBOX_ID`, else `CHUK_HOST_SANDBOX_ID`, else a new one.
        session_factory: not used any more; anything but None is refused.
        default_ttl_hours: how long a session lives, in hours that the machine is awake, where nothing else is said.
        sessions: keeps the sessions; None for the manager of this process (`get_session_context_manager`). It is
            started with the first call, and stopped by whoever made it.
        owner: on whose behalf; its sandbox is not looked at.

    Raises:
        SettingsError: a sandbox's id cannot be one: 1 to 128 letters, digits, `.`, `_` or `-`.
        TimeToLiveError: no session can live for so long.
        TypeError: a *session_factory* was given.
    """

    def __init__(
        self,
        sandbox_id: str | None = None,
        session_factory: object = None,
        default_ttl_hours: float = 24,
        *,
        sessions: SessionService | None = None,
        owner: Owner = LOCAL_OWNER,
    ) -> None:
        if session_factory is not None:
            raise TypeError(
                "SessionManager takes no session_factory: sessions are kept by what `sessions=` names, such as "
                "workroot.connect(); providers keep small values (workroot.providers)"
            )
        seconds_of(default_ttl_hours)
        super().__init__(
            Owner(owner.principal, chosen_sandbox(sandbox_id)),
            ReachedSessions(lambda: sessions if sessions is not None else get_session_context_manager()),
        )
        self.default_ttl_hours = default_ttl_hours

    # The life of a session

    async def allocate_session(
        self,
        session_id: str | None = None,
        user_id: str | None = None,
        ttl_hours: float | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> str:
        """Make a session and return its id; of one that is the caller's already, return that.

        Raises:
            MetadataError: it cannot remember *custom_metadata*.
            SessionError: *session_id* cannot be one, is somebody else's, or is over.
            StoreUnavailableError: nothing changed; the call may be repeated.
            TimeToLiveError: it cannot live for so long.
            TooManySessionsError: there is room for no other.
            UserIdError: *user_id* cannot be one.
        """
        return (await self.allocate(session_id, user_id, ttl_hours, custom_metadata)).session.session_id

    async def allocate(
        self,
        session_id: str | None = None,
        user_id: str | None = None,
        ttl_hours: float | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> Allocation:
        """Do what `allocate_session` does, and tell whether the session is new.

        Args:
            session_id: None for a new id that nobody can guess.
            user_id: whose session it is to be; None for the user of the request, or nobody in particular.
            ttl_hours: how long it lives while the machine is awake, above 0; None for `default_ttl_hours`. Fractions
                count.
            custom_metadata: what it remembers; not looked at where the session is not new.
        """
        user_id = acting_user(user_id)
        seconds = seconds_of(self.default_ttl_hours if ttl_hours is None else ttl_hours)
        values = custom_metadata if custom_metadata is not None else {}
        return await self._reached.call(
            lambda kept: kept.allocate(
                self.owner, session_id=session_id, user_id=user_id, seconds=seconds, values=values
            )
        )

    async def validate_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Tell whether a session is active; that is a use of it, and does not make it live longer.

        What is no text, such as a header that is missing, is no session: False.

        Raises:
            StoreUnavailableError: nobody knows now.
        """
        if not is_text(session_id):
            return False
        user_id = acting_user(user_id)
        if (kept := self._reached.here()) is not None:  # through `call` it takes a quarter more
            return await kept.validate(self.owner, session_id, user_id=user_id)
        return await self._reached.call(lambda kept: kept.validate(self.owner, session_id, user_id=user_id))

    async def get_session_info(
        self, session_id: str, *, user_id: str | None = None, include_ended: bool = False
    ) -> SessionInfo | None:
        """Return what is known of a session, None if it is not active; that is no use of it.

        Args:
            session_id: which.
            user_id: the acting user.
            include_ended: of one that is over too, as long as that is remembered.
        """
        found = await self._find(session_id, user_id, include_ended=include_ended)
        return info_of(found[0], expires_at=found[1]) if found is not None else None

    async def get_session_metadata(self, session_id: str, *, user_id: str | None = None) -> SessionMetadata | None:
        """Return the same as `get_session_info`, with attributes: a copy."""
        found = await self._find(session_id, user_id, include_ended=False)
        return metadata_of(found[0], expires_at=found[1]) if found is not None else None

    async def extend_session_ttl(self, session_id: str, additional_hours: float, *, user_id: str | None = None) -> bool:
        """Let a session live so much longer than it would have; False: there is no active one.

        Raises:
            StoreUnavailableError: nothing changed; the call may be repeated.
            TimeToLiveError: not above 0, or it would live for more than ten years from now.
        """
        user_id, seconds = acting_user(user_id), seconds_of(additional_hours)
        return is_text(session_id) and await self._reached.is_done(
            lambda kept: kept.extend(self.owner, session_id, seconds, user_id=user_id)
        )

    async def delete_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """End a session for good; False: there is no active one."""
        return await self._end(session_id, user_id, is_deleted=True)

    async def invalidate_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Declare a session void for good, such as one of a user who logged out; False: there is no active one."""
        return await self._end(session_id, user_id, is_deleted=False)

    async def cleanup_expired_sessions(self) -> int:
        """End the sandbox's sessions whose time has run out, and return how many had not been ended yet."""
        return await self._reached.call(lambda kept: kept.cleanup(self.owner))

    # Figures

    def get_cache_stats(self) -> dict[str, object]:
        """Return what this process holds of the sandbox, and what became of what was asked for.

        `cached_sessions` are the active sessions that it holds, `max_cache_size` how many it may hold of all sandboxes.
        `evictions` are those that had to give way to others: none ever has.

        What is not known here is None: `max_cache_size`, `hits`, `misses`, `expired` and `ended` before the first call,
        and where another process keeps the sessions, of which none is held here. `stats` asks that one.
        """
        kept = self._reached.service
        counts = kept.stats_nowait(self.owner) if isinstance(kept, LedgerAllocations) else {}
        return {
            "cached_sessions": counts.get("active", 0),
            "max_cache_size": counts.get("most"),
            "sandbox_id": self.sandbox_id,
            "default_ttl_hours": self.default_ttl_hours,
            "hits": counts.get("hits"),
            "misses": counts.get("misses"),
            "evictions": 0,
            "expired": counts.get("expired"),
            "ended": counts.get("ended"),
        }

    async def stats(self) -> Mapping[str, int]:
        """Return `active` sessions of the sandbox, `hits`, `misses`, `expired` and `ended` since the start, and `most`.

        Whoever keeps the sessions is asked.
        """
        return await self._reached.call(lambda kept: kept.stats(self.owner))

    async def _find(
        self, session_id: str, user_id: str | None, *, include_ended: bool
    ) -> tuple[AllocatedSession, float] | None:
        if not is_text(session_id):
            return None
        user_id = acting_user(user_id)

        async def find(allocations: AllocationService) -> tuple[AllocatedSession, float] | None:
            found = await allocations.find(self.owner, session_id, user_id=user_id)
            if found is None or (found.status.is_final and not include_ended):
                return None
            return found, await allocations.expires_at(found)

        return await self._reached.call(find)

    async def _end(self, session_id: str, user_id: str | None, *, is_deleted: bool) -> bool:
        user_id = acting_user(user_id)
        return is_text(session_id) and await self._reached.call(
            lambda kept: kept.end(self.owner, session_id, user_id=user_id, is_deleted=is_deleted)
        )
