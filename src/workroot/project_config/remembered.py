"""The configs that were parsed last, so that equal files are one object, however many directories rest on them.

Every directory below a project is a search of its own that ends at the same config. Each keeping its own reading of
64 KiB of commands cost a gigabyte in a thousand searches.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workroot.core.projects import ConfigProblem, ProjectConfig

__all__ = ["RememberedConfigs"]


class RememberedConfigs:
    """The newest results by digest and path of what they were read from; the least recently used go first.

    The threads that read files share it. Two that parse the same at once get the same object.

    Args:
        max_entries: how many are kept.
        max_bytes: of the texts that they were parsed from, together.
    """

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[bytes, str], tuple[ProjectConfig | ConfigProblem, int]] = OrderedDict()
        self._lock = Lock()  # held for a look or two, never while parsing

    def get(self, digest: bytes, path: str) -> ProjectConfig | ConfigProblem | None:
        """Return what was parsed from this text at this path, or None if it is not kept."""
        with self._lock:
            found = self._kept.get((digest, path))
            if found is None:
                return None
            self._kept.move_to_end((digest, path))
            return found[0]

    def put(
        self, digest: bytes, path: str, result: ProjectConfig | ConfigProblem, size: int
    ) -> ProjectConfig | ConfigProblem:
        """Keep a result, and return the one that is shared: another thread's, if that was first.

        Args:
            size: bytes of the text that it was parsed from.
        """
        with self._lock:
            first = self._kept.get((digest, path))
            if first is not None:
                return first[0]
            self._kept[digest, path] = (result, size)
            self._bytes += size
            while self._bytes > self._max_bytes or len(self._kept) > self._max_entries:
                _, (_, gone) = self._kept.popitem(last=False)
                self._bytes -= gone
            return result
