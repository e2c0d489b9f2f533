"""Two repositories with one id are two projects until the user says otherwise; here is how the user does.

It is the user's word alone: no tool of a model's reaches this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.errors import JoinRefusedError
from workroot.session_ledger import PlaceOutdatedError

if TYPE_CHECKING:
    from workroot.core.ports import PlaceFinder
    from workroot.core.projects import Project
    from workroot.core.sessions import Owner
    from workroot.session_ledger import SessionLedger

__all__ = ["Joined", "join_project"]


@dataclass(frozen=True, slots=True)
class Joined:
    """A project that is one with all others of its id.

    Attributes:
        was_needed: it was not before.
    """

    project: Project
    was_needed: bool


async def join_project(ledger: SessionLedger, places: PlaceFinder, owner: Owner, directory: str) -> Joined:
    """Make the project that owns *directory* one with the others that have the id its config claims.

    Raises:
        DirectoryError: it cannot be looked at.
        JoinRefusedError: no project owns it, or its config claims no id; nothing changed.
        StoreUnavailableError: nothing changed; the call may be repeated.
    """
    while True:
        try:
            was_needed = await ledger.join(await places.find(directory))
            break
        except PlaceOutdatedError:
            continue  # somebody kept another id meanwhile: look again
    while await ledger.note_project(owner, place := await places.find(directory)):
        continue
    if place.project is None:
        raise JoinRefusedError(directory, "its config changed meanwhile")
    return Joined(place.project, was_needed)
