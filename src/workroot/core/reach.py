"""How far the argument of a model reaches: the user's setting `model_may_move`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from workroot.core.projects import owner_of
from workroot.core.reading import is_below
from workroot.errors import MoveRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workroot.core.projects import KnownProject, Place
    from workroot.core.signs import Hint

__all__ = ["NOTHING_KNOWN", "KnownProjects", "Reach", "check_reach"]

Reach = Literal["anywhere", "known", "roots"]

_NAMED = 5  # directories that an error offers


class KnownProjects(Protocol):
    """The projects in which the caller's principal has worked."""

    def below(self, directory: str) -> Sequence[KnownProject]:
        """Return those whose root lies below *directory*, latest seen first."""

    def holds(self, directory: str) -> KnownProject | None:
        """Return the one whose root is *directory* or above it, the nearest, or None."""


class _NothingKnown:
    """Nobody has worked anywhere."""

    def below(self, _directory: str) -> Sequence[KnownProject]:
        """Return none."""
        return ()

    def holds(self, _directory: str) -> KnownProject | None:
        """Return none."""
        return None


NOTHING_KNOWN: KnownProjects = _NothingKnown()


def check_reach(reach: Reach, asked: Place, usable: Sequence[tuple[Hint, Place]], known: KnownProjects) -> None:
    """Refuse an argument that names a directory out of reach.

    With `roots`, the directories that the client's signs name and their projects are in reach; with `known`,
    also the projects in which this principal has worked.

    Raises:
        MoveRefusedError: it is out of reach; the error names what is in reach.
    """
    if reach == "anywhere":
        return
    tops = dict.fromkeys(owner_of(place) for _, place in usable)
    if any(is_below(asked.directory, top) for top in tops):
        return
    found = known.holds(owner_of(asked)) if reach == "known" else None
    if found is not None and (asked.project is None or asked.project.root == found.root):
        return  # and no unknown one that lies in it
    raise MoveRefusedError(asked.given, reach, list(tops)[:_NAMED])
