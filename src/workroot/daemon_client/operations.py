"""One operation of the daemon's sessions, from typed arguments to a typed result."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from workroot.core.sessions import Owner
from workroot.errors import ControlError
from workroot.session_reader import LOCAL_OWNER

if TYPE_CHECKING:
    from workroot.daemon_client.links import Links
    from workroot.wire_values.codec import Codec

__all__ = ["Operations"]

T = TypeVar("T")


class Operations:
    """Asks the daemon to do something with its sessions.

    Args:
        links: the way to it.
        sandbox: of calls that name no owner.

    Attributes:
        owner: on whose behalf they come.
        is_reach_bounded: as of the last answer; True before the first, which lets callers gather all evidence.
    """

    def __init__(self, links: Links, sandbox: str) -> None:
        self.owner = Owner(f"uid:{os.geteuid()}", sandbox)
        self.is_reach_bounded = True
        self._links = links

    async def do(self, operation: str, codec: Codec[T], owner: Owner | None = None, /, **arguments: object) -> T:
        """Return what came of an operation.

        Args:
            operation: the daemon's name for it.
            codec: how its result crosses.
            owner: on whose behalf: the user, whom the socket tells; any other principal is one of this user's
                programs' own, whom the daemon keeps apart from the user and from each other.
            arguments: JSON; those that are None are left out, as is meant by leaving them out.

        Raises:
            ControlError: the daemon does not know this, or its answer cannot be understood.
            DaemonUnavailableError: none answers; whether it was done is known only if none runs.
            WorkrootError: it was refused.
        """
        said = {name: value for name, value in arguments.items() if value is not None}
        request = {"operation": operation, **self._behalf(owner), "arguments": said}
        result = await self._links.ask("session_service", request, what=operation)
        self.is_reach_bounded = result.get("is_reach_bounded") is not False
        try:
            return codec.read(result.get("value"), "value")
        except (TypeError, ValueError) as error:
            raise ControlError(f"the daemon's answer to {operation} cannot be understood: {error}") from None

    def _behalf(self, owner: Owner | None) -> dict[str, str]:
        if owner is None or owner == LOCAL_OWNER:
            return {"sandbox": self.owner.sandbox}
        if owner.principal in (LOCAL_OWNER.principal, self.owner.principal):
            return {"sandbox": owner.sandbox}
        own = owner.principal.removeprefix(f"{self.owner.principal}/")  # what the daemon puts before it
        return {"sandbox": owner.sandbox, "principal": own}
