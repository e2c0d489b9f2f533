"""The agent for launchd, as text; source: launchd.plist(5).

launchd starts the daemon at login and again when it crashed, not when it was told to stop: then the next
connector starts one. It holds no socket for it.
"""

from __future__ import annotations

import plistlib
from typing import TYPE_CHECKING

from workroot.inherited_sockets import LAUNCHD_LABEL

if TYPE_CHECKING:
    from workroot.service.installation import Installation

__all__ = ["AGENT_FILE", "launchd_agent"]

AGENT_FILE = f"{LAUNCHD_LABEL}.plist"


def launchd_agent(installation: Installation) -> str:
    """Return the text of the property list."""
    agent: dict[str, object] = {
        "Label": LAUNCHD_LABEL,
        "ProgramArguments": list(installation.command),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ProcessType": "Background",
        "WorkingDirectory": "/",
        "Umask": 0o077,
        "StandardErrorPath": installation.log_path,
        "SoftResourceLimits": {"NumberOfFiles": 4096},
    }
    if installation.names_state:
        agent["EnvironmentVariables"] = {"WORKROOT_HOME": installation.state}
    return plistlib.dumps(agent, sort_keys=False).decode()
