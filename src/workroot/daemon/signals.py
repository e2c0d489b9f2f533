"""What a signal does to the daemon: SIGTERM and SIGINT end it, a second one at once; SIGHUP has settings read again."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING

import anyio

from workroot.inherited_sockets import READY, notify, reloading

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskStatus

    from workroot.daemon.ending import Deadline, Ending

__all__ = ["obey_signals"]

logger = logging.getLogger(__name__)

_HURRIED_SECONDS = 1.5  # after a second signal


async def obey_signals(
    ending: Ending,
    deadline: Deadline,
    reload: Callable[[], None],
    *,
    has_terminal: bool,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Obey signals until cancelled.

    Args:
        ending: is told to begin, or to hurry.
        deadline: is shortened by a second signal.
        reload: reads the settings again.
        has_terminal: somebody started the daemon in a terminal; SIGHUP then also says that this was closed, and
            ends the daemon.
    """
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for received in signals:
            if received == signal.SIGHUP and has_terminal and _is_terminal_gone():
                _leave_terminal()
                ending.begin("its terminal was closed")
            elif received == signal.SIGHUP:
                notify(reloading())
                reload()
                notify(READY)
            elif ending.stopping.is_set():
                logger.info("received %s again: what is under way is cut off", received.name)
                ending.hurry()
                deadline.shorten(_HURRIED_SECONDS)
            else:
                ending.begin(f"received {received.name}")


def _is_terminal_gone() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return True
    return False


def _leave_terminal() -> None:
    """Write to nowhere from now on: to write to a terminal that is gone fails, at the very end of Python too."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
