"""The processes at the other ends of an attached server's HTTP connections, each looked for once.

A connection is known by the very tuple in which an ASGI server names its client: uvicorn makes one for each
connection, and as long as it is kept here no other can be taken for it. A server that makes one for each request has
the process looked for each time.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from workroot.transports.peer_process import PeerProcess, PeerProcesses, TcpEnds

if TYPE_CHECKING:
    from starlette.types import Scope

__all__ = ["MOST_CONNECTIONS", "ClientProcesses"]

MOST_CONNECTIONS = 1024
"""Of more, the one that was silent for longest is looked for anew."""

_LOOPBACK = "127.0.0.1"


class ClientProcesses:
    """Tells which process is to be asked where the sender of a request works.

    Args:
        processes: looks for them; None for this system's way.
        most_connections: that are remembered.
    """

    def __init__(self, processes: PeerProcesses | None = None, *, most_connections: int = MOST_CONNECTIONS) -> None:
        self._processes = processes if processes is not None else PeerProcesses()
        self._most = most_connections
        self._known: OrderedDict[TcpEnds, tuple[object, PeerProcess]] = OrderedDict()  # least recently asked first

    def of(self, scope: Scope) -> PeerProcess | None:
        """Return the process that holds the client's end of a request's connection; None if it is not on loopback.

        Nothing is looked for yet. Who holds a port now need not be who held it before, so that is no key.
        """
        client, server = scope.get("client"), scope.get("server")
        if client is None or server is None or not client[0] == server[0] == _LOOPBACK:
            return None
        ends = TcpEnds(tuple(client), tuple(server))
        known = self._known.pop(ends, None)
        if known is None or known[0] is not client:
            known = (client, self._processes.at(ends))
        self._known[ends] = known
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return known[1]
