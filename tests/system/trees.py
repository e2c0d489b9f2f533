"""Real trees for the tests of discovery: configs, repositories, and a clock that counts the searches."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from workroot.core.projects import Place, Project

NAMESPACE = "6f1d6a3e-52a4-4b0c-9a53-0e6f0c1de111"
CONFIG = '# a config\nversion = "1.0"\n[project]\nname = "{}"\n'
JSON_CONFIG = '{{"version": "1.0", "project": {{"name": "{}"}}}}'
NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


class CountingClock:
    """The system's clock, *ahead_seconds* ahead; a finder asks it once a search."""

    def __init__(self, ahead_seconds: float = 0) -> None:
        self.searches, self._ahead_ns = 0, int(ahead_seconds * 1e9)

    def __call__(self) -> int:
        self.searches += 1
        return time.time_ns() + self._ahead_ns


def make_config(top: Path, name: str = "p", config_name: str = ".workroot/config.toml") -> Path:
    path = top / config_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((CONFIG if path.suffix == ".toml" else JSON_CONFIG).format(name))
    return path


def owner(place: Place) -> Project:
    assert place.project is not None, place
    return place.project


def git(directory: Path, *arguments: str) -> None:
    settings = ("user.name=Ada", "user.email=ada@example.org", "protocol.file.allow=always", "init.defaultBranch=main")
    options = [word for setting in settings for word in ("-c", setting)]
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    subprocess.run(
        ["git", "-C", str(directory), *options, *arguments],
        check=True,
        capture_output=True,
        env=environment,
        timeout=60,
    )


def make_git_repository(top: Path) -> Path:
    top.mkdir(parents=True)
    git(top, "init")
    git(top, "commit", "--allow-empty", "-m", "first")
    return top
