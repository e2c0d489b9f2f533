"""What a project's own config says of those who arrive in it, and of those who look out of it.

- `auto_switch = false`: who arrives is in no project until `set_working_directory(project=...)` says so;
  never in the previous one.
- `dry_run = true`: a switch into it is reported, not made.
- `strict_mode = true`: from inside it, no answer about directories outside of its root; moving out never is refused.

Who is in a project already does not arrive in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workroot.core.reading import is_below
from workroot.errors import StrictModeError

if TYPE_CHECKING:
    from workroot.core.projects import Place
    from workroot.core.sessions import SessionContext

__all__ = ["Arrival", "arrive", "check_strict"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a place looks to somebody who arrives there.

    Attributes:
        place: with the project that the caller is in from now on, which may be none.
        is_made: the switch is made; with `dry_run` it is only reported.
        warning: what was held back, and how to get it.
    """

    place: Place
    is_made: bool = True
    warning: str | None = None


def arrive(session: SessionContext | None, place: Place, *, is_asked_for: bool = False) -> Arrival:
    """Return how *place* looks to a session that arrives, or is there already.

    Args:
        session: as it is kept; None for a call without one, which arrives anew each time.
        is_asked_for: the project was named, not only the directory.
    """
    project = place.project
    if project is None or project.config is None:
        return Arrival(place)
    if session is not None and session.project_id == project.project_id:
        return Arrival(place)
    outside = replace(place, project=None)
    if project.config.dry_run:
        warning = f"dry_run: a switch into project {project.name!r} at {project.root} was reported, not made"
        return Arrival(outside, is_made=False, warning=warning)
    if not project.config.auto_switch and not is_asked_for:
        warning = (
            f"auto_switch is off in project {project.name!r} at {project.root}: you are in no project until "
            f"set_working_directory(project={project.root!r}) says so"
        )
        return Arrival(outside, warning=warning)
    return Arrival(place)


def check_strict(inside: Place | None, asked: Place) -> None:
    """Refuse an answer about *asked* if the project of *inside*, where the caller works, does not allow it.

    Raises:
        StrictModeError: its config says `strict_mode = true`, and *asked* lies outside of its root.
    """
    project = inside.project if inside is not None else None
    if project is None or project.config is None or not project.config.strict_mode:
        return
    if not is_below(asked.directory, project.root):
        raise StrictModeError(asked.given, project.name, project.root)
