"""What the core asks of the outside. Adapters keep these promises, and the contract tests hold them to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workroot.core.changes import Change, StoredState
    from workroot.core.projects import Place

__all__ = ["Clock", "PlaceFinder", "SessionStore"]


class SessionStore(Protocol):
    """Keeps sessions across restarts. One process owns a store."""

    async def load(self) -> StoredState:
        """Return all that is kept.

        Raises:
            StoreUnavailableError: it cannot be read now.
        """

    async def commit(self, changes: Sequence[Change]) -> None:
        """Keep *changes*, all or none; when this returns they outlive the process and the machine.

        Changes of one call are kept in their order. A caller that is cancelled stops waiting;
        what it asked for may or may not be kept, and the next caller is not touched by it.

        What ended stays so: until its ending is forgotten, a session cannot be saved again under
        its key, and a second ending leaves the first as it is. A key stays with its principal,
        and an alias stands only for a session that is kept, of the same owner. Until it is forgotten
        that a conversation was ended, nothing can be kept of it, and the time of its first end stays.
        An allocated session stays with its principal and user, and once it has ended nothing but forgetting changes it:
        it cannot be saved as active again, and a second end leaves the first as it is.

        Raises:
            ChangeRefusedError: one of *changes* breaks these rules or holds text that is not Unicode
                (a lone surrogate); none was kept, and repeating the call does not help.
            StoreUnavailableError: none of *changes* was kept; the call may be repeated.
        """

    async def tidy(self) -> int:
        """Give back room that nothing is kept in, unless callers wait; return how many bytes what is kept takes.

        Raises:
            StoreUnavailableError: it cannot be done now; what is kept is as it was.
        """

    def attach(self, snapshot: Callable[[], StoredState], adopt: Callable[[StoredState], None]) -> None:
        """Say who holds what is kept in memory, so that a file which is lost can be written anew from there.

        Whoever is attached shows what was kept in the very step in which `commit` returns, before it waits for
        anything else: all that was acknowledged is then in the next snapshot.

        Args:
            snapshot: returns all that is held; called on the event loop.
            adopt: is told what the store holds that it could not read before; called on the event loop.
        """


class PlaceFinder(Protocol):
    """Finds which project owns a directory, as of now: an answer is never older than the call."""

    async def find(self, directory: str) -> Place:
        """Look at *directory* and upward.

        Raises:
            DirectoryError: it is not an absolute path of an existing, readable directory.
        """


class Clock(Protocol):
    """The time, and waiting for it; passed in, so that a test can hold it."""

    def wall(self) -> float:
        """Return seconds since the Unix epoch; may jump."""

    def awake(self) -> float:
        """Return seconds that the machine has been awake; never jumps, its zero means nothing."""

    def since_boot(self) -> float:
        """Return seconds that the machine has been awake since its boot: goes on as `awake` does."""

    async def sleep(self, seconds: float) -> None:
        """Return when *seconds* of `awake` have passed."""
