"""Things to do, apart for each conversation: one server over HTTP for all of a user's agents.

Sessions are in a file, so what an agent was told to pass on as `session_id` is good after a restart too. What is to
be done is kept under that id, which is the conversation's own: no header and no connection stands for it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mcp.server import MCPServer

import workroot
from workroot import CurrentSession

HOME = Path(os.environ.get("TODO_HOME", Path.home() / ".local" / "state" / "todo"))
HOME.mkdir(parents=True, exist_ok=True)

app = MCPServer("todo")
workroot.attach(app, store=HOME / "sessions.db", sandbox="todo")


def file_of(session_id: str) -> Path:
    """Return where it is kept what is to be done in a session: a line each, so that two calls at once lose none."""
    return HOME / f"{session_id}.jsonl"


@app.tool()
def plan(task: str, session: CurrentSession) -> str:
    """Note something to do in this conversation."""
    with file_of(session.session_id).open("a") as file:
        file.write(json.dumps(task) + "\n")
    return f"noted for {session.working_directory}"


@app.tool()
def agenda(session: CurrentSession) -> list[str]:
    """Tell what is to be done in this conversation."""
    file = file_of(session.session_id)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


if __name__ == "__main__":
    app.run("streamable-http", port=int(os.environ.get("TODO_PORT", "7801")))
