"""Python's garbage collector, kept from what is held for long.

A full collection looks at every object: of 100,000 sessions that is 50 ms in which nobody is answered, and while they
are loaded it comes again and again. What is held at the end of the start lives as long as the daemon, or goes without
the collector's help.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["sparing_what_is_loaded"]


@contextmanager
def sparing_what_is_loaded() -> Iterator[None]:
    """Collect nothing in here, and never look at what was made by the end of it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()
