"""What an attached server has of workroot, whichever framework it is built with.

One per server. It opens the sessions with the first message that needs them, decides where a call works, and
ends with the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from workroot.attached.keeper import Keeper
from workroot.attached.opened_sessions import OpenedSessions
from workroot.attached.stores import service_opener
from workroot.clock import SystemClock
from workroot.core.sessions import DEFAULT_SANDBOX, Owner
from workroot.identity import os_owner
from workroot.session_manager import SessionManager

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from types import TracebackType

    from workroot.attached.facts import CallFacts
    from workroot.attached.rate_limit import RequestLimit
    from workroot.core.answer import Resolution
    from workroot.core.ports import Clock
    from workroot.session_service import SessionService

__all__ = ["Attachment"]


class Attachment:
    """Sessions of one server.

    Use it as a context manager around a server that you serve yourself, or call `aclose` at its end; `run` of an
    attached server does that by itself.

    Args:
        store: where the sessions are: None for this process's memory, a path for a file that this process alone
            has open, or a service (`workroot.connect()`) that is used as it is.
        sandbox: whose sessions never meet those of another one; None for that of the service, if it has one.
        owner: on whose behalf calls come that name nobody; None for the user whom this process runs as.
        clock: the time.
        rate_limit: is asked before every call.

    Raises:
        TypeError: *store* or *rate_limit* is of another kind.
        ValueError: *store* is the name of no file.
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | SessionService | None = None,
        *,
        sandbox: str | None = None,
        owner: Owner | None = None,
        clock: Clock | None = None,
        rate_limit: RequestLimit | None = None,
    ) -> None:
        self.owner = owner if owner is not None else _own(store, sandbox)
        self.clock: Clock = clock if clock is not None else SystemClock()
        if rate_limit is not None and not callable(getattr(rate_limit, "check", None)):
            raise TypeError(f"rate_limit must be a RateLimit, or None for no limit, not {rate_limit!r}")
        self.rate_limit = rate_limit
        self._keeper = Keeper(service_opener(store, self.clock))

    @property
    def service(self) -> SessionService:
        """The sessions.

        Raises:
            NotStartedError: no message has come yet, or all has ended.
        """
        return self._keeper.service

    def session_manager(self, *, default_ttl_hours: float = 24) -> SessionManager:
        """Return a manager of the sessions that the server gives out itself, kept where its others are.

        Its owner and sandbox are the server's. The first call opens the sessions, as the first message does. A session
        that it allocated is the request's (`get_session_id`) where a caller names it whose it is.

        Args:
            default_ttl_hours: how long a session lives for which nothing else is said.

        Raises:
            TimeToLiveError: no session can live for so long.
        """
        return SessionManager(
            self.owner.sandbox,
            default_ttl_hours=default_ttl_hours,
            sessions=cast("SessionService", OpenedSessions(self._keeper)),
            owner=self.owner,
        )

    def on_closing(self, callback: Callable[[], None]) -> None:
        """Call *callback* whenever the sessions are about to be closed; it must not raise or wait."""
        self._keeper.on_closing.append(callback)

    async def ready(self) -> SessionService:
        """Return the sessions; whoever comes first opens them.

        Raises:
            WorkrootError: they could not be opened, and why; the next call tries again.
        """
        return await self._keeper.ready()

    async def aclose(self) -> None:
        """Close the sessions, in order. Idempotent."""
        await self._keeper.aclose()

    async def __aenter__(self) -> Attachment:
        """Open the sessions, so that what is wrong with them shows at once."""
        await self.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        await self.aclose()

    async def resolution(self, facts: CallFacts) -> Resolution:
        """Return where a call works, decided anew from its signs.

        Raises:
            WorkrootError: as `SessionService.resolve`, and as `ready`.
        """
        service = await self.ready()
        return await service.resolve(facts.owner, facts.signs())


def _own(store: object, sandbox: str | None) -> Owner:
    """Return the user whom this process runs as, in *sandbox* or, if none was given, in that of the service."""
    if sandbox is None:
        own = getattr(store, "owner", None)  # of clients of the daemon; no other service has a sandbox of its own
        sandbox = own.sandbox if isinstance(own, Owner) else DEFAULT_SANDBOX
    return Owner(os_owner().principal, sandbox)
