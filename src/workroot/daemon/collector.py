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
    from collections.abc import Callable, Iterator

__all__ = ["sparing_what_is_loaded"]


@contextmanager
def sparing_what_is_loaded() -> Iterator[Callable[[], None]]:
    """Collect nothing until the yielded function is called, and look at nothing that was made before that.

    At the end all is looked at again: in a program that goes on, what is left in circles must not stay for ever.
    """
    was_enabled = gc.isenabled()
    gc.disable()

    def end_loading() -> None:
        gc.freeze()
        if was_enabled:
            gc.enable()

    try:
        yield end_loading
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
