"""Which branch is checked out: a server that shares its sessions with the user's running workroot daemon.

A session that an agent opened with the daemon, or with any other server that connects to it, is known here as well:
told once where to work, all of them agree.
"""

from __future__ import annotations

import os
from pathlib import Path

from mcp.server import MCPServer

import workroot
from workroot import CurrentProject

app = MCPServer("branches")
workroot.attach(app, store=workroot.connect())


@app.tool()
def current_branch(project: CurrentProject) -> str:
    """Tell which branch is checked out in the project that you work in."""
    git = Path(project.root) / ".git"
    if git.is_file():  # a worktree: the file says where its own directory is
        git = git.parent / git.read_text().removeprefix("gitdir:").strip()
    head = (git / "HEAD").read_text().strip()
    return head.removeprefix("ref: refs/heads/")


if __name__ == "__main__":
    app.run("streamable-http", port=int(os.environ.get("BRANCHES_PORT", "7802")))
