"""What programs that embed workroot ask of the daemon's sessions: each operation by its name, with checked arguments.

On whose behalf, the socket says, never the client: what a client claims only tells apart whom it serves, within what is
the user's. An argument that is not known here is refused, since the call would mean something else without it.
"""

from __future__ import annotations
