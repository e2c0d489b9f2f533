"""Notes, apart for each project: a server over stdio that its editor starts.

The editor says nothing of projects. workroot finds the one that it works in, anew in every call.
"""

from __future__ import annotations

from collections import defaultdict

from mcp.server import MCPServer

import workroot
from workroot import CurrentProject

app = MCPServer("notes")
workroot.attach(app)

notes: defaultdict[str, list[str]] = defaultdict(list)


@app.tool()
async def add(text: str, project: CurrentProject) -> str:
    """Keep a note in the project that you work in."""
    notes[project.root].append(text)
    return f"{project.name} has {len(notes[project.root])} notes"


@app.tool()
def read(project: CurrentProject | None) -> list[str]:
    """Read the notes of the project that you work in, or all of them outside of projects."""
    if project is None:
        return [note for kept in notes.values() for note in kept]
    return notes[project.root]


if __name__ == "__main__":
    app.run()
