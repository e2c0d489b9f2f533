"""Under which ids projects are known: what the registry keeps, one row a project.

A row says which id a project had last; a project whose config is missing for a while keeps it. Of rows that
are not joined, those of one repository only have the same id: who came first has it, until it is gone or the user
joins others with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workroot.core.projects import Directory, KnownId, Place, ProjectId, ProjectKey

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Identities", "joined_ids"]


class Identities:
    """The last id of each project.

    Attributes:
        revision: +1 at each change that can alter an answer.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._known: dict[ProjectKey, KnownId] = {}
        self._holders: dict[ProjectId, dict[ProjectKey, KnownId]] = {}
        self._keys_changed: dict[ProjectKey, int] = {}
        self._ids_changed: dict[ProjectId, int] = {}

    def load(self, known: Iterable[KnownId]) -> None:
        """Take over what a store kept."""
        for each in known:
            self.put(each)

    def all(self) -> tuple[KnownId, ...]:
        """Return what is known of every project."""
        return tuple(self._known.values())

    def of(self, key: ProjectKey) -> KnownId | None:
        """Return what is known of a project, or None."""
        return self._known.get(key)

    def holders_of(self, project_id: ProjectId) -> tuple[KnownId, ...]:
        """Return the projects that have this id."""
        return tuple(self._holders.get(project_id, {}).values())

    def tops_of(self, repository: str) -> frozenset[Directory]:
        """Return the top directories of a repository's worktrees in which its projects were seen last."""
        return frozenset(
            Directory((known.root.removesuffix(f"/{key.path}") or "/") if key.path else known.root)
            for key, known in self._known.items()
            if key.repository == repository
        )

    def put(self, known: KnownId) -> None:
        """Know a project by this id from now on; what was known under its key is replaced."""
        before = self._known.get(known.key)
        if before == known:
            return
        self.revision += 1
        self._known[known.key] = known
        self._keys_changed[known.key] = self._ids_changed[known.project_id] = self.revision
        if before is not None and before.project_id != known.project_id:
            self._ids_changed[before.project_id] = self.revision
            del self._holders[before.project_id][known.key]
        self._holders.setdefault(known.project_id, {})[known.key] = known

    def is_current(self, place: Place) -> bool:
        """Tell whether *place* would get the same id now: nobody has kept anything that bears on it since."""
        if place.key is None or place.identities_seen is None:
            return True
        kept = place.known_id or self._known.get(place.key)
        changed = self._ids_changed.get(kept.project_id, 0) if kept is not None else 0
        return max(changed, self._keys_changed.get(place.key, 0)) <= place.identities_seen


def joined_ids(place: Place, identities: Identities) -> tuple[KnownId, ...]:
    """Return what to keep so that a place's project and the others with the id it claims are one; () if they are.

    The project has to have a config that claims an id.
    """
    project, key = place.project, place.key
    claimed = project.config.project_id if project is not None and project.config is not None else None
    if project is None or key is None or claimed is None or project.project_id == claimed:
        return ()
    own = KnownId(key=key, project_id=claimed, name=project.name, root=project.root, is_joined=True)
    return (own, *(replace(holder, is_joined=True) for holder in identities.holders_of(claimed)))
