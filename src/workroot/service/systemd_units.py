"""The units for systemd's user manager, as text: a socket that is always there, and the daemon behind it.

systemd holds the socket, so that a client never finds it closed: what connects while no daemon runs waits in
its queue and starts one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from workroot import rendezvous
from workroot.service.systemd_quoting import command_line, plain_value, quoted_word

if TYPE_CHECKING:
    from workroot.service.installation import Installation

__all__ = ["SERVICE_UNIT", "SOCKET_UNIT", "service_unit", "socket_unit"]

SOCKET_UNIT = "workroot.socket"
SERVICE_UNIT = "workroot.service"


def socket_unit(installation: Installation) -> str:
    """Return the text of `workroot.socket`."""
    return f"""\
[Unit]
Description=Where editors and agents meet the workroot daemon

[Socket]
ListenStream={_listen_path(installation)}
FileDescriptorName=unix
SocketMode=0600
DirectoryMode=0700
Backlog=512

[Install]
WantedBy=sockets.target
"""


def service_unit(installation: Installation) -> str:
    """Return the text of `workroot.service`.

    Raises:
        ServiceError: systemd would not start this installation's Python.
    """
    home = ""
    if installation.names_state:
        home = f"Environment={quoted_word(f'WORKROOT_HOME={installation.state}')}\n"
    return f"""\
[Unit]
Description=workroot, which knows in which project each editor and agent works
Requires={SOCKET_UNIT}
After={SOCKET_UNIT}
StartLimitIntervalSec=60
StartLimitBurst=10

[Service]
Type=notify
ExecStart={command_line(installation.command)}
ExecReload=kill -HUP $MAINPID
{home}WorkingDirectory=/
UMask=0077
Restart=on-failure
RestartSec=1
TimeoutStartSec=30
TimeoutStopSec=10
# The daemon ends the servers that it has started; what is left after that is killed.
KillMode=mixed

# Room for the daemon and eight servers of projects; a server that takes too much ends alone.
MemoryMax=5G
OOMPolicy=continue
TasksMax=1024
LimitNOFILE=4096:524288

# The daemon starts the servers that the user has allowed projects to have, and all of this holds for them too.
# Such servers go to other machines, over IPv6 as well; resolving a name and listing interfaces need netlink.
NoNewPrivileges=yes
LockPersonality=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK

# Left out on purpose:
# - MemoryDenyWriteExecute=: Node and other runtimes compile while they run.
# - ProtectHome=, ProtectSystem=strict: servers of projects read and write in those, anywhere below home.
# - PrivateTmp=, ProtectSystem=, PrivateDevices= and whatever else needs a mount namespace: in a user's unit it needs
#   a user namespace as well, which some systems refuse. In one, files of root's seem to be nobody's, so that it cannot
#   be told any more who owns what is above a project, and the directories of HTTP clients cannot be read. A socket
#   with a long path lies below /tmp, where PrivateTmp= would hide it. And a user cannot write to /usr anyway.
# - RestrictNamespaces=, SystemCallFilter=: browsers and build tools that servers start make sandboxes of their own.

[Install]
WantedBy=default.target
"""


def _listen_path(installation: Installation) -> str:
    """Return the socket's path, by a specifier for the host: a home directory may be shared by several."""
    path, below = installation.socket_path, rendezvous.run_directory(installation.state)
    host = os.path.basename(below)
    if os.path.dirname(path) != below or host != os.uname().nodename:
        return plain_value(path)
    return f"{plain_value(os.path.dirname(below))}/%H/{plain_value(os.path.basename(path))}"
