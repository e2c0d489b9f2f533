"""Looks at real directories and says which project owns them, as of now.

Implements `PlaceFinder` of `core/ports.py`. `core/discovery.py` has the procedure, `search.py` carries it out; here
is the memory: an answer is given again without a search when every proof that it rests on holds at the time of the
call. No watcher is needed for that, and none is trusted.

What lies on local disks is looked at on the spot. As soon as a mount would be touched that may hang, the whole look
goes to the file pool instead, so that a dead mount holds up nobody but who asks about it, and that one not for long.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from workroot.core.placing import paths_to_ask, place_of, rivals_of
from workroot.core.projects import CONFIG_NAMES, KnownId, Place, ProjectKey
from workroot.core.standing import other_tops, roots_to_ask, settled, still_stands_by
from workroot.errors import DirectoryError
from workroot.project_finder.evidence import Evidence
from workroot.project_finder.file_pool import FilePool, NoAnswerError
from workroot.project_finder.mounts import mount_table
from workroot.project_finder.resolving import resolve
from workroot.project_finder.rules import rules_of_this_process
from workroot.project_finder.search import Seen, search, unusable
from workroot.project_finder.version_control import node_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from workroot.core.discovery import Finding, Rules
    from workroot.core.identities import Identities
    from workroot.project_finder.mounts import Mount, Mounts, MountTable

__all__ = ["ProjectFinder", "rules_of_this_process"]

_MAX_REMEMBERED = 1024


@dataclass(slots=True)
class _Look:
    """What was seen from a directory upward, and the answer that it gave last.

    Attributes:
        has_rivals: the answer depends on whether others, elsewhere, stand by the id that is claimed here.
    """

    seen: Seen
    place: Place | None = None
    has_rivals: bool = False


class ProjectFinder:
    """Finds which project owns a directory.

    Not for use by several threads at once.

    Args:
        namespace: UUID as text; ids that no config gives derive from it.
        rules: where a search may go; None stands for this process' user, and `trusted_directories`.
        trusted_directories: at and below these, what other users own is accepted; absolute.
        identities: under which ids projects are known; None knows no more than what their configs claim.
        config_names: what to look for at each level, first match wins.
        clock_ns: the clock that stamps files, in nanoseconds.
        max_remembered: how many answers are kept, least recently used first out.
        mounts: which mounts may hang; None stands for this system's.
        pool: where these are looked at; None stands for one of its own.
    """

    def __init__(
        self,
        namespace: str,
        *,
        rules: Rules | None = None,
        trusted_directories: Iterable[str] = (),
        identities: Identities | None = None,
        config_names: Sequence[str] = CONFIG_NAMES,
        clock_ns: Callable[[], int] = time.time_ns,
        max_remembered: int = _MAX_REMEMBERED,
        mounts: MountTable | None = None,
        pool: FilePool | None = None,
    ) -> None:
        self._namespace = UUID(namespace)
        self._rules = rules if rules is not None else rules_of_this_process(trusted_directories)
        self._identities = identities
        self._config_names = tuple(config_names)
        self._clock_ns = clock_ns
        self._max_remembered = max_remembered
        self._mounts = mounts if mounts is not None else mount_table()
        self._pool = pool if pool is not None else FilePool()
        self._remembered: OrderedDict[str, _Look] = OrderedDict()

    def trust_directories(self, directories: Iterable[str]) -> None:
        """From now on, accept what other users own at and below *directories*, and nowhere else."""
        self._rules = rules_of_this_process(directories)
        self._remembered.clear()

    async def find(self, directory: str) -> Place:
        """Return which project owns *directory*, as of now.

        Args:
            directory: absolute; `~` is not expanded. Symlinks are resolved.

        Raises:
            DirectoryError: it is not an absolute path of an existing, readable directory, or a mount that has to be
                asked does not answer: then it says which, and when it is tried again.
        """
        try:
            look = await self._look(directory)
            if (place := self._answer_of(look)) is not None:
                return place
            there = {path: await self._is_there(path) for path in self._paths_of(look)}
            standing = {rival.key: await self._still_stands_by(rival) for rival in self._rivals_of(look, there)}
        except NoAnswerError as error:
            raise unusable(directory, f"Directory cannot be used ({error.problem})") from None
        return self._place(look, directory, standing, there)

    def find_now(self, directory: str) -> Place:
        """Return which project owns *directory*, as of now; whatever hangs is waited for.

        Raises:
            DirectoryError: it is not an absolute path of an existing, readable directory.
        """
        look = self._look_now(directory)
        if (place := self._answer_of(look)) is not None:
            return place
        there = {path: os.path.lexists(path) for path in self._paths_of(look)}
        standing = {rival.key: self._still_stands_by_now(rival) for rival in self._rivals_of(look, there)}
        return self._place(look, directory, standing, there)

    def explain_now(self, directory: str) -> Finding:
        """Search anew and return what was seen on the way, for people who ask why.

        Raises:
            DirectoryError: as for `find_now`.
        """
        return self._look_again(directory, None, self._mounts.current(), None).finding

    # Looking

    async def _look(self, directory: str) -> _Look:
        """Return what is seen from *directory* upward: inline if it is local, else in the pool.

        Raises:
            DirectoryError: as for `find_now`.
            NoAnswerError: a mount does not answer.
        """
        mounts, remembered = self._mounts.current(), self._remembered.get(directory)
        known = remembered.seen if remembered is not None else None
        try:
            seen = self._look_again(directory, known, mounts, _go_to_pool)
        except _MayHangError as error:
            seen = await self._pool.run(error.mount, partial(self._look_again, directory, known, mounts))
        return self._remember(directory, seen)

    def _look_now(self, directory: str) -> _Look:
        remembered = self._remembered.get(directory)
        known = remembered.seen if remembered is not None else None
        return self._remember(directory, self._look_again(directory, known, self._mounts.current(), None))

    def _look_again(
        self, directory: str, known: Seen | None, mounts: Mounts, touch: Callable[[Mount], None] | None
    ) -> Seen:
        """Return *known* if it still holds, else what a search sees; may run in any thread."""
        if known is not None and known.still_holds(mounts, touch):
            return known
        return search(directory, self._rules, self._config_names, now_ns=self._clock_ns(), mounts=mounts, touch=touch)

    def _remember(self, directory: str, seen: Seen) -> _Look:
        remembered = self._remembered.get(directory)
        if remembered is not None and remembered.seen is seen:
            self._remembered.move_to_end(directory)
            return remembered
        look = _Look(seen)
        if not seen.is_settled:
            self._remembered.pop(directory, None)
            return look
        self._remembered[directory] = look
        self._remembered.move_to_end(directory)
        if len(self._remembered) > self._max_remembered:
            self._remembered.popitem(last=False)
        return look

    # From what was seen to the answer

    def _answer_of(self, look: _Look) -> Place | None:
        """Return the answer that a look gave last, if nothing that it rests on besides files has changed."""
        revision = self._identities.revision if self._identities is not None else None
        return None if look.place is None or look.has_rivals or look.place.identities_seen != revision else look.place

    def _paths_of(self, look: _Look) -> tuple[str, ...]:
        return paths_to_ask(look.seen.finding, self._identities) if self._identities is not None else ()

    def _rivals_of(self, look: _Look, there: Mapping[str, bool]) -> tuple[KnownId, ...]:
        if self._identities is None:
            return ()
        finding, _ = settled(look.seen.finding, self._identities, lambda path: there.get(path, True))
        return rivals_of(finding, self._identities)

    def _place(self, look: _Look, given: str, standing: Mapping[ProjectKey, bool], there: Mapping[str, bool]) -> Place:
        """Make the answer anew.

        Args:
            look: what was seen.
            given: the path as the caller spelled it.
            standing: which rivals stand by their id; of one that is not in it, it is taken that it does.
            there: which of the paths asked about exist; of one that is not in it, it is taken that it does.
        """

        def still_stands_by_it(rival: KnownId) -> bool:
            return standing.get(rival.key, True)

        def is_there(path: str) -> bool:
            return there.get(path, True)

        finding, identities = look.seen.finding, self._identities
        place = place_of(finding, given, self._namespace, identities, still_stands_by_it, is_there=is_there)
        look.place = replace(place, rests_on=look.seen.rests_on)
        look.has_rivals = bool(self._rivals_of(look, there)) or self._is_in_doubt(finding)
        return look.place

    def _is_in_doubt(self, finding: Finding) -> bool:
        return self._identities is not None and bool(other_tops(finding, self._identities))

    async def _still_stands_by(self, known: KnownId) -> bool:
        """Tell whether a project elsewhere is still there and would still get the id that it has.

        One that cannot be asked, since its mount does not answer, does.
        """
        try:
            seen = [finding for root in self._roots_of(known) if (finding := await self._found_at(root)) is not None]
            is_there = await self._asked(known.key.repository, partial(_is_still_at, known))
        except NoAnswerError:
            return True
        return still_stands_by(known, seen, is_repository_there=is_there)

    async def _found_at(self, root: str) -> Finding | None:
        try:
            return self._settled((await self._look(root)).seen.finding)
        except DirectoryError:
            return None

    async def _is_there(self, path: str) -> bool:
        try:
            return await self._asked(path, partial(os.path.lexists, path))
        except NoAnswerError:
            return True

    async def _asked(self, path: str, look: Callable[[], bool]) -> bool:
        """Return what a look at *path* says: inline, unless the way there leads to a mount that may hang."""
        evidence = Evidence(0, mounts=self._mounts.current(), touch=_go_to_pool)
        try:
            with suppress(OSError):  # the look itself will tell
                resolve(path, evidence)
        except _MayHangError as error:
            return await self._pool.run(error.mount, lambda _touch: look())
        return look()

    def _still_stands_by_now(self, known: KnownId) -> bool:
        seen = [finding for root in self._roots_of(known) if (finding := self._found_now_at(root)) is not None]
        return still_stands_by(known, seen, is_repository_there=_is_still_at(known))

    def _found_now_at(self, root: str) -> Finding | None:
        try:
            return self._settled(self._look_now(root).seen.finding)
        except DirectoryError:
            return None

    def _roots_of(self, known: KnownId) -> tuple[str, ...]:
        return roots_to_ask(known, self._identities) if self._identities is not None else ()

    def _settled(self, finding: Finding) -> Finding:
        return settled(finding, self._identities)[0] if self._identities is not None else finding


def _is_still_at(known: KnownId) -> bool:
    """Tell whether the common directory of a project that is kept exists, and is the one that was known."""
    return os.path.lexists(known.key.repository) and known.is_of(node_at(known.key.repository))


class _MayHangError(Exception):
    """A mount would have to be touched that may hang; nothing was asked of it."""

    def __init__(self, mount: Mount) -> None:
        self.mount = mount
        super().__init__(mount.point)


def _go_to_pool(mount: Mount) -> None:
    raise _MayHangError(mount)
