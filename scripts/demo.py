"""The main job, shown: two real MCP clients, one of each protocol era, in two projects, on one daemon.

Each asks where it is without having said anything, then moves, then asks again. Then the daemon is
killed, and both ask once more without having noticed. The exit status is 0 only if every answer was
what it had to be.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import Implementation
from rich.console import Console
from rich.table import Table

WORKROOT = str(Path(sys.executable).with_name("workroot"))
DEADLINE_SECONDS = 60

console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)


class NotAsPromised(Exception):
    """An answer was not what it had to be."""


@dataclass(frozen=True)
class Places:
    """The directories of the demonstration."""

    atlas: Path  # a git repository
    atlas_fix: Path  # a worktree of it
    harbor: Path  # a directory with .workroot/config.toml


@dataclass
class Editor:
    """One client: a program that an editor would be."""

    name: str
    era: str
    client: Client
    session: dict[str, str]  # what it passes with every call

    async def ask(self, tool: str, **arguments: str) -> dict[str, Any]:
        """Call a tool and return its structured answer."""
        result = await self.client.call_tool(tool, {**arguments, **self.session})
        if result.is_error or not isinstance(result.structured_content, dict):
            raise NotAsPromised(f"{self.name}: {tool} failed: {result.content}")
        return result.structured_content


def main() -> int:
    """Run the demonstration and return the exit status."""
    with tempfile.TemporaryDirectory(prefix="workroot-demo-") as temporary:
        top = Path(temporary).resolve()
        os.environ["WORKROOT_HOME"] = str(top / "state")
        places = make_projects(top)
        try:
            asyncio.run(asyncio.wait_for(demonstrate(places), DEADLINE_SECONDS))
        except NotAsPromised as problem:
            console.print(f"[bold red]Not as promised:[/] {problem}")
            return 1
        finally:
            subprocess.run([WORKROOT, "stop"], check=False, capture_output=True, timeout=30)
    console.print("\nAll as promised. To use it in Claude Code, paste this:\n")
    add = ["claude", "mcp", "add", "--scope", "user", "workroot", "--", WORKROOT, "connect"]
    console.print(shlex.join(add), soft_wrap=True, markup=False)
    return 0


async def demonstrate(places: Places) -> None:
    """Let both clients live through it."""
    async with AsyncExitStack() as stack:
        modern = await open_editor(stack, "ada's agent", "2026-07-28", places.atlas)
        handshake = await open_editor(stack, "bob's editor", "handshake", places.harbor)
        console.print(f"One daemon, pid {status()['pid']}, started by the first connector.\n")

        asked = [await modern.ask("get_working_directory"), await handshake.ask("get_working_directory")]
        expect(asked[0], directory=places.atlas, project="atlas", root=places.atlas, source="connector")
        expect(asked[1], directory=places.harbor, project="Harbor", root=places.harbor, source="connector")
        show("1. Nobody has said anything yet", [(modern, asked[0]), (handshake, asked[1])])

        moved = await modern.ask("set_working_directory", directory=str(places.atlas_fix))
        modern.session = {"session_id": moved["session_id"]}
        await handshake.ask("set_working_directory", directory=str(places.atlas))
        before = await where(modern, handshake)
        check_moved(before, places)
        show("2. Both have moved; the agent passes its session_id", before)

        first_pid = int(status()["pid"])
        os.kill(first_pid, signal.SIGKILL)
        while await asyncio.to_thread(daemon_runs):
            pass  # a killed process takes some milliseconds to be gone
        console.print(f"Killed the daemon (SIGKILL to {first_pid}). Both clients simply ask again:\n")
        after = await where(modern, handshake)
        check_moved(after, places)
        show(f"3. After the crash, from a new daemon, pid {status()['pid']}", after)
        if [answer for _, answer in before] != [answer for _, answer in after]:
            raise NotAsPromised("the answers after the crash differ from those before")
        if int(status()["pid"]) == first_pid:
            raise NotAsPromised("the daemon was not replaced")
    stop()


async def open_editor(stack: AsyncExitStack, name: str, era: str, directory: Path) -> Editor:
    """Start a client in *directory*, as an editor would: it spawns a connector and speaks MCP to it."""
    connector = StdioServerParameters(
        command=WORKROOT, args=["connect"], cwd=directory, env={"WORKROOT_HOME": os.environ["WORKROOT_HOME"]}
    )
    mode = "legacy" if era == "handshake" else era
    client = Client(connector, mode=mode, client_info=Implementation(name=name, version="1"))
    return Editor(name, era, await stack.enter_async_context(client), {})


async def where(*editors: Editor) -> list[tuple[Editor, dict[str, Any]]]:
    """Ask each editor's server where it works."""
    return [(editor, await editor.ask("get_working_directory")) for editor in editors]


def check_moved(answers: list[tuple[Editor, dict[str, Any]]], places: Places) -> None:
    """Both work where they moved to; the worktree shares the repository's id and keeps its own root."""
    (_, agent), (_, editor) = answers
    expect(agent, directory=places.atlas_fix, project="atlas", root=places.atlas_fix, source="pin")
    expect(editor, directory=places.atlas, project="atlas", root=places.atlas, source="pin")
    if agent["project_info"]["id"] != editor["project_info"]["id"]:
        raise NotAsPromised("a worktree does not share its repository's project id")
    if agent["session_id"] == editor["session_id"]:
        raise NotAsPromised("two clients share a session")


def expect(answer: dict[str, Any], *, directory: Path, project: str, root: Path, source: str) -> None:
    """Compare an answer with what it has to be."""
    info = answer["project_info"] or {}
    found = (answer["working_directory"], info.get("name"), info.get("root"), answer["source"])
    wanted = (str(directory), project, str(root), source)
    if found != wanted:
        raise NotAsPromised(f"expected {wanted}, found {found}")


def show(title: str, answers: list[tuple[Editor, dict[str, Any]]]) -> None:
    """Print who is where, in which project, and how that is known."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("client", "era", "works in", "project", "project root", "known by"):
        table.add_column(column)
    for editor, answer in answers:
        info = answer["project_info"]
        root = Path(info["root"]).name + (
            f" (worktree of {Path(info['worktree_of']).name})" if info["worktree_of"] else ""
        )
        directory = f".../{Path(answer['working_directory']).name}"
        table.add_row(editor.name, editor.era, directory, f"{info['name']} {info['id'][:8]}", root, answer["source"])
    console.print(table)
    console.print()


def status() -> dict[str, Any]:
    """Return what `workroot status --json` says."""
    asked = subprocess.run([WORKROOT, "status", "--json"], check=True, capture_output=True, timeout=30)
    answer: dict[str, Any] = json.loads(asked.stdout)
    return answer


def stop() -> None:
    """Stop the daemon, and see that it is gone."""
    subprocess.run([WORKROOT, "stop"], check=True, capture_output=True, timeout=30)
    if daemon_runs():
        raise NotAsPromised("the daemon did not stop")


def daemon_runs() -> bool:
    """Tell whether a daemon answers: `workroot status` exits 3 if none does."""
    return subprocess.run([WORKROOT, "status"], check=False, capture_output=True, timeout=30).returncode != 3


def make_projects(top: Path) -> Places:
    """Make a git repository with a worktree, and a project with a config."""
    places = Places(atlas=top / "atlas", atlas_fix=top / "atlas-fix", harbor=top / "harbor")
    places.atlas.mkdir()
    if shutil.which("git"):
        git = ["git", "-C", str(places.atlas), "-c", "user.name=demo", "-c", "user.email=demo@localhost"]
        for arguments in (
            ["init", "--quiet"],
            ["commit", "--quiet", "--allow-empty", "-m", "Begin"],
            ["worktree", "add", "--quiet", "-b", "fix", str(places.atlas_fix)],
        ):
            subprocess.run([*git, *arguments], check=True, capture_output=True)
    else:
        write_repository(places)
    (places.harbor / ".workroot").mkdir(parents=True)
    (places.harbor / ".workroot" / "config.toml").write_text(
        'version = "1.0"\n\n[project]\nname = "Harbor"\nid = "5b2f3f6e-8f0e-4a51-9d0c-3f7c1c0a9b11"\n'
    )
    return places


def write_repository(places: Places) -> None:
    """Write what git would: on a machine without git, workroot reads the same files."""
    common = places.atlas / ".git"
    worktree = common / "worktrees" / "atlas-fix"
    for directory in (common / "objects", common / "refs", worktree, places.atlas_fix):
        directory.mkdir(parents=True)
    (common / "HEAD").write_text("ref: refs/heads/main\n")
    (worktree / "HEAD").write_text("ref: refs/heads/fix\n")
    (worktree / "commondir").write_text("../..\n")
    (worktree / "gitdir").write_text(f"{places.atlas_fix / '.git'}\n")
    (places.atlas_fix / ".git").write_text(f"gitdir: {worktree}\n")


if __name__ == "__main__":
    sys.exit(main())
