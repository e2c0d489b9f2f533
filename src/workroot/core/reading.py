"""What each sign of a call says: where it leads, or why it is passed over.

Signs are read in the order in which they are believed; nothing here decides between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from workroot.core.signs import Hint, Signs, Source, path_of_root
from workroot.errors import DirectoryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workroot.core.projects import Place

__all__ = ["FIRST_ROOT", "Reading", "Seen", "hints_of", "is_below", "is_looked_at", "read"]

FIRST_ROOT = "root 1"
"""What the first of the client's roots is called."""

_RANKS = {
    source: rank
    for rank, source in enumerate(
        (Source.META, Source.ROOTS, Source.CONNECTOR, Source.TURN_METADATA, Source.HEADER, Source.PROCESS)
    )
}

_SYSTEM_DIRECTORIES = (
    "/Applications",
    "/Library",
    "/System",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/nix",
    "/opt",
    "/proc",
    "/run",
    "/sbin",
    "/snap",
    "/sys",
    "/usr",
    "/var",
)
"""Where programs live; a hint that points here, outside any project, is an application's own directory."""

_SHOWN = 300  # characters of a URI that leads nowhere


_EXPANDED = (Source.CONNECTOR, Source.HEADER)
"""Signs that people write into a client's configuration, with variables that it may not know."""


class Seen(NamedTuple):
    """A sign and where it leads, or why it is passed over; of *place* and *reason* one is None."""

    hint: Hint
    place: Place | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """All signs of a call, best first."""

    signs: tuple[Seen, ...] = ()

    @property
    def usable(self) -> list[tuple[Hint, Place]]:
        """The signs that lead somewhere."""
        return [(seen.hint, seen.place) for seen in self.signs if seen.place is not None]


def hints_of(signs: Signs) -> Iterator[Hint]:
    """Yield the hints in the order in which they are believed, those that cannot be followed too."""
    roots = (_root(number, uri) for number, uri in enumerate(signs.roots.uris, start=1))
    for hint in sorted((*signs.hints, *roots), key=lambda hint: _RANKS[hint.source]):
        if hint.problem is None and hint.source in _EXPANDED and "${" in hint.directory:
            yield _not_followed(hint, "was not expanded by the client")
        elif signs.traits.shares_process and hint.source is Source.CONNECTOR and hint.detail != "--directory":
            yield _not_followed(hint, "tells of one window, and one process of this client serves several")
        else:
            yield hint


def is_looked_at(hint: Hint) -> bool:
    """Tell whether a hint names a directory that is worth a look."""
    return hint.problem is None


def read(signs: Signs, places: Mapping[str, Place | DirectoryError], *, home: str) -> Reading:
    """Return what the signs say.

    Args:
        places: what was seen at the directories of all hints that `is_looked_at`.
        home: the user's home directory; as a hint it says nothing.
    """
    return Reading(tuple(_seen(hint, places, home) for hint in hints_of(signs)))


def is_below(directory: str, top: str) -> bool:
    """Tell whether *directory* is *top* or lies in it; both absolute and resolved."""
    return directory == top or directory.startswith(f"{top.rstrip('/')}/")


def _is_programs_own(below_home: str) -> bool:
    """Tell whether programs keep their own files there: `~/.config`, `~/.vscode`, on macOS `~/Library`."""
    return below_home.startswith(".") or is_below(below_home, "Library")


def _root(number: int, uri: str) -> Hint:
    path = path_of_root(uri)
    problem = None if path is not None else "is not the file: URI of a directory here"
    shown = uri[:_SHOWN].encode(errors="backslashreplace").decode()
    return Hint(Source.ROOTS, f"root {number}", path or shown, problem=problem)


def _not_followed(hint: Hint, problem: str) -> Hint:
    return Hint(hint.source, hint.detail, hint.directory, hint.authority, problem)


def _seen(hint: Hint, places: Mapping[str, Place | DirectoryError], home: str) -> Seen:
    if not is_looked_at(hint):
        return Seen(hint, None, hint.problem)
    place = places[hint.directory]
    if isinstance(place, DirectoryError):
        return Seen(hint, None, place.problem)
    reason = _says_nothing(place, home)
    return Seen(hint, None, reason) if reason else Seen(hint, place, None)


def _says_nothing(place: Place, home: str) -> str | None:
    if place.directory == home:
        return "the home directory says nothing about a project"
    if place.directory == "/":
        return "a system directory says nothing about a project"
    if place.project is not None or place.config_path is not None:
        return None
    if any(is_below(place.directory, top) for top in _SYSTEM_DIRECTORIES):
        return "a system directory says nothing about a project"
    if home and is_below(place.directory, home) and _is_programs_own(place.directory[len(home) :].lstrip("/")):
        return "a directory of programs' own files says nothing about a project"
    return None
