"""From one machine to another: whose sessions they are there, and where their directories lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.archive.records import ProjectIdRecord, ProjectRecord, SessionRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workroot.archive.records import Record

__all__ = ["Moving", "PathMove"]

PathMove = tuple[str, str]
"""A directory, and where all that lay there lies now; both absolute."""


class Moving:
    """Rewrites records for this machine.

    Args:
        principal: the user of the archive, as its head says, and the one who imports it; other principals stay.
        paths: the first one that fits a path rewrites it.
    """

    def __init__(self, principal: tuple[str, str], paths: Sequence[PathMove] = ()) -> None:
        self._from, self._to = principal
        self._paths = [(old.rstrip("/"), new.rstrip("/")) for old, new in paths]

    def moved(self, record: Record) -> Record:
        """Return *record* as it is here."""
        changed: dict[str, object] = {}
        if getattr(record, "principal", None) == self._from:
            changed["principal"] = self._to
        if self._paths:
            changed.update(self._moved_paths(record))
        return record.model_copy(update=changed) if changed else record

    def path(self, path: str) -> str:
        """Return where *path* lies here; what is not below a directory that moved stays."""
        for old, new in self._paths:
            if path == old or path.startswith(f"{old}/"):
                return f"{new}{path[len(old) :]}" or "/"
        return path

    def _moved_paths(self, record: Record) -> dict[str, object]:
        names: tuple[str, ...] = ()
        found: dict[str, object] = {}
        match record:
            case SessionRecord():
                names = ("working_directory", "given_directory", "config_path", "project_root")
                found["signs"] = tuple((sign, self.path(directory), agreed) for sign, directory, agreed in record.signs)
            case ProjectRecord():
                names = ("root", "worktree_of")
            case ProjectIdRecord():
                names = ("repository", "path", "root") if not record.repository else ("repository", "root")
            case _:
                names = ("last_directory",) if hasattr(record, "last_directory") else ()
        for name in names:
            value = getattr(record, name)
            if value is not None:
                found[name] = self.path(value)
        return found
