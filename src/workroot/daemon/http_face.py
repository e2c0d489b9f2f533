"""HTTP beside the socket: served as long as the daemon runs, and tried again as long as its port is somebody else's."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from workroot.errors import WorkrootError

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

__all__ = ["HttpFace"]

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 30.0


class HttpFace:
    """Serves HTTP when its port can be had, and all that it needs; the socket is served meanwhile.

    Args:
        bind: listens on the port; what it raises of ours is a reason to try again later.
        serve: serves on a listening socket until cancelled, and tells its URL when it does.
        changed: is told what `workroot status` says of it, whenever that changes.
        sleep: waits for seconds.

    Attributes:
        url: where it is served; None if it is not.
        problem: why it is not served; None if it is, or was not tried yet.
    """

    def __init__(
        self,
        bind: Callable[[], socket.socket],
        serve: Callable[[socket.socket, Callable[[str], None]], Awaitable[None]],
        *,
        changed: Callable[[dict[str, str | None]], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._bind, self._serve, self._changed, self._sleep = bind, serve, changed, sleep
        self._scope = anyio.CancelScope()
        self._is_clear = anyio.Event()
        self.url: str | None = None
        self.problem: str | None = None

    def fact(self) -> dict[str, str | None]:
        """Return what `workroot status` says of HTTP."""
        return {"url": self.url} if self.problem is None else {"url": None, "problem": self.problem}

    async def run(self) -> None:
        """Serve until `stop`."""
        with self._scope:
            while (listener := self._listen()) is None:
                await self._sleep(_RETRY_SECONDS)
            await self._serve(listener, self._take_url)

    async def wait_clear(self) -> None:
        """Return when it is served, or when it is clear that it is not yet."""
        await self._is_clear.wait()

    def stop(self) -> None:
        """Take no new connections and end in order; `run` returns when that is done."""
        self._scope.cancel()

    def _listen(self) -> socket.socket | None:
        try:
            listener = self._bind()
        except WorkrootError as error:
            if self.problem != str(error):
                logger.error("HTTP is not served, and tried again every %g s: %s", _RETRY_SECONDS, error)
            self.problem = str(error)
            self._tell()
            return None
        self.problem = None
        return listener

    def _take_url(self, url: str) -> None:
        self.url = url
        self._tell()

    def _tell(self) -> None:
        self._changed(self.fact())
        self._is_clear.set()
