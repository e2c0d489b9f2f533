"""Sessions that the user's running daemon keeps, for programs that embed workroot: `workroot.connect()`.

The client has the interface of this process's own manager. It never starts, stops or replaces a daemon: that is the
user's.
"""

from __future__ import annotations
