"""The places where somebody has worked of late: who has to hear of it when the project there changes.

A place is noted at each call that is answered from it. When it looks different from the last time, that is
told as `ProjectsChanged`, whoever noticed it: a call, or the watcher.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

from workroot.events import EventBus, ProjectsChanged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from workroot.core.projects import Directory, Place
    from workroot.core.sessions import Owner

__all__ = ["MOST_HELD", "FollowedPlaces"]

MOST_HELD = 1024
"""How many places are followed in which sessions work."""

_MOST_VISITED = 128

_Key: TypeAlias = "tuple[Owner, Directory]"


class FollowedPlaces:
    """The latest places by owner and directory; beyond the most, the longest unused is let go of.

    Where sessions work is kept apart from where a call has only passed by: no number of such calls keeps
    anybody from hearing of a session's project.
    """

    def __init__(self, events: EventBus, *, most_held: int = MOST_HELD, most_visited: int = _MOST_VISITED) -> None:
        self._events = events
        self._held: OrderedDict[_Key, Place] = OrderedDict()
        self._visited: OrderedDict[_Key, Place] = OrderedDict()
        self._most = {id(self._held): most_held, id(self._visited): most_visited}
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call *listener* whenever `directories` may have changed."""
        self._listeners.append(listener)

    def note(self, owner: Owner, place: Place, *, is_held: bool) -> None:
        """Take up a place as it is now, and tell if its project looks different from before.

        Args:
            is_held: a session works there.
        """
        key = (owner, place.directory)
        kept = self._held if is_held or key in self._held else self._visited
        before = kept.get(key)
        kept[key] = place
        kept.move_to_end(key)
        if before is place:
            return
        is_new = before is None
        if kept is self._held:
            before = self._visited.pop(key, before)
        if len(kept) > self._most[id(kept)]:
            kept.popitem(last=False)
        if before is not None:
            self._tell(owner, before, place)
        if is_new or before is None or before.rests_on != place.rests_on:
            self._call_listeners()

    def forget(self, owner: Owner, directory: Directory) -> None:
        """Let go of a place that is gone, and tell those who look at its project."""
        key = (owner, directory)
        before = self._held.pop(key, None) or self._visited.pop(key, None)
        if before is None:
            return
        if before.project is not None:
            self._events.publish(ProjectsChanged(owner, before.project.project_id))
        self._call_listeners()

    def directories(self) -> Iterator[str]:
        """Yield the directories that have to be watched, those of the latest places first; some twice."""
        for place in (*reversed(self._held.values()), *reversed(self._visited.values())):
            yield from place.rests_on

    def resting_on(self, directories: Iterable[str]) -> list[_Key]:
        """Return whose places may look different after a change in *directories*."""
        changed = frozenset(directories)
        places = (*self._held.items(), *self._visited.items())
        return [key for key, place in places if not changed.isdisjoint(place.rests_on)]

    def _tell(self, owner: Owner, before: Place, place: Place) -> None:
        """Tell of a project that went from here, or that looks different here; a new name is the registry's to tell."""
        was, now = before.project, place.project
        if was is not None and (now is None or was.project_id != now.project_id):
            self._events.publish(ProjectsChanged(owner, was.project_id))
        elif now is not None and _shown(before) != _shown(place) and (was is None or was.name == now.name):
            self._events.publish(ProjectsChanged(owner, now.project_id))

    def _call_listeners(self) -> None:
        for listener in self._listeners:
            listener()


def _shown(place: Place) -> tuple[object, ...]:
    return (place.project, place.config_path, place.config_error, place.warnings)
