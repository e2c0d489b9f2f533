"""Looks at real directories and says which project owns them, as of now.

Implements `PlaceFinder` of `core/ports.py`. `core/discovery.py` has the procedure; here is what it needs of the
system, and a memory: an answer is given again without a search when every proof that it rests on holds at the
time of the call. No watcher is needed for that, and none is trusted.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from workroot.core.discovery import Attributes, Finding, FoundConfig, Rules, find_owner
from workroot.core.placing import place_of, rivals_of, still_stands_by
from workroot.core.projects import CONFIG_NAMES, ConfigProblem, Directory, KnownId, Place, Repository
from workroot.errors import DirectoryError
from workroot.filesystem_evidence import Evidence, Proof, Refusal, all_hold
from workroot.project_config import MAX_CONFIG_BYTES, parse_config
from workroot.version_control import find_repository

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workroot.core.identities import Identities

__all__ = ["ProjectFinder", "rules_of_this_process"]

_MAX_PATH_BYTES = 4095
_MAX_ECHOED_CHARACTERS = 1000
_MAX_REMEMBERED = 1024
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def rules_of_this_process() -> Rules:
    """Return the rules for the user on whose behalf this process runs."""
    user_id, home = os.geteuid(), os.path.expanduser("~")
    return Rules(
        user_id=user_id,
        private_group_id=_private_group_of(user_id, os.getegid()),
        home=Directory(os.path.realpath(home)) if os.path.isabs(home) else None,
    )


@dataclass(slots=True)
class _Look:
    """What was seen from a directory upward, and the answer that it gave last.

    Attributes:
        has_rivals: the answer depends on whether others, elsewhere, stand by the id that is claimed here.
    """

    finding: Finding
    proofs: tuple[Proof, ...]
    place: Place | None = None
    has_rivals: bool = False


class ProjectFinder:
    """Finds which project owns a directory.

    Not for use by several threads at once.

    Args:
        namespace: UUID as text; ids that no config gives derive from it.
        rules: where a search may go; None stands for this process' user.
        identities: under which ids projects are known; None knows no more than what their configs claim.
        config_names: what to look for at each level, first match wins.
        clock_ns: the clock that stamps files, in nanoseconds.
        max_remembered: how many answers are kept, least recently used first out.
    """

    def __init__(
        self,
        namespace: str,
        *,
        rules: Rules | None = None,
        identities: Identities | None = None,
        config_names: Sequence[str] = CONFIG_NAMES,
        clock_ns: Callable[[], int] = time.time_ns,
        max_remembered: int = _MAX_REMEMBERED,
    ) -> None:
        self._namespace = UUID(namespace)
        self._rules = rules if rules is not None else rules_of_this_process()
        self._identities = identities
        self._config_names = tuple(config_names)
        self._clock_ns = clock_ns
        self._max_remembered = max_remembered
        self._remembered: OrderedDict[str, _Look] = OrderedDict()

    async def find(self, directory: str) -> Place:
        """Look at *directory* and upward; see `find_now`. What is local is looked at without waiting."""
        return self.find_now(directory)

    def find_now(self, directory: str) -> Place:
        """Return which project owns *directory*, as of now.

        Args:
            directory: absolute; `~` is not expanded. Symlinks are resolved.

        Raises:
            DirectoryError: it is not an absolute path of an existing, readable directory.
        """
        look = self._look(directory)
        revision = self._identities.revision if self._identities is not None else None
        if look.place is None or look.has_rivals or look.place.identities_seen != revision:
            look.place = self._place(look, directory)
        return look.place

    def explain_now(self, directory: str) -> Finding:
        """Search anew and return what was seen on the way, for people who ask why.

        Raises:
            DirectoryError: as for `find_now`.
        """
        return self._search(directory)[0]

    def _look(self, directory: str) -> _Look:
        """Return what is seen from *directory* upward, as of now."""
        remembered = self._remembered.get(directory)
        if remembered is not None:
            if all_hold(remembered.proofs):
                self._remembered.move_to_end(directory)
                return remembered
            del self._remembered[directory]
        finding, evidence = self._search(directory)
        look = _Look(finding, evidence.proofs)
        if evidence.is_settled:
            self._remembered[directory] = look
            if len(self._remembered) > self._max_remembered:
                self._remembered.popitem(last=False)
        return look

    def _place(self, look: _Look, directory: str) -> Place:
        rivals = rivals_of(look.finding, self._identities) if self._identities is not None else ()
        look.has_rivals = bool(rivals)
        return place_of(look.finding, directory, self._namespace, self._identities, self._still_stands_by)

    def _still_stands_by(self, known: KnownId) -> bool:
        """Tell whether a project elsewhere is still there and would still get the id that it has."""
        try:
            seen = self._look(known.root).finding
        except DirectoryError:
            seen = None
        return still_stands_by(known, seen, is_repository_there=os.path.lexists(known.key.repository))

    def _search(self, directory: str) -> tuple[Finding, Evidence]:
        _check_spelling(directory)
        evidence = Evidence(self._clock_ns())
        view = _View(evidence, self._rules, self._config_names)
        try:
            return find_owner(_real_directory(directory, evidence), view, self._rules), evidence
        except (FileNotFoundError, NotADirectoryError):
            problem = "Directory does not exist"
        except PermissionError:
            problem = "Directory is not readable"
        except OSError as error:
            problem = f"Directory cannot be used ({os.strerror(error.errno or 0)})"
        raise DirectoryError(_echo(directory), problem)


class _View:
    """What is seen at real levels; implements `core.discovery.View`."""

    def __init__(self, evidence: Evidence, rules: Rules, config_names: tuple[str, ...]) -> None:
        self._evidence = evidence
        self._rules = rules
        self._config_names = config_names

    def attributes(self, level: Directory) -> Attributes:
        return _attributes(self._evidence.see_from_outside(level))

    def repository(self, level: Directory) -> Repository | None:
        self._evidence.identify(level)
        return find_repository(level, self._evidence)

    def config(self, level: Directory) -> FoundConfig | None:
        self._evidence.identify(level)
        for name in self._config_names:
            path = f"{level.rstrip('/')}/{name}"
            holder = os.path.dirname(path)
            try:
                status = self._evidence.identify(holder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                return _unusable(level, path, f"cannot be read ({os.strerror(error.errno or 0)})")
            if stat.S_ISLNK(status.st_mode):
                return _unusable(level, path, "lies behind a symbolic link, which is not followed")
            if not stat.S_ISDIR(status.st_mode):
                continue
            found = self._config_in(level, path, is_trusted=self._rules.trusts(_attributes(status)))
            if found is not None:
                return found
        return None

    def _config_in(self, level: Directory, path: str, *, is_trusted: bool) -> FoundConfig | None:
        try:
            holder = os.open(os.path.dirname(path), _DIRECTORY_FLAGS)
        except OSError as error:
            return _unusable(level, path, f"cannot be read ({os.strerror(error.errno or 0)})")
        try:
            content = self._evidence.read(path, MAX_CONFIG_BYTES, directory=holder)
            if content is None:
                return None
            if isinstance(content, Refusal):
                return _unusable(level, path, content.problem)
        finally:
            os.close(holder)
        if not is_trusted or not self._rules.trusts(_attributes(self._evidence.identify(path))):
            return _unusable(level, path, "belongs to another user, or others may write to it")
        return FoundConfig(root=level, path=path, content=parse_config(content, path))


def _unusable(level: Directory, path: str, problem: str) -> FoundConfig:
    return FoundConfig(root=level, path=path, content=ConfigProblem(path=path, problem=problem))


def _attributes(status: os.stat_result) -> Attributes:
    return Attributes(
        device=status.st_dev, owner_id=status.st_uid, group_id=status.st_gid, mode=stat.S_IMODE(status.st_mode)
    )


def _check_spelling(directory: str) -> None:
    try:
        size = len(directory.encode())
    except UnicodeEncodeError:
        raise DirectoryError(_echo(directory), "Directory path must be valid Unicode") from None
    if "\0" in directory:
        raise DirectoryError(_echo(directory), "Directory path must not contain NUL")
    if size > _MAX_PATH_BYTES:
        raise DirectoryError(_echo(directory), f"Directory path must not be longer than {_MAX_PATH_BYTES:,} bytes")
    if not directory.startswith("/"):
        raise DirectoryError(_echo(directory), "Directory path must be absolute")


def _real_directory(directory: str, evidence: Evidence) -> Directory:
    real = Directory(evidence.resolve(directory))
    if not stat.S_ISDIR(evidence.see_from_outside(real).st_mode):
        raise DirectoryError(_echo(directory), "Path is not a directory")
    if not os.access(real, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise DirectoryError(_echo(directory), "Directory is not readable")
    try:
        real.encode()
    except UnicodeEncodeError:  # reached through a link: names on disk are bytes
        raise DirectoryError(_echo(directory), "Directory path must be valid Unicode") from None
    return real


def _echo(directory: str) -> str:
    """Return a path as it may be said to a client: Unicode without NUL, and not without end."""
    text = directory[: _MAX_ECHOED_CHARACTERS + 1].encode(errors="backslashreplace").decode().replace("\0", "\\x00")
    return text if len(text) <= _MAX_ECHOED_CHARACTERS else f"{text[:_MAX_ECHOED_CHARACTERS]}..."


def _private_group_of(user_id: int, group_id: int) -> int | None:
    """Return the group if it is the user's alone: named like the user, or neither has a name."""
    try:
        user = pwd.getpwuid(user_id).pw_name
    except KeyError:
        user = None
    try:
        group = grp.getgrgid(group_id).gr_name
    except KeyError:
        group = None
    return group_id if user == group else None
