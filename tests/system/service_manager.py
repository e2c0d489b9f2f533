"""Service managers for tests: one that hands over a socket as systemd does, and systemd itself."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from real_daemon import DEADLINE_SECONDS, WORKROOT, Home

import workroot

SYSTEMD = "/lib/systemd/systemd"

# The number of a process is known only in it, so that it has to announce its own descriptor.
_BECOME = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="unix")
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass
class Activator:
    """Holds a socket, and starts the daemon when somebody connects to it.

    Attributes:
        listening: the socket; its file belongs to this side.
        heard: where the daemon says how it goes.
    """

    home: Home
    listening: socket.socket
    heard: socket.socket

    @classmethod
    @contextmanager
    def at(cls, home: Home, path: str | None = None) -> Iterator[Activator]:
        """Hold the socket at *path*, or where clients of *home* look for it."""
        directory = home.state
        for part in ("", "run", Path(home.socket_path).parent.name):
            directory = directory / part
            directory.mkdir(mode=0o700, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            old_umask = os.umask(0o177)
            try:
                listening.bind(path or home.socket_path)
            finally:
                os.umask(old_umask)
            listening.listen()
            heard.settimeout(DEADLINE_SECONDS)
            heard.bind(str(home.top / "notify"))
            yield cls(home, listening, heard)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the daemon."""
        started = subprocess.Popen(
            [sys.executable, "-I", "-c", _BECOME, str(self.listening.fileno()), WORKROOT, "serve"],
            env={**self.home.environment, "NOTIFY_SOCKET": str(self.home.top / "notify")},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[self.listening.fileno()],
            start_new_session=True,
        )
        self.home.started.append(started)
        return started

    async def start_when_needed(self) -> subprocess.Popen[bytes]:
        """Start the daemon once a client waits."""
        await anyio.wait_readable(self.listening)
        return self.start()

    def hear(self) -> str:
        """Return what the daemon says next."""
        return self.heard.recv(4096).decode()


@dataclass
class UserManager:
    """systemd's manager of this user, in a mount namespace of its own."""

    home: Home
    process: subprocess.Popen[bytes]
    python: str
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def started(cls, home: Home) -> Iterator[UserManager]:
        """Run it, and an installation of workroot in a directory whose name needs quoting."""
        environment = {"HOME": home.environment["HOME"], "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        runtime = f"/run/user/{os.geteuid()}"
        begin = f"mount -t tmpfs none /run && mkdir -p -m 700 /run/systemd/system {runtime} && exec {SYSTEMD} --user"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            heard.settimeout(DEADLINE_SECONDS)
            heard.bind(str(home.top / "manager"))
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", begin],
                env={**environment, "XDG_RUNTIME_DIR": runtime, "NOTIFY_SOCKET": str(home.top / "manager")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                while "READY=1" not in heard.recv(4096).decode().splitlines():
                    pass
                yield cls(home, process, _install(home.top / "an $odd place 5%h ü"), environment)
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(DEADLINE_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command where this manager is the user's."""
        return subprocess.run(
            ["nsenter", "--target", str(self.process.pid), "--mount", "--wdns=/", *command],
            env={**self.environment, "WORKROOT_HOME": str(self.home.state)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def service(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `workroot service` of the oddly placed installation."""
        return self.run(self.python, "-I", "-m", "workroot", "service", *arguments)

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        said = self.run(
            "env", f"XDG_RUNTIME_DIR=/run/user/{os.geteuid()}", "systemctl", "--user", "show", "-P", name, unit
        )
        assert said.returncode == 0, said.stderr
        return said.stdout.strip()


def why_no_user_manager() -> str | None:
    """Return why no manager can be run here, or None if one can."""
    if os.geteuid() != 0:
        return "only root can make a mount namespace with a /run of its own"
    missing = [name for name in (SYSTEMD, "systemctl", "unshare", "nsenter") if shutil.which(name) is None]
    return f"this machine has no {', '.join(missing)}" if missing else None


def _install(directory: Path) -> str:
    """Make a virtual environment that has workroot, and return its interpreter."""
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(directory)], check=True)
    (packages,) = directory.glob("lib/python*/site-packages")
    found = (sysconfig.get_path("purelib"), str(Path(workroot.__file__).parents[1]))
    (packages / "found.pth").write_text("".join(f"{place}\n" for place in dict.fromkeys(found)))
    return str(directory / "bin" / "python")
