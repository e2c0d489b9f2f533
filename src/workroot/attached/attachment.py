"""What an attached server has of workroot, whichever framework it is built with.

One per server. It opens the sessions with the first message that needs them, decides where a call works, and
ends with the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.attached.keeper import Keeper
from workroot.attached.stores import service_opener
from workroot.clock import SystemClock
from workroot.core.sessions import DEFAULT_SANDBOX, Owner
from workroot.identity import os_owner

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from types import TracebackType

    from workroot.attached.facts import CallFacts
    from workroot.attached.rate_limit import RateLimit
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
        rate_limit: RateLimit | None = None,
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
