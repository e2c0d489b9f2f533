"""What is noted of somebody who works in a place: the project's id, and that it was seen there.

What is to be kept is planned here and shown here, once it is kept. The finder of places reads the same ids: so a
place may be outdated by the time it is acted upon, which shows here, too.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.core.changes import ProjectForgotten, ProjectIdKept, ProjectSeen
from workroot.core.identities import Identities, joined_ids
from workroot.errors import JoinRefusedError
from workroot.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractAsyncContextManager

    from workroot.core.projects import KnownId, Place
    from workroot.core.sessions import Owner
    from workroot.registry import ProjectRegistry

__all__ = ["Note", "PlaceOutdatedError", "ProjectNotes"]


class PlaceOutdatedError(Exception):
    """Somebody has kept another id for the project of a place meanwhile; nothing changed: look there again."""


@dataclass(frozen=True, slots=True)
class Note:
    """What to keep of somebody who works in a place.

    Attributes:
        forgotten: the projects that give way to a new one.
        news: the project, if its owner did not know it, or not so.
    """

    ids: tuple[ProjectIdKept, ...] = ()
    seen: tuple[ProjectSeen, ...] = ()
    news: ProjectSeen | None = None
    forgotten: tuple[ProjectForgotten, ...] = ()

    @property
    def changes(self) -> tuple[ProjectIdKept | ProjectForgotten | ProjectSeen, ...]:
        """All of it."""
        return (*self.ids, *self.forgotten, *self.seen)

    @property
    def is_urgent(self) -> bool:
        """Tell whether it has to be kept before anything is answered from it."""
        return bool(self.ids) or self.news is not None


class ProjectNotes:
    """Plans what to keep of projects, and shows what is kept.

    Args:
        registry: the projects that somebody has worked in.
        identities: under which ids projects are known, shared with the finder of places; None keeps none.
    """

    def __init__(self, registry: ProjectRegistry, identities: Identities | None) -> None:
        self._registry, self._identities, self._turns = registry, identities, Turns()

    def load(self, seen: Iterable[ProjectSeen], known: Iterable[KnownId]) -> None:
        """Take over what a store kept."""
        self._registry.load(seen)
        if self._identities is not None:
            self._identities.load(known)

    def known_ids(self) -> tuple[KnownId, ...]:
        """Return under which ids projects are known."""
        return self._identities.all() if self._identities is not None else ()

    def unknown(self, seen: Iterable[ProjectSeen], known: Iterable[KnownId]) -> tuple[list[ProjectSeen], list[KnownId]]:
        """Return what of a store's rows is about projects that are not known here."""
        ids = self._identities
        return (
            [each for each in seen if not self._registry.is_known(each)],
            [each for each in known if ids is None or ids.of(each.key) is None],
        )

    def is_id_of_another(self, known: KnownId) -> bool:
        """Tell whether a project of another repository has this id here, and the two were not joined."""
        holders = self._identities.holders_of(known.project_id) if self._identities is not None else ()
        return not known.is_joined and any(holder.key.repository != known.key.repository for holder in holders)

    def turn(self, place: Place) -> AbstractAsyncContextManager[object]:
        """Hold the turn of the id that is to be kept: of two who claim it, the second one has to look again."""
        return self._turns.take(place.known_id.project_id) if place.known_id is not None else nullcontext()

    def turn_to_join(self, place: Place) -> AbstractAsyncContextManager[object]:
        """Hold the turn of the id that a place's config claims.

        Raises:
            JoinRefusedError: it claims none.
        """
        project = place.project
        if project is None:
            raise JoinRefusedError(place.directory, "no project owns it")
        claimed = project.config.project_id if project.config is not None else None
        if claimed is None or self._identities is None:
            raise JoinRefusedError(project.root, "its config claims no id; write the other one's `project.id` there")
        return self._turns.take(claimed)

    def check(self, place: Place) -> None:
        """Check that a place would have the same id if it were looked at now; to be planned without waiting.

        Raises:
            PlaceOutdatedError: it would not.
        """
        if self._identities is not None and not self._identities.is_current(place):
            raise PlaceOutdatedError

    def planned(self, owner: Owner, place: Place, *, now: float) -> Note:
        """Return what to keep of *owner* working in *place*; nothing changes."""
        ids: tuple[ProjectIdKept, ...] = ()
        seen: list[ProjectSeen] = []
        if place.known_id is not None and self._identities is not None:
            ids = tuple(ProjectIdKept(known) for known in (place.known_id, *place.displaced))
            for gone in place.displaced:
                seen += self._registry.with_id(gone.root, gone.project_id)
        if place.project is None:
            return Note(ids, tuple(seen))
        here, is_new = self._registry.planned(owner, place.project, now=now)
        if here is not None:
            seen.append(here)
        forgotten = self._registry.in_the_way_of(here) if here is not None else ()
        return Note(ids, tuple(seen), here if is_new else None, forgotten)

    def planned_join(self, place: Place) -> Note:
        """Return what to keep so that a place's project is one with those whose id its config claims."""
        known = joined_ids(place, self._identities) if self._identities is not None else ()
        return Note(tuple(ProjectIdKept(each) for each in known))

    def show(self, note: Note) -> None:
        """Show what is kept."""
        if self._identities is not None:
            self._identities.load(kept.known for kept in note.ids)
        for forgotten in note.forgotten:
            self._registry.forget(forgotten)
        for seen in note.seen:
            self._registry.put(seen)
