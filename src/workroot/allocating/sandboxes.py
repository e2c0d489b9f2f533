"""Which sandbox a program works in, what its sessions' keys look like in a store of artifacts, and hours as seconds."""

from __future__ import annotations

import os
import secrets

from workroot import grid_paths
from workroot.core.allocations import checked_seconds
from workroot.core.sessions import check_session_id
from workroot.errors import SessionError, SettingsError, TimeToLiveError

__all__ = ["GridKeys", "chosen_sandbox", "seconds_of"]

_VARIABLES = ("CHUK_SANDBOX_ID", "CHUK_HOST_SANDBOX_ID")
_HOUR = 3600.0


class GridKeys:
    """The names under which a sandbox's sessions keep artifacts; see `workroot.grid_paths`.

    Args:
        sandbox_id: the tenant.
    """

    def __init__(self, sandbox_id: str) -> None:
        self.sandbox_id = sandbox_id

    def get_canonical_prefix(self, session_id: str) -> str:
        """Return what the keys of a session's artifacts begin with."""
        return grid_paths.get_canonical_prefix(session_id, sandbox=self.sandbox_id)

    def generate_artifact_key(self, session_id: str, artifact_id: str) -> str:
        """Return the key of a session's artifact."""
        return grid_paths.generate_artifact_key(session_id, artifact_id, sandbox=self.sandbox_id)

    def parse_grid_key(self, grid_key: str) -> grid_paths.GridKey | None:
        """Return what a key names, None if it is none."""
        return grid_paths.parse_grid_key(grid_key)

    def get_session_prefix_pattern(self) -> str:
        """Return what the keys of all sessions of this sandbox begin with."""
        return grid_paths.get_session_prefix_pattern(sandbox=self.sandbox_id)


def chosen_sandbox(given: str | None) -> str:
    """Return the sandbox's id: the argument, else `CHUK_SANDBOX_ID` or `CHUK_HOST_SANDBOX_ID`, else a new one.

    Raises:
        SettingsError: it cannot be one; names where it comes from.
    """
    if given is not None:
        return _checked("sandbox_id", given)
    for variable in _VARIABLES:
        if found := os.environ.get(variable):
            return _checked(variable, found)
    return f"sandbox-{secrets.token_hex(4)}"


def seconds_of(hours: float) -> float:
    """Return so many hours in seconds.

    Raises:
        TimeToLiveError: no session can live for so long.
    """
    if isinstance(hours, bool) or not isinstance(hours, int | float):
        raise TimeToLiveError(hours, "hours")
    try:
        return checked_seconds(hours * _HOUR)
    except OverflowError:  # an integer beyond all floats
        raise TimeToLiveError(hours, "hours") from None


def _checked(place: str, sandbox: str) -> str:
    try:
        return check_session_id(sandbox)
    except (SessionError, TypeError):
        raise SettingsError(
            place, f"{str(sandbox)[:200]!r} cannot be a sandbox's id: 1 to 128 letters, digits, '.', '_' or '-'"
        ) from None
