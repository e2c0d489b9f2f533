"""The sessions of an attached server, for code that is made before they are open: each call opens them if need be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from workroot.attached.keeper import Keeper
    from workroot.session_service import AllocationService

__all__ = ["OpenedSessions"]


class OpenedSessions:
    """As much of a `SessionService` as a `SessionManager` needs.

    Args:
        keeper: opens them, and closes them when the server ends; the next call opens them anew.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.allocations = cast("AllocationService", _Allocations(keeper))

    @property
    def home_loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that they are open in: calls from others are passed on to it."""
        return self._keeper.loop

    async def start(self) -> None:
        """Open them."""
        await self._keeper.ready()


class _Allocations:
    """Passes each call on to what is open."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **named: Any) -> Any:
            service = await self._keeper.ready()
            return await getattr(service.allocations, name)(*arguments, **named)

        return call
