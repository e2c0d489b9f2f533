"""A real daemon with something about it changed: a disk that hangs, a time that is shorter than people's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from real_daemon import Home

_SERVE = "import sys\nfrom workroot.cli.program import run\nsys.argv[1:] = ['serve', *sys.argv[1:]]\nsys.exit(run())\n"


def start_patched(home: Home, patch: str, *, under: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Run the lines of *patch*, then `workroot serve`, both as a child of *under*; return when clients can connect."""
    said, saying = os.pipe()
    with os.fdopen(said, "rb") as ready:
        daemon = serve_patched(home, patch, "--ready-fd", str(saying), under=under, pass_fds=[saying])
        os.close(saying)
        assert ready.readline() == b"ready\n"
    return daemon


def serve_patched(
    home: Home, patch: str, *arguments: str, under: Sequence[str] = (), pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Run the lines of *patch*, then `workroot serve`, and do not wait for it."""
    daemon = subprocess.Popen(
        [*under, sys.executable, "-I", "-c", f"{patch}\n{_SERVE}", *arguments],
        env=home.environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=pass_fds,
    )
    home.started.append(daemon)
    return daemon
