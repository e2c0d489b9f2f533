"""A real daemon with something about it changed: a disk that hangs, a time that is shorter than people's."""

from __future__ import annotations

import os
import subprocess
import sys

from real_daemon import Home

_SERVE = (
    "import sys\n"
    "from workroot.cli.program import run\n"
    "sys.argv[1:] = ['serve', '--ready-fd', sys.argv[1]]\n"
    "sys.exit(run())\n"
)


def start_patched(home: Home, patch: str) -> subprocess.Popen[bytes]:
    """Run the lines of *patch*, then `workroot serve`; return when clients can connect."""
    said, saying = os.pipe()
    with os.fdopen(said, "rb") as ready:
        daemon = subprocess.Popen(
            [sys.executable, "-I", "-c", f"{patch}\n{_SERVE}", str(saying)],
            env=home.environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[saying],
        )
        os.close(saying)
        home.started.append(daemon)
        assert ready.readline() == b"ready\n"
    return daemon
