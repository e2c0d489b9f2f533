"""Looks after the place where clients find this daemon: its socket, its lock, its state directory.

A socket that was deleted is put back. A lock that is gone cannot be: the next daemon would lock another file of
that name and run beside this one, and what is stored here would be stored in what nobody finds. So this one ends,
and clients go on with the next. It ends too when somebody else listens at the socket's path: a service manager has
taken over, and the daemon behind it waits for the lock.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import anyio

from workroot.errors import RendezvousError, SocketTakenError

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from workroot.errors import WorkrootError
    from workroot.instance import Instance

__all__ = ["SocketPath", "watch_place"]

logger = logging.getLogger(__name__)

_CHECK_SECONDS = 5.0  # half of what a connector waits for whoever holds the lock: it finds a socket put back


class SocketPath:
    """The path of the daemon's socket, and which file at it is ours.

    Args:
        bind: listens at a path, and replaces a socket that nobody listens to.
    """

    def __init__(self, path: str, bind: Callable[[str], socket.socket]) -> None:
        self.path, self._bind = path, bind
        self._bound: tuple[int, int] | None = None

    def bind(self) -> socket.socket:
        """Listen at the path.

        Raises:
            RendezvousError: something else is in the way, or the directory does not allow it.
        """
        listening = self._bind(self.path)
        self._bound = self._found()
        return listening

    def is_kept(self) -> bool:
        """Tell whether our socket is still at the path."""
        return self._found() == self._bound

    def remove(self) -> None:
        """Remove our socket, so that nobody takes it for a daemon's; what else is there by now stays."""
        if self._bound is not None and self.is_kept():
            try:
                os.unlink(self.path)
            except OSError as error:
                logger.warning("%s cannot be removed: %s", self.path, error.strerror)

    def _found(self) -> tuple[int, int] | None:
        try:
            status = os.lstat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino


async def watch_place(
    instance: Instance,
    socket_path: SocketPath | None,
    *,
    lock_path: str,
    listen_anew: Callable[[], Awaitable[None]],
    lose: Callable[[WorkrootError], None],
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> None:
    """Look every 5 s, until the place is lost.

    Args:
        instance: the lock that this process holds.
        socket_path: None if the socket is somebody else's to keep, as a service manager's.
        lock_path: where the lock is expected.
        listen_anew: called when our socket is not at its path any more.
        lose: called once, when the lock is not at its path any more, or somebody else listens at the socket's.
        sleep: waits for seconds.
    """
    problem: str | None = None
    while True:
        await sleep(_CHECK_SECONDS)
        if not instance.is_kept():
            lose(
                RendezvousError(
                    lock_path,
                    "was removed or replaced while the daemon held it, so another one can start beside it",
                    "this one ends; the next client starts a new one",
                )
            )
            return
        if socket_path is None or socket_path.is_kept():
            problem = None
            continue
        try:
            await listen_anew()
        except SocketTakenError as error:
            lose(error)  # a service manager has taken over, and its daemon waits for the lock
            return
        except RendezvousError as error:
            if str(error) != problem:
                logger.error("no client can connect any more: %s", error)
            problem = str(error)
        else:
            problem = None
            logger.warning("%s was removed or replaced; it was put back", socket_path.path)
