"""`DaemonClient`: the sessions of the running daemon, with the interface of this process's own manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.core.sessions import DEFAULT_SANDBOX
from workroot.daemon_client.allocations import DaemonAllocations
from workroot.daemon_client.links import Links
from workroot.daemon_client.operations import Operations
from workroot.rendezvous import socket_path, state_directory
from workroot.session_reader import LOCAL_OWNER
from workroot.wire_values.codec import BOOLEAN, INTEGER, TEXT, optional, tuple_of
from workroot.wire_values.places import DIRECTORY, KNOWN_PROJECT, PLACE
from workroot.wire_values.records import ENDED, ENTERED, RESOLUTION, SESSION, SIGNS

if TYPE_CHECKING:
    from types import TracebackType

    from workroot.core.answer import Resolution
    from workroot.core.projects import Directory, KnownProject, Place
    from workroot.core.sessions import EndedSession, Owner, SessionContext
    from workroot.core.signs import Signs
    from workroot.mover import Entered
    from workroot.session_service import AllocationService

__all__ = ["DaemonClient", "connect"]

_MAYBE_TEXT = optional(TEXT)
_PROJECTS = tuple_of(KNOWN_PROJECT)
_LONGEST_ANSWER_SECONDS = 86_400
_PAGE = 500  # projects in one answer: some milliseconds of the daemon's time
_MOST_PROJECTS = 100_000  # the most that a daemon can be set to know


def connect(*, home: str | None = None, sandbox: str = DEFAULT_SANDBOX, answer_seconds: float = 10.0) -> DaemonClient:
    """Return a client of the user's running daemon; it connects at the first call, or by `start`.

    Args:
        home: the daemon's state directory; None for `WORKROOT_HOME`, or the usual place.
        sandbox: of calls that name no owner; sessions of two sandboxes never meet.
        answer_seconds: how long each call may take, connecting included: at most a day.

    Raises:
        ValueError: no call could be answered in so long.
    """
    state = state_directory() if home is None else state_directory({"WORKROOT_HOME": home})
    return DaemonClient(socket_path(state), sandbox=sandbox, answer_seconds=answer_seconds)


class DaemonClient:
    """Sessions that the daemon keeps: a `SessionService`.

    All calls of an event loop share one connection, and none waits for the answer to another. Beside the errors of
    `SessionContextManager`, each raises `DaemonUnavailableError` where no daemon answers: what was in flight is not
    repeated, and the next call connects anew. Use it as a context manager, or call `stop` in the end.

    Args:
        path: of the daemon's socket.
        sandbox: of calls that name no owner.
        answer_seconds: how long each call may take, connecting included: at most a day.
    """

    def __init__(self, path: str, *, sandbox: str = DEFAULT_SANDBOX, answer_seconds: float = 10.0) -> None:
        if not 0 < answer_seconds <= _LONGEST_ANSWER_SECONDS:
            raise ValueError(f"answer_seconds is above 0 and at most {_LONGEST_ANSWER_SECONDS}, not {answer_seconds}")
        self._links = Links(path, answer_seconds)
        self._operations = Operations(self._links, sandbox)
        self._allocations = DaemonAllocations(self._operations)

    @property
    def owner(self) -> Owner:
        """On whose behalf calls come that name nobody: the user, in this client's sandbox."""
        return self._operations.owner

    @property
    def allocations(self) -> AllocationService:
        """Sessions that are allocated for a time."""
        return self._allocations

    @property
    def is_reach_bounded(self) -> bool:
        """Tell whether an argument may not reach everywhere, as of the daemon's last answer; before it, True."""
        return self._operations.is_reach_bounded

    # Life

    @property
    def is_started(self) -> bool:
        """Whether there is a connection, whoever's call opened it."""
        return self._links.is_open

    async def start(self) -> None:
        """Connect, so that it shows at once if there is no daemon. Idempotent; starts again after `stop`.

        Raises:
            ControlError: the daemon is too old.
            DaemonUnavailableError: none runs; it is never started from here.
            RendezvousError: others could have put its socket there.
        """
        await self._operations.do("hello", BOOLEAN)

    async def stop(self) -> None:
        """Close the connections; calls in flight fail. Idempotent. The daemon goes on, and so do the sessions."""
        self._links.close()

    async def __aenter__(self) -> DaemonClient:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    # Sessions

    async def set_working_directory(
        self, session_id: str, directory: str, *, owner: Owner = LOCAL_OWNER
    ) -> SessionContext:
        """Let a session work in *directory*; the first time, this opens it."""
        return await self._operations.do(
            "set_working_directory", SESSION, owner, session_id=session_id, directory=directory
        )

    async def get_working_directory(self, session_id: str, *, owner: Owner = LOCAL_OWNER) -> str | None:
        """Return where a session works, or None if there is none of that id."""
        return await self._operations.do("get_working_directory", _MAYBE_TEXT, owner, session_id=session_id)

    async def get_session_count(self) -> int:
        """Return how many sessions the daemon holds, those of its other clients included."""
        return await self._operations.do("get_session_count", INTEGER)

    async def current_session(self, session_id: str, *, owner: Owner = LOCAL_OWNER) -> SessionContext:
        """Return a session in the project that owns its directory as of now."""
        return await self._operations.do("current_session", SESSION, owner, session_id=session_id)

    async def is_decided_by_meta(self, signs: Signs) -> bool:
        """Tell whether a call's `_meta` names where it works."""
        return await self._operations.do("is_decided_by_meta", BOOLEAN, signs=SIGNS.write(signs))

    async def resolve(self, owner: Owner, signs: Signs, *, is_told: bool = True) -> Resolution:
        """Return where a call works, decided anew from its signs."""
        return await self._operations.do("resolve", RESOLUTION, owner, signs=SIGNS.write(signs), is_told=is_told)

    async def enter(self, owner: Owner, signs: Signs, directory: str, *, project: str | None = None) -> Entered:
        """Let the call's session work in *directory*; a call that is in none gets a new one."""
        return await self._operations.do(
            "enter", ENTERED, owner, signs=SIGNS.write(signs), directory=directory, project=project
        )

    async def look(self, directory: str) -> Place:
        """Return which project owns *directory*, as of now; nobody works there because of that."""
        return await self._operations.do("look", PLACE, directory=directory)

    async def known_projects(self, owner: Owner, query: str | None = None) -> list[KnownProject]:
        """Return the projects that the user has worked in, in the sandbox of *owner*, latest first."""
        found: dict[Directory, KnownProject] = {}  # by root: between two pages somebody may work in another one
        for start in range(0, _MOST_PROJECTS, _PAGE):
            page = await self._operations.do("known_projects", _PROJECTS, owner, query=query, start=start, most=_PAGE)
            found.update((each.root, each) for each in page)
            if len(page) < _PAGE:
                break
        return list(found.values())

    async def root_of_project(self, owner: Owner, project: str) -> Directory:
        """Return the root of a project that is known by this id, unique name or root."""
        return await self._operations.do("root_of_project", DIRECTORY, owner, project=project)

    async def close_session(self, session_id: str, *, owner: Owner = LOCAL_OWNER) -> EndedSession:
        """Forget a session for good."""
        return await self._operations.do("close_session", ENDED, owner, session_id=session_id)
