"""The projects that somebody has worked in, as one daemon remembers them.

Memory serves the reads; what is new is handed out to be kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.core.changes import ProjectSeen
from workroot.core.projects import Directory, KnownProject, Project
from workroot.core.sessions import Owner
from workroot.errors import ProjectUnknownError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ProjectRegistry"]

_FRESH_SECONDS = 60.0  # a project seen again within this time is not written again


class ProjectRegistry:
    """Known projects by owner and root; an owner sees only its own."""

    def __init__(self) -> None:
        self._known: dict[Owner, dict[Directory, KnownProject]] = {}

    def load(self, seen: Iterable[ProjectSeen]) -> None:
        """Take over what a store kept."""
        for each in seen:
            self.put(each)

    def count(self) -> int:
        """Return how many projects are known in all, each root of each owner counted."""
        return sum(len(roots) for roots in self._known.values())

    def planned(self, owner: Owner, project: Project, *, now: float) -> tuple[ProjectSeen | None, bool]:
        """Return what to keep of *owner* working in *project* now, if anything, and whether it is new or changed."""
        before = self._known.get(owner, {}).get(project.root)
        known = KnownProject(
            project_id=project.project_id,
            name=project.name,
            root=project.root,
            worktree_of=project.worktree_of,
            seen_at=max(now, before.seen_at) if before else now,  # of two, a store keeps the later one
        )
        changed = before is None or (before.project_id, before.name, before.worktree_of) != (
            known.project_id,
            known.name,
            known.worktree_of,
        )
        if not changed and before is not None and now - before.seen_at < _FRESH_SECONDS:
            return None, False
        return ProjectSeen(owner, known), changed

    def put(self, seen: ProjectSeen) -> None:
        """Know a project from now on."""
        self._known.setdefault(seen.owner, {})[seen.project.root] = seen.project

    def known(self, owner: Owner, query: str | None = None) -> list[KnownProject]:
        """Return the owner's projects, latest seen first; with *query* those whose name, id or root holds it."""
        wanted = (query or "").casefold()
        found = [
            project
            for project in self._known.get(owner, {}).values()
            if wanted in project.name.casefold() or wanted in project.project_id or wanted in project.root.casefold()
        ]
        return sorted(found, key=lambda project: (-project.seen_at, project.root))

    def root_of(self, owner: Owner, id_or_name: str) -> Directory:
        """Return the root to work in for a project named by id, or by name if that is one project's alone.

        Of several worktrees the main checkout is meant.

        Raises:
            ProjectUnknownError: no project has it, or several do; it names the candidates.
        """
        everything = self.known(owner)
        matching = [project for project in everything if project.project_id == id_or_name.lower()]
        matching = matching or [project for project in everything if project.name == id_or_name]
        main = [project for project in matching if project.worktree_of is None]
        chosen = main if len(main) == 1 else matching
        if len(chosen) == 1:
            return chosen[0].root
        raise ProjectUnknownError(
            id_or_name, [f"{project.name} at {project.root}" for project in chosen or everything[:5]]
        )
