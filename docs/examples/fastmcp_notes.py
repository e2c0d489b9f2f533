"""Notes that are kept per project, with FastMCP 4.

Whoever calls gets the notes of the project that they work in; no tool asks for it. Start it from an editor as any
server over standard input and output: `python fastmcp_notes.py`. It needs `pip install "workroot[fastmcp]"`.
"""

from __future__ import annotations

from collections import defaultdict

from fastmcp import FastMCP

from workroot.attached.fastmcp import CurrentProject, attach

app = FastMCP("notes")
attach(app)

notes: defaultdict[str, list[str]] = defaultdict(list)
"""By the id of the project."""


@app.tool
async def add(text: str, project: CurrentProject) -> str:
    """Note *text* in the project that the caller works in."""
    notes[project.project_id].append(text)
    return f"{project.name} has {len(notes[project.project_id])} notes now"


@app.tool
async def read(project: CurrentProject) -> list[str]:
    """Return what was noted in the project that the caller works in."""
    return notes[project.project_id]


@app.tool
async def everywhere(project: CurrentProject | None) -> str:
    """Tell how many notes there are, wherever the caller works."""
    here = f", {len(notes[project.project_id])} of them in {project.name}" if project is not None else ""
    return f"{sum(map(len, notes.values()))} notes{here}"


if __name__ == "__main__":
    app.run(show_banner=False)
