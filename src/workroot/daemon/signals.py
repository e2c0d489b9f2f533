"""What a signal does to the daemon: SIGTERM and SIGINT end it, a second one at once; SIGHUP has settings read again.

That the end is bounded holds even if the event loop itself hangs, as on a log or a home directory whose disk is
gone: a thread hears of each signal first.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import anyio

from workroot.inherited_sockets import READY, notify, reloading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anyio.abc import TaskStatus

    from workroot.daemon.ending import Deadline, Ending

__all__ = ["obey_signals"]

logger = logging.getLogger(__name__)

_HURRIED_SECONDS = 1.5  # after a second signal
_MOST_AT_ONCE = 64
_LAST_SECONDS = 1.0


async def obey_signals(
    ending: Ending,
    deadline: Deadline,
    reload: Callable[[], None],
    bound_end: Callable[[], None],
    *,
    has_terminal: bool,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Obey signals until cancelled.

    Args:
        ending: is told to begin, or to hurry.
        deadline: is shortened by a second signal.
        reload: reads the settings again.
        bound_end: sees to it that the end does not take for ever; called in a thread.
        has_terminal: somebody started the daemon in a terminal; SIGHUP then also says that this was closed, and
            ends the daemon.
    """
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals, _heard_first(bound_end):
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


@contextmanager
def _heard_first(bound_end: Callable[[], None]) -> Iterator[None]:
    """Let a thread hear of signals before the event loop does, and call *bound_end* when one asks for the end.

    The interpreter writes the number of each signal to one descriptor, at once and whatever the main thread does
    (`signal.set_wakeup_fd`); the thread passes it on to the descriptor that the event loop has set.
    """
    heard, hearing = os.pipe()
    os.set_blocking(hearing, False)
    loops = signal.set_wakeup_fd(hearing)

    def listen() -> None:
        while numbers := os.read(heard, _MOST_AT_ONCE):
            if any(number in (signal.SIGTERM, signal.SIGINT) for number in numbers):
                bound_end()
            with suppress(OSError):  # full, as the loop hangs; or closed, as it has ended
                os.write(loops, numbers)
        os.close(heard)

    thread = threading.Thread(target=listen, name="workroot-signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(loops)
        os.close(hearing)
        thread.join(_LAST_SECONDS)  # at once: it writes to what may soon be somebody else's descriptor


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
