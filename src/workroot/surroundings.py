"""What a decision about a call looks at beside its signs: real directories, home, and how far an argument reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.core.resolution import Around
from workroot.errors import DirectoryError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workroot.core.ports import PlaceFinder
    from workroot.core.projects import Place
    from workroot.core.reach import Reach
    from workroot.core.sessions import Owner
    from workroot.registry import ProjectRegistry

__all__ = ["Surroundings"]


class Surroundings:
    """The world around the calls, as of now.

    Args:
        places: finds the project that owns a directory.
        projects: those that somebody has worked in.

    Attributes:
        home: the user's home directory; as a hint it says nothing about a project.
        reach: how far the argument of a call reaches; may be set later.
    """

    def __init__(self, places: PlaceFinder, projects: ProjectRegistry, *, home: str, reach: Reach) -> None:
        self.find = places.find  # without a call in between: it is in the way of each change of directory
        self._projects, self.home, self.reach = projects, home, reach

    def around(self, owner: Owner) -> Around:
        """Return what a decision for *owner* has to know."""
        return Around(home=self.home, reach=self.reach, known=self._projects.seen_by(owner))

    async def look(self, directory: str) -> Place | DirectoryError:
        """Return which project owns *directory*, or why it cannot be worked in."""
        try:
            return await self.find(directory)
        except DirectoryError as error:
            return error

    async def look_at_all(self, directories: Iterable[str]) -> dict[str, Place | DirectoryError]:
        """Return what is seen at each of *directories*."""
        return {directory: await self.look(directory) for directory in directories}
