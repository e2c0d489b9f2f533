"""Which sandbox a program works in: told, set by a variable, or a new one."""

from __future__ import annotations

import os
import secrets

from workroot.core.sessions import check_session_id
from workroot.errors import SessionError, SettingsError

__all__ = ["chosen_sandbox"]

_VARIABLES = ("CHUK_SANDBOX_ID", "CHUK_HOST_SANDBOX_ID")


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


def _checked(place: str, sandbox: str) -> str:
    try:
        return check_session_id(sandbox)
    except (SessionError, TypeError):
        raise SettingsError(
            place, f"{str(sandbox)[:200]!r} cannot be a sandbox's id: 1 to 128 letters, digits, '.', '_' or '-'"
        ) from None
