"""Copies of this source tree, to be made wrong on purpose: whatever happens to one, the tree itself stays as it is.

A copy has a virtual environment of its own that finds the package in the copy and everything else where this one
finds it, so that the daemons which its tests start, isolated as they are, run the copy's code, too.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Run", "TreeCopy", "library_of"]

ROOT = Path(__file__).parents[2]

_LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", ".coverage*", "dist")
_END_SECONDS = 10  # for fixtures to end what they started
_WITH_LESS_MEMORY = 'ulimit -v 4194304; exec "$@"'  # 4 GiB a process: what is wrong may never stop asking for more
_PYTEST_FAILED = 1
_PYTEST_FOUND_NOTHING = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of a run of tests.

    Attributes:
        code: pytest's exit code; None if the time was over.
        seconds: that it took.
        output: what was printed.
    """

    code: int | None
    seconds: float
    output: str

    @property
    def passed(self) -> bool:
        """Whether every test ran, and passed."""
        return self.code == 0

    @property
    def is_over_time(self) -> bool:
        """Whether it was ended."""
        return self.code is None


def library_of(python: Path) -> Path:
    """Return where the interpreter of a virtual environment finds its packages."""
    named = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-c", named], check=True, capture_output=True, text=True).stdout.strip())


class TreeCopy:
    """One copy.

    Args:
        top: where to make it; must not exist.
        library: the packages that its tests need; by default those of this process.
        source: what to copy.
    """

    def __init__(self, top: Path, library: Path | None = None, source: Path = ROOT) -> None:
        self.top, self.source = top, source
        self._edits = 0
        self._began = time.time()
        shutil.copytree(source, top, ignore=_LEFT_OUT, symlinks=True)
        self.python = self._make_environment(library or Path(sysconfig.get_path("purelib")))

    def write(self, path: str, text: str) -> None:
        """Change a file of the copy.

        Bytecode is taken for that of a file with the same size and second; each edit gets a second of its own.
        """
        target = self.top / path
        target.write_text(text)
        self._edits += 1
        os.utime(target, (self._began + self._edits, self._began + self._edits))

    def restore(self, path: str) -> None:
        """Take back every change of a file."""
        self.write(path, (self.source / path).read_text())

    def imports(self, module: str) -> bool:
        """Tell whether a module of the copy can be imported at all."""
        command = [str(self.python), "-c", f"import {module}"]
        return (
            subprocess.run(command, cwd=self.top, env=_environment(), capture_output=True, check=False).returncode == 0
        )

    def run(self, tests: Sequence[str], *, seconds: float) -> Run:
        """Run pytest on *tests* until one fails.

        Args:
            tests: files, or names as pytest prints them.
            seconds: after which it is ended, with all that it started.

        Raises:
            LookupError: there are no such tests.
        """
        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "--hypothesis-profile=ci"]
        began = time.monotonic()
        with tempfile.TemporaryFile() as printed:  # no pipe: what outlives the run would keep it open
            process = subprocess.Popen(
                ["/bin/sh", "-c", _WITH_LESS_MEMORY, "sh", self.python, "-m", "pytest", *options, *tests],
                cwd=self.top,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code = _wait(process, seconds)
            printed.seek(0)
            output = printed.read().decode(errors="replace")
        if code not in (None, 0, _PYTEST_FAILED) and _has_no_tests(code, output):
            raise LookupError(f"pytest finds no such tests: {' '.join(tests)}\n{output}")
        return Run(code=code, seconds=time.monotonic() - began, output=output)

    def _make_environment(self, library: Path) -> Path:
        home = self.top / ".venv"
        subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(home)], check=True)
        python = home / "bin" / "python"
        # A path in a .pth file is searched, but .pth files there are not read: not that of the editable installation.
        (library_of(python) / "copy.pth").write_text(f"{self.top / 'src'}\n{library}\n")
        shutil.copy2(self.top / "scripts" / "workroot", home / "bin" / "workroot")
        return python


def _environment() -> dict[str, str]:
    """Return this process's environment without what it was told of its own test run."""
    told = ("PYTEST_", "COV", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(told)}


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Return the exit code; None if the time was over.

    Then it is ended, first as a person at the keyboard would, so that its fixtures end what they started.
    """
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return None


def _has_no_tests(code: int | None, output: str) -> bool:
    return code == _PYTEST_FOUND_NOTHING or "ERROR: not found:" in output or "ERROR: file or directory not" in output
