"""The projects that somebody has worked in, as one daemon remembers them.

Memory serves the reads; what is new is handed out to be kept.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from workroot.core.changes import ProjectForgotten, ProjectSeen
from workroot.core.projects import Directory, KnownProject, Project, ProjectId
from workroot.core.sessions import Owner
from workroot.errors import ProjectUnknownError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ProjectRegistry", "ProjectsOf"]

_FRESH_SECONDS = 60.0  # a project seen again within this time is not written again
_AFTER_SLASH = "0"  # the character that follows `/`: what begins with a path and `/` sorts before the path and this


class ProjectRegistry:
    """Known projects by owner and root; an owner sees only its own.

    Attributes:
        most: may be known, each root of each owner counted; of more, the one seen longest ago gives way. May be set
            later.
    """

    def __init__(self) -> None:
        self.most = 10_000
        self._by_use: OrderedDict[tuple[Owner, Directory], None] = OrderedDict()  # seen longest ago first
        self._known: dict[Owner, dict[Directory, KnownProject]] = {}
        self._roots: dict[Owner, list[str]] = {}  # sorted

    def load(self, seen: Iterable[ProjectSeen]) -> None:
        """Take over what a store kept."""
        for each in sorted(seen, key=lambda each: each.project.seen_at):
            self.put(each)

    def count(self) -> int:
        """Return how many projects are known in all, each root of each owner counted."""
        return len(self._by_use)

    def all(self) -> tuple[ProjectSeen, ...]:
        """Return who has worked where."""
        return tuple(self.as_of_now())

    def as_of_now(self) -> Iterator[ProjectSeen]:
        """Yield who has worked where at the moment of this call, whatever changes meanwhile."""
        known = [(owner, tuple(projects.values())) for owner, projects in self._known.items()]
        return (ProjectSeen(owner, project) for owner, projects in known for project in projects)

    def is_known(self, seen: ProjectSeen) -> bool:
        """Tell whether its owner knows a project at its root."""
        return (seen.owner, seen.project.root) in self._by_use

    def planned(self, owner: Owner, project: Project, *, now: float) -> tuple[ProjectSeen | None, bool]:
        """Return what to keep of *owner* working in *project* now, if anything, and whether it is new or changed."""
        before = self._known.get(owner, {}).get(project.root)
        is_known = before is not None and before.is_of(project)
        if before is not None and is_known and now - before.seen_at < _FRESH_SECONDS:
            return None, False
        known = KnownProject(
            project_id=project.project_id,
            name=project.name,
            root=project.root,
            worktree_of=project.worktree_of,
            seen_at=max(now, before.seen_at) if before else now,  # of two, a store keeps the later one
        )
        return ProjectSeen(owner, known), not is_known

    def with_id(self, root: Directory, project_id: ProjectId) -> list[ProjectSeen]:
        """Return what to keep so that the project at *root* has this id for everybody who knows it."""
        return [
            ProjectSeen(owner, replace(known[root], project_id=project_id))
            for owner, known in self._known.items()
            if root in known and known[root].project_id != project_id
        ]

    def in_the_way_of(self, new: ProjectSeen) -> tuple[ProjectForgotten, ...]:
        """Return what to forget so that there is room for *new*; nothing, if it is known already."""
        is_known = (new.owner, new.project.root) in self._by_use
        too_many = 0 if is_known else max(0, len(self._by_use) + 1 - self.most)
        return tuple(ProjectForgotten(*each) for each in islice(self._by_use, too_many))

    def forget(self, forgotten: ProjectForgotten) -> None:
        """Know a project no more."""
        owner, root = forgotten.owner, forgotten.root
        if self._known.get(owner, {}).pop(root, None) is not None:
            roots = self._roots[owner]
            del roots[bisect_left(roots, root)]
            del self._by_use[owner, root]
            if not roots:
                del self._roots[owner], self._known[owner]

    def put(self, seen: ProjectSeen) -> None:
        """Know a project from now on."""
        name = (seen.owner, seen.project.root)
        self._by_use[name] = None
        self._by_use.move_to_end(name)
        roots = self._known.setdefault(seen.owner, {})
        if seen.project.root not in roots:
            insort(self._roots.setdefault(seen.owner, []), seen.project.root)
        roots[seen.project.root] = seen.project

    def known(self, owner: Owner, query: str | None = None) -> list[KnownProject]:
        """Return the owner's projects, latest seen first; with *query* those whose name, id or root holds it."""
        wanted = (query or "").casefold()
        found = [
            project
            for project in self._known.get(owner, {}).values()
            if wanted in project.name.casefold() or wanted in project.project_id or wanted in project.root.casefold()
        ]
        return _latest_first(found)

    def root_of(self, owner: Owner, wanted: str) -> Directory:
        """Return the root to work in for a project named by id, by root, or by name if one project alone has it.

        Of several worktrees the main checkout is meant.

        Args:
            wanted: an id, a name, or the absolute path of a known root.

        Raises:
            ProjectUnknownError: no project is meant, or several may be; it names the candidates.
        """
        known = self._known.get(owner, {})
        if (there := known.get(Directory(wanted.rstrip("/") or "/"))) is not None and wanted.startswith("/"):
            return there.root
        everything = self.known(owner)
        matching = [project for project in everything if project.project_id == wanted.lower()]
        matching = matching or [project for project in everything if project.name == wanted]
        main = [project for project in matching if project.worktree_of is None]
        chosen = main if len(main) == 1 and len({project.project_id for project in matching}) == 1 else matching
        if len(chosen) == 1:
            return chosen[0].root
        candidates = [(project.name, project.project_id, project.root) for project in chosen or everything[:5]]
        raise ProjectUnknownError(wanted, candidates, is_ambiguous=bool(chosen))

    def seen_by(self, owner: Owner) -> ProjectsOf:
        """Return the projects of one owner."""
        return ProjectsOf(self, owner)

    def below(self, owner: Owner, directory: str) -> list[KnownProject]:
        """Return the owner's projects whose roots lie below *directory*, latest seen first."""
        roots, known = self._roots.get(owner, []), self._known.get(owner, {})
        prefix = f"{directory.rstrip('/')}/"
        first = bisect_right(roots, prefix)  # the root `/` is not below itself
        last = bisect_left(roots, f"{prefix[:-1]}{_AFTER_SLASH}", first)
        return _latest_first(known[Directory(root)] for root in roots[first:last])

    def holds(self, owner: Owner, directory: str) -> KnownProject | None:
        """Return the owner's project whose root is *directory* or above it, the nearest one, or None."""
        known, level = self._known.get(owner, {}), directory
        while (found := known.get(Directory(level))) is None and level not in ("", "/"):
            level = level.rpartition("/")[0] or "/"
        return found


@dataclass(frozen=True, slots=True)
class ProjectsOf:
    """The registry as one owner sees it; implements `core.reach.KnownProjects`."""

    registry: ProjectRegistry
    owner: Owner

    def below(self, directory: str) -> list[KnownProject]:
        """Return the projects whose root lies below *directory*, latest seen first."""
        return self.registry.below(self.owner, directory)

    def holds(self, directory: str) -> KnownProject | None:
        """Return the nearest project whose root is *directory* or above it, or None."""
        return self.registry.holds(self.owner, directory)


def _latest_first(projects: Iterable[KnownProject]) -> list[KnownProject]:
    return sorted(projects, key=lambda project: (-project.seen_at, project.root))
