"""Which descriptors can be read or written now: `poll` where the system has it, `select` elsewhere.

No state is kept between two questions, so a descriptor that was closed is never asked about.
"""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GONE", "READ", "WRITE", "wait_ready"]

READ = 1
"""Can be read without waiting: bytes, the end, or an error."""

WRITE = 2
"""At least `select.PIPE_BUF` bytes can be written without waiting."""

GONE = 4
"""The other side hung up. Reported unasked, but by `select` only together with `READ`."""


def wait_ready(wanted: Mapping[int, int], seconds: float | None) -> dict[int, int]:
    """Wait until a descriptor is ready, or *seconds* have passed (None: for ever).

    Args:
        wanted: by descriptor, what to wait for; 0 waits for a hang-up alone.
        seconds: at least this long, unless something is ready before.

    Returns:
        The descriptors that are ready, and for what.
    """
    if hasattr(select, "poll"):
        return _by_poll(wanted, seconds)
    return _by_select(wanted, seconds)


def _by_poll(wanted: Mapping[int, int], seconds: float | None) -> dict[int, int]:
    poll = select.poll()
    for descriptor, what in wanted.items():
        poll.register(descriptor, (select.POLLIN if what & READ else 0) | (select.POLLOUT if what & WRITE else 0))
    ready = {}
    for descriptor, events in poll.poll(None if seconds is None else int(max(seconds, 0) * 1000 + 0.999)):
        ready[descriptor] = (
            (READ if events & select.POLLIN else 0)
            | (WRITE if events & select.POLLOUT else 0)
            | (GONE if events & (select.POLLHUP | select.POLLERR | select.POLLNVAL) else 0)
        )
    return ready


def _by_select(wanted: Mapping[int, int], seconds: float | None) -> dict[int, int]:
    readable, writable, _ = select.select(
        [descriptor for descriptor, what in wanted.items() if what & READ],
        [descriptor for descriptor, what in wanted.items() if what & WRITE],
        [],
        seconds if seconds is None else max(seconds, 0),
    )
    ready = dict.fromkeys(readable, READ)
    for descriptor in writable:
        ready[descriptor] = ready.get(descriptor, 0) | WRITE
    return ready
