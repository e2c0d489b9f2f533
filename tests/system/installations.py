"""Other installations of workroot: the package of this one with another version number, in an environment of its own.

Real ones: `python -I -m workroot` of such an environment runs its own copy, and takes nothing of it from here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from connector_fakes import Client, call, line_of
from real_daemon import HANDSHAKE_VERSION, Home

import workroot

SOURCE = Path(workroot.__file__).parent


class Installation:
    """An environment with a copy of the package in it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.python = top / "bin" / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.package = top / "lib" / version / "site-packages" / "workroot"

    @classmethod
    def make(cls, top: Path) -> Installation:
        """Install the package as it is here, and compile it, so that copies start as fast as it does."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", top], check=True, timeout=60)
        made = cls(top)
        shutil.copytree(SOURCE, made.package, ignore=shutil.ignore_patterns("__pycache__"))
        dependencies = sysconfig.get_paths()["purelib"]
        (made.package.parent / "dependencies.pth").write_text(f"{dependencies}\n")
        subprocess.run([made.python, "-I", "-m", "compileall", "-q", made.package], check=True, timeout=120)
        return made

    def copy(self, top: Path, version: str, **numbers: int) -> Installation:
        """Install it again somewhere else, with another version; *numbers* as `change` takes them."""
        shutil.copytree(self.top, top, symlinks=True)
        made = Installation(top)
        made.change(version, **numbers)
        return made

    def change(self, version: str, **numbers: int) -> None:
        """Give it another version in place, as an upgrade does; what runs goes on with the code that it has loaded.

        Args:
            version: the new version.
            numbers: numbers of the protocol, `WIRE_VERSION` and `OLDEST_WIRE_VERSION`.
        """
        self.patch("__init__.py", r'^__version__ = ".*"$', f'__version__ = "{version}"')
        for name, number in numbers.items():
            self.patch("rendezvous.py", rf"^{name} = \d+$", f"{name} = {number}")

    def rename(self, name: str, new_name: str) -> None:
        """Call something another name, wherever it is named: modules of before and after do not fit together."""
        for path in self.package.rglob("*.py"):
            if name in (text := path.read_text()):
                path.write_text(text.replace(name, new_name))
        for compiled in list(self.package.rglob("__pycache__")):
            shutil.rmtree(compiled)

    def patch(self, module: str, pattern: str, replacement: str) -> None:
        """Replace what *pattern* finds in a module, exactly once."""
        path = self.package / module
        text, count = re.subn(pattern, lambda _: replacement, path.read_text(), flags=re.MULTILINE)
        assert count == 1, pattern
        path.write_text(text)
        shutil.rmtree(
            path.parent / "__pycache__", ignore_errors=True
        )  # a time stamp has seconds: what was compiled might seem to fit

    def command(self, *arguments: str) -> tuple[str, ...]:
        return (str(self.python), "-I", "-m", "workroot", *arguments)

    def run(self, home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands to the end."""
        return subprocess.run(
            self.command(*arguments),
            env=home.environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def open_client(self, home: Home, directory: Path, *options: str) -> McpClient:
        """Start its connector in *directory*, as an editor does."""
        return McpClient(
            home.state, *options, command=self.command("connect"), cwd=directory, environment=home.environment
        )


class McpClient(Client):
    """A client that calls tools, one after the other."""

    _last = 0

    def initialize(self) -> None:
        self.send(
            call(
                0,
                "initialize",
                protocolVersion=HANDSHAKE_VERSION,
                capabilities={},
                clientInfo={"name": "hand", "version": "1"},
            )
        )
        assert "result" in self.read_message()
        self.send(line_of(method="notifications/initialized"))

    def ask(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool and return the answer, an error too."""
        self._last += 1
        self.send(call(self._last, "tools/call", name=tool, arguments=arguments))
        answer: dict[str, Any] = self.read_message()
        assert answer["id"] == self._last, answer
        return answer

    def result_of(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool that has to succeed, and return its structured content."""
        answer = self.ask(tool, **arguments)
        content = answer["result"]["structuredContent"]
        assert isinstance(content, dict), answer
        return content

    def read_note(self) -> str:
        """Return what the connector has said beside the protocol, after ending it."""
        self.close_input()
        self.wait()
        return self.read_errors()


def daemons_of(home: Home) -> list[int]:
    """Return the processes that hold a database of *home* open: there must never be two."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            files = {os.readlink(f"/proc/{entry}/fd/{name}") for name in os.listdir(f"/proc/{entry}/fd")}
        except OSError:
            continue  # it has ended, or is somebody else's
        if str(home.state / "workroot.db") in files:
            found.append(int(entry))
    return found


def answered(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the document of a command that was called with `--json`."""
    document: dict[str, Any] = json.loads(done.stdout)
    return document
