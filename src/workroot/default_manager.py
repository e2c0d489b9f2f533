"""The manager of a process that embeds workroot, for code that has no other way to it.

It belongs to the process, never to one client's connection: a client that leaves must not stop it.
"""

from __future__ import annotations

import os
import threading
import uuid

from workroot.core.identities import Identities
from workroot.project_finder import ProjectFinder
from workroot.session_context import SessionContextManager
from workroot.storage.memory import MemoryStore

__all__ = ["get_session_context_manager", "set_session_context_manager"]

_manager: SessionContextManager | None = None
_making = threading.Lock()


def get_session_context_manager() -> SessionContextManager:
    """Return the manager of this process; the first call makes one that keeps its sessions in memory.

    Whoever runs the process starts and stops it.
    """
    global _manager  # noqa: PLW0603 -- the one place that knows it
    with _making:
        if _manager is None:
            home = os.path.realpath(os.path.expanduser("~"))
            identities = Identities()
            finder = ProjectFinder(str(uuid.uuid4()), identities=identities)
            _manager = SessionContextManager(MemoryStore(), finder, home=home, identities=identities)
        return _manager


def set_session_context_manager(manager: SessionContextManager | None) -> None:
    """Make *manager* the one of this process; None lets the next `get_session_context_manager` make a new one."""
    global _manager  # noqa: PLW0603
    _manager = manager
