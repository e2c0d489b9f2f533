"""The client that most editors still are: the SDK's first generation, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from real_daemon import WORKROOT

from workroot.identity import TokenFile

if TYPE_CHECKING:
    from real_daemon import Home

ROOT = Path(__file__).parents[2]
REQUIREMENT = "mcp>=1.30,<2"


@pytest.fixture(scope="session")
def old_python() -> str:
    """An interpreter that has `mcp` 1.x; made once, kept in the clone."""
    environment = ROOT / ".venv-mcp1"
    python, stamp = environment / "bin" / "python", environment / "installed"
    if not stamp.exists() or stamp.read_text() != REQUIREMENT:
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=120)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT]
        subprocess.run(install, check=True, timeout=300)
        stamp.write_text(REQUIREMENT)
    return str(python)


def run_old_client(python: str, home: Home, directory: Path, *arguments: str) -> dict[str, Any]:
    script = str(Path(__file__).with_name("old_client.py"))
    done = subprocess.run(
        [python, script, *arguments],
        env=home.environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("door", ["stdio", "http"])
def test_a_first_generation_client_is_served(shared: Home, old_python: str, door: str) -> None:
    here, there = shared.repository(f"old-{door}-here"), shared.repository(f"old-{door}-there")
    if door == "stdio":
        told = run_old_client(old_python, shared, shared.top, "stdio", WORKROOT, str(here), str(there))
    else:
        url = shared.ask("status")["http"]["url"]
        token = TokenFile(shared.state / "tokens.json").create(f"old-{door}")
        told = run_old_client(old_python, shared, here, "http", url, token, str(there))

    assert told["version"] == "2025-11-25"
    assert told["tools_changed"] is True
    assert told["tools"] == ["get_working_directory", "set_working_directory", "list_projects", "close_session"]
    unasked, rooted, moved, again, default = told["answers"]
    assert (unasked["working_directory"], unasked["source"]) == (
        str(here),
        "connector" if door == "stdio" else "process",
    )
    assert (rooted["working_directory"], rooted["source"]) == (str(there), "roots")
    assert (moved["working_directory"], moved["source"]) == (str(there), "pin")
    assert default["session_id"] == again["session_id"] == moved["session_id"]
    assert (default["working_directory"], default["source"]) == (str(there), "pin")
    is_error, text = told["refused"]
    assert (is_error, text.splitlines()[0]) == (True, "Directory path must be absolute: relative")
