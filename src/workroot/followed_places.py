"""The places where somebody has worked of late: who has to hear of it when the project there changes.

A place is noted at each call that is answered from it. When it looks different from the last time, that is
told as `ProjectsChanged`, whoever noticed it: a call, or the watcher.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from workroot.events import EventBus, ProjectsChanged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from workroot.core.projects import Directory, Place
    from workroot.core.sessions import Owner

__all__ = ["FollowedPlaces"]

_MOST = 1024


class FollowedPlaces:
    """The latest places by owner and directory; beyond *most* the longest unused is let go of."""

    def __init__(self, events: EventBus, *, most: int = _MOST) -> None:
        self._events, self._most = events, most
        self._places: OrderedDict[tuple[Owner, Directory], Place] = OrderedDict()
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call *listener* whenever `directories` may have changed."""
        self._listeners.append(listener)

    def note(self, owner: Owner, place: Place) -> None:
        """Take up a place as it is now, and tell if its project looks different from before."""
        key = (owner, place.directory)
        before = self._places.get(key)
        self._places[key] = place
        self._places.move_to_end(key)
        if before is place:
            return
        if len(self._places) > self._most:
            self._places.popitem(last=False)
        if before is not None and _shown(before) != _shown(place):
            for changed in {each.project.project_id for each in (before, place) if each.project is not None}:
                self._events.publish(ProjectsChanged(owner, changed))
        if before is None or before.rests_on != place.rests_on:
            for listener in self._listeners:
                listener()

    def directories(self) -> Iterator[str]:
        """Yield the directories that have to be watched, those of the latest places first; some twice."""
        for place in reversed(self._places.values()):
            yield from place.rests_on

    def resting_on(self, directories: Iterable[str]) -> list[tuple[Owner, Directory]]:
        """Return whose places may look different after a change in *directories*."""
        changed = frozenset(directories)
        return [key for key, place in self._places.items() if not changed.isdisjoint(place.rests_on)]


def _shown(place: Place) -> tuple[object, ...]:
    return (place.project, place.config_path, place.config_error, place.warnings)
