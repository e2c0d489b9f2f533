"""The operations of `SessionService`, done with the daemon's own sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workroot.core.sessions import Owner
from workroot.session_commands.allocations import allocation_operations
from workroot.session_commands.arguments import (
    MAYBE_TEXT,
    ArgumentRefusedError,
    Given,
    Operation,
    UnknownOperationError,
)
from workroot.wire_values.codec import BOOLEAN, INTEGER, tuple_of
from workroot.wire_values.places import DIRECTORY, KNOWN_PROJECT, PLACE
from workroot.wire_values.records import ENDED, ENTERED, RESOLUTION, SESSION, SIGNS

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from workroot.core.allocations import JsonValue
    from workroot.core.answer import Resolution
    from workroot.core.projects import Directory, KnownProject, Place
    from workroot.core.sessions import EndedSession, SessionContext
    from workroot.mover import Entered
    from workroot.session_service import SessionService

__all__ = ["SessionCommands"]

_MOST_PROJECTS = 1_000  # in one answer
_LONGEST_SANDBOX = 128
_LONGEST_PRINCIPAL = 1_024


class SessionCommands:
    """Does with the daemon's sessions what its clients ask for.

    Args:
        service: the sessions.
        principal: on whose behalf: the user at the other end of the socket, who is the daemon's own.
    """

    def __init__(self, service: SessionService, *, principal: str) -> None:
        self._service, self._principal = service, principal
        self._operations: dict[str, Operation[Any]] = {
            "hello": Operation(self._hello, BOOLEAN),
            "set_working_directory": Operation(self._set_working_directory, SESSION),
            "get_working_directory": Operation(self._get_working_directory, MAYBE_TEXT),
            "get_session_count": Operation(self._get_session_count, INTEGER),
            "current_session": Operation(self._current_session, SESSION),
            "is_decided_by_meta": Operation(self._is_decided_by_meta, BOOLEAN),
            "resolve": Operation(self._resolve, RESOLUTION),
            "enter": Operation(self._enter, ENTERED),
            "look": Operation(self._look, PLACE),
            "known_projects": Operation(self._known_projects, tuple_of(KNOWN_PROJECT)),
            "root_of_project": Operation(self._root_of_project, DIRECTORY),
            "close_session": Operation(self._close_session, ENDED),
            **allocation_operations(service.allocations),
        }

    async def __call__(
        self, operation: str, sandbox: str, arguments: Mapping[str, object], *, principal: str | None = None
    ) -> dict[str, JsonValue]:
        """Do one operation, and return its `value`, with `is_reach_bounded` as of now.

        Args:
            operation: its name.
            sandbox: the tenant.
            arguments: its own.
            principal: whom the program serves, if it tells those apart; they are the user's, and never the user.

        Raises:
            ArgumentRefusedError: the arguments are not its.
            UnknownOperationError: there is none of that name.
            WorkrootError: it failed.
        """
        if operation not in self._operations:
            raise UnknownOperationError(operation)
        if not 1 <= len(sandbox) <= _LONGEST_SANDBOX or not sandbox.isprintable():
            raise ArgumentRefusedError(f"a sandbox is named by 1 to {_LONGEST_SANDBOX} printable characters")
        if principal is not None and (not 1 <= len(principal) <= _LONGEST_PRINCIPAL or not principal.isprintable()):
            raise ArgumentRefusedError(f"a principal is named by 1 to {_LONGEST_PRINCIPAL} printable characters")
        begin, answer = self._operations[operation]
        given = Given(operation, arguments)
        whom = self._principal if principal is None else f"{self._principal}/{principal}"
        doing = begin(Owner(whom, sandbox), given)
        try:
            given.check_all_taken()
        except ArgumentRefusedError:
            doing.close()
            raise
        value: JsonValue = answer.write(await doing)
        return {"value": value, "is_reach_bounded": self._service.is_reach_bounded}

    async def _hello(self, _owner: Owner, _given: Given) -> bool:
        return True

    def _set_working_directory(self, owner: Owner, given: Given) -> Coroutine[Any, Any, SessionContext]:
        return self._service.set_working_directory(given.text("session_id"), given.text("directory"), owner=owner)

    def _get_working_directory(self, owner: Owner, given: Given) -> Coroutine[Any, Any, str | None]:
        return self._service.get_working_directory(given.text("session_id"), owner=owner)

    def _get_session_count(self, _owner: Owner, _given: Given) -> Coroutine[Any, Any, int]:
        return self._service.get_session_count()

    def _current_session(self, owner: Owner, given: Given) -> Coroutine[Any, Any, SessionContext]:
        return self._service.current_session(given.text("session_id"), owner=owner)

    def _is_decided_by_meta(self, _owner: Owner, given: Given) -> Coroutine[Any, Any, bool]:
        return self._service.is_decided_by_meta(given.take("signs", SIGNS))

    def _resolve(self, owner: Owner, given: Given) -> Coroutine[Any, Any, Resolution]:
        is_told = given.take_or("is_told", BOOLEAN, default=True)
        return self._service.resolve(owner, given.take("signs", SIGNS), is_told=is_told)

    def _enter(self, owner: Owner, given: Given) -> Coroutine[Any, Any, Entered]:
        project = given.take_or("project", MAYBE_TEXT, None)
        return self._service.enter(owner, given.take("signs", SIGNS), given.text("directory"), project=project)

    def _look(self, _owner: Owner, given: Given) -> Coroutine[Any, Any, Place]:
        return self._service.look(given.text("directory"))

    def _known_projects(self, owner: Owner, given: Given) -> Coroutine[Any, Any, tuple[KnownProject, ...]]:
        query, start = given.take_or("query", MAYBE_TEXT, None), given.take_or("start", INTEGER, 0)
        return self._some_projects(owner, query, start, given.take("most", INTEGER))

    async def _some_projects(self, owner: Owner, query: str | None, start: int, most: int) -> tuple[KnownProject, ...]:
        if start < 0 or not 0 < most <= _MOST_PROJECTS:
            raise ArgumentRefusedError(f"known_projects gives at most {_MOST_PROJECTS} in one answer, from 0 on")
        known = await self._service.known_projects(owner, query)
        return tuple(known[start : start + most])

    def _root_of_project(self, owner: Owner, given: Given) -> Coroutine[Any, Any, Directory]:
        return self._service.root_of_project(owner, given.text("project"))

    def _close_session(self, owner: Owner, given: Given) -> Coroutine[Any, Any, EndedSession]:
        return self._service.close_session(given.text("session_id"), owner=owner)
